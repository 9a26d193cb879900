"""The least value of a function over a box of actions."""

from __future__ import annotations

from torch import Tensor

from advwrap.attacks.ascent import gradient
from advwrap.bounds import Box
from advwrap.errors import check
from advwrap.victims import Score


def lowest_in_box(value: Score, box: Box, *, start: Tensor, steps: int) -> Tensor:
    """Projected gradient descent over a box whose size differs between rows.

    a_{i+1} = clip(a_i - (high - low) / K sign(grad value(a_i)), low, high)

    Source: the public reference code of WocaR, which starts at the clean action.

    Args:
        value: What to minimise, one number per row.
        box: Where.
        start: a_0.
        steps: K, the number of gradients; 0 returns the start.

    Shapes: start [B, A] -> [B, A].

    Example:
        >>> import torch
        >>> box = Box(torch.tensor([[-1.0, 0.0]]), torch.tensor([[1.0, 0.5]]))
        >>> lowest_in_box(lambda a: a.sum(-1), box, start=torch.zeros(1, 2), steps=5)
        tensor([[-1.,  0.]])
    """
    check(steps >= 0, f"`steps` must be >= 0, got {steps}.")
    action = box.clamp(start.detach())
    for _ in range(steps):
        action = box.clamp(action - box.width / steps * gradient(value, action).sign())
    return action
