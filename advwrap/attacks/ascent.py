"""Projected gradient ascent on the input: the inner loop of every gradient attack.

The loop takes its start and its noise as arguments, so that a recorded attack can be replayed exactly.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from advwrap.attacks.region import BallRegion
from advwrap.errors import GradientError
from advwrap.objectives import Score
from advwrap.sets.rows import per_row
from advwrap.victims import Chained

StepSize = float | Callable[[int], float]
"""A step as a fraction of the radius: constant, or a function of the iteration 0, 1, ..."""


def gradient(score: Score, x: Tensor) -> Tensor:
    """The gradient of the score of every row with respect to x; no other gradient is computed.

    Works under `torch.no_grad`. Entries that are not finite become 0: such a row stays where it is and does not disturb
    the others.

    Raises:
        GradientError: If the score does not depend on x in a way that can be differentiated.

    Example:
        >>> import torch
        >>> gradient(lambda x: x.square().sum(-1), torch.ones(1, 2))
        tensor([[2., 2.]])
    """
    if isinstance(score, Chained):
        y, pullback = score.linearize(x)
        known = score.known_gradient(y)
        grad = pullback(_autograd(score.after, y)[1] if known is None else known)
    else:
        _, grad = _autograd(score, x)
    return grad.nan_to_num(nan=0.0, posinf=0.0, neginf=0.0)


def value_and_gradient(score: Score, x: Tensor) -> tuple[Tensor, Tensor]:
    """The score of every row, and `gradient`, from one forward pass.

    Example:
        >>> import torch
        >>> value_and_gradient(lambda x: x.square().sum(-1), torch.ones(1, 2))
        (tensor([2.]), tensor([[2., 2.]]))
    """
    if isinstance(score, Chained):
        y, pullback = score.linearize(x)
        known = score.known_gradient(y)
        value, grad = _autograd(score.after, y) if known is None else (score.after(y), known)
        grad = pullback(grad)
    else:
        value, grad = _autograd(score, x)
    return value, grad.nan_to_num(nan=0.0, posinf=0.0, neginf=0.0)


def _autograd(score: Score, x: Tensor) -> tuple[Tensor, Tensor]:
    with torch.enable_grad():
        x = x.detach().requires_grad_()
        value = score(x)
        _one_per_row(value, x)
        if not value.requires_grad:
            raise GradientError(_NO_GRADIENT)
        (grad,) = torch.autograd.grad(value.sum(), x, allow_unused=True)
    if grad is None:
        raise GradientError(_NO_GRADIENT)
    return value.detach(), grad


def _one_per_row(value: Tensor, x: Tensor) -> Tensor:
    if value.shape != x.shape[:1]:
        raise ValueError(
            f"an objective must return one score per row, shape [{x.shape[0]}], got {tuple(value.shape)}. "
            "Fix: sum over the features, not over the batch."
        )
    return value


_NO_GRADIENT = (
    "the objective has no gradient with respect to the attacked input. "
    "Fix: remove detach(), no_grad, argmax or numpy between the observation and the victim's output, "
    "or attack it as a black box: Search(objective, within=...)."
)


def ascend(
    score: Score,
    area: BallRegion,
    start: Tensor,
    *,
    steps: int,
    step_size: StepSize,
    noise: Sequence[Tensor] | None = None,
) -> Tensor:
    """X <- P(x + a_i v(g_i + n_i)): the last of `steps` projected steps of steepest ascent.

    with the gradient g_i of the score at x, the noise n_i added to it, v(g) the set's best vertex for a linear
    objective (eps sign(g) in the L-infinity ball, eps g / ||g|| in the L2 ball) and a_i the step size, a fraction of
    the radius.

    Shapes: start [B, ...], noise: `steps` tensors [B, ...].
    """
    x = start
    for i in range(steps):
        grad = gradient(score, x)
        direction = grad if noise is None else grad + noise[i]
        size = step_size(i) if callable(step_size) else step_size
        x = area.project(x + size * area.steepest(direction))
    return x


def ascend_best(
    score: Score, area: BallRegion, start: Tensor, *, steps: int, step_size: StepSize
) -> tuple[Tensor, Tensor]:
    """The iterate of `ascend` with the highest score per row, and that score.

    Shapes: start [B, ...] -> [B, ...], [B].
    """
    x = best = start
    highest = torch.full(start.shape[:1], -torch.inf, device=start.device)
    for i in range(steps):
        value, grad = value_and_gradient(score, x)
        best, highest = better(x, value, best, highest)
        size = step_size(i) if callable(step_size) else step_size
        x = area.project(x + size * area.steepest(grad))
    return better(x, evaluate(score, x), best, highest)


def evaluate(score: Score, x: Tensor) -> Tensor:
    """The score of every row, without gradient."""
    with torch.no_grad():
        return _one_per_row(score(x), x)


def better(x: Tensor, value: Tensor, best: Tensor, highest: Tensor) -> tuple[Tensor, Tensor]:
    """Per row, the better of two points and its score; NaN never wins."""
    improved = value > highest
    return torch.where(per_row(improved, x), x, best), torch.where(improved, value, highest)


def strongest(x: Tensor, value: Tensor, n: int) -> Tensor:
    """Per row, the best of n points, whose batches lie one behind the other; NaN never wins.

    Shapes: x [n B, ...], value [n B] -> [B, ...].
    """
    points, values = x.reshape(n, -1, *x.shape[1:]), value.reshape(n, -1)
    best, highest = points[0], values[0].nan_to_num(nan=-torch.inf)
    for point, found in zip(points[1:], values[1:], strict=True):
        best, highest = better(point, found, best, highest)
    return best
