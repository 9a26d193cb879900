"""Several objectives at once."""

from __future__ import annotations

import math

from torch import Tensor

from advwrap.errors import check
from advwrap.objectives.protocol import Objective, Score
from advwrap.victims import Context


class WeightedSum:
    """f(x) = sum_i w_i f_i(x); negative weights turn an objective round.

    Source: the RS+MAD attack of Zhang et al. 2020 is ``WeightedSum((1 - r, LowValue(...)), (r / A, ActionShift(...)))``
        for A action features (their shift is a mean).

    Args:
        terms: Pairs (weight, objective).

    Raises:
        ValueError: If there is no term or a weight is not finite.

    Example:
        >>> import torch
        >>> from advwrap.objectives import ActionShift, LowValue
        >>> both = WeightedSum((1.0, ActionShift(lambda obs: obs)), (0.5, LowValue(value=lambda obs: obs.sum(-1))))
        >>> both(torch.zeros(1, 2))(torch.tensor([[0.0, 2.0]]))
        tensor([3.])
    """

    def __init__(self, *terms: tuple[float, Objective]) -> None:
        check(len(terms) > 0, "`terms` must hold at least one (weight, objective) pair, got none.")
        for weight, _ in terms:
            check(math.isfinite(weight), f"weights must be finite, got {weight}.")
        self.terms = terms

    def __call__(self, clean: Tensor, context: Context | None = None) -> Score:
        """Bind every objective to the clean input."""
        scores = [(weight, objective(clean, context)) for weight, objective in self.terms]

        def total(x: Tensor) -> Tensor:
            weight, first = scores[0]
            result = weight * first(x)
            for weight, score in scores[1:]:
                result = result + weight * score(x)
            return result

        return total

    def __repr__(self) -> str:
        return f"WeightedSum({', '.join(map(repr, self.terms))})"
