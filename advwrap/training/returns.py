"""What a collected batch tells about returns: those of the episodes that ended, and the scale of rewards."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor


class EpisodeReturns:
    """Adds up the rewards of every environment until its episode ends, across batches.

    Args:
        rows: Number of environments.

    Shapes: reward, done [rows, time, 1].

    Example:
        >>> episodes = EpisodeReturns(1)
        >>> episodes.add(torch.ones(1, 3, 1), torch.tensor([[[False], [True], [False]]]))
        >>> episodes.take(), episodes.ended
        (2.0, [])
    """

    def __init__(self, rows: int) -> None:
        self.sums = torch.zeros(rows, dtype=torch.float64)
        self.ended: list[float] = []

    def add(self, reward: Tensor, done: Tensor) -> None:
        """Take in a batch."""
        for r, over in zip(reward.squeeze(-1).double().unbind(1), done.squeeze(-1).unbind(1), strict=True):
            self.sums = self.sums + r
            if over.any():
                self.ended += self.sums[over].tolist()
                self.sums = torch.where(over, 0.0, self.sums)

    def take(self) -> float:
        """The mean of the episodes that ended since the last time."""
        mean = sum(self.ended) / len(self.ended)
        self.ended = []
        return mean

    def state_dict(self) -> dict[str, Any]:
        """The sums so far."""
        return {"sums": self.sums, "ended": self.ended}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Continue from `state_dict`."""
        self.sums, self.ended = state["sums"], list(state["ended"])


class ReturnScale:
    """Rewards in units of the running standard deviation of the discounted return, without centring, clipped.

    r' = clip(r / std(G), -c, c),   G_t = gamma (1 - done_{t-1}) G_{t-1} + r_t

    with the standard deviation over everything seen up to the end of the batch.

    Source: Engstrom et al., *Implementation matters in deep policy gradients*, ICLR 2020.

    Args:
        rows: Number of environments.
        gamma: Discount.
        clip: c, the largest scaled reward.

    Shapes: reward, done [rows, time, 1] -> [rows, time, 1].

    Example:
        >>> scale = ReturnScale(1, gamma=0.0)
        >>> scale(torch.tensor([[[2.0], [-2.0]]]), torch.zeros(1, 2, 1, dtype=torch.bool)).flatten()
        tensor([ 1., -1.])
    """

    def __init__(self, rows: int, *, gamma: float, clip: float = 10.0) -> None:
        self.gamma = gamma
        self.clip = clip
        self.returns = torch.zeros(rows, dtype=torch.float64)
        self.count = 0
        self.mean = 0.0
        self.squares = 0.0

    def __call__(self, reward: Tensor, done: Tensor) -> Tensor:
        """Take in a batch and scale it."""
        trace = []
        for r, over in zip(reward.squeeze(-1).double().unbind(1), done.squeeze(-1).unbind(1), strict=True):
            self.returns = self.gamma * self.returns + r
            trace.append(self.returns)
            self.returns = torch.where(over, 0.0, self.returns)
        self._take_in(torch.stack(trace))
        scaled: Tensor = (reward / self.std).clamp(-self.clip, self.clip)
        return scaled

    @property
    def std(self) -> float:
        """The standard deviation of the discounted returns so far."""
        return float(max((self.squares / self.count) ** 0.5, 1e-8))

    def _take_in(self, seen: Tensor) -> None:
        n, centre = seen.numel(), float(seen.mean())
        total, shift = self.count + n, centre - self.mean
        self.squares += float((seen - centre).square().sum()) + shift**2 * self.count * n / total
        self.mean += shift * n / total
        self.count = total

    def state_dict(self) -> dict[str, Any]:
        """The statistics and the running returns."""
        return {"returns": self.returns, "count": self.count, "mean": self.mean, "squares": self.squares}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Continue from `state_dict`."""
        self.returns, self.count = state["returns"], int(state["count"])
        self.mean, self.squares = float(state["mean"]), float(state["squares"])
