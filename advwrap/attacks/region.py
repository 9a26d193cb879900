"""Where one attack call may search: the set around the clean rows, within the bounds.

Every attack walks, samples and finishes through a `Region`, so that what they share is in one place: checks, the
projection, and the guarantee that the result lies in the set exactly, in its own dtype.
"""

from __future__ import annotations

from typing import Protocol

import torch
from torch import Tensor

from advwrap.errors import check
from advwrap.randomness import Streams
from advwrap.sets import Bounds, ContextualSet, FiniteSet, PerturbationSet
from advwrap.sets.bounds import toward
from advwrap.sets.epsilon import resolve
from advwrap.sets.rows import per_row
from advwrap.sets.varying import Scaled
from advwrap.victims import Context
from advwrap.victims.context import FIRST_ACTION

AnySet = PerturbationSet | FiniteSet | ContextualSet


class Region(Protocol):
    """The feasible points of one attack call."""

    clean: Tensor

    def project(self, x: Tensor) -> Tensor:
        """The nearest feasible point (within the set; then clipped to the bounds)."""
        ...

    def steepest(self, grad: Tensor) -> Tensor:
        """The displacement from `clean` that a linear objective with this gradient likes best."""
        ...

    def sample(self, streams: Streams) -> Tensor:
        """A random feasible point per row."""
        ...

    def seal(self, x: Tensor) -> Tensor:
        """The final answer: exactly feasible in its dtype, clean where x is clean or not finite."""
        ...


def region(clean: Tensor, within: AnySet, bounds: Bounds, context: Context | None = None) -> Region:
    """The region of one call; the context is for sets that depend on it.

    Raises:
        TypeError: If `clean` is not a tensor, or has integers where the set is a ball.
    """
    check_batch(clean)
    clean = clean.detach()
    if not isinstance(within, type) and hasattr(within, "at"):
        within = within.at(clean, context)
    check_set(within, resolved=True)
    if hasattr(within, "candidates"):
        return FiniteRegion(clean, within, context)  # type: ignore[arg-type]
    if not clean.is_floating_point():
        raise TypeError(
            f"`clean` must be floating point to move within a ball, got {clean.dtype}. "
            "Fix: attack after the conversion to float (ToTensorImage, an embedding), or use ActionSet(n)."
        )
    return BallRegion(clean, within, bounds)  # type: ignore[arg-type]


def check_set(within: object, *, resolved: bool = False) -> None:
    """Refuse what is no set: attacks do when they are made.

    Args:
        within: The set.
        resolved: Whether it is what a contextual set has become, and has to be a set by itself.

    Raises:
        TypeError: If it is none.
    """
    # hasattr, because isinstance on a protocol costs as much as a small network
    known = hasattr(within, "project") or hasattr(within, "candidates") or (hasattr(within, "at") and not resolved)
    if isinstance(within, type) or not known:
        raise TypeError(f"`within` must be a perturbation set, got {within!r}. Fix: LinfBall(0.1), L2Ball(0.1), ...")


def check_batch(clean: Tensor) -> None:
    """Refuse what has no rows.

    Raises:
        TypeError: If `clean` is not a tensor.
        ValueError: If it is a scalar.
    """
    if not isinstance(clean, Tensor):
        raise TypeError(f"`clean` must be a tensor, got {type(clean).__name__}. Fix: torch.as_tensor(clean).")
    check(clean.ndim > 0, "`clean` must have a batch axis, got a scalar.", fix="clean.unsqueeze(0).")


