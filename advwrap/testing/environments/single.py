"""The signal as a Gymnasium environment, and as a vector of them."""

from __future__ import annotations

from functools import partial
from typing import Any

import gymnasium as gym
import numpy as np
from gymnasium.vector import AutoresetMode, SyncVectorEnv

from advwrap.testing.environments.signal import ACTIONS, FEATURES, Signal

Obs = Any

SIGNAL = "advwrap-testing/Signal-v0"
"""`SignalEnv` for `gymnasium.make`, so that wrapped environments have a spec."""


class SignalEnv(gym.Env[Obs, Any]):
    """A deterministic environment whose observation is `Signal`'s; `reset(seed=s)` gives seed s.

    Args:
        space: The observation space: a float Box, or a Dict or Tuple of them; filled feature by
            feature. By default a Box of 3 features in [-2, 2].
        horizon: Steps until the episode ends.
        truncates: Whether it ends by truncation; by termination otherwise.
        discrete: Number of discrete actions; 0 for a Box of 2 actions in [-1, 1].

    Example:
        >>> env = SignalEnv()
        >>> observation, info = env.reset(seed=0)
        >>> observation
        array([0.       , 0.9635582, 0.5155014], dtype=float32)
        >>> env.step(np.ones(2, np.float32))[0]
        array([1.1442177, 1.4092975, 0.3422543], dtype=float32)
    """

    metadata = {"render_modes": []}  # noqa: RUF012 - as Gymnasium declares it

    def __init__(
        self,
        space: gym.Space[Any] | None = None,
        *,
        horizon: int = 5,
        truncates: bool = False,
        discrete: int = 0,
    ) -> None:
        self.observation_space = space or gym.spaces.Box(-2.0, 2.0, (FEATURES,), np.float32)
        self.action_space = (
            gym.spaces.Discrete(discrete) if discrete else gym.spaces.Box(-1.0, 1.0, (ACTIONS,), np.float32)
        )
        features = gym.spaces.flatdim(self.observation_space)
        self.signal = Signal(features=features, horizon=horizon)
        self.truncates = truncates

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Obs, dict[str, Any]]:
        """Episode 0 of a seed, or the next episode."""
        super().reset(seed=seed)
        if seed is None:
            self.signal.restart()
        else:
            self.signal.seed(seed)
        return self._observe(), {}

    def step(self, action: Any) -> tuple[Obs, float, bool, bool, dict[str, Any]]:
        """Take a step."""
        self.signal.advance(action)
        over = self.signal.over
        return (
            self._observe(),
            self.signal.reward,
            over and not self.truncates,
            over and self.truncates,
            {},
        )

    def _observe(self) -> Obs:
        # unflatten gives views of the flat array; nobody else holds it.
        return gym.spaces.unflatten(self.observation_space, self.signal.observation)


def signal_vector(
    rows: int,
    *,
    autoreset: AutoresetMode = AutoresetMode.NEXT_STEP,
    **options: Any,
) -> SyncVectorEnv:
    """Several `SignalEnv` in a `SyncVectorEnv`: `reset(seed=s)` gives row i the seed s + i.

    Args:
        rows: How many.
        autoreset: When a finished row begins its next episode.
        options: Passed to `SignalEnv`; ``horizon`` may be a list with one number per row.

    Example:
        >>> env = signal_vector(2)
        >>> observations, infos = env.reset(seed=0)
        >>> np.array_equal(observations[1], SignalEnv().reset(seed=1)[0])
        True
    """
    horizons = options.pop("horizon", 5)
    per_row = horizons if isinstance(horizons, list) else [horizons] * rows
    return SyncVectorEnv(
        [partial(SignalEnv, horizon=horizon, **options) for horizon in per_row],
        autoreset_mode=autoreset,
    )


if SIGNAL not in gym.registry:
    gym.register(SIGNAL, entry_point="advwrap.testing.environments.single:SignalEnv")
