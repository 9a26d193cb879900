"""Which row of a vector environment plays which episode, so that each counts exactly once."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from advwrap.errors import check

Rows = NDArray[np.bool_]
IDLE = -1


class Schedule:
    """Hands the episodes 0, 1, ... to the rows, one after the other, and never twice.

    An episode once begun is always played to its end and counted, however long it takes: stopping
    at the first n finished episodes would favour the short ones. A row with nothing left to play is
    idle.

    Args:
        episodes: Number of episodes in total.
        rows: Number of environments that play at the same time.

    Example:
        >>> schedule = Schedule(episodes=3, rows=2)
        >>> schedule.playing.tolist()
        [0, 1]
        >>> schedule.finish(np.array([False, True])).tolist(), schedule.playing.tolist()
        ([1], [0, 2])
        >>> schedule.finish(np.array([True, True])).tolist(), schedule.over
        ([0, 2], True)
    """

    def __init__(self, *, episodes: int, rows: int) -> None:
        check(episodes >= 1, f"`episodes` must be >= 1, got {episodes}.")
        check(
            1 <= rows <= episodes,
            f"`rows` must be in [1, {episodes}] (one per episode), got {rows}.",
        )
        self.episodes = episodes
        self.playing = np.arange(rows)
        self.begun = rows

    @property
    def active(self) -> Rows:
        """The rows that play an episode."""
        return np.asarray(self.playing != IDLE)

    @property
    def over(self) -> bool:
        """Whether every episode was played to its end."""
        return not self.active.any()

    def finish(self, ended: Rows) -> NDArray[np.int64]:
        """The episodes that just ended in these rows; the rows take the next ones."""
        rows = np.flatnonzero(ended & self.active)
        finished = self.playing[rows]
        following = np.arange(self.begun, min(self.begun + len(rows), self.episodes))
        self.begun += len(following)
        self.playing[rows] = IDLE
        self.playing[rows[: len(following)]] = following
        return finished
