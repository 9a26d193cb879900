"""The search for the worst action, as the options of OA-TD3 and OA-PPO describe it."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from advwrap.errors import check, check_integer
from advwrap.losses.robust_critic import Solver
from advwrap.sets import PerturbationSet
from advwrap.targets import worst_action

if TYPE_CHECKING:
    from advwrap.algorithms.oa_ppo import RobustAdvantage
    from advwrap.algorithms.oapi import OAPI


def check_search(options: OAPI | RobustAdvantage) -> None:
    """Refuse an empty search, and options of gradients beside a search without any."""
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
