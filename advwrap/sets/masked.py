"""Features that cannot be attacked: action masks, ids, flags, other agents' parts."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from advwrap.errors import check
from advwrap.randomness import Streams
from advwrap.sets.protocol import PerturbationSet, check_ball
from advwrap.sets.rows import all_features


@dataclass(frozen=True, eq=False)
class Masked:
    """A set restricted to some features; the others stay bitwise clean.

    The set must be symmetric in each coordinate (every ball here is): then dropping coordinates and projecting commute.

    Args:
        within: The set to restrict.
        mask: True where a feature may be attacked; broadcasts to the features.

    Raises:
        TypeError: If `within` is no set that one can move in, or one that varies (`Varying` goes around this one).
        ValueError: If `mask` is not boolean or does not broadcast to the features.

    Example:
        >>> import torch
        >>> from advwrap.sets import LinfBall
        >>> only_first = Masked(LinfBall(0.1), torch.tensor([True, False]))
        >>> only_first.steepest(torch.tensor([[1.0, 1.0]]))
        tensor([[0.1000, 0.0000]])
    """

    within: PerturbationSet
    mask: Tensor

    def __post_init__(self) -> None:
        check_ball(self.within)
        mask = torch.as_tensor(self.mask)
        check(
            mask.dtype == torch.bool,
            f"`mask` must be boolean (True: may be attacked), got {mask.dtype}.",
            fix="mask.bool().",
        )
        object.__setattr__(self, "mask", mask)

    @property
    def radius(self) -> float | Tensor:
        """The present radius of the unrestricted set."""
        return self.within.radius  # type: ignore[attr-defined,no-any-return]

    def project(self, delta: Tensor) -> Tensor:
        """Drop the protected features, then project the rest."""
        return self.within.project(self._drop(delta))

    def project_in_radii(self, delta: Tensor) -> Tensor:
        """The same in units of the radius, where the set has such a projection."""
        nearest = getattr(self.within, "project_in_radii", self.within.project)
        return nearest(self._drop(delta))

    def steepest(self, grad: Tensor) -> Tensor:
        """The best vertex among those that leave the protected features alone."""
        return self.within.steepest(self._drop(grad))

    def sample(self, like: Tensor, streams: Streams) -> Tensor:
        """A sample of the full set, seen on the free features."""
        return self._drop(self.within.sample(like, streams))

    def contains(self, delta: Tensor) -> Tensor:
        """Which rows leave the protected features alone and lie in the set."""
        mask = self._mask(delta)
        return all_features((delta == 0) | mask) & self.within.contains(delta)

    def _mask(self, like: Tensor) -> Tensor:
        mask, features = self.mask.to(like.device), tuple(like.shape[1:])
        check(
            mask.ndim <= len(features)
            and all(m in (1, f) for m, f in zip(reversed(mask.shape), reversed(features), strict=False)),
            f"`mask` must broadcast to the feature shape {features}, got shape {tuple(mask.shape)}.",
        )
        return mask

    def _drop(self, x: Tensor) -> Tensor:
        return torch.where(self._mask(x), x, torch.zeros_like(x))
