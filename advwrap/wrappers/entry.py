"""Which entry of a space is attacked: the space itself, or one entry of a (nested) Dict."""

from __future__ import annotations

from typing import Any

import numpy as np
from gymnasium import spaces

from advwrap.errors import check

AnySpace = spaces.Space[Any]
Key = str | tuple[str, ...] | None
"""A key of a Dict space, a tuple of keys for nested ones, or None where there is no choice."""

Path = tuple[str, ...]
"""The keys from the root to an entry; empty for the root itself."""


def locate(space: AnySpace, key: Key) -> Path:
    """The path of the entry to attack.

    Without a key it is the space itself; of PettingZoo's usual pair of an observation and an action
    mask, it is the observation.

    Raises:
        ValueError: If the key is missing or names nothing, with the keys that there are.

    Example:
        >>> mask, board = spaces.MultiBinary(2), spaces.Box(0, 1, (3,))
        >>> locate(spaces.Dict({"observation": board, "action_mask": mask}), None)
        ('observation',)
    """
    path = (key,) if isinstance(key, str) else tuple(key or ())
    if not path and isinstance(space, spaces.Dict) and {"observation", "action_mask"} <= {*space}:
        path = ("observation",)
    known = ", ".join(repr(p[0] if len(p) == 1 else p) for p in leaves(space))
    for depth, name in enumerate(path):
        inside = entry(space, path[:depth])
        check(
            isinstance(inside, spaces.Dict) and name in inside.spaces,
            f"`key` must name an entry of the observation space, got {key!r}.",
            fix=f"one of {known}." if known != "()" else "leave it out, the space has no entries.",
        )
    check(
        not isinstance(entry(space, path), spaces.Dict),
        f"`key` must name one entry of a Dict observation space, got {key!r}.",
        fix=f"one of {known}.",
    )
    return path


def leaves(space: AnySpace) -> list[Path]:
    """The paths of all entries that are no Dict themselves."""
    if not isinstance(space, spaces.Dict):
        return [()]
    return [(name, *path) for name, inside in space.spaces.items() for path in leaves(inside)]


def entry(space: AnySpace, path: Path) -> AnySpace:
    """The space at the end of the path."""
    for name in path:
        space = space[name]  # type: ignore[index]
    return space


def pick(tree: Any, path: Path) -> Any:
    """The value at the end of the path."""
    for name in path:
        tree = tree[name]
    return tree


def put(tree: Any, path: Path, value: Any) -> Any:
    """The tree with another value at the end of the path; nothing is changed in place.

    Example:
        >>> put({"a": {"b": 1, "c": 2}}, ("a", "b"), 5)
        {'a': {'b': 5, 'c': 2}}
    """
    return {**tree, path[0]: put(tree[path[0]], path[1:], value)} if path else value


def copied(tree: Any) -> Any:
    """The same values in arrays and dicts of our own: environments may reuse theirs."""
    if isinstance(tree, np.ndarray):
        return np.array(tree)
    if isinstance(tree, dict):
        return {name: copied(value) for name, value in tree.items()}
    return tuple(map(copied, tree)) if isinstance(tree, tuple) else tree


def same(one: Any, other: Any) -> bool:
    """Whether two values are bitwise equal, array by array.

    Example:
        >>> same({"a": (np.zeros(2), 1)}, {"a": (np.zeros(2), 1)}), same(np.zeros(2), np.zeros(3))
        (True, False)
    """
    if isinstance(one, dict):
        return isinstance(other, dict) and [*one] == [*other] and all(same(one[k], other[k]) for k in one)
    if isinstance(one, tuple):
        return isinstance(other, tuple) and len(one) == len(other) and all(map(same, one, other))
    if isinstance(one, np.ndarray):
        return isinstance(other, np.ndarray) and one.dtype == other.dtype and np.array_equal(one, other)
    return not isinstance(other, (dict, tuple, np.ndarray)) and bool(one == other)
