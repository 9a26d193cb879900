"""Several candidates per row in one batch: n copies of the rows, one after the other."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor

from advwrap.attacks.some_rows import OtherRows
from advwrap.randomness import Streams, fold


def copies(x: Tensor, n: int) -> Tensor:
    """[B, ...] -> [n B, ...]: the whole batch n times."""
    return x.repeat(n, *[1] * (x.ndim - 1))


def streams_of_copies(streams: Streams, n: int) -> Streams:
    """A stream for every copy of every row: n B of them, each a function of its row's stream alone.

    Example:
        >>> many = streams_of_copies(Streams.seeded([3, 4]), 5)
        >>> len(many)
        10
    """
    keys = streams.fork().keys
    if isinstance(keys, Tensor):
        return Streams(fold(keys, torch.arange(n, device=keys.device).unsqueeze(1)).reshape(-1))
    return Streams(fold(keys, np.arange(n)[:, None]).reshape(-1))


class CopiedContext(OtherRows):
    """A context whose tensors have the rows of all copies; each is copied when it is read.

    Args:
        context: Any mapping or TensorDict with tensors of B rows.
        n: How many copies.

    Example:
        >>> import torch
        >>> CopiedContext({"time": torch.tensor([3, 4])}, 2)["time"]
        tensor([3, 4, 3, 4])
    """

    def __init__(self, context: Any, n: int) -> None:
        super().__init__(context)
        self.n = n

    def rows_of(self, value: Tensor) -> Tensor:
        """All copies."""
        return copies(value, self.n)
