"""Configurations in words that JSON has."""

from __future__ import annotations

from dataclasses import fields, is_dataclass
from typing import Any

import numpy as np


def described(value: Any) -> Any:
    """A configuration in words that JSON has: of every dataclass its type and its fields.

    Example:
        >>> from advwrap.algorithms import Undefended
        >>> described(Undefended())
        {'type': 'Undefended'}
    """
    if is_dataclass(value) and not isinstance(value, type):
        return {"type": type(value).__name__, **{f.name: described(getattr(value, f.name)) for f in fields(value)}}
    if isinstance(value, np.ndarray):
        return value.tolist()
    if callable(value):
        return named(value)
    return [described(item) for item in value] if isinstance(value, (tuple, list)) else value


def named(function: Any) -> dict[str, str]:
    """A function, of which JSON can only have the name: the rest of its text is an address in memory.

    Example:
        >>> named(len)
        {'function': 'len'}
    """
    return {"function": getattr(function, "__name__", type(function).__name__)}
