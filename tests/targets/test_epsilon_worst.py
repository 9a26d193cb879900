"""The epsilon-worst adversary: eq. 12 and 45 of VALT, row by row."""

import math

import pytest
import torch
from torch import nn

from advwrap import PGD, Linear, LinfBall, LowValue, Noise, Streams
from advwrap.attacks import Mixture
from advwrap.modules import Perturb
from advwrap.targets import epsilon_worst
from advwrap.testing import strategies
from advwrap.testing.contracts.attacks import AttackContract
from advwrap.testing.victims import ElementwisePolicy
from advwrap.victims.tensordict_critic import LossCritic
from tests.targets.test_soft_backup import GAMMA, decided, targets_of, transitions

WEIGHT = torch.tensor([1.0, -2.0, 0.5])
POLICY = ElementwisePolicy(WEIGHT)
EPS, ROWS = 0.5, 4000
BALL = LinfBall(EPS)


def q(observation, action):
    y = observation * action
    return y[:, 0] + y[:, 1] + y[:, 2]


@pytest.mark.parametrize("kappa", [0.0, 0.5, 1.0])
def test_the_unmodified_loss_bootstraps_equation_45(kappa):
    """Its targets are, on average, r + gamma (kappa V(s', s*) + (1 - kappa) E_U[V(s', s~)]).

    With a linear network before the tanh and linear critics the worst observation s* is a known vertex of the ball, and
    V(s', s~) = min_i Q_i(s', mu(s~)), the least of the target critics, can be averaged over the ball by itself.
    """
    loss, policy = decided(linear=True)
    one = transitions(2)[:1]
    rows, reward = 4000, float(one["next", "reward"])
    attack = epsilon_worst(policy, LossCritic(loss), within=BALL, kappa=kappa)
    targets = targets_of(loss, Perturb(attack, seed=0)(one.expand(rows).clone().contiguous()))

    state = one["next", "observation"]
    probe = state.clone().requires_grad_()
    LossCritic(loss)(state, policy.mean(probe)).mean().backward()
    critic = LossCritic(loss, target=True)

    def value(seen):
        return critic(state.expand(len(seen), -1), policy.mean(seen)).amin(0)

    noise = state + EPS * (2 * torch.rand(100_000, state.shape[1], generator=torch.Generator().manual_seed(1)) - 1)
    with torch.no_grad():
        worst, average = float(value(state - EPS * probe.grad.sign())), float(value(noise).mean())
    assert worst < average - 0.05
    expected = reward + GAMMA * (kappa * worst + (1 - kappa) * average)
    assert float(targets.mean()) == pytest.approx(expected, abs=4 * float(targets.std()) / rows**0.5 + 1e-4)


class TestEpsilonWorst(AttackContract):
    dtypes = strategies.FLOATS

    def make_attack(self, within):
        return epsilon_worst(POLICY, q, within=within, kappa=0.5)

    def modules(self):
        return [POLICY]


def linear(observation, action):
    return (observation * action).sum(-1)


def worst_and_noise(kappa, clean):
    """A policy and critics for which the worst observation is known: s~ = s - eps sign(s)."""
    attack = epsilon_worst(nn.Identity(), linear, within=BALL, kappa=kappa)
    seen = attack(clean, generator=Streams.seeded(range(len(clean))))
    worst = clean - EPS * clean.sign()
    return seen, worst, ((seen - worst).abs() < 1e-6).all(-1)


@pytest.mark.parametrize("kappa", [0.0, 0.25, 1.0])
def test_mixture_gives_equation_45(kappa):
    """The mean value under the attack is kappa V(s*) + (1 - kappa) E_U[V], up to the sampling error."""
    clean = torch.tensor([[1.0, -2.0]]).repeat(ROWS, 1)
    seen, worst, is_worst = worst_and_noise(kappa, clean)
    assert int(is_worst.sum()) == pytest.approx(kappa * ROWS, abs=4 * math.sqrt(kappa * (1 - kappa) * ROWS))
    noise = seen[~is_worst]
    value = linear(clean, seen)
    least, average = float(linear(clean, worst)[0]), 5.0
    assert float(value.min()) >= least - 1e-5
    if len(noise):
        assert float(linear(clean, seen)[~is_worst].mean()) == pytest.approx(average, abs=0.05)
        torch.testing.assert_close(noise.std(0), torch.full((2,), EPS / math.sqrt(3)), rtol=0.05, atol=0)
    expected = kappa * least + (1 - kappa) * average
    assert float(value.mean()) == pytest.approx(expected, abs=0.1)


@pytest.mark.parametrize("kappa", [0.25, 0.6])
def test_each_row_suffers_exactly_one_of_the_two(kappa):
    """With the coins as they fell, bit for bit what PGD or the noise alone make of that row."""
    attack = epsilon_worst(nn.Identity(), linear, within=BALL, kappa=kappa)
    clean = torch.randn(200, 2, generator=torch.Generator().manual_seed(0))
    seen = attack(clean, generator=Streams.seeded(range(200)))
    streams = Streams.seeded(range(200))
    coin = streams.uniform(torch.empty(200, dtype=torch.float64)) < kappa
    assert 0 < int(coin.sum()) < 200
    for rows, (_, alone) in zip((coin, ~coin), attack.terms, strict=True):
        assert torch.equal(seen[rows], alone(clean[rows], generator=streams[rows]))


def test_it_is_what_it_says():
    attack = epsilon_worst(POLICY, [q, q], within=BALL, kappa=0.3, steps=4, step_size=0.5)
    assert isinstance(attack, Mixture)
    (kappa, pgd), (rest, noise) = attack.terms
    assert (kappa, rest) == (0.3, None)
    assert isinstance(pgd, PGD)
    assert isinstance(pgd.objective, LowValue)
    assert (pgd.steps, pgd.step_size, pgd.within) == (4, 0.5, BALL)
    assert isinstance(noise, Noise)
    assert noise.within is BALL


def test_it_descends_the_mean_of_the_twins():
    """Where the mean of the twins falls and their minimum rises, it goes with the mean (Algorithm 2)."""
    twins = [lambda obs, act: act.sum(-1), lambda obs, act: -3 * act.sum(-1)]
    seen = epsilon_worst(nn.Identity(), twins, within=BALL, kappa=1.0)(torch.ones(1, 1))
    assert seen.tolist() == [[1.0 + EPS]]


def test_two_steps_reach_every_vertex():
    """From any random start, with the default step size."""
    clean = torch.randn(500, 6, generator=torch.Generator().manual_seed(0))
    _, worst, is_worst = worst_and_noise(1.0, clean)
    assert is_worst.all()
    assert worst.shape == clean.shape


def test_kappa_on_a_schedule():
    kappa = Linear(0.0, 1.0, steps=10)
    attack = epsilon_worst(nn.Identity(), linear, within=BALL, kappa=kappa)
    clean = torch.ones(200, 2)
    shares = []
    for _ in range(3):
        seen = attack(clean, generator=Streams.seeded(range(200)))
        shares.append(float((seen == 1 - EPS).all(-1).double().mean()))
        kappa.advance(5)
    assert shares[0] == 0.0
    assert shares[1] == pytest.approx(0.5, abs=0.15)
    assert shares[2] == 1.0
