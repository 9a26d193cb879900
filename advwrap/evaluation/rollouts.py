"""Evaluate one agent under one attack."""

from __future__ import annotations

import math
from collections.abc import Callable
from contextlib import closing, nullcontext
from typing import Any, Protocol, TypeAlias

import gymnasium as gym
from gymnasium.envs.registration import EnvSpec
from gymnasium.vector import AutoresetMode, SyncVectorEnv, VectorEnv

from advwrap.errors import check
from advwrap.evaluation.episodes import AnyVectorEnv, play
from advwrap.evaluation.results import NATURAL, Cell
from advwrap.progress import Advance, progress
from advwrap.wrappers import AdversarialObs

EnvSource: TypeAlias = str | EnvSpec | Callable[[], gym.Env[Any, Any]]
"""A registered id, a spec, or a function that makes a new environment at each call."""

MOST_ENVS = 32
"""How many environments run together unless `num_envs` says otherwise."""


class Channel(Protocol):
    """Puts an attack into a vector environment: `AdversarialObs`, `AdversarialAction`, your own."""

    def __call__(self, env: Any, /, *, attack: Any) -> Any:
        """The attacked environment."""
        ...


def evaluate(
    policy: Any,
    env: EnvSource,
    attack: Any | None = None,
    *,
    agent: str = "agent",
    name: str | None = None,
    epsilon: float = 0.0,
    episodes: int = 20,
    seed: int = 0,
    num_envs: int | None = None,
    channel: Channel = AdversarialObs,
    advance: Advance | None = None,
) -> Cell:
    """Play `episodes` episodes, episode i from the state that ``reset(seed=seed + i)`` gives.

    Two calls with the same `seed` and `episodes` are paired: the clean and the attacked episode i
    start from the same state. Every episode counts exactly once, however long it lasts, so the
    number of environments that run together changes the speed and not the result.

    Args:
        policy: What plays: a function of a batch of observations, a network, a TorchRL actor, a
            Stable-Baselines3 model (see `acting`). It is not told where an episode begins.
        env: The task.
        attack: What perturbs; None for the natural return.
        agent: Name of the agent in the cell.
        name: Name of the attack in the cell; by default `NATURAL`, or the class of the attack.
        epsilon: Radius of the attack, only written into the cell.
        episodes: Number of episodes.
        seed: Reset seed of the first one.
        num_envs: Environments that run together; by default at most `MOST_ENVS`.
        channel: Where the attack is injected: `AdversarialObs`, `AdversarialAction`, or one of them
            with options, such as ``partial(AdversarialObs, key="camera", device="cuda")``.
        advance: Called after every step with the number of episodes that ended in it; by default a
            progress bar.

    Returns:
        The cell, with one return, length and mean perturbation size per episode.

    Raises:
        TypeError: If `env` is an environment instead of a way to make one, or `channel` no wrapper.
        ValueError: If the policy does not return one valid action per row.

    Example:
        >>> cell = evaluate(lambda observation: observation[:, :1] * 0, "Pendulum-v1", episodes=3)
        >>> cell.seeds, cell.lengths, cell.attack
        ((0, 1, 2), (200, 200, 200), 'natural')
    """
    check(seed >= 0, f"`seed` must be >= 0, got {seed}.")
    if not callable(channel):
        raise TypeError(f"`channel` must be a wrapper, got {channel!r}. Fix: AdversarialObs or AdversarialAction.")
    name = name or (NATURAL if attack is None else type(attack).__name__)
    bar = progress(f"{agent}, {name}", total=episodes) if advance is None else nullcontext(advance)
    with closing(_vector_env(env, _rows(episodes, num_envs))) as plain, bar as counting:
        envs = plain if attack is None else channel(plain, attack=attack)
        tally = play(policy, envs, episodes=episodes, seed=seed, advance=counting)
    return Cell(
        agent=agent,
        attack=name,
        epsilon=float(epsilon),
        seeds=tuple(range(seed, seed + episodes)),
        returns=tuple(tally.returns.tolist()),
        lengths=tuple(tally.lengths.tolist()),
        sizes=tuple(tally.sizes.tolist()),
        costs=None if tally.costs is None else tuple(tally.costs.tolist()),
    )


def _rows(episodes: int, num_envs: int | None) -> int:
    """As many environments as wanted, but spread evenly over as few rounds as possible."""
    check(num_envs is None or num_envs >= 1, f"`num_envs` must be >= 1, got {num_envs}.")
    check(episodes >= 1, f"`episodes` must be >= 1, got {episodes}.")
    rounds = math.ceil(episodes / (num_envs or MOST_ENVS))
    return math.ceil(episodes / rounds)


def _vector_env(env: EnvSource, rows: int) -> AnyVectorEnv:
    if isinstance(env, gym.Env | VectorEnv):
        raise TypeError(
            f"`env` must be an id, a spec or a function that makes an environment, got {env}. "
            "Fix: pass `lambda: make_my_env()`; several copies run together."
        )
    make = env if callable(env) else lambda: gym.make(env)
    return SyncVectorEnv([make] * rows, autoreset_mode=AutoresetMode.DISABLED)
