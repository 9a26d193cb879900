"""The L1 ball: the whole budget on one feature, or shared by a few."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from advwrap.randomness import Streams
from advwrap.sets.epsilon import Epsilon, checked, resolve
from advwrap.sets.rows import divide, flat, per_row


@dataclass(frozen=True, eq=False)
class L1Ball:
    """Perturbations with sum_j |delta_j| / eps_j <= 1; for one radius, ||delta||_1 <= eps.

    The projection is the true Euclidean one (soft thresholding), not a rescaling.

    Args:
        eps: Radius in the units of the perturbed tensor: a number, one per feature, or a callable.

    Shapes: deltas [B, ...]; eps broadcasts to [...].

    Source: Duchi et al., *Efficient projections onto the l1-ball for learning in high dimensions*, ICML 2008, with
        one weight 1 / eps_j per feature.

    Raises:
        ValueError: If `eps` is negative, not finite, or does not broadcast to the features.

    Example:
        >>> import torch
        >>> L1Ball(1.0).project(torch.tensor([[2.0, 1.5]]))
        tensor([[0.7500, 0.2500]])
        >>> L1Ball(1.0).steepest(torch.tensor([[1.0, -3.0]]))
        tensor([[ 0., -1.]])
    """

    eps: Epsilon

    def __post_init__(self) -> None:
        object.__setattr__(self, "eps", checked(self.eps))

    @property
    def radius(self) -> float | Tensor:
        """The present radius."""
        return self.eps() if callable(self.eps) else self.eps

    def project(self, delta: Tensor) -> Tensor:
        """x_j = sign(d_j) max(|d_j| - t / eps_j, 0) with the smallest t >= 0 that is feasible."""
        # In float64, where 1 / eps^2 of a small radius does not overflow.
        eps = self._features(delta).double()
        x = _nearest(flat(delta).double(), eps)
        inside = divide(flat(delta).abs(), eps).sum(1) <= 1
        return torch.where(per_row(inside, delta), delta, x.reshape(delta.shape).to(delta.dtype))

    def project_in_radii(self, delta: Tensor) -> Tensor:
        """The nearest point in units of the radius: of delta_j / eps_j in the ball of radius 1."""
        if not isinstance(self.radius, Tensor):
            return self.project(delta)
        eps = self._features(delta).double()
        free = flat(delta).double() * (eps > 0)
        units = divide(free, eps)
        inside = units.abs().sum(1, keepdim=True) <= 1
        x = torch.where(inside, free, _nearest(units, torch.ones_like(eps)) * eps)
        return x.reshape(delta.shape).to(delta.dtype)

    def steepest(self, grad: Tensor) -> Tensor:
        """eps_j sign(g_j) at the j with the largest |g_j| eps_j, 0 elsewhere: a vertex of the ball."""
        g, eps = flat(grad), self._features(grad)
        if g.shape[1] == 0:
            return torch.zeros_like(grad)
        best = (g.abs() * eps).argmax(1, keepdim=True)
        vertex = torch.zeros_like(g).scatter(1, best, (g.sign() * eps).gather(1, best))
        return vertex.reshape(grad.shape)

    def sample(self, like: Tensor, streams: Streams) -> Tensor:
        """Uniform in the ball: exponential gaps give the sizes, fair coins the signs."""
        rows = flat(like)
        with_slack = torch.cat([rows, rows.new_zeros(rows.shape[0], 1)], 1)
        gaps = -torch.log1p(-streams.uniform(with_slack.double()))
        sizes = divide(gaps, gaps.sum(1, keepdim=True))[:, :-1].to(like.dtype)
        signs = streams.uniform(rows, -1.0, 1.0).sign()
        return (sizes * signs * self._features(like)).reshape(like.shape)

    def contains(self, delta: Tensor) -> Tensor:
        """Which rows lie in the ball."""
        eps = resolve(self.eps, delta)
        if isinstance(eps, Tensor):
            return flat(divide(delta.abs(), eps)).sum(1) <= 1
        return flat(delta).abs().sum(1) <= eps

    def _features(self, like: Tensor) -> Tensor:
        eps = torch.as_tensor(resolve(self.eps, like), device=like.device, dtype=like.dtype)
        return eps.expand(like.shape[1:]).reshape(1, -1)


def _nearest(d: Tensor, eps: Tensor) -> Tensor:
    """The nearest point to d on the border of the ball, for d outside; shapes [B, features] and [1, features]."""
    size = d.abs() * (eps > 0)
    # Features leave the sum in the order of |d_j| eps_j; the threshold after the first k of them is
    # (sum |d_j| / eps_j - 1) / (sum 1 / eps_j^2), and the right k is the last whose k-th feature survives it.
    order = (size * eps).argsort(dim=1, descending=True)
    radii = eps.expand_as(d).gather(1, order)
    used = divide(size.gather(1, order), radii).cumsum(1)
    weight = divide((radii > 0).to(d.dtype), radii**2).cumsum(1)
    threshold = divide(used - 1, weight)
    survives = (size.gather(1, order) * radii > threshold) & (radii > 0)
    last = (survives.sum(1, keepdim=True) - 1).clamp_min(0)
    t = threshold.gather(1, last).clamp_min(0) if d.shape[1] else torch.zeros_like(d[:, :0])
    x = d.sign() * (size - divide(t.expand_as(d), eps.expand_as(d))).clamp_min(0)
    x = torch.where(eps > 0, x, torch.zeros_like(x))
    # |d_j| - t / eps_j cancels where d is far outside a small ball: what is left of it in excess is scaled away.
    return x / divide(x.abs(), eps).sum(1, keepdim=True).clamp_min(1.0)
