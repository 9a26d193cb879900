"""The worst executed action: what an optimal adversary of the actuators makes of an action."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from advwrap.attacks import PGD
from advwrap.attacks.region import AnySet
from advwrap.errors import check_integer
from advwrap.objectives import LowValue
from advwrap.victims import AnyCritic


@dataclass(frozen=True)
class Falling:
    """A step size that falls from twice the radius to nothing: a_i = 2 (1 - i / steps), a fraction of the radius.

    The first step reaches a vertex from anywhere in the ball, the last ones go where the minimum is inside.

    Args:
        steps: Of the search.

    Example:
        >>> [Falling(4)(i) for i in range(4)]
        [2.0, 1.5, 1.0, 0.5]
    """

    steps: int

    def __post_init__(self) -> None:
        check_integer("steps", self.steps, least=1)

    def __call__(self, iteration: int) -> float:
        """The step size of an iteration."""
        return 2.0 * (1 - iteration / self.steps)


def worst_action(critic: AnyCritic, *, within: AnySet, steps: int = 5, restarts: int = 2) -> PGD:
    """The worst executed action around an intended one: argmin over |d| <= eps of min_i Q_i(s, a + d).

    Sign gradients of the least of the critics from random starts, steps that fall, the best of all iterates and of the
    intended action itself. As every attack it searches the intersection of the ball with the action box that it gets
    as `bounds`, so it never optimises an action that nobody can execute.

    Source: the inner problem of OA-PI, arXiv 2507.03372, with 15 to 20 steps from one start. On trained critics more
        starts find what more steps do not: 5 to 25 % of the states begin on the wrong side of a maximum, where the
        trained policy puts its action.

    Args:
        critic: Q(s, a), with s from ``context["observation"]``; a TorchRL loss for its live critics.
        within: Where the perturbation may live, in units of the action.
        steps: Gradients per start.
        restarts: Starts.

    Example:
        >>> from advwrap import Bounds, LinfBall
        >>> attack = worst_action(lambda obs, act: (act * obs).sum(-1), within=LinfBall(0.5))
        >>> context = {"observation": torch.tensor([[1.0, -1.0]])}
        >>> attack(torch.tensor([[0.0, 0.8]]), context=context, bounds=Bounds(-1.0, 1.0))
        tensor([[-0.5000,  1.0000]])
    """
    objective = LowValue(critic=critic, reduce=torch.amin)
    return PGD(objective, within=within, steps=steps, step_size=Falling(steps), restarts=restarts, best=True)
