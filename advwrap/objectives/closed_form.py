"""Scores of a network's output whose gradient is known by hand.

Autograd answers for any score; on one row its bookkeeping for these two, the commonest, costs as much as the network.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F


class SquaredShift:
    """sum_j ((y_j - r_j) / w_j)^2, with gradient 2 (y - r) / w^2.

    Example:
        >>> import torch
        >>> shift = SquaredShift(torch.zeros(1, 2))
        >>> shift(torch.ones(1, 2)), shift.gradient(torch.ones(1, 2))
        (tensor([2.]), tensor([[2., 2.]]))
    """

    def __init__(self, reference: Tensor, weight: Tensor | None = None) -> None:
        self.reference = reference
        self.weight = weight

    def __call__(self, y: Tensor) -> Tensor:
        """The score, [B]."""
        return self._scaled(y - self.reference).square().sum(-1)

    def gradient(self, y: Tensor) -> Tensor:
        """Its gradient, [B, A]."""
        return 2 * self._scaled(self._scaled(y - self.reference))

    def _scaled(self, shift: Tensor) -> Tensor:
        return shift if self.weight is None else shift / self.weight


class Surprise:
    """- log softmax(y)_a of a given action a, with gradient softmax(y) - e_a.

    Example:
        >>> import torch
        >>> surprise = Surprise(torch.tensor([0]))
        >>> surprise.gradient(torch.zeros(1, 2))
        tensor([[-0.5000,  0.5000]])
    """

    def __init__(self, action: Tensor) -> None:
        self.action = action

    def __call__(self, logits: Tensor) -> Tensor:
        """The score, [B]."""
        return F.cross_entropy(logits, self.action, reduction="none")

    def gradient(self, logits: Tensor) -> Tensor:
        """Its gradient, [B, n]."""
        chosen = self.action.unsqueeze(-1)
        return logits.softmax(-1).scatter_add(-1, chosen, torch.full_like(logits[:, :1], -1.0))
