"""The L-infinity ball: every feature moves on its own."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from advwrap.randomness import Streams
from advwrap.sets.epsilon import Epsilon, checked, resolve
from advwrap.sets.rows import all_features


@dataclass(frozen=True, eq=False)
class LinfBall:
    """Perturbations with |delta_j| <= eps_j for every feature j.

    Args:
        eps: Radius in the units of the perturbed tensor: a number, one per feature, or a callable (`Linear`, `InStd`).

    Shapes: deltas [B, ...]; eps broadcasts to [...].

    Raises:
        ValueError: If `eps` is negative, not finite, or does not broadcast to the features.

    Example:
        >>> import torch
        >>> ball = LinfBall(0.1)
        >>> ball.project(torch.tensor([[0.5, -0.05]]))
        tensor([[ 0.1000, -0.0500]])
        >>> LinfBall(torch.tensor([0.1, 0.0])).steepest(torch.tensor([[-3.0, 2.0]]))
        tensor([[-0.1000,  0.0000]])
    """

    eps: Epsilon

    def __post_init__(self) -> None:
        object.__setattr__(self, "eps", checked(self.eps))

    @property
    def radius(self) -> float | Tensor:
        """The present radius."""
        return self.eps() if callable(self.eps) else self.eps

    def project(self, delta: Tensor) -> Tensor:
        """delta_j = clip(delta_j, -eps_j, eps_j)."""
        eps = resolve(self.eps, delta)
        return delta.clamp(-eps, eps)  # type: ignore[arg-type]

    def steepest(self, grad: Tensor) -> Tensor:
        """eps_j sign(g_j): a vertex of the box."""
        return grad.sign() * resolve(self.eps, grad)

    def sample(self, like: Tensor, streams: Streams) -> Tensor:
        """Uniform in the box."""
        return streams.uniform(like, -1.0, 1.0) * resolve(self.eps, like)

    def contains(self, delta: Tensor) -> Tensor:
        """Which rows lie in the box."""
        return all_features(delta.abs() <= resolve(self.eps, delta))