class BallRegion:
    """A ball around the clean rows, clipped to the bounds.

    The bounds are widened to hold the clean row, so clipping after projecting keeps the point in the ball.
    """

    def __init__(self, clean: Tensor, within: PerturbationSet, bounds: Bounds) -> None:
        self.clean = clean
        self.within = within
        self.nearest = getattr(within, "project_in_radii", within.project)
        self.box = None if bounds.unbounded else bounds.around(clean)

    @property
    def radius(self) -> float | Tensor:
        """How far a feature may move; broadcasts to the rows."""
        radius = self.within.radius  # type: ignore[attr-defined]
        return radius.to(self.clean) if isinstance(self.within, Scaled) else resolve(radius, self.clean)

    def project(self, x: Tensor) -> Tensor:
        """The nearest point of the ball in units of its radius, then of the bounds."""
        x = self.clean + self.nearest(x - self.clean)
        return x if self.box is None else x.clamp(*self.box)

    def steepest(self, grad: Tensor) -> Tensor:
        """The set's own best vertex."""
        return self.within.steepest(grad)

    def sample(self, streams: Streams) -> Tensor:
        """A random point of the set, clipped to the bounds."""
        x = self.clean + self.within.sample(self.clean, streams)
        return x if self.box is None else x.clamp(*self.box)

    def seal(self, x: Tensor) -> Tensor:
        """The point itself where its difference from `clean`, computed in float64, lies in the set; else just inside.

        clean + delta is rounded, so it may leave the ball by an ulp or two.
        """
        x = x if self.box is None else x.clamp(*self.box)
        clean = self.clean.double()
        delta = x.double() - clean
        inside = self.within.contains(delta)
        if not _all(inside):
            near = self._inwards(delta, clean)
            done = self.within.contains(near.double() - clean)
            if not _all(done):
                near = torch.where(per_row(done, x), near, self._inwards_or_clean(x, clean))
            # A row that was inside keeps its bits, whatever its neighbours need.
            x = torch.where(per_row(inside, x), x, near)
        # -0.0 + 0.0 is 0.0: where nothing moved, the clean bits stay.
        return torch.where(x == self.clean, self.clean, x)

    def _inwards(self, delta: Tensor, clean: Tensor, share: float = 1.0) -> Tensor:
        """Project in float64, then round every feature towards its clean value."""
        exact = self.within.project(delta) * share
        x = (clean + exact).to(self.clean.dtype)
        return torch.where((x.double() - clean).abs() > exact.abs(), toward(x, self.clean), x)

    def _inwards_or_clean(self, x: Tensor, clean: Tensor) -> Tensor:
        """The same for what is not finite, which stays clean, and for projections that are an ulp outside."""
        largest = torch.finfo(x.dtype).max
        finite = self.clean.isfinite()
        movable = torch.where(finite & ~x.isnan(), x.clamp(-largest, largest), self.clean)
        delta = torch.where(finite, movable.double() - clean, 0.0)
        near = self._inwards(delta, clean, share=1 - 2.0**-40)
        inside = self.within.contains(torch.where(finite, near.double() - clean, 0.0))
        return torch.where(per_row(inside, x), near, self.clean)


class FiniteRegion:
    """A finite list of values for every row; the clean row itself need not be one of them.

    Where the context holds a mask of the attacked actions only those count that it allows, and where it allows none of
    the list, the row stays clean.
    """

    def __init__(self, clean: Tensor, within: FiniteSet, context: Context | None = None) -> None:
        self.clean = clean
        self.candidates = within.candidates(clean)
        self.allowed = _allowed(self.candidates, context)

    def project(self, x: Tensor) -> Tensor:
        """The nearest candidate."""
        return self.ranked(-_features(self.candidates - x).square().sum(2))

    def steepest(self, grad: Tensor) -> Tensor:
        """The step to the best candidate of a linear objective."""
        return self.ranked(_features((self.candidates - self.clean) * grad).sum(2)) - self.clean

    def sample(self, streams: Streams) -> Tensor:
        """One of the allowed candidates at random."""
        unit = torch.as_tensor(streams.unit((len(self.clean),)), device=self.clean.device)
        rank = (unit * self.allowed.sum(0)).long()
        return self.ranked((self.allowed.cumsum(0) == rank + 1).double())  # the first allowed one is number 1

    def seal(self, x: Tensor) -> Tensor:
        """The nearest candidate; an unperturbed row may stay as it is."""
        untouched = per_row((x == self.clean).flatten(1).all(1), x) if x.ndim > 1 else x == self.clean
        return torch.where(untouched, self.clean, self.project(x))

    def ranked(self, score: Tensor, rank: int = 1) -> Tensor:
        """The candidate with this rank by the scores [K, B]; a row whose candidate has none (-inf) is left alone."""
        values, order = score.masked_fill(~self.allowed, -torch.inf).sort(dim=0, descending=True, stable=True)
        best = order[rank - 1]
        chosen = self.candidates[best, torch.arange(len(best), device=best.device)]
        return torch.where(per_row(torch.isneginf(values[rank - 1]), chosen), self.clean, chosen)


def _allowed(candidates: Tensor, context: Context | None) -> Tensor:
    """Which candidates [K, B] an action mask of the environment allows; all where there is none.

    Beside an attacked observation a mask of actions says nothing, and the channel of observations does not say from
    which action it counts.
    """
    everything = torch.ones(candidates.shape[:2], dtype=torch.bool, device=candidates.device)
    first = None if context is None else context.get(FIRST_ACTION, None)
    mask = None if context is None else context.get("action_mask", None)
    if first is None or mask is None:
        return everything
    index = (candidates - first).T
    known = (index >= 0) & (index < mask.shape[-1])  # the channel refuses others, with a clear error
    return torch.where(known, mask.bool().gather(-1, index.clamp(0, mask.shape[-1] - 1)), True).T


def _all(rows: Tensor) -> bool:
    """Whether all rows are known to be True; inside a compiled graph nothing is known."""
    return not torch.compiler.is_compiling() and bool(rows.all())


def _features(x: Tensor) -> Tensor:
    """[K, B, ...] -> [K, B, features]; one feature for an index."""
    return x.double().reshape(*x.shape[:2], -1)
