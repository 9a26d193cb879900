"""A finite set of actions: the attacker replaces the action by another one of a list."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from advwrap.errors import check


@dataclass(frozen=True, eq=False)
class ActionSet:
    """The values that a perturbed action may take, whatever the agent intended; of those an action mask forbids, none.

    Args:
        actions: The allowed actions, shape [K, *action]; or an integer n for the indices 0, ..., n - 1.

    Shapes: clean [B, *action] -> candidates [K, B, *action].

    Raises:
        ValueError: If the list is empty, or its actions have another shape than the clean ones.

    Example:
        >>> import torch
        >>> ActionSet(3).candidates(torch.tensor([2]))
        tensor([[0],
                [1],
                [2]])
    """

    actions: Tensor | int

    def __post_init__(self) -> None:
        given = self.actions
        actions = torch.arange(given) if isinstance(given, int) else torch.as_tensor(given)
        check(actions.ndim > 0 and actions.shape[0] > 0, f"`actions` must hold at least one action, got {given!r}.")
        object.__setattr__(self, "actions", actions)

    def candidates(self, clean: Tensor) -> Tensor:
        """Every allowed action for every row."""
        actions = torch.as_tensor(self.actions)
        check(
            actions.shape[1:] == clean.shape[1:],
            f"`actions` must have the shape {tuple(clean.shape[1:])} of one action, got {tuple(actions.shape[1:])}.",
        )
        actions = actions.to(device=clean.device, dtype=clean.dtype)
        return actions.unsqueeze(1).expand(-1, *clean.shape)


def where_allowed(chosen: Tensor, intended: Tensor, mask: Tensor, actions: int) -> Tensor:
    """The chosen indices [B], where the environment's mask [B, actions] allows them; else the intended ones.

    Raises:
        ValueError: If the mask has another size.

    Example:
        >>> import torch
        >>> where_allowed(torch.tensor([1, 2]), torch.tensor([0, 0]), torch.tensor([[1, 1, 0], [1, 1, 0]]), 3)
        tensor([1, 0])
    """
    check(
        mask.shape == (*chosen.shape, actions),
        f"`action_mask` must have an entry for each of the {actions} actions, got shape {tuple(mask.shape[1:])}.",
    )
    return torch.where(mask.bool().gather(-1, chosen.unsqueeze(-1)).squeeze(-1), chosen, intended)
