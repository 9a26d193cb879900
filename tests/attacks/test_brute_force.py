"""Attacks on curved victims against a grid, in one to three dimensions; finite sets against all their members."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from advwrap import (
    PGD,
    ActionSet,
    ActionShift,
    AvoidAction,
    CrossEntropy,
    L1Ball,
    L2Ball,
    LinfBall,
    LowValue,
    Search,
    SeekAction,
)
from advwrap.objectives import Objective
from advwrap.sets import PerturbationSet
from advwrap.testing.victims import LinearQ
from advwrap.testing.worst_case import brute_force
from advwrap.victims import Categorical, TabularCritic


def generator() -> torch.Generator:
    return torch.Generator().manual_seed(0)


class Curved(nn.Module):
    """A small tanh network: no closed form, but smooth enough for a grid."""

    def __init__(self, features: int, outputs: int) -> None:
        super().__init__()
        torch.manual_seed(features)
        self.body = nn.Sequential(nn.Linear(features, 16), nn.Tanh(), nn.Linear(16, outputs))

    def forward(self, x: Tensor) -> Tensor:
        return self.body(x)


def objectives(features: int) -> dict[str, Objective]:
    policy, logits = Curved(features, 2), Categorical(Curved(features, 3))
    return {
        "MAD": ActionShift(policy),
        "min-Q": LowValue(policy, LinearQ.random(features, 2, seed=5).float()),
        "cross entropy": CrossEntropy(logits),
        "avoid": AvoidAction(logits),
        "seek": SeekAction(logits),
    }


@pytest.mark.parametrize("within", [LinfBall(0.3), L2Ball(0.3), L1Ball(0.3)], ids=str)
@pytest.mark.parametrize("name", ["MAD", "min-Q", "cross entropy", "avoid", "seek"])
@pytest.mark.parametrize("features", [1, 2, 3])
def test_restarted_pgd_agrees_with_a_grid(features: int, name: str, within: PerturbationSet) -> None:
    objective = objectives(features)[name]
    clean = torch.randn(3, features, generator=generator())
    attack = PGD(objective, within=within, steps=40, step_size=lambda i: 0.5 / (1 + i), restarts=12, best=True)
    x = attack(clean, generator=generator())
    for row, start in zip(x, clean, strict=True):
        score = objective(start[None].expand(1, -1), None)
        # The grid's rows all belong to one clean row.
        grid = objective(start.expand(41**features, -1), None)
        best, _ = brute_force(lambda points, grid=grid: grid(points).detach(), start, within)
        reached = score(row[None]).item()
        spread = best.item() - score(start[None]).item()
        assert reached >= best.item() - 0.01 * abs(spread) - 1e-6


def test_a_finite_set_is_searched_exhaustively() -> None:
    table = torch.tensor([[3.0, 1.0, 2.0], [0.5, 4.0, 0.25]])
    critic = TabularCritic(lambda obs: table)
    attack = Search(LowValue(critic=critic), within=ActionSet(3))
    replaced = attack(torch.tensor([0, 1]), context={"observation": torch.zeros(2, 1)})
    assert replaced.tolist() == [1, 2]


def test_seeking_the_clean_action_moves_nothing_much_further_from_it() -> None:
    policy = Categorical(Curved(2, 3))
    clean = torch.randn(5, 2, generator=generator())
    target = policy.law(clean).mode()
    x = PGD(SeekAction(policy, target=target), within=LinfBall(0.3), best=True)(clean, generator=generator())
    assert torch.equal(policy.law(x).mode(), target)
