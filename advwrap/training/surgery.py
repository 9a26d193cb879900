"""Gradient surgery: what becomes of two gradients that pull in opposite directions.

Source: Yu et al., *Gradient surgery for multi-task learning*, NeurIPS 2020 (PCGrad); used by OA-PI, arXiv 2507.03372,
for the nominal and the robust gradient of an actor.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from advwrap.errors import check

Combine = Callable[[Tensor, Tensor], Tensor] | nn.Module
"""Two flat gradients -> the one that is followed. A module gets them stacked, [2, n], as TorchJD's aggregators do."""


def pcgrad(first: Tensor, second: Tensor) -> Tensor:
    """Each loses what it has against the other, then they are added.

    (g - min(<g, h>, 0) h / |h|^2) + (h - min(<g, h>, 0) g / |g|^2)

    To first order the step then harms neither. A factor on g or h changes only how much it counts, not what is cut
    off; opposite gradients cancel altogether.

    Source: Yu et al. 2020, for two tasks, where the order of the projections does not matter.

    Shapes: [n], [n] -> [n].

    Example:
        >>> import torch
        >>> pcgrad(torch.tensor([1.0, 0.0]), torch.tensor([-1.0, 1.0]))
        tensor([0.5000, 1.5000])
    """
    against = torch.dot(first, second).clamp(max=0)
    return _without(first, second, against) + _without(second, first, against)


def protect_first(first: Tensor, second: Tensor) -> Tensor:
    """Only the second loses what it has against the first: g + h - min(<g, h>, 0) g / |g|^2.

    To first order the step never harms the first; it may harm the second.

    Source: the purpose that OA-PI states for its surgery, to keep the nominal objective from degrading.

    Shapes: [n], [n] -> [n].

    Example:
        >>> import torch
        >>> protect_first(torch.tensor([1.0, 0.0]), torch.tensor([-1.0, 1.0]))
        tensor([1., 1.])
    """
    return first + _without(second, first, torch.dot(first, second).clamp(max=0))


def _without(vector: Tensor, other: Tensor, against: Tensor) -> Tensor:
    """`vector` without its part along `other`, where that part points against it."""
    return vector - against / torch.dot(other, other).clamp_min(torch.finfo(vector.dtype).tiny) * other


@dataclass(frozen=True)
class Surgery:
    """Two terms of an update whose gradients are combined by a rule instead of being added.

    Args:
        first: Name of a term, the nominal one.
        second: Name of another, the robust one.
        combine: `pcgrad`, `protect_first`, a function of yours of two flat gradients, or an aggregator of TorchJD
            (extra ``[torchjd]``): ``UPGrad()``. Most of those average, where ours add; Adam does not mind.

    Raises:
        ValueError: If both names are the same.

    Example:
        >>> Surgery("loss_actor", "loss_robust_actor").combine.__name__
        'pcgrad'
    """

    first: str
    second: str
    combine: Combine = pcgrad

    def __post_init__(self) -> None:
        check(self.first != self.second, f"`first` and `second` must be two terms, got {self.first!r} twice.")

    def __call__(
        self, first: Sequence[Tensor | None], second: Sequence[Tensor | None], params: Sequence[Tensor]
    ) -> tuple[list[Tensor | None], Tensor]:
        """The combined gradients of the parameters, and the cosine between the two."""
        touched = [i for i, pair in enumerate(zip(first, second, strict=True)) if any(g is not None for g in pair)]
        g, h = (_flat([gradients[i] for i in touched], [params[i] for i in touched]) for gradients in (first, second))
        least = torch.finfo(g.dtype).tiny
        cosine = torch.dot(g, h) / (torch.dot(g, g) * torch.dot(h, h)).clamp_min(least).sqrt()
        combined: list[Tensor | None] = [None] * len(params)
        together = self.combine(torch.stack([g, h])) if isinstance(self.combine, nn.Module) else self.combine(g, h)
        parts = torch.split(together, [params[i].numel() for i in touched])
        for i, part in zip(touched, parts, strict=True):
            combined[i] = part.view_as(params[i])
        return combined, cosine


def _flat(gradients: Sequence[Tensor | None], params: Sequence[Tensor]) -> Tensor:
    pairs = zip(gradients, params, strict=True)
    return torch.cat([(torch.zeros_like(p) if g is None else g).reshape(-1) for g, p in pairs])
