"""The loop: a policy plays episodes in a vector environment, each exactly once and to its end."""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np
import torch
from gymnasium import spaces
from gymnasium.vector import AutoresetMode, VectorEnv
from numpy.typing import NDArray

from advwrap.errors import check
from advwrap.evaluation.acting import acting
from advwrap.evaluation.arrays import map_leaves, size_of_change, to_actions, to_tensor
from advwrap.evaluation.schedule import IDLE, Rows, Schedule
from advwrap.evaluation.tally import Tally
from advwrap.progress import Advance

AnyVectorEnv = VectorEnv[Any, Any, Any]


def play(policy: Any, envs: AnyVectorEnv, *, episodes: int, seed: int = 0, advance: Advance) -> Tally:
    """Play episodes 0, 1, ..., episode i from the state that a reset with ``seed + i`` gives.

    Args:
        policy: What plays: see `acting`.
        envs: A vector environment, attacked or not, with ``AutoresetMode.DISABLED``: an episode
            starts only where, and from the seed that, this loop says (``reset(seed=[...],
            options={"reset_mask": ...})``).
        episodes: Number of episodes, at least as many as environments.
        seed: Reset seed of episode 0.
        advance: Called after every step with the number of episodes that ended in it.

    Returns:
        The sums of every episode.

    Example:
        >>> import gymnasium as gym
        >>> mode = {"autoreset_mode": AutoresetMode.DISABLED}
        >>> envs = gym.make_vec("CartPole-v1", num_envs=2, vectorization_mode="sync", vector_kwargs=mode)
        >>> tally = play(lambda obs: (obs[:, 2] > 0).long(), envs, episodes=3, advance=lambda ended: None)
        >>> len(tally.returns), bool((tally.returns == tally.lengths).all())  # a reward of 1 per step
        (3, True)
    """
    mode = envs.metadata.get("autoreset_mode")
    check(
        mode == AutoresetMode.DISABLED,
        f"`envs` must not reset by itself, got {mode}.",
        fix="make it with `autoreset_mode=gymnasium.vector.AutoresetMode.DISABLED`.",
    )
    schedule = Schedule(episodes=episodes, rows=envs.num_envs)
    tally = Tally(episodes=episodes)
    act = acting(policy, envs.single_action_space)
    observation, info = _begin(envs, schedule, np.ones(envs.num_envs, np.bool_), seed)
    size = _size(observation, info, envs.num_envs)
    while not schedule.over:
        with torch.no_grad():
            actions = act(map_leaves(to_tensor, observation))
        actions = to_actions(actions, envs.single_action_space, envs.num_envs)
        observation, rewards, terminated, truncated, info = envs.step(actions)
        size = size + _action_size(info, envs)
        tally.add(schedule.playing, schedule.active, rewards=rewards, sizes=size, info=info)
        size = _size(observation, info, envs.num_envs)
        ended = terminated | truncated
        advance(len(schedule.finish(ended)))
        if ended.any() and not schedule.over:
            first, info = _begin(envs, schedule, ended, seed)
            observation = map_leaves(partial(_choose, ended), first, observation)
            size = _choose(ended, _size(first, info, envs.num_envs), size)
    return tally


def _begin(envs: AnyVectorEnv, schedule: Schedule, rows: Rows, seed: int) -> tuple[Any, dict[str, Any]]:
    """Start the next episode in these rows; an idle row too, as it is stepped with them."""
    starts = zip(rows, schedule.playing, strict=True)
    seeds: Any = [seed + int(episode) if begins and episode != IDLE else None for begins, episode in starts]
    return envs.reset(seed=seeds, options=None if rows.all() else {"reset_mask": rows})


def _choose(rows: Rows, new: Any, old: Any) -> Any:
    """The new values in these rows; the others keep those of their last step."""
    return np.where(rows.reshape(-1, *[1] * (np.ndim(new) - 1)), new, old)


def _size(observation: Any, info: dict[str, Any], rows: int) -> NDArray[np.float64]:
    """How far the observation is from the true one, where the channel tells."""
    clean = info.get("clean_observation")
    return np.zeros(rows) if clean is None else size_of_change(clean, observation)


def _action_size(info: dict[str, Any], envs: AnyVectorEnv) -> NDArray[np.float64]:
    """How far the executed action is from the intended one, as the task makes of it, where the channel tells."""
    if "executed_action" not in info:
        return np.zeros(envs.num_envs)
    intended, executed = info["action"], info["executed_action"]
    if isinstance(box := envs.single_action_space, spaces.Box):
        intended, executed = (action.clip(box.low, box.high) for action in (intended, executed))
    return size_of_change(intended, executed)
