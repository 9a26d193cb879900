"""A set that changes from step to step: its size depends on the state, on the time, or on what was spent before."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from advwrap.errors import check
from advwrap.randomness import Streams
from advwrap.sets.protocol import PerturbationSet, check_ball
from advwrap.sets.rows import divide, per_row

Share = Callable[[Tensor, Mapping[str, Any]], Tensor]
"""From the clean rows [B, ...] and the context to one number in [0, 1] per row, [B]."""


@dataclass(frozen=True, eq=False)
class Varying:
    """A share of another set, for every row its own: c(s, t) D, with c in [0, 1].

    For an adversary that is stronger in some states, or at some times, than in others. A robust critic that is trained
    within it expects an adversary with this very limit.

    Source: the dynamic perturbation constraints that OA-PI, arXiv 2507.03372, leaves open.

    Args:
        within: The set at its largest. Anything but a finite set; to protect features, `Masked` goes inside.
        share: ``share(clean, context)`` -> c, [B]. An attack on actions finds the state in ``context["observation"]``,
            and any attack in an environment the time in ``context["episode_step"]``.

    Raises:
        TypeError: If `within` is no set to take a share of, or `share` cannot be called.
        ValueError: When it is used, if `share` returns another shape than [B] or numbers outside [0, 1].

    Example:
        >>> from advwrap.sets import LinfBall
        >>> near_the_wall = Varying(LinfBall(0.4), lambda clean, context: (context["observation"][:, 0] > 1).double())
        >>> now = near_the_wall.at(torch.zeros(2, 1), {"observation": torch.tensor([[0.0], [2.0]])})
        >>> now.steepest(torch.ones(2, 1))
        tensor([[0.0000],
                [0.4000]])
    """

    within: PerturbationSet
    share: Share

    def __post_init__(self) -> None:
        check_ball(self.within)
        if not callable(self.share):
            raise TypeError(
                f"`share` must be a function of the clean rows and the context, got {self.share!r}. "
                "Fix: LinfBall(eps) for one that does not change."
            )

    def at(self, clean: Tensor, context: Mapping[str, Any] | None) -> PerturbationSet:
        """The set around these rows."""
        try:
            share = torch.as_tensor(self.share(clean, {} if context is None else context))
        except KeyError as error:
            known = [] if context is None else sorted(map(str, context))
            raise ValueError(
                f"`share` needs {error} in the `context`, which holds {known}. "
                "Fix: use the attack in an environment, or hand the key over."
            ) from error
        check(
            tuple(share.shape) == (len(clean),),
            f"`share` must return one number per row, shape {(len(clean),)}, got {tuple(share.shape)}.",
        )
        if not torch.compiler.is_compiling():  # a graph may not depend on numbers
            check(
                bool(((share >= 0) & (share <= 1)).all()),
                f"`share` must return numbers in [0, 1], got {share.tolist()}.",
                fix="a larger `within`.",
            )
        return Scaled(self.within, per_row(share.detach().to(clean.device), clean))


@dataclass(frozen=True, eq=False)
class Scaled:
    """c_b D for the rows b of one batch: what `Varying` is for given rows.

    Args:
        within: D.
        share: c, in [0, 1], of a shape that broadcasts to the rows: [B, 1, ...].

    Example:
        >>> from advwrap.sets import L2Ball
        >>> Scaled(L2Ball(1.0), torch.tensor([[0.5], [0.0]])).project(torch.tensor([[3.0, 4.0], [1.0, 0.0]]))
        tensor([[0.3000, 0.4000],
                [0.0000, 0.0000]])
    """

    within: PerturbationSet
    share: Tensor

    @property
    def radius(self) -> Tensor:
        """The present radius of every row; broadcasts to the rows."""
        return self.share * torch.as_tensor(self.within.radius).to(self.share)  # type: ignore[attr-defined]

    def project(self, delta: Tensor) -> Tensor:
        """C P(delta / c), which is 0 where c is."""
        return self._by(self.within.project, delta)

    def project_in_radii(self, delta: Tensor) -> Tensor:
        """The same in units of the radius, where the set has such a projection."""
        return self._by(getattr(self.within, "project_in_radii", self.within.project), delta)

    def steepest(self, grad: Tensor) -> Tensor:
        """The best vertex of the whole set, as far away as the share says."""
        return self._times(self.within.steepest(grad))

    def sample(self, like: Tensor, streams: Streams) -> Tensor:
        """A sample of the whole set, as far away as the share says."""
        return self._times(self.within.sample(like, streams))

    def contains(self, delta: Tensor) -> Tensor:
        """Which rows lie in their share of the set."""
        return self.within.contains(divide(delta.double(), self.share.double()))

    def _by(self, nearest: Callable[[Tensor], Tensor], delta: Tensor) -> Tensor:
        # In float64, where a quotient by a small share does not overflow.
        c = self.share.double()
        near = c * nearest(delta.double() / torch.where(c > 0, c, 1.0))
        return torch.where(c > 0, near, 0.0).to(delta.dtype)

    def _times(self, delta: Tensor) -> Tensor:
        return self.share.to(delta) * delta
