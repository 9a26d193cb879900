"""The worst executed action: what an optimal adversary of the actuators makes of an action."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from advwrap.attacks import PGD, Attack, Search, Strategy
from advwrap.attacks.region import AnySet
from advwrap.errors import check_integer
from advwrap.objectives import LowValue
from advwrap.victims import AnyCritic, Context, as_critic
from advwrap.victims.critic import Ensemble


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


def worst_action(
    critic: AnyCritic, *, within: AnySet, steps: int = 3, restarts: int = 6, strategy: Strategy | None = None
) -> Attack:
    """The worst executed action around an intended one: argmin over |d| <= eps of min_i Q_i(s, a + d).

    min over d of min_i Q_i = min_i of min over d of Q_i: every critic is searched on its own, by sign gradients with
    steps that fall, and the best of all iterates of all critics counts. That costs no more than following the least of
    them and gives every critic its own way down. As every attack it searches the intersection of the ball with the
    action box that it gets as `bounds`, so it never optimises an action that nobody can execute.

    The default costs about as much as 20 steps from one start, and finds what those miss: a trained policy acts where
    its critics are high, so that a single start is near a local maximum. ``restarts=1`` costs a fifth, for the targets
    of a training.

    Source: the inner problem of OA-PI, arXiv 2507.03372, with 15 to 20 steps from one start on the least of the
        critics; what that misses and what it costs is measured in `benchmarks/solver.py`.

    Args:
        critic: Q(s, a), with s from ``context["observation"]``; a TorchRL loss for its live critics. One that cannot be
            asked for a member alone (a callable that returns an ensemble) is followed as the least of them.
        within: Where the perturbation may live, in units of the action.
        steps: Gradients per start; up to two of them are full, more fall (`Falling`).
        restarts: Starts of every critic's search. A single one is the intended action itself, from where a search that
            finds no slope does not move; more than one are all random.
        strategy: A search without gradients instead, `Corners` say, on the least of the critics; it has no use for
            `steps` and `restarts`.

    Example:
        >>> from advwrap import Bounds, LinfBall
        >>> attack = worst_action(lambda obs, act: (act * obs).sum(-1), within=LinfBall(0.5))
        >>> context = {"observation": torch.tensor([[1.0, -1.0]])}
        >>> attack(torch.tensor([[0.0, 0.8]]), context=context, bounds=Bounds(-1.0, 1.0))
        tensor([[-0.5000,  1.0000]])
    """
    check_integer("steps", steps, least=1)
    check_integer("restarts", restarts, least=1)
    if strategy is not None:
        return Search(LowValue(critic=critic, reduce=torch.amin), within=within, strategy=strategy)
    judge, members = as_critic(critic), 1
    if isinstance(judge, Ensemble) and judge.members > 1:
        members, judge = judge.members, _Apart(judge)
    return PGD(
        LowValue(critic=judge, reduce=torch.amin),
        within=within,
        steps=steps,
        # Half a step back from a vertex ends in the middle of the ball, where it is worse than at either end.
        step_size=Falling(steps) if steps > 2 else 2.0,
        restarts=members * restarts,
        best=True,
        random_start=0.0 if restarts == 1 else 1.0,
    )


@dataclass(frozen=True, eq=False)
class _Apart:
    """An ensemble as one critic of the copies of the rows: the first copies belong to its first member."""

    ensemble: Ensemble

    def __call__(self, observation: Tensor, action: Tensor | None = None, context: Context | None = None) -> Tensor:
        return self.ensemble.apart(observation, action, context).unsqueeze(0)
