"""Learned attackers: the strongest thing that an RL algorithm finds against a fixed victim.

Gradient attacks look one step ahead; an attacker that is trained on the task itself plans. It costs a training per
victim, and is only as strong as that training went: papers scan hyperparameters and report the minimum
(`advwrap.evaluation.scan_attackers`).
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, fields, replace
from functools import partial
from typing import Any, Protocol

import gymnasium as gym
from gymnasium.envs.registration import EnvSpec

from advwrap.attacks import Attack
from advwrap.evaluation.rollouts import EnvSource
from advwrap.progress import Advance, progress
from advwrap.sets import PerturbationSet
from advwrap.victims import AnyPolicy, as_policy
from advwrap.wrappers import SARL, AttackerKind


class Learns(Protocol):
    """An algorithm: a dataclass with a field `env` and a method `train`, such as `PPO` and `SAC`.

    Where it has a field `wrap` too, a function of the vector environment of all copies, the attacker acts there, for
    all copies in one call.
    """

    def train(self, *, advance: Advance) -> Any:
        """Train to the end; what comes back has a `policy`, and a `normaliser` (None for none) in front of it."""
        ...


@dataclass(frozen=True, eq=False)
class TrainedAttacker:
    """A learned attacker, ready for the channel of its kind (`AdversarialObs`, `AdversarialAction`) and `evaluate`.

    Args:
        attack: What it does.
        kind: What it learned.
        agent: What the algorithm returned: of ours a `TrainedAgent`, with its history.

    Example:
        >>> from advwrap import Identity
        >>> TrainedAttacker(Identity(), SARL(), agent=None).attack
        Identity()
    """

    attack: Attack
    kind: AttackerKind
    agent: Any


def train_attacker(
    victim: AnyPolicy,
    env: EnvSource,
    *,
    within: PerturbationSet,
    kind: AttackerKind | None = None,
    algorithm: Learns | None = None,
    stochastic: bool = True,
    advance: Advance | None = None,
    **options: Any,
) -> TrainedAttacker:
    """Train an attacker of a frozen victim.

    Source: Zhang et al., ICLR 2021 (SA-RL); Sun et al., ICLR 2022 (PA-AD).

    Args:
        victim: Who is attacked: anything that `advwrap.victims.as_policy` takes. Nothing in it changes.
        env: The task with the observations that the victim reads: an id, a spec or a function that makes one.
        within: Where the perturbation may live, in the units of those observations, or of the actions.
        kind: What is learned: `SARL()` (the default), `PAAD()`, or an adversary of actions: `ActionAdversary()`,
            `NoisyAdversary(alpha)`, `ProbabilisticAdversary(alpha)`.
        algorithm: What learns: ``PPO(...)`` (the default) or ``SAC(...)``; its own `env` is replaced.
        stochastic: Whether the victim samples its actions meanwhile, as in the papers.
        advance: Called with the number of new environment steps; by default a progress bar.
        options: Of the algorithm's own `train`: ``watch=...`` of `PPO`, say, to save the agent now and then.

    Returns:
        The attacker; ``evaluate(victim, env, attacker.attack, channel=attacker.kind.channel)`` judges it, on a victim
        that plays its mean.

    Example:
        >>> import torch
        >>> from advwrap import LinfBall
        >>> from advwrap.algorithms import PPO
        >>> short = PPO(steps=128, envs=2, horizon=64, epochs=1, minibatches=2)
        >>> attacker = train_attacker(torch.nn.Linear(3, 1), "Pendulum-v1", within=LinfBall(0.1), algorithm=short)
        >>> bool((attacker.attack(torch.zeros(2, 3)).abs() <= 0.1).all())
        True
    """
    from advwrap.algorithms.ppo import PPO

    kind = SARL() if kind is None else kind
    algorithm = PPO() if algorithm is None else algorithm
    policy = as_policy(victim)
    around = partial(kind.around, victim=policy, within=within, stochastic=stochastic)
    bar = progress(f"{type(kind).__name__}, {type(algorithm).__name__}", total=getattr(algorithm, "steps", 0))
    with bar as counting:
        agent = _train(algorithm, env, around, {"advance": advance or counting, **options})
    adversary = agent.policy if agent.normaliser is None else agent.normaliser.before(agent.policy)
    return TrainedAttacker(kind.attack(adversary, policy, within=within), kind, agent)


def _train(algorithm: Any, env: EnvSource, around: Callable[[Any], Any], options: Any) -> Any:
    names = {field.name for field in fields(algorithm)}
    source = partial(gym.make, env) if isinstance(env, EnvSpec) else env
    if "wrap" in names:
        return replace(algorithm, env=source, wrap=around).train(**options)
    with _named(lambda **_: around(gym.make(source) if isinstance(source, str) else source())) as name:
        return replace(algorithm, env=name).train(**options)


_numbers = itertools.count()


@contextmanager
def _named(make: Callable[..., gym.Env[Any, Any]]) -> Iterator[str]:
    """An id for a task that has none, for algorithms that ask for one."""
    name = f"advwrap/Attacker{next(_numbers)}-v0"
    gym.register(name, entry_point=make, disable_env_checker=True, order_enforce=False)
    try:
        yield name
    finally:
        gym.registry.pop(name)
