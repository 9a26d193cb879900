"""What a wrapper must know of the stack it is in: how many like it are beneath, and how it is rebuilt."""

from __future__ import annotations

from typing import Any, Self


def beneath(env: Any, kind: type) -> int:
    """How many wrappers of this kind are in the stack: each draws other noise from one seed."""
    count = 0
    while True:
        count += isinstance(env, kind)
        inner = env.__dict__.get("env")
        if inner is None:
            return count
        env = inner


class LiveArguments(dict[str, Any]):
    """Constructor arguments that stay the same objects in every copy of an environment's spec.

    A deep copy of an attack would attack with a copy of the victim, which no longer learns.

    Example:
        >>> from copy import deepcopy
        >>> victim = object()
        >>> deepcopy(LiveArguments(attack=victim))["attack"] is victim
        True
    """

    def __deepcopy__(self, memo: dict[int, Any]) -> Self:
        return type(self)(self)
