"""How many threads torch computes in: sums of parts are rounded otherwise, so the number is part of a result."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch


@contextmanager
def in_threads(count: int) -> Iterator[None]:
    """In here torch computes in so many threads.

    Example:
        >>> with in_threads(1):
        ...     torch.get_num_threads()
        1
    """
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)
