"""The signal that every test environment observes: one formula for all frameworks."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

FEATURES = 3
ACTIONS = 2
Array = NDArray[np.float32]


@dataclass
class Signal:
    """One episode after another of a known observation.

    o_t[j] = sin(seed + 3 episode + 0.7 t + 1.3 j + 0.1 agent) + x_t[j mod A],    x_0 = 0,
    x_{t+1} = 0.5 x_t + 0.5 clip(a_t, -1, 1)

    with the seed modulo 1000, feature j and the A features of the action (a discrete action k acts
    as the vector with k - 1 in its first feature). So |o| <= 2, the observation at step t is known
    from the seed and the actions, and a change of any action is seen one step later. The reward is
    -sum_j o_t[j]^2 / features, of the observation that the action leads to.

    Args:
        features: Observation features.
        actions: Action features.
        horizon: Steps until the episode terminates.
        agent: Index of the agent that observes.

    Example:
        >>> signal = Signal(features=2)
        >>> signal.seed(0)
        >>> signal.observation.tolist()
        [0.0, 0.9635581970214844]
    """

    features: int = FEATURES
    actions: int = ACTIONS
    horizon: int = 5
    agent: int = 0

    def __post_init__(self) -> None:
        self.seed(0)

    def seed(self, seed: int) -> None:
        """Begin episode 0 of this seed."""
        self.number, self.episode = int(seed), -1
        self.restart()

    def restart(self) -> None:
        """Begin the next episode."""
        self.episode, self.time = self.episode + 1, 0
        self.state = np.zeros(self.actions)

    def advance(self, action: object) -> None:
        """Take a step."""
        given = np.asarray(action, dtype=np.float64)
        push = np.zeros(self.actions)
        if given.ndim == 0:  # a discrete action
            push[0] = np.clip(given - 1, -1.0, 1.0)
        else:
            push[:] = np.clip(given.reshape(-1), -1.0, 1.0)
        self.state = 0.5 * self.state + 0.5 * push
        self.time += 1

    @property
    def observation(self) -> Array:
        """A new array every time, float32, shape [features]."""
        j = np.arange(self.features)
        phase = self.number % 1000 + 3.0 * self.episode + 0.7 * self.time
        wave = np.sin(phase + 1.3 * j + 0.1 * self.agent)
        seen: Array = (wave + self.state[j % self.actions]).astype(np.float32)
        return seen

    @property
    def reward(self) -> float:
        """Of the present observation."""
        return -float(np.mean(np.square(self.observation.astype(np.float64))))

    @property
    def over(self) -> bool:
        """Whether the episode has ended."""
        return self.time >= self.horizon
