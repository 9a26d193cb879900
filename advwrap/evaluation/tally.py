"""Per-episode sums while the episodes run."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]


class Tally:
    """Adds up what each step of a vector environment brought to the episode that its row plays.

    Args:
        episodes: Number of episodes in total.

    Example:
        >>> tally = Tally(episodes=2)
        >>> playing, active = np.array([1, -1]), np.array([True, False])
        >>> tally.add(playing, active, rewards=np.array([5.0, 9.0]), sizes=np.zeros(2), info={})
        >>> tally.returns.tolist(), tally.lengths.tolist()
        ([0.0, 5.0], [0, 1])
    """

    def __init__(self, *, episodes: int) -> None:
        self.returns = np.zeros(episodes)
        self.lengths = np.zeros(episodes, np.int64)
        self.costs: Floats | None = None
        self._sizes = np.zeros(episodes)

    def add(
        self,
        playing: NDArray[np.int64],
        active: NDArray[np.bool_],
        *,
        rewards: Floats,
        sizes: Floats,
        info: Any,
    ) -> None:
        """Add one step.

        Args:
            playing: The episode of each row.
            active: The rows that count.
            rewards: The rewards of the rows.
            sizes: The sizes of the perturbations of the rows.
            info: What `step` returned; its ``"cost"`` is added up if it has one.
        """
        episodes = playing[active]
        self.returns[episodes] += rewards[active]
        self.lengths[episodes] += 1
        self._sizes[episodes] += sizes[active]
        if "cost" in info:
            if self.costs is None:
                self.costs = np.zeros_like(self.returns)
            self.costs[episodes] += np.asarray(info["cost"], np.float64)[active]

    @property
    def sizes(self) -> Floats:
        """The mean size over the steps of each episode."""
        return self._sizes / np.maximum(self.lengths, 1)
