"""A tensordict seen as the rows of an attack: batch and agent axes flattened into one."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from tensordict import TensorDictBase
from tensordict.utils import NestedKey, unravel_key
from torch import Tensor


def beside(key: NestedKey, prefix: str) -> NestedKey:
    """The key with `prefix` before its last part: the place beside `key`.

    Example:
        >>> beside(("agents", "observation"), "clean_"), beside("observation", "clean_")
        (('agents', 'clean_observation'), 'clean_observation')
    """
    return prefix + key if isinstance(key, str) else (*key[:-1], prefix + key[-1])


def truth_of(part: TensorDictBase, clean: NestedKey, key: NestedKey, *, fix: str | None = None) -> Tensor:
    """What an observation was before it was attacked: the entry `clean`, or where there is none `key`.

    Raises:
        KeyError: If there is neither.
    """
    for name in (clean, key):
        value: Tensor | None = part.get(name, None)
        if value is not None:
            return value
    names = sorted(map(str, part.keys()))
    raise KeyError(f"neither {clean!r} nor {key!r} is among {names}.{f' Fix: {fix}' if fix else ''}")


def group_of(key: NestedKey) -> tuple[str, ...]:
    """Where the tensordict is that holds `key`; () for the outermost one."""
    return () if isinstance(key, str) else tuple(key[:-1])


class Rows(Mapping[Any, Any]):
    """The entries of one or more tensordicts as rows [N, ...]: what attacks call the context.

    The batch axes are flattened into one. Where `key` lies in a group of agents (a tensordict
    inside, with axes of its own) the agent axes are flattened too, agents varying fastest, and the
    entries outside the group are repeated for each agent. Several tensordicts follow each other.
    Entries are looked up when they are read, so what nobody reads costs nothing. The attacked entry
    itself is not among them: it is what changes.

    Args:
        parts: Tensordicts of equal batch size and structure: one, or root and ``"next"``.
        key: The entry that is attacked.
        who: Which of the N rows to show, bool [N]; all by default.
        extra: Entries that are rows already, such as the counts of the episode; they win.

    Example:
        >>> from tensordict import TensorDict
        >>> agents = TensorDict({"observation": torch.ones(2, 3, 4)}, [2, 3])
        >>> data = TensorDict({"agents": agents, "time": torch.tensor([0, 1])}, [2])
        >>> rows = Rows([data], ("agents", "observation"))
        >>> rows["time"], ("agents", "observation") in rows
        (tensor([0, 0, 0, 1, 1, 1]), False)
    """

    def __init__(
        self,
        parts: Sequence[TensorDictBase],
        key: NestedKey,
        *,
        who: np.ndarray | None = None,
        extra: Mapping[Any, Any] | None = None,
    ) -> None:
        self.parts = parts
        self.who = who
        self.extra = {} if extra is None else extra
        self.key = key
        self.group = group_of(key)
        self.batch = parts[0].batch_size
        self.shape = parts[0].get(self.group).batch_size if self.group else self.batch

    def get(self, key: Any, default: Any = None) -> Any:
        """The rows of an entry, or `default` where one of the tensordicts lacks it."""
        if key in self.extra:
            return self.extra[key]
        if key == self.key:
            return default
        found = [part.get(key, None) for part in self.parts]
        if not all(isinstance(value, Tensor) for value in found):
            return default
        rows = self.flat(key, found)
        return rows if self.who is None else rows[torch.from_numpy(self.who).to(rows.device)]

    def flat(self, key: NestedKey, values: Sequence[Tensor]) -> Tensor:
        """The rows of the values that `key` has in the tensordicts, all of them."""
        rows = [self._flat(key, value) for value in values]
        return rows[0] if len(rows) == 1 else torch.cat(rows)

    def unflat(self, rows: Tensor) -> list[Tensor]:
        """All rows of the attacked entry back in its shape, one tensor per tensordict."""
        shape = (*self.shape, *rows.shape[1:])
        return [part.reshape(shape) for part in rows.chunk(len(self.parts))]

    def clone(self) -> dict[Any, Any]:
        """Every entry, copied: what an attack takes out of `torch.inference_mode`."""
        return {key: value.clone() if isinstance(value, Tensor) else value for key, value in self.items()}

    def _flat(self, key: NestedKey, value: Tensor) -> Tensor:
        if self.shape == self.batch or group_of(key)[: len(self.group)] == self.group:
            axes = len(self.shape)
            return value if axes == 1 else value.reshape(self.shape.numel(), *value.shape[axes:])
        axes = len(self.batch)
        flat = value.reshape(self.batch.numel(), *value.shape[axes:])
        return flat.repeat_interleave(self.shape[axes:].numel(), 0)

    def __getitem__(self, key: Any) -> Any:
        value = self.get(key)
        if value is None:
            raise KeyError(key)
        return value

    def __iter__(self) -> Iterator[Any]:
        yield from self.extra
        for key in self.parts[0].keys(True, True):
            name = unravel_key(key)
            inside_next = isinstance(name, tuple) and name[0] == "next"
            if not inside_next and name not in self.extra and self.get(name) is not None:
                yield name

    def __len__(self) -> int:
        return sum(1 for _ in self)
