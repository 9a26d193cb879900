"""P10: the best iterate is never below the clean input, nor weaker with more steps or a larger ball; memory is flat."""

from __future__ import annotations

import gc
from itertools import pairwise

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn

from advwrap import PGD, ActionShift, L1Ball, L2Ball, LinfBall, LowValue
from advwrap.objectives import Objective
from advwrap.testing.victims import LinearValue

BALLS = [LinfBall, L2Ball, L1Ball]
seeds = st.integers(0, 10_000)


def bumpy(seed: int) -> nn.Module:
    """A network with large weights: full of local optima, so that ascent often steps down."""
    torch.manual_seed(seed)
    net = nn.Sequential(nn.Linear(3, 16), nn.Tanh(), nn.Linear(16, 2))
    with torch.no_grad():
        for weight in net.parameters():
            weight.mul_(6)
    return net.double()


def reached(objective: Objective, clean: Tensor, attack: PGD, seed: int) -> Tensor:
    x = attack(clean, generator=torch.Generator().manual_seed(seed))
    with torch.no_grad():
        return objective(clean)(x)


@pytest.mark.parametrize("ball", BALLS)
@given(seed=seeds)
def test_never_below_the_clean_input(ball: type, seed: int) -> None:
    net = bumpy(seed)
    clean = torch.randn(4, 3, dtype=torch.float64)
    objective = LowValue(value=lambda x: net(x)[:, 0])
    attack = PGD(objective, within=ball(0.5), steps=3, step_size=1.5, best=True)
    with torch.no_grad():
        assert bool((reached(objective, clean, attack, seed) >= objective(clean)(clean)).all())


def test_the_last_iterate_may_be() -> None:
    """What the default gives up: without it the test above would say nothing."""
    below = 0
    for seed in range(20):
        net = bumpy(seed)
        clean = torch.randn(4, 3, dtype=torch.float64)
        objective = LowValue(value=lambda x, net=net: net(x)[:, 0])
        attack = PGD(objective, within=LinfBall(0.5), steps=3, step_size=1.5)
        with torch.no_grad():
            below += int((reached(objective, clean, attack, seed) < objective(clean)(clean)).sum())
    assert below > 0


@pytest.mark.parametrize("ball", BALLS)
@given(seed=seeds)
def test_more_steps_are_never_weaker(ball: type, seed: int) -> None:
    net = bumpy(seed)
    clean = torch.randn(4, 3, dtype=torch.float64)
    objective = ActionShift(net)
    few, many = (PGD(objective, within=ball(0.5), steps=steps, step_size=0.7, best=True) for steps in (2, 6))
    # The same stream gives the same start, so the longer search passes through the shorter one.
    assert bool((reached(objective, clean, many, seed) >= reached(objective, clean, few, seed) - 1e-12).all())


@pytest.mark.parametrize("ball", BALLS)
@given(seed=seeds)
def test_a_larger_ball_is_never_weaker_on_a_linear_value(ball: type, seed: int) -> None:
    value = LinearValue.random(3, seed=seed)
    clean = torch.zeros(2, 3, dtype=torch.float64)
    objective = LowValue(value=value)
    scores = [
        reached(objective, clean, PGD(objective, within=ball(eps), steps=12, step_size=2.0, best=True), seed)
        for eps in (0.0, 0.1, 0.2, 0.4)
    ]
    for smaller, larger in pairwise(scores):
        assert bool((larger >= smaller - 1e-9).all())


@pytest.mark.parametrize("best", [False, True])
def test_tensors_alive_do_not_grow_with_the_steps(best: bool) -> None:
    """Every step forgets the graph of the one before."""
    net = nn.Sequential(nn.Linear(3, 16), nn.SiLU(), nn.Linear(16, 2))  # not a known chain: autograd's path
    clean = torch.randn(4, 3)

    def alive(steps: int) -> int:
        most = 0

        def counting(x: Tensor) -> Tensor:
            nonlocal most
            most = max(most, sum(type(thing) is Tensor for thing in gc.get_objects()))
            return net(x)

        PGD(ActionShift(counting), within=LinfBall(0.1), steps=steps, best=best)(clean)
        return most

    alive(2)
    few = alive(4)
    assert alive(24) <= few + 2
