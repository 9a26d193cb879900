"""What attacks and victims may read beside the rows that an attack changes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import Tensor

Context = Mapping[str, Any]
"""What else the victim reads: recurrent state, action mask, the observation when the action is attacked."""

CLEAN_ACTION = "clean_action"
"""Holds the intended action where actions are attacked, and only there: then the rows are no observations."""

FIRST_ACTION = "first_action"
"""Which action the first column of "action_mask" speaks of, where the attacked rows are indices [B]."""


def state_beside(context: Context | None) -> Tensor | None:
    """The true observation beside an attacked action; None where it is not known.

    Example:
        >>> import torch
        >>> state_beside({"observation": torch.zeros(1, 2)})
        tensor([[0., 0.]])
    """
    for key in ("clean_observation", "observation"):
        found: Tensor | None = None if context is None else context.get(key, None)
        if found is not None:
            return found
    return None
