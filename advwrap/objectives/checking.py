"""A mistake that every newcomer makes once: the network itself where an objective is asked for."""

from __future__ import annotations

from typing import Any

from torch import nn


def check_objective(objective: Any) -> None:
    """Refuse what cannot be an objective.

    Raises:
        TypeError: If it is a network, a class, or not callable.

    Example:
        >>> check_objective(nn.Linear(2, 2))
        Traceback (most recent call last):
        ...
        TypeError: `objective` must be an objective, got the network Linear. Fix: ActionShift(policy), LowValue(...).
    """
    if isinstance(objective, nn.Module):
        what = f"the network {type(objective).__name__}"
    elif isinstance(objective, type):
        what = f"the class {objective.__name__}"
    elif not callable(objective):
        what = repr(objective)
    else:
        return
    raise TypeError(f"`objective` must be an objective, got {what}. Fix: ActionShift(policy), LowValue(...).")
