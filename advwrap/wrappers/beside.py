"""What the attack may read beside the attacked tensor: the other entries of the observation."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from gymnasium import spaces
from numpy.typing import NDArray
from torch import Tensor

from advwrap.wrappers.entry import AnySpace, Path, entry, leaves, pick

_MASK = "action_mask"
_NUMERIC = (spaces.Box, spaces.Discrete, spaces.MultiBinary, spaces.MultiDiscrete)


class Beside:
    """Entries of an observation as tensors of rows, by their key (a tuple of keys where nested).

    Text, graphs and sequences are left out. An action mask in the info is an entry as well.

    Args:
        space: The space of one observation.
        omit: The attacked entry, which the attack gets anyway.
        state: The entry that is also known as "observation", for attacks on the action.

    Example:
        >>> space = spaces.Dict(state=spaces.Box(0, 1, (2,)), goal=spaces.Discrete(3))
        >>> known = Beside(space)({"state": [0.5, 1], "goal": 2}, info={})
        >>> {name: tuple(rows.shape) for name, rows in known.items()}
        {'state': (1, 2), 'goal': (1,)}
    """

    def __init__(self, space: AnySpace, *, omit: Path | None = None, state: Path | None = None) -> None:
        self._entries: list[tuple[Any, Path, Any]] = []
        for path in leaves(space):
            inside = entry(space, path)
            if path == omit or not isinstance(inside, _NUMERIC):
                continue
            if path:
                self._entries.append((path[0] if len(path) == 1 else path, path, inside.dtype))
            if path == state and path != ("observation",):
                self._entries.append(("observation", path, inside.dtype))

    def __call__(self, observation: Any, info: Mapping[str, Any], *, batched: bool = False) -> dict[Any, Tensor]:
        """The entries of one observation, or of a batch of them; copies, one row each."""
        known = {}
        for name, path, dtype in self._entries:
            known[name] = _rows(np.array(pick(observation, path), dtype=dtype), batched)
        mask = info.get(_MASK)
        if isinstance(mask, np.ndarray) and mask.dtype != object:
            known[_MASK] = _rows(np.array(mask), batched)
        return known

    def saved(self, known: Mapping[Any, Tensor]) -> dict[str, Tensor]:
        """Entries for a checkpoint, which `restored` turns back."""
        return {_label(name): rows.clone() for name, rows in known.items()}

    def restored(self, state: Mapping[str, Tensor]) -> dict[Any, Tensor]:
        """The entries that a checkpoint holds."""
        labels = {name: _label(name) for name in (*(n for n, _, _ in self._entries), _MASK)}
        return {name: state[label].clone() for name, label in labels.items() if label in state}


def _rows(own: NDArray[Any], batched: bool) -> Tensor:
    return torch.from_numpy(own if batched else own[None])


def _label(name: str | Path) -> str:
    return ".".join(("known", *((name,) if isinstance(name, str) else name)))
