"""Boxes: one interval per feature and row."""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
from torch import Tensor

from advwrap.sets import UNBOUNDED, Bounds, LinfBall, Masked


class Box(NamedTuple):
    """The points x with low <= x <= high, for every row of a batch.

    Shapes: low, high [B, ...] (or [E, B, ...] of an ensemble).

    Example:
        >>> box = Box(torch.tensor([[0.0, 1.0]]), torch.tensor([[1.0, 1.0]]))
        >>> box.centre, box.width
        (tensor([[0.5000, 1.0000]]), tensor([[1., 0.]]))
        >>> low, high = box
    """

    low: Tensor
    """The lower ends."""

    high: Tensor
    """The upper ends, of the same shape."""

    @classmethod
    def point(cls, x: Tensor) -> Box:
        """The box that holds x alone."""
        return cls(x, x)

    @property
    def centre(self) -> Tensor:
        """The point in the middle."""
        return (self.low + self.high) / 2

    @property
    def radius(self) -> Tensor:
        """Half the width."""
        return (self.high - self.low) / 2

    @property
    def width(self) -> Tensor:
        """The length of every interval."""
        return self.high - self.low

    def contains(self, x: Tensor, *, within: float = 0.0) -> Tensor:
        """Which features of x lie in the box, up to `within`."""
        return (x >= self.low - within) & (x <= self.high + within)

    def clamp(self, x: Tensor) -> Tensor:
        """The point of the box that is nearest to x."""
        return torch.minimum(torch.maximum(x, self.low), self.high)


def box_around(clean: Tensor, within: Any, bounds: Bounds = UNBOUNDED) -> Box:
    """Everything that an adversary may show instead of `clean`: the ball as a box, clipped to the bounds.

    Args:
        clean: The true values.
        within: An L-infinity ball, possibly `Masked`; other balls are no boxes.
        bounds: The valid range of the values.

    Shapes: clean [B, ...] -> low, high [B, ...].

    Raises:
        TypeError: If the set is no box.

    Example:
        >>> box_around(torch.zeros(1, 2), LinfBall(torch.tensor([0.1, 0.2]))).high
        tensor([[0.1000, 0.2000]])
    """
    inner = within
    while isinstance(inner, Masked):
        inner = inner.within
    if not isinstance(inner, LinfBall):
        raise TypeError(
            f"`within` must be an L-infinity ball for interval bounds, got {inner!r}. Fix: LinfBall(eps), which holds "
            "the other balls of that radius."
        )
    radius = within.steepest(torch.ones_like(clean))
    low, high = clean - radius, clean + radius
    if bounds.unbounded:
        return Box(low, high)
    least, most = bounds.around(clean)
    return Box(torch.maximum(low, least), torch.minimum(high, most))
