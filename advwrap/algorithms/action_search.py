"""The search for the worst action, as the options of OA-TD3 and OA-PPO describe it, and where it is executed."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from advwrap.attacks import Attack, Gated, Identity
from advwrap.attacks.budgets import Budget
from advwrap.errors import check, check_integer
from advwrap.losses.robust_critic import Solver
from advwrap.randomness import Streams
from advwrap.sets import PerturbationSet
from advwrap.targets import worst_action
from advwrap.victims import Context

if TYPE_CHECKING:
    from advwrap.algorithms.oa_ppo import RobustAdvantage
    from advwrap.algorithms.oapi import OAPI


def check_search(options: OAPI | RobustAdvantage) -> None:
    """Refuse an empty search, and options of gradients beside a search without any."""
    if not (options.strategy is None or callable(options.strategy)):
        raise TypeError(f"`strategy` must be a search, got {options.strategy!r}. Fix: Corners(), CrossEntropyMethod().")
    for name in ("steps", "restarts"):
        default, value = getattr(type(options), name), getattr(options, name)
        check_integer(name, value, least=1)
        alone = options.strategy is None or value == default
        check(alone, f"`{name}` must be left out beside a `strategy`, got {value}.")


def action_search(options: OAPI | RobustAdvantage, within: PerturbationSet) -> Solver:
    """From critics to the attack that looks for their worst action."""
    return partial(
        worst_action, within=within, steps=options.steps, restarts=options.restarts, strategy=options.strategy
    )


def in_some_copies(worst: Attack, share: float) -> Attack:
    """The attack in a share of the environments that collect, in every step of them."""
    return Gated(worst, FirstRows(share)) if share > 0 else Identity()


@dataclass(frozen=True)
class FirstRows(Budget):
    """The first rows of a batch with one row per environment: from the start of their episodes to the end.

    Args:
        share: Of the rows, rounded up.

    Example:
        >>> import torch
        >>> from advwrap import Streams
        >>> FirstRows(0.25)(torch.zeros(4, 1), None, Streams.seeded(range(4)))
        tensor([ True, False, False, False])
    """

    share: float

    def __call__(self, clean: Tensor, context: Context | None, streams: Streams) -> Tensor:
        """By the position."""
        return torch.arange(len(clean), device=clean.device) < self.share * len(clean)
