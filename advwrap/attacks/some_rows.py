"""A context with other rows: some of them, or copies; looked up only when they are read."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterator, Mapping
from typing import Any

from torch import Tensor


class OtherRows(Mapping[Any, Any]):
    """A context whose tensors have other rows than those of another one; entries that are no tensors stay.

    Args:
        context: Any mapping or TensorDict with tensors of B rows.
    """

    def __init__(self, context: Any) -> None:
        self.context = context

    @abstractmethod
    def rows_of(self, value: Tensor) -> Tensor:
        """What becomes of the rows of a tensor."""

    def get(self, key: Any, default: Any = None) -> Any:
        """The rows of an entry."""
        value = self.context.get(key, None)
        if value is None:
            return default
        return self.rows_of(value) if isinstance(value, Tensor) else value

    def clone(self) -> dict[Any, Any]:
        """Every entry, copied."""
        return {key: value.clone() if isinstance(value, Tensor) else value for key, value in self.items()}

    def __getitem__(self, key: Any) -> Any:
        value = self.get(key)
        if value is None:
            raise KeyError(key)
        return value

    def __iter__(self) -> Iterator[Any]:
        return iter(self.context.keys())

    def __len__(self) -> int:
        return len(list(self.context.keys()))


class SomeRows(OtherRows):
    """The marked rows of every tensor in a context.

    Args:
        context: Any mapping or TensorDict with tensors of B rows.
        rows: Which of them, bool [B].

    Example:
        >>> import torch
        >>> some = SomeRows({"episode_step": torch.tensor([3, 4])}, torch.tensor([False, True]))
        >>> some["episode_step"]
        tensor([4])
    """

    def __init__(self, context: Any, rows: Tensor) -> None:
        super().__init__(context)
        self.rows = rows

    def rows_of(self, value: Tensor) -> Tensor:
        """The marked ones."""
        return value[self.rows.to(value.device)]
