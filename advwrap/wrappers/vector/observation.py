"""A vector environment whose observations are attacked, all rows in one call."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from gymnasium.vector import VectorEnv
from gymnasium.vector.utils import batch_space

from advwrap.attacks import Attack
from advwrap.clock import EpisodeClock
from advwrap.errors import check
from advwrap.sets import Bounds
from advwrap.wrappers.beside import Beside
from advwrap.wrappers.entry import Key, copied, entry, locate, pick, put
from advwrap.wrappers.injection import Array, Injection
from advwrap.wrappers.limits import bounds_of, box_of, widened
from advwrap.wrappers.stack import beneath
from advwrap.wrappers.vector.attacked import Attacked, Rows, Seeds, mask_of


class AdversarialObs(Attacked):
    """The agent sees perturbed observations: one batched attack per step for all environments.

    Row by row the same numbers as `advwrap.wrappers.gymnasium.AdversarialObs` in each of them.
    Where a step also resets (SAME_STEP), ``infos["final_obs"]`` stays true and the first
    observation of the new episode is attacked.

    Writes: ``infos["clean_observation"]``, [N, ...].

    Args:
        env: The vector environment, in any autoreset mode.
        attack: What perturbs; `Identity()` for nothing.
        key: Which entry of a Dict observation; a tuple of keys where nested.
        bounds: The valid range of perturbed values, by default the bounds of the space.
        device: Where the attack computes.

    Raises:
        TypeError: If the observation is no Box of numbers.
        ValueError: If `key` names no entry, or (at a step) an observation holds NaN.

    Example:
        >>> import gymnasium
        >>> from advwrap import LinfBall, RandomVertex
        >>> envs = gymnasium.make_vec("CartPole-v1", num_envs=2, vectorization_mode="sync")
        >>> envs = AdversarialObs(envs, RandomVertex(LinfBall(0.01)))
        >>> seen, infos = envs.reset(seed=0)
        >>> abs(seen - infos["clean_observation"]).max(axis=1).round(4)
        array([0.01, 0.01], dtype=float32)
    """

    def __init__(
        self,
        env: VectorEnv[Any, Any, Any],
        attack: Attack,
        *,
        key: Key = None,
        bounds: Bounds | None = None,
        device: torch.device | str = "cpu",
    ) -> None:
        super().__init__(env)
        space = env.single_observation_space
        self._path = locate(space, key)
        box = box_of(entry(space, self._path), what="observation")
        alike = entry(env.observation_space, self._path) == batch_space(box, env.num_envs)
        check(
            bounds is not None or alike,
            "`bounds` must be given where the environments have different observation spaces.",
            fix="bounds=Bounds(low, high), or UNBOUNDED.",
        )
        bounds = bounds_of(box, bounds)
        self.single_observation_space = widened(space, self._path, bounds)
        self.observation_space = widened(env.observation_space, self._path, bounds)
        self._beside = Beside(space, omit=self._path)
        self._clock = EpisodeClock(env.num_envs, salt=beneath(env, "AdversarialObs"))
        self._injection = Injection(attack, space=box, clock=self._clock, bounds=bounds, device=device)
        self._seen: Array = np.zeros((env.num_envs, *box.shape), dtype=box.dtype)

    def reset(self, *, seed: Seeds = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        """Reset; with ``options["reset_mask"]`` only some rows, the others show what they showed."""
        mask, options = mask_of(options)
        observations, infos = self.env.reset(seed=seed, options=options)  # type: ignore[arg-type]
        self._begin(seed, mask)
        return self._attacked(observations, infos, mask)

    def step(self, actions: Any) -> tuple[Any, Any, Any, Any, dict[str, Any]]:
        """Step; only the observations change."""
        observations, rewards, terminations, truncations, infos = self.env.step(actions)
        self._follow(terminations, truncations)
        observations, infos = self._attacked(observations, infos)
        return observations, rewards, terminations, truncations, infos

    def _attacked(
        self, observations: Any, infos: dict[str, Any], mask: Rows | None = None
    ) -> tuple[Any, dict[str, Any]]:
        path = self._path
        known = self._beside(observations, infos, batched=True)
        clean = self._injection.rows(pick(observations, path))
        if mask is None:
            seen = self._injection(clean, known)
        else:
            who = mask.nonzero()[0]
            seen = self._seen
            seen[who] = self._injection(clean[who], {name: rows[who] for name, rows in known.items()}, who)
        self._seen = seen.copy()
        # What is beneath may be attacked as well: its clean observation is the true one.
        if "clean_observation" not in infos:
            truth = put(copied(observations), path, clean) if path else clean
            infos = self._everyone(infos, clean_observation=truth)
        return put(observations, path, seen), infos
