"""The L2 ball, and with one radius per feature the ellipsoid."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from advwrap.randomness import Streams
from advwrap.sets.epsilon import Epsilon, checked, resolve
from advwrap.sets.rows import divide, flat, per_row

_BISECTIONS = 80
"""Halvings of the dual interval: 2**-80 of it is below one ulp of float64."""


@dataclass(frozen=True, eq=False)
class L2Ball:
    """Perturbations with sum_j (delta_j / eps_j)^2 <= 1; for one radius, ||delta||_2 <= eps.

    Args:
        eps: Radius in the units of the perturbed tensor: a number, the half-axes per feature, or a callable.

    Shapes: deltas [B, ...]; eps broadcasts to [...].

    Raises:
        ValueError: If `eps` is negative, not finite, or does not broadcast to the features.

    Example:
        >>> import torch
        >>> L2Ball(1.0).project(torch.tensor([[3.0, 4.0]]))
        tensor([[0.6000, 0.8000]])
    """

    eps: Epsilon

    def __post_init__(self) -> None:
        object.__setattr__(self, "eps", checked(self.eps))

    @property
    def radius(self) -> float | Tensor:
        """The present radius."""
        return self.eps() if callable(self.eps) else self.eps

    def project(self, delta: Tensor) -> Tensor:
        """The nearest point: a rescaling for the ball, a one-dimensional root for the ellipsoid."""
        eps = resolve(self.eps, delta)
        if not isinstance(eps, Tensor):
            norm = per_row(_norm(delta), delta)
            return torch.where(norm > eps, (delta / norm * eps).to(delta.dtype), delta)
        return _onto_ellipsoid(delta, eps.expand(delta.shape[1:]))

    def project_in_radii(self, delta: Tensor) -> Tensor:
        """The nearest point in units of the radius, where the ellipsoid is a ball: delta / max(||delta / eps||, 1)."""
        eps = resolve(self.eps, delta)
        if not isinstance(eps, Tensor):
            return self.project(delta)
        free = torch.where(eps > 0, delta, torch.zeros_like(delta))
        norm = per_row(_norm(divide(free, eps)), delta)
        return torch.where(norm > 1, (free / norm).to(delta.dtype), free)

    def steepest(self, grad: Tensor) -> Tensor:
        """eps_j^2 g_j / ||eps g||_2, on the boundary; eps g / ||g||_2 for one radius."""
        eps = resolve(self.eps, grad)
        scaled = grad * eps if isinstance(eps, Tensor) else grad
        if scaled[:1].numel() == 0:
            return torch.zeros_like(grad)
        # In units of its largest entry first: a gradient of 1e-30 has a direction, though its square vanishes.
        scaled = divide(scaled, per_row(flat(scaled).abs().amax(1), grad))
        return divide(scaled, per_row(_norm(scaled), grad)).to(grad.dtype) * eps

    def sample(self, like: Tensor, streams: Streams) -> Tensor:
        """Uniform in the ball: a Gaussian direction, and a length U^(1/d)."""
        direction = streams.normal(like)
        length = streams.uniform(flat(like)[:, :1]) ** (1 / max(flat(like).shape[1], 1))
        unit = divide(direction, per_row(_norm(direction), like)).to(like.dtype)
        return unit * per_row(length[:, 0], like) * resolve(self.eps, like)

    def contains(self, delta: Tensor) -> Tensor:
        """Which rows lie in the ball."""
        eps = resolve(self.eps, delta)
        if isinstance(eps, Tensor):
            return _norm(divide(delta, eps)) <= 1
        return _norm(delta) <= eps


def _norm(x: Tensor) -> Tensor:
    # In float64 and in units of the largest entry, so that no square vanishes or overflows.
    rows = flat(x).double()
    if rows.shape[1] == 0:
        return rows.sum(1)
    largest = rows.abs().amax(1, keepdim=True)
    unit = torch.where((largest > 0) & largest.isfinite(), largest, torch.ones_like(largest))
    norm: Tensor = torch.linalg.vector_norm(rows / unit, dim=1) * unit.squeeze(1)
    return norm


def _onto_ellipsoid(delta: Tensor, eps: Tensor) -> Tensor:
    """Euclidean projection on {x: sum (x_j / e_j)^2 <= 1}.

    The minimiser is x_j = d_j e_j^2 / (e_j^2 + t) for the t >= 0 with sum (d_j e_j)^2 / (e_j^2 + t)^2 = 1, a falling
    function of t whose root lies below ||e d||_2; bisection in float64 finds it whatever the half-axes are.
    """
    d, e = flat(delta).double(), eps.reshape(1, -1).double()
    inside = _norm(divide(d, e)) <= 1
    low = torch.zeros_like(d[:, :1])
    high = (e * d).norm(dim=1, keepdim=True)
    for _ in range(_BISECTIONS):
        t = (low + high) / 2
        above = (divide(d * e, e**2 + t) ** 2).sum(1, keepdim=True) > 1
        low, high = torch.where(above, t, low), torch.where(above, high, t)
    x = divide(d * e**2, e**2 + high).to(delta.dtype).reshape(delta.shape)
    return torch.where(per_row(inside, delta), delta, x)
