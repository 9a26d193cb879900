"""The sampled and the learned soft-worst adversary against eq. 9 and eq. 26 of VALT on a discretised ball."""

import math

import pytest
import torch
from tensordict import TensorDict

from advwrap import Streams
from advwrap.losses import AdversaryLoss
from advwrap.modules import GaussianAdversary
from advwrap.targets import SoftWorst
from tests.theory.smooth_problems import BALL, ENTROPY, EPS, Grid, critics, exact_value, mean_value, policy, soft_value

ONE, TWO = [0.3], [0.2, -0.3]
STATES = {1: [[0.3], [-0.6], [0.7]], 2: [[0.2, -0.3], [-0.5, 0.1], [0.3, 0.3]]}
PROBLEMS = [(ONE, 25, 0.3), ([-0.6], 25, 0.3), (ONE, 25, 1.0), (TWO, 9, 0.6), (TWO, 9, 1.0)]


def sampled(temperature, *, samples=64, actions=2):
    return SoftWorst(
        policy(), critics(), within=BALL, temperature=temperature, samples=samples, entropy=ENTROPY, actions=actions
    )


def rows(clean, n):
    return torch.tensor([clean]).repeat(n, 1)


@pytest.mark.parametrize(("clean", "cells", "temperature"), PROBLEMS)
class TestSampled:
    def test_matches_equation_9(self, clean, cells, temperature):
        """KL(samples || eq. 9) < 0.05, also where eq. 9 is far from the prior."""
        grid = Grid(clean, cells=cells, temperature=temperature)
        attack, clean = sampled(temperature), rows(clean, 4000)
        seen = attack(clean, generator=Streams.seeded(range(4000)))
        assert BALL.contains(seen.double() - clean.double()).all()
        assert grid.divergence_from(grid.histogram(seen)) < 0.05
        uniform = torch.full_like(grid.law, 1 / len(grid.law))
        if temperature < 1:  # noise would not pass
            assert grid.divergence_from(uniform) > 0.5

    def test_value_is_equation_26(self, clean, cells, temperature):
        """Within 2 %, of the value and of the spread of V over the ball, which no constant in Q can flatter."""
        grid = Grid(clean, cells=8 * cells, temperature=temperature)
        value = float(sampled(temperature).value(rows(clean, 2000), generator=Streams.seeded(range(2000))).mean())
        assert value == pytest.approx(grid.soft_value, rel=0.02)
        assert value == pytest.approx(grid.soft_value, abs=0.02 * grid.spread)

    def test_mean_action_has_its_own_equation_9(self, clean, cells, temperature):
        grid = Grid(clean, cells=4 * cells, temperature=temperature, value=mean_value)
        value = sampled(temperature, actions=0).value(rows(clean, 1000), generator=Streams.seeded(range(1000)))
        assert float(value.mean()) == pytest.approx(grid.soft_value, rel=0.02)


def test_value_is_too_high_on_average_and_less_so_with_more_samples():
    grid = Grid(ONE, cells=2000, temperature=0.3, value=mean_value)
    errors = [
        float(sampled(0.3, samples=n, actions=0).value(rows(ONE, 4000), generator=Streams.seeded(range(4000))).mean())
        - grid.soft_value
        for n in (1, 4, 16)
    ]
    assert errors[0] > 2 * errors[1] > 4 * errors[2] > 0
    # One sample is uniform noise: its value is that of the prior.
    assert errors[0] == pytest.approx(float(grid.values.mean()) - grid.soft_value, rel=0.1)


def test_draws_of_the_soft_value_agree_with_the_quadrature():
    """The exact value of these problems is what `SoftValue` estimates, with any even number of actions."""
    seen = rows(ONE, 20_000) + 0.2
    draws = soft_value()(rows(ONE, 20_000), seen, Streams.seeded(range(20_000)).normal)
    exact = float(exact_value(rows(ONE, 1), seen[:1]))
    assert float(draws.mean()) == pytest.approx(exact, abs=4 * float(draws.std()) / math.sqrt(len(draws)))


def learned(features, temperature, steps):
    """An adversary trained on random states of the square."""
    generator = torch.Generator().manual_seed(0)
    adversary = GaussianAdversary(features, hidden=(32, 32), generator=generator)
    loss = AdversaryLoss(
        adversary, policy(), critics(), within=BALL, temperature=temperature, entropy=ENTROPY, actions=2, seed=0
    )
    optimiser = torch.optim.Adam(loss.parameters(), lr=1e-2)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, steps)
    for _ in range(steps):
        states = torch.rand(256, features, generator=generator) * 2 - 1
        out = loss(TensorDict({"observation": states}, [256]))
        optimiser.zero_grad()
        out["loss_adversary"].backward()
        optimiser.step()
        schedule.step()
    return adversary, loss


def share(adversary, grid):
    """The adversary's probability of every cell, from its density in the middle."""
    with torch.no_grad():
        loc, scale = (x.double() for x in adversary(grid.clean.float()))
    z = grid.push.atanh()
    log_density = -((z - loc) / scale).square() / 2 - scale.log() - torch.log1p(-grid.push.square())
    return log_density.sum(-1).softmax(0)


@pytest.mark.parametrize(("features", "temperature"), [(1, 0.6), (2, 1.0)])
def test_learned_matches_equations_9_and_26(features, temperature):
    """KL < 0.05, and eq. 26 within 2 % of the value and of the spread of V."""
    adversary, loss = learned(features, temperature, steps=250)
    for clean in STATES[features]:
        grid = Grid(clean, cells=200 if features == 1 else 41, temperature=temperature)
        p = share(adversary, grid)
        uniform = torch.full_like(p, 1 / len(p))
        assert grid.divergence_from(p) < min(0.05, 0.25 * grid.divergence_from(uniform))
        # V + alpha KL(nu || p) is eq. 26, from above.
        free = float((p * grid.values).sum() + temperature * torch.special.xlogy(p, p * len(p)).sum())
        assert grid.soft_value <= free <= grid.soft_value + 0.02 * grid.spread
        assert free == pytest.approx(grid.soft_value, rel=0.02)
        # So says the log of the loss.
        batch = TensorDict({"observation": rows(clean, 20_000)}, [20_000])
        out = loss(batch)
        assert float(out["adversary_soft_value"]) == pytest.approx(free, abs=0.02 * grid.spread)
        expected = float(torch.special.xlogy(p, p * len(p)).sum())
        assert float(out["adversary_kl"]) == pytest.approx(expected, abs=0.05)


def test_the_fixed_numbers_of_the_problem_are_not_trivial():
    """Eq. 9 is far from uniform, has an inside and is not symmetric; the policy and the critics are curved."""
    grid = Grid(ONE, cells=400, temperature=0.3)
    assert grid.divergence_of_law > 0.5
    assert 1.0 < grid.spread < 2.0
    first, second = (critic(rows(ONE, 2), torch.tensor([[-0.5], [0.7]])) for critic in critics())
    assert (first < second).tolist() == [True, False]
    assert EPS == 0.5
