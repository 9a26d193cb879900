"""The L0 ball: few features, each within its radius."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from advwrap.errors import check
from advwrap.randomness import Streams
from advwrap.sets.epsilon import Epsilon, checked, resolve
from advwrap.sets.rows import all_features, flat


@dataclass(frozen=True, eq=False)
class L0Ball:
    """Perturbations that move at most k features, feature j by at most eps_j.

    Without the second condition a linear objective is unbounded, so `eps` has no default.

    Args:
        k: How many features may move.
        eps: How far each may move, in the units of the perturbed tensor.

    Shapes: deltas [B, ...]; eps broadcasts to [...].

    Raises:
        ValueError: If `k` is negative or `eps` is not a valid radius.

    Example:
        >>> import torch
        >>> L0Ball(1, 0.5).project(torch.tensor([[0.2, 0.9, -0.3]]))
        tensor([[0.0000, 0.5000, 0.0000]])
    """

    k: int
    eps: Epsilon

    def __post_init__(self) -> None:
        check(
            isinstance(self.k, int) and self.k >= 0,
            f"`k` must be an integer >= 0, got {self.k!r}.",
            fix="L0Ball(2, 0.1) moves at most two features by at most 0.1.",
        )
        object.__setattr__(self, "eps", checked(self.eps))

    @property
    def radius(self) -> float | Tensor:
        """The present radius of a single feature."""
        return self.eps() if callable(self.eps) else self.eps

    def project(self, delta: Tensor) -> Tensor:
        """Clip every feature, then keep the k whose removal would cost most distance.

        Keeping feature j instead of zeroing it saves d_j^2 - (d_j - clip(d_j))^2 of squared distance.
        """
        eps = resolve(self.eps, delta)
        clipped = delta.clamp(-eps, eps)  # type: ignore[arg-type]
        return self._keep(clipped, saved=_saved(delta, clipped))

    def project_in_radii(self, delta: Tensor) -> Tensor:
        """The nearest point in units of the radius: the same, with distances divided by eps_j."""
        eps = resolve(self.eps, delta)
        if not isinstance(eps, Tensor):
            return self.project(delta)
        units = torch.where(eps > 0, delta / eps, torch.zeros_like(delta))
        return self._keep(delta.clamp(-eps, eps), saved=_saved(units, units.clamp(-1, 1)))

    def steepest(self, grad: Tensor) -> Tensor:
        """eps_j sign(g_j) at the k features with the largest |g_j| eps_j, 0 elsewhere."""
        eps = resolve(self.eps, grad)
        return self._keep(grad.sign() * eps, saved=grad.abs() * eps)

    def sample(self, like: Tensor, streams: Streams) -> Tensor:
        """K features chosen at random, uniform in their intervals."""
        values = streams.uniform(like, -1.0, 1.0) * resolve(self.eps, like)
        return self._keep(values, saved=streams.uniform(like) + 1.0)

    def contains(self, delta: Tensor) -> Tensor:
        """Which rows move at most k features within their radii."""
        few = (flat(delta) != 0).sum(1) <= self.k
        return few & all_features(delta.abs() <= resolve(self.eps, delta))

    def _keep(self, values: Tensor, saved: Tensor) -> Tensor:
        rows = flat(values)
        top = flat(saved).topk(min(self.k, rows.shape[1]), dim=1).indices
        kept = torch.zeros_like(rows).scatter(1, top, rows.gather(1, top))
        return kept.reshape(values.shape)


def _saved(d: Tensor, clipped: Tensor) -> Tensor:
    """The square root of d^2 - (d - c)^2 = |c| (2 |d| - |c|), which puts features in the same order.

    As a product of roots, because the square of 1e-200 would be 0.
    """
    c = clipped.abs()
    return c.sqrt() * (2 * d.abs() - c).sqrt()
