"""The valid range of what is attacked, from the environment's Box, and the space that holds it."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import torch
from gymnasium import spaces

from advwrap.errors import check
from advwrap.sets import UNBOUNDED, Bounds
from advwrap.wrappers.entry import AnySpace, Path


def box_of(space: AnySpace, *, what: str) -> spaces.Box:
    """The space, if numbers can move in it.

    Raises:
        TypeError: If it is not a Box of numbers.
    """
    if not isinstance(space, spaces.Box):
        raise TypeError(
            f"the {what} must be a Box of numbers to move in a ball, got {space}. Fix: encode it as "
            "numbers first (gymnasium.wrappers.TransformObservation), name the numeric entry of a "
            "Dict with key=..., or attack the action (AdversarialAction)."
        )
    if space.dtype.kind not in "fiu" or space.dtype.itemsize > 8:
        raise TypeError(f"the {what} must hold integers or floats of at most 64 bits, got {space.dtype}.")
    return space


def bounds_of(box: spaces.Box, given: Bounds | None = None) -> Bounds:
    """The bounds of a Box, or those given instead; integers never leave the range of their dtype.

    Raises:
        ValueError: If the given bounds do not broadcast to the shape of the Box.

    Example:
        >>> bounds_of(spaces.Box(0, 255, (1,), np.uint8), UNBOUNDED)
        Bounds(low=0.0, high=255.0)
    """
    if given is None:
        free = np.isneginf(box.low).all() and np.isposinf(box.high).all()
        return UNBOUNDED if free else Bounds(*map(_tensor, (box.low, box.high)))
    for limit in (given.low, given.high):
        shape = tuple(torch.as_tensor(limit).shape)
        sizes = zip(reversed(shape), reversed(box.shape), strict=False)
        check(
            len(shape) <= len(box.shape) and all(size in (1, feature) for size, feature in sizes),
            f"`bounds` must broadcast to the shape {box.shape}, got limits of shape {shape}.",
        )
    if box.dtype.kind == "f":
        return given
    kind = np.iinfo(box.dtype.name)
    highest = math.nextafter(kind.max, 0) if box.dtype.itemsize == 8 else float(kind.max)
    low = torch.as_tensor(given.low, dtype=torch.float64).clamp(min=float(kind.min))
    high = torch.as_tensor(given.high, dtype=torch.float64).clamp(max=highest)
    return Bounds(*(x.item() if x.ndim == 0 else x for x in (low, high)))


def arrays_of(bounds: Bounds, box: spaces.Box) -> tuple[Any, Any]:
    """The limits of one row of a Box, in its dtype.

    Example:
        >>> arrays_of(Bounds(-1.0, 1.0), spaces.Box(-2, 2, (2,)))
        (array([-1., -1.], dtype=float32), array([1., 1.], dtype=float32))
    """
    if box.dtype.kind != "f":
        return _array(bounds.low, box), _array(bounds.high, box)
    low, high = bounds.limits(torch.from_numpy(np.zeros(box.shape, box.dtype)))
    return np.broadcast_to(low.numpy(), box.shape), np.broadcast_to(high.numpy(), box.shape)


def widened(space: AnySpace, path: Path, bounds: Bounds) -> AnySpace:
    """The space with the Box at `path` grown to hold the bounds; the same object where it does.

    Example:
        >>> widened(spaces.Box(-1, 1, (1,)), (), UNBOUNDED)
        Box(-inf, inf, (1,), float32)
    """
    if path:
        assert isinstance(space, spaces.Dict)  # noqa: S101 - `locate` made the path
        inside = space.spaces[path[0]]
        grown = widened(inside, path[1:], bounds)
        return space if grown is inside else spaces.Dict({**space.spaces, path[0]: grown})
    assert isinstance(space, spaces.Box)  # noqa: S101
    low = np.minimum(space.low, _array(bounds.low, space))
    high = np.maximum(space.high, _array(bounds.high, space))
    if np.array_equal(low, space.low) and np.array_equal(high, space.high):
        return space
    return spaces.Box(low, high, dtype=space.dtype)


def _tensor(limit: Any) -> torch.Tensor:
    return torch.from_numpy(limit.astype(np.float64))


def _array(limit: float | torch.Tensor, space: spaces.Box) -> Any:
    exact = torch.as_tensor(limit, dtype=torch.float64).cpu().numpy()
    return np.broadcast_to(exact.astype(space.dtype), space.shape)
