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
        return getattr(value, "__qualname__", type(value).__name__)  # the rest of its text is an address in memory
    return [described(item) for item in value] if isinstance(value, (tuple, list)) else value
