"""`SARLAttacker`, `PAADAttacker`, `ActionAttacker`: environments in which any RL library trains an attacker."""

from __future__ import annotations

from typing import Any

import gymnasium
import numpy as np
from gymnasium import spaces
from gymnasium.vector import VectorEnv

from advwrap.attacks import Attack, Push, policy_direction
from advwrap.sets import PerturbationSet
from advwrap.victims import AnyPolicy
from advwrap.wrappers.commands import command_size
from advwrap.wrappers.gymnasium.attacker import AttackerEnv as Single
from advwrap.wrappers.limits import box_of
from advwrap.wrappers.vector.attacker import AttackerEnv as Vector


def SARLAttacker(env: Any, victim: AnyPolicy, *, within: PerturbationSet, **options: Any) -> Any:  # noqa: N802
    """SA-RL: the agent's action is the perturbation, in units of the radius; the frozen victim acts inside.

    The agent sees the true observation s and acts a in [-1, 1]^d; the victim sees x = P(s + eps clip(a)) and acts; the
    agent's reward is minus the victim's. What learns here is the optimal attack on this victim, up to the learner.

    Source: Zhang et al., *Robust reinforcement learning on state observations with learned optimal adversary*, ICLR
        2021. As there, the victim samples its actions while the adversary learns (``stochastic=True``), and plays its
        mean where the adversary is judged.

    Args:
        env: A Gymnasium environment or vector environment, with the normalised observations that the victim reads.
        victim: Who is attacked: anything that `advwrap.victims.as_policy` takes; never changed.
        within: Where the perturbation may live.
        options: `stochastic`, `reward_scale`, `bounds`, `device`: see `advwrap.wrappers.gymnasium.AttackerEnv`.

    Returns:
        An environment of the same kind. After training, ``Learned(policy, within=within)`` is the attack.

    Raises:
        TypeError: If `env` is neither, or the observation is no Box of numbers.

    Example:
        >>> import torch
        >>> from advwrap import LinfBall
        >>> env = SARLAttacker(gymnasium.make("Pendulum-v1"), torch.nn.Linear(3, 1), within=LinfBall(0.1))
        >>> env.action_space
        Box(-1.0, 1.0, (3,), float32)
    """
    make = _kind(env, "SARLAttacker")
    space = box_of(_single(env, "observation_space"), what="observation")
    commands = spaces.Box(-1.0, 1.0, space.shape, np.float32)
    return make(env, victim, attack=Push(within=within), commands=commands, **options)


def PAADAttacker(  # noqa: N802
    env: Any,
    victim: AnyPolicy,
    *,
    within: PerturbationSet,
    steps: int = 1,
    reference_sign: bool = False,
    **options: Any,
) -> Any:
    """PA-AD: the agent directs, a gradient step generates: its action is a direction in the victim's action space.

    The agent sees the true observation s and acts d in [-1, 1]^A; the victim sees the perturbation that moves its
    action far and along d (`advwrap.attacks.policy_direction`); the agent's reward is minus the victim's. A is the
    number of action features, or of actions where they are discrete: much smaller than the observation.

    Source: Sun et al., *Who is the strongest enemy? Towards optimal and efficient evasion attacks in deep RL*, ICLR
        2022. Its MuJoCo code moves the action against the director; `reference_sign` reproduces that.

    Args:
        env: A Gymnasium environment or vector environment, with the normalised observations that the victim reads.
        victim: Who is attacked; its mean action must be differentiable.
        within: Where the perturbation may live.
        steps: Gradients of the generator per step of the task.
        reference_sign: Whether the generator pushes against the direction, as the reference code does.
        options: `stochastic`, `reward_scale`, `bounds`, `device`: see `advwrap.wrappers.gymnasium.AttackerEnv`.

    Returns:
        An environment of the same kind. After training,
        ``Steered(policy, policy_direction(victim, within=within, ...))`` is the attack.

    Raises:
        TypeError: If `env` is neither, or the victim's actions are neither a vector nor discrete.

    Example:
        >>> import torch
        >>> from advwrap import LinfBall
        >>> env = PAADAttacker(gymnasium.make("Pendulum-v1"), torch.nn.Linear(3, 1), within=LinfBall(0.1))
        >>> env.action_space
        Box(-1.0, 1.0, (1,), float32)
    """
    make = _kind(env, "PAADAttacker")
    commands = spaces.Box(-1.0, 1.0, (command_size(_single(env, "action_space")),), np.float32)
    generator = policy_direction(victim, within=within, steps=steps, reference_sign=reference_sign)
    return make(env, victim, attack=generator, commands=commands, **options)


def ActionAttacker(env: Any, victim: AnyPolicy, *, attack: Attack, **options: Any) -> Any:  # noqa: N802
    """The agent shares the actuators of a frozen victim: its action commands what becomes of the victim's.

    The agent sees the true observation s and acts c in [-1, 1]^A; the victim sees s and acts a; what is executed is
    ``attack(a)`` with c as the command; the agent's reward is minus the victim's. With ``Push(within=...)`` the agent
    learns the optimal perturbation of actions, with ``Overrule(alpha)`` the adversary of NR-MDP, with
    ``Gated(Overrule(), WithProbability(alpha))`` that of PR-MDP.

    Source: Pinto et al., *Robust adversarial reinforcement learning*, ICML 2017; Tessler et al., *Action robust
        reinforcement learning and applications in continuous control*, ICML 2019.

    Args:
        env: A Gymnasium environment or vector environment, with the normalised observations that the victim reads.
        victim: Who is attacked: anything that `advwrap.victims.as_policy` takes; never changed.
        attack: What is commanded.
        options: `stochastic`, `reward_scale`, `bounds`, `device`: see `advwrap.wrappers.gymnasium.AttackerEnv`.

    Returns:
        An environment of the same kind. After training, ``Steered(policy, attack, reads="observation")`` in
        `AdversarialAction` is the attack.

    Raises:
        TypeError: If `env` is neither, or observations or actions are no Box of numbers.

    Example:
        >>> import torch
        >>> from advwrap import LinfBall
        >>> from advwrap.attacks import Push
        >>> task, victim = gymnasium.make("Pendulum-v1"), torch.nn.Linear(3, 1)
        >>> env = ActionAttacker(task, victim, attack=Push(within=LinfBall(0.1)))
        >>> env.action_space
        Box(-1.0, 1.0, (1,), float32)
    """
    make = _kind(env, "ActionAttacker")
    space = box_of(_single(env, "action_space"), what="action")
    commands = spaces.Box(-1.0, 1.0, space.shape, np.float32)
    return make(env, victim, attack=attack, commands=commands, channel="action", **options)


def _single(env: Any, name: str) -> Any:
    """A space of one environment."""
    return getattr(env, f"single_{name}" if isinstance(env, VectorEnv) else name)


def _kind(env: Any, name: str) -> Any:
    if isinstance(env, VectorEnv):
        return Vector
    if isinstance(env, gymnasium.Env):
        return Single
    raise TypeError(
        f"`env` must be a gymnasium.Env or a gymnasium.vector.VectorEnv, got {env!r}. Fix: {name}(gymnasium.make(id), "
        "victim, within=...); in TorchRL, GymWrapper(that)."
    )
