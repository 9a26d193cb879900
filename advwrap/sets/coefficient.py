"""Coefficients: numbers, or schedules that are asked for the present one."""

from __future__ import annotations

import math
from collections.abc import Callable

from torch import Tensor

from advwrap.errors import check

Coefficient = float | Tensor | Callable[[], "float | Tensor"]
"""A number, or a schedule: a callable without arguments that returns the present one."""


def present(coefficient: Coefficient) -> float | Tensor:
    """The present value of a coefficient.

    Example:
        >>> from advwrap import Linear
        >>> present(3.0), present(Linear(1000.0, 4.0, steps=10))
        (3.0, 1000.0)
    """
    return coefficient() if callable(coefficient) else coefficient


def check_coefficient(name: str, value: object, *, positive: bool = False) -> None:
    """Refuse a number that is not finite, is negative or, where it divides, is 0; a schedule is taken as it is.

    Raises:
        TypeError: If it is neither a number nor callable.
        ValueError: If the number is out of range.

    Example:
        >>> check_coefficient("temperature", 0.0, positive=True)
        Traceback (most recent call last):
        ...
        ValueError: `temperature` must be > 0, got 0.0.
    """
    if callable(value):
        return
    if isinstance(value, Tensor) and value.ndim == 0:
        value = value.item()
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise TypeError(f"`{name}` must be a number or a schedule, got {value!r}. Fix: 1.0, or Linear(1000, 4, steps).")
    rule = "> 0" if positive else ">= 0"
    check(math.isfinite(value) and (value > 0 if positive else value >= 0), f"`{name}` must be {rule}, got {value}.")
