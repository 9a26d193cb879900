"""Observations and actions between NumPy and torch, also nested in dicts and tuples."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import gymnasium as gym
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from advwrap.errors import check


def map_leaves(function: Callable[..., Any], *trees: Any) -> Any:
    """The function applied to the arrays of equally nested dicts and tuples.

    Example:
        >>> map_leaves(lambda a, b: a + b, {"x": 1, "y": (2, 3)}, {"x": 10, "y": (20, 30)})
        {'x': 11, 'y': (22, 33)}
    """
    first = trees[0]
    if isinstance(first, dict):
        return {key: map_leaves(function, *(tree[key] for tree in trees)) for key in first}
    if isinstance(first, tuple):
        return tuple(map_leaves(function, *parts) for parts in zip(*trees, strict=True))
    return function(*trees)


def to_tensor(array: NDArray[Any]) -> Tensor:
    """A tensor of the same values; floating point takes torch's default dtype, as networks do."""
    tensor = torch.as_tensor(array)
    return tensor.to(torch.get_default_dtype()) if tensor.is_floating_point() else tensor


def to_actions(actions: Any, space: gym.Space[Any], rows: int) -> NDArray[Any]:
    """What a policy returned, as the array that the vector environment steps with.

    Raises:
        ValueError: If there is not one action of the space for each of the rows.
    """
    array = actions.detach().cpu().numpy() if isinstance(actions, Tensor) else np.asarray(actions)
    shape = (rows, *(space.shape or ()))
    check(
        array.shape == shape,
        f"`policy` must return actions of shape {shape} (one per environment), got {array.shape}.",
        fix="it is called with a batch of observations and returns a batch of actions.",
    )
    whole = space.dtype is not None and np.issubdtype(space.dtype, np.integer)
    check(
        not whole or np.issubdtype(array.dtype, np.integer),
        f"`policy` must return integers for the action space {space}, got {array.dtype}.",
        fix="return the index of the action, for example `logits.argmax(-1)`.",
    )
    return array


def size_of_change(before: Any, after: Any) -> NDArray[np.float64]:
    """Per row, the largest absolute difference of a coordinate; for discrete values 1 if changed.

    Shapes: leaves [rows, ...] to [rows].

    Example:
        >>> before, after = np.array([[0.0, 1.0], [2.0, 2.0]]), np.array([[0.5, 0.0], [2.0, 2.0]])
        >>> size_of_change(before, after).tolist()
        [1.0, 0.0]
    """
    sizes: list[NDArray[np.float64]] = []

    def compare(old: NDArray[Any], new: NDArray[Any]) -> None:
        old, new = np.asarray(old), np.asarray(new)
        discrete = old.ndim == 1 and not np.issubdtype(old.dtype, np.floating)
        change = (old != new).astype(np.float64) if discrete else np.abs(new.astype(np.float64) - old)
        sizes.append(change.reshape(len(change), -1).max(axis=1, initial=0.0))

    map_leaves(compare, before, after)
    return np.asarray(np.max(sizes, axis=0))
