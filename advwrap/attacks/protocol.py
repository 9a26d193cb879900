"""What an attack is: a search for the perturbation, batched over rows."""

from __future__ import annotations

from typing import Protocol

import torch
from torch import Tensor

from advwrap.randomness import Streams
from advwrap.sets import UNBOUNDED, Bounds
from advwrap.victims import Context


class Attack(Protocol):
    """``attack(clean) -> perturbed``: same shape, dtype and device, row by row, `clean` never changed."""

    def __call__(
        self,
        clean: Tensor,
        *,
        context: Context | None = None,
        bounds: Bounds = UNBOUNDED,
        generator: Streams | torch.Generator | None = None,
    ) -> Tensor:
        """Perturb a batch.

        Args:
            clean: The true values, [B, ...].
            context: What else the victim and the budgets read; entries have B rows.
            bounds: The valid range of the values, from the environment.
            generator: Randomness: one stream per row, a `torch.Generator`, or None for fresh entropy.
        """
        ...
