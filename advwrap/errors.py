"""Errors that name the argument, the rule, the value and the fix."""

from __future__ import annotations

import math
from numbers import Integral, Real


class GradientError(RuntimeError):
    """The objective has no gradient with respect to the input that the attack perturbs."""


def check(condition: bool, message: str, *, fix: str | None = None) -> None:
    """Raise a `ValueError` with a uniform wording unless `condition` holds.

    Args:
        condition: What must be true.
        message: The rule and the value that broke it, for example ``"`steps` must be >= 1, got 0."``.
        fix: One line that says what to do instead.

    Raises:
        ValueError: If `condition` is false.

    Example:
        >>> check(1 > 0, "`steps` must be >= 1, got 0.")
        >>> check(0 >= 1, "`steps` must be >= 1, got 0.", fix="use Identity() for no attack.")
        Traceback (most recent call last):
        ...
        ValueError: `steps` must be >= 1, got 0. Fix: use Identity() for no attack.
    """
    if not condition:
        raise ValueError(message if fix is None else f"{message} Fix: {fix}")


def check_integer(name: str, value: object, *, least: int, fix: str | None = None) -> None:
    """Raise a `ValueError` unless `value` is an integer (of Python or NumPy, no bool) of at least `least`.

    Args:
        name: The argument.
        value: What was given for it.
        least: The smallest value that is allowed.
        fix: One line that says what to do instead.

    Raises:
        ValueError: If it is not.

    Example:
        >>> check_integer("restarts", 1.5, least=1)
        Traceback (most recent call last):
        ...
        ValueError: `restarts` must be an integer >= 1, got 1.5.
    """
    whole = isinstance(value, Integral) and not isinstance(value, bool)
    check(whole and value >= least, f"`{name}` must be an integer >= {least}, got {value!r}.", fix=fix)  # type: ignore[operator]


def check_finite(name: str, value: object) -> None:
    """Raise a `ValueError` unless `value` is a finite number.

    Args:
        name: The argument.
        value: What was given for it.

    Raises:
        ValueError: If it is not.

    Example:
        >>> check_finite("factor", "half")
        Traceback (most recent call last):
        ...
        ValueError: `factor` must be a finite number, got 'half'.
    """
    check(isinstance(value, Real) and math.isfinite(value), f"`{name}` must be a finite number, got {value!r}.")


def check_fraction(name: str, value: float) -> None:
    """Raise a `ValueError` unless `value` is in [0, 1].

    Args:
        name: The argument.
        value: What was given for it, a number or a tensor of one.

    Raises:
        ValueError: If it is not.

    Example:
        >>> check_fraction("p", 1.5)
        Traceback (most recent call last):
        ...
        ValueError: `p` must be in [0, 1], got 1.5.
    """
    check(bool(0 <= value <= 1), f"`{name}` must be in [0, 1], got {value}.")
