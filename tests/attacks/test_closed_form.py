"""Attacks against victims whose worst case is known: by formula, or by a grid in up to three dimensions."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from advwrap import (
    FGSM,
    PGD,
    ActionSet,
    ActionShift,
    AvoidAction,
    Corners,
    CrossEntropy,
    CrossEntropyMethod,
    L0Ball,
    L1Ball,
    L2Ball,
    LinfBall,
    LowValue,
    RandomSearch,
    Search,
    SeekAction,
    Square,
)
from advwrap.objectives import Objective
from advwrap.sets import PerturbationSet
from advwrap.testing.victims import LinearPolicy, LinearQ, LinearValue, QuadraticQ
from advwrap.testing.worst_case import brute_force
from advwrap.victims import Categorical, TabularCritic

DTYPES = [torch.float32, torch.float64]
PER_FEATURE = torch.tensor([0.3, 0.0, 0.1, 0.2, 0.05])
BALLS: list[PerturbationSet] = [
    ball(eps) for ball in (LinfBall, L2Ball, L1Ball, lambda eps: L0Ball(2, eps)) for eps in (0.2, PER_FEATURE)
]


def generator() -> torch.Generator:
    return torch.Generator().manual_seed(0)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("within", BALLS, ids=str)
def test_one_step_is_the_optimum_of_a_linear_value(within: PerturbationSet, dtype: torch.dtype) -> None:
    value = LinearValue.random(5, seed=1).to(dtype)
    clean = torch.randn(4, 5, dtype=dtype, generator=generator())
    x = FGSM(LowValue(value=value), within=within)(clean)
    torch.testing.assert_close(value(x).flatten(), value.lowest(clean, within).to(dtype).flatten())


# Not the L0 ball with radii of its own per feature: it is not convex, and ascent may settle on other features.
REACHED = [ball for ball in BALLS if not (isinstance(ball, L0Ball) and isinstance(ball.radius, Tensor))]


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("best", [False, True])
@pytest.mark.parametrize("within", REACHED, ids=str)
def test_pgd_reaches_the_optimum_of_a_linear_value(within: PerturbationSet, best: bool, dtype: torch.dtype) -> None:
    value = LinearValue.random(5, seed=2).to(dtype)
    clean = torch.randn(4, 5, dtype=dtype, generator=generator())
    attack = PGD(LowValue(value=value), within=within, steps=60, step_size=2.0, best=best)
    x = attack(clean, generator=generator())
    torch.testing.assert_close(value(x).flatten(), value.lowest(clean, within).to(dtype).flatten())


@pytest.mark.parametrize("within", REACHED, ids=str)
def test_pgd_reaches_the_optimum_of_a_linear_q_seen_through_a_linear_policy(within: PerturbationSet) -> None:
    policy, q = LinearPolicy.random(5, 3, seed=3).float(), LinearQ.random(5, 3, seed=3).float()
    clean = torch.randn(4, 5, generator=generator())
    x = PGD(LowValue(policy, q), within=within, steps=60, step_size=2.0)(clean, generator=generator())
    reached = q(clean, policy(x)).flatten()
    torch.testing.assert_close(reached, q.lowest_seen(clean, policy, within).float().flatten())


def test_pgd_on_the_action_reaches_the_optimum_of_a_linear_q() -> None:
    q, within = LinearQ.random(5, 3, seed=4).float(), LinfBall(0.3)
    state, action = torch.randn(4, 5, generator=generator()), torch.randn(4, 3, generator=generator())
    x = PGD(LowValue(critic=q), within=within)(action, context={"observation": state}, generator=generator())
    torch.testing.assert_close(q(state, x).flatten(), q.lowest_done(state, action, within).float().flatten())


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


@pytest.mark.parametrize("strategy", [Corners(), RandomSearch(512), Square(256), CrossEntropyMethod(8, 64, 8)], ids=str)
def test_searches_come_close_to_a_grid(strategy: object) -> None:
    q, within = QuadraticQ.random(2, seed=6).float(), LinfBall(0.5)
    state, action = torch.zeros(1, 2), torch.tensor([[0.1, -0.2]])
    attack = Search(LowValue(critic=q), within=within, strategy=strategy)
    x = attack(action, context={"observation": state}, generator=generator())
    lowest = q.lowest_done(state, action, within).item()
    start = q(state, action).item()
    assert q(state, x).item() <= lowest + 0.05 * (start - lowest)


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
