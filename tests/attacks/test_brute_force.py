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
    Noise,
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


@pytest.mark.parametrize("rank", [1, 2, 3])
def test_masked_actions_against_all_that_are_allowed(rank: int) -> None:
    """Row by row, with a list that is not in order and a mask that counts from 5; where too few are allowed, none."""
    rows, first = 64, 5
    table = torch.rand(rows, 4, generator=generator(), dtype=torch.float64)
    mask = torch.rand(rows, 4, generator=generator()) < 0.5
    actions, intended = torch.tensor([7, 5, 8, 6]), torch.full((rows,), 8)
    critic = TabularCritic(lambda observation: table)
    attack = Search(
        LowValue(critic=lambda state, action: critic(state, action - first)), within=ActionSet(actions), rank=rank
    )
    context = {"observation": table, "action_mask": mask, "first_action": torch.full((rows,), first)}
    executed = attack(intended, context=context)
    for i in range(rows):
        allowed = sorted((table[i, a].item(), first + a) for a in range(4) if mask[i, a])
        assert executed[i] == (allowed[rank - 1][1] if len(allowed) >= rank else intended[i])
    beside = {name: value for name, value in context.items() if name != "first_action"}
    assert torch.equal(attack(intended, context=beside), attack(intended, context={"observation": table}))


def test_masked_noise_is_uniform_over_what_is_allowed() -> None:
    rows = 3000
    mask = torch.tensor([True, False, True, True]).expand(rows, 4)
    context = {"action_mask": mask, "first_action": torch.zeros(rows, dtype=torch.long)}
    executed = Noise(ActionSet(4))(torch.ones(rows, dtype=torch.long), context=context, generator=generator())
    shares = torch.bincount(executed, minlength=4) / rows
    torch.testing.assert_close(shares, torch.tensor([1, 0, 1, 1]) / 3, atol=0.03, rtol=0)
