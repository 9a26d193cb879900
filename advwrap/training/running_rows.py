"""Running normalisation of the observations of a Gymnasium vector environment, beneath any attack."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import gymnasium as gym
import numpy as np
import torch
from gymnasium.vector import VectorEnv, VectorWrapper
from numpy.typing import NDArray

from advwrap.training.normaliser import Normaliser
from advwrap.training.running_normaliser import RunningNormaliser


@dataclass(frozen=True)
class Running:
    """Observations in units of their running standard deviation, frozen when the training ends.

    Example:
        >>> Running()
        Running()
    """


class RunningRows(VectorWrapper):  # without parameters: generic only since Gymnasium 1.4
    """Every observation that the rows show is taken into the statistics, and then normalised with them.

    Args:
        env: With vector observations, and ``AutoresetMode.DISABLED``.
        normaliser: Statistics that somebody else keeps: read as they are at every step, never changed. By default own
            ones.

    Example:
        >>> envs = gym.make_vec("CartPole-v1", num_envs=4, vectorization_mode="sync")
        >>> observations, _ = RunningRows(envs).reset(seed=0)
        >>> bool(abs(observations.mean()) < 1e-6)
        True
    """

    def __init__(self, env: VectorEnv[Any, Any, Any], normaliser: RunningNormaliser | None = None) -> None:
        super().__init__(env)
        shape = env.single_observation_space.shape or ()
        self.single_observation_space = gym.spaces.Box(-np.inf, np.inf, shape, np.float32)
        self.observation_space = gym.spaces.Box(-np.inf, np.inf, (env.num_envs, *shape), np.float32)
        self.learns = normaliser is None
        self.normaliser = RunningNormaliser(shape[0]) if normaliser is None else normaliser

    def reset(self, *, seed: Any = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        """Reset all rows, or some; rows that did not begin anew are not counted again."""
        rows = None if not options else options.get("reset_mask")
        observations, info = self.env.reset(seed=seed, options=options)
        return self._normalised(observations, rows), info

    def step(self, actions: Any) -> tuple[Any, Any, Any, Any, dict[str, Any]]:
        """Step; only the observations change."""
        observations, rewards, terminations, truncations, info = self.env.step(actions)
        return self._normalised(observations), rewards, terminations, truncations, info

    def frozen(self) -> Normaliser:
        """The present statistics, for good."""
        return self.normaliser.frozen()

    def state_dict(self) -> dict[str, Any]:
        """The statistics, where they are its own."""
        return dict(self.normaliser.state_dict()) if self.learns else {}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Continue from a `state_dict`."""
        if self.learns:
            self.normaliser.load_state_dict(state)

    def _normalised(self, observations: NDArray[Any], rows: NDArray[np.bool_] | None = None) -> NDArray[Any]:
        seen = torch.from_numpy(np.asarray(observations))
        if self.learns:
            self.normaliser.update(seen if rows is None else seen[torch.from_numpy(rows)])
        normalised: NDArray[Any] = self.normaliser(seen).numpy()
        return normalised
