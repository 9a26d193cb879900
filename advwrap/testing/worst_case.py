"""The worst case by theory or by brute force: the oracle that attacks are compared with.

Nothing here calls the code under test: the formulas are written out once more, in float64.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from advwrap.sets import L0Ball, L1Ball, L2Ball, LinfBall, Masked, PerturbationSet


def support(within: PerturbationSet, weight: Tensor) -> Tensor:
    """The largest value of a linear function on a ball: max over d in the set of <w, d>.

    * L-infinity: sum_j eps_j |w_j|
    * L2 (an ellipsoid for one radius per feature): sqrt(sum_j (eps_j w_j)^2)
    * L1: max_j eps_j |w_j|
    * L0 with k features: the sum of the k largest eps_j |w_j|

    with the radius eps_j of feature j; a `Masked` set has w_j = 0 where a feature is protected.

    Args:
        within: One of the balls.
        weight: The gradient of the linear function, per feature.

    Shapes: weight [*features] -> [], float64.

    Raises:
        TypeError: If there is no formula for the set.

    Example:
        >>> support(LinfBall(0.1), torch.tensor([3.0, -4.0]))
        tensor(0.7000, dtype=torch.float64)
        >>> support(L2Ball(0.1), torch.tensor([3.0, -4.0]))
        tensor(0.5000, dtype=torch.float64)
    """
    if isinstance(within, Masked):
        return support(within.within, weight.double() * within.mask)
    radius = getattr(within, "radius", None)
    if not isinstance(within, LinfBall | L2Ball | L1Ball | L0Ball) or radius is None:
        raise TypeError(
            f"`within` must be a ball with a known support function, got {within!r}. "
            "Fix: use brute_force(score, clean, within)."
        )
    reach = (weight.double().abs() * torch.as_tensor(radius, dtype=torch.float64)).flatten()
    if isinstance(within, LinfBall):
        return reach.sum()
    if isinstance(within, L2Ball):
        return reach.square().sum().sqrt()
    if isinstance(within, L1Ball):
        return reach.max()
    return reach.topk(min(within.k, reach.numel())).values.sum()


def brute_force(
    score: Callable[[Tensor], Tensor],
    clean: Tensor,
    within: PerturbationSet,
    *,
    points: int = 41,
) -> tuple[Tensor, Tensor]:
    """The best of a grid on the set around one clean row: for at most three features.

    The grid covers the box of half-width `radius`; its points outside the set are brought to the
    border, along the ray to the clean point, so that the border is covered as well.

    Args:
        score: The bound objective, ``perturbed [N, features] -> [N]``.
        clean: One row, shape [features].
        within: A ball with a `radius`, star-shaped around 0.
        points: Grid points per feature, an odd number: corners, axes and centre are among them.

    Returns:
        The best score, shape [], and where it is, shape [features].

    Raises:
        ValueError: If there are more than three features.

    Example:
        >>> value, where = brute_force(lambda x: x.sum(-1), torch.zeros(2), LinfBall(0.5))
        >>> value, where
        (tensor(1.), tensor([0.5000, 0.5000]))
    """
    if clean.ndim != 1 or clean.numel() > 3:
        raise ValueError(
            f"`clean` must be one row of at most 3 features, got shape {tuple(clean.shape)}. Fix: loop over the rows."
        )
    half = points // 2
    axis = torch.arange(-half, half + 1).double() / half  # with exact zeros, which an L0 ball counts
    radius = torch.as_tensor(within.radius, dtype=torch.float64)  # type: ignore[attr-defined]
    delta = torch.cartesian_prod(*[axis] * clean.numel()).reshape(-1, clean.numel()) * radius
    delta = shorten(delta, within)
    candidates = (clean.double() + delta).to(clean.dtype)
    values = score(candidates)
    best = int(values.argmax())
    return values[best], candidates[best]


def shorten(delta: Tensor, within: PerturbationSet) -> Tensor:
    """Scale every row down, by bisection on ``contains`` alone, until it lies in the set.

    Rows in a set that no scaling reaches (too many features for an L0 ball) become 0.

    Shapes: [N, features] -> [N, features].

    Example:
        >>> shorten(torch.tensor([[3.0, 4.0]]).double(), L2Ball(1.0))
        tensor([[0.6000, 0.8000]], dtype=torch.float64)
    """
    outside = ~within.contains(delta)
    far = delta[outside]
    low, high = torch.zeros(len(far)).to(far), torch.ones(len(far)).to(far)
    for _ in range(60):
        middle = (low + high) / 2
        fits = within.contains(far * middle[:, None])
        low, high = torch.where(fits, middle, low), torch.where(fits, high, middle)
    return delta.masked_scatter(outside[:, None], far * low[:, None])
