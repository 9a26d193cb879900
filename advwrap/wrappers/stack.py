"""What a wrapper must know of the stack it is in: how many like it are beneath, and how it is rebuilt."""

from __future__ import annotations

from typing import Any, Self


def beneath(env: Any, name: str) -> int:
    """How many wrappers of this name are in the stack, of whatever kind of environment.

    Each of them draws other noise from one seed. What runs in other processes is not seen.
    """
    count = 0
    while env is not None:
        count += any(kind.__name__ == name for kind in type(env).__mro__)
        env = _inner(env)
    return count


def _inner(env: Any) -> Any:
    """What the environment wraps: one, the first of several alike, or None."""
    own = getattr(env, "__dict__", {})
    several = own.get("envs")
    inner = own.get("env", own.get("aec_env"))
    return several[0] if inner is None and several else inner


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
