"""What an objective is: a function that the adversary maximises, bound to the clean side once."""

from __future__ import annotations

from typing import Protocol

from torch import Tensor

from advwrap.victims import Context, Score

__all__ = ["Objective", "Score"]


class Objective(Protocol):
    """``objective(clean, context) -> f`` with ``f(perturbed [B, ...]) -> [B]``, higher is better for the adversary.

    What depends on the clean input alone is computed when binding, not in every step.
    """

    def __call__(self, clean: Tensor, context: Context | None = None) -> Score:
        """Bind the objective to the clean input."""
        ...
