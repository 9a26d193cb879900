"""A learned adversary that acts by its mean, or stochastically."""

import math

import pytest
import torch

from advwrap import Learned, LinfBall, Masked, Streams
from advwrap.testing import strategies
from advwrap.testing.contracts.attacks import AttackContract
from advwrap.testing.victims import ElementwisePolicy
from advwrap.victims import Gaussian

POLICY = ElementwisePolicy(torch.tensor([1.0, -2.0, 0.5]))
EPS = 0.25


def squashed(scale=0.5):
    return Gaussian(lambda obs: (POLICY(obs), scale + 0.0 * obs), squash=torch.tanh)


class TestStochastic(AttackContract):
    dtypes = strategies.FLOATS

    def make_attack(self, within):
        return Learned(squashed(), within=within, sample=True)

    def modules(self):
        return [POLICY]


ROWS = torch.full((5000, 3), 0.3)


def streams():
    return Streams.seeded(range(len(ROWS)))


def test_mean_action_by_default():
    attack = Learned(squashed(), within=LinfBall(EPS))
    seen = attack(ROWS, generator=streams())
    torch.testing.assert_close(seen, ROWS + EPS * POLICY(ROWS).tanh())
    assert torch.equal(attack(ROWS), seen)
    assert repr(attack).endswith("sample=False)")


def test_samples_are_those_of_the_adversary():
    """A squashed normal in units of the radius: its logits are normal again."""
    seen = Learned(squashed(), within=LinfBall(EPS), sample=True)(ROWS, generator=streams())
    z = ((seen - ROWS) / EPS).clamp(-0.999999, 0.999999).atanh()
    torch.testing.assert_close(z.mean(0), POLICY(ROWS)[0], rtol=0, atol=0.03)
    torch.testing.assert_close(z.std(0), torch.full((3,), 0.5), rtol=0.05, atol=0)


def test_a_gaussian_without_squashing_is_cut_off():
    """As SA-RL does it: hardtanh of the sample."""
    wide = Gaussian(lambda obs: (0 * obs, 10.0 + 0 * obs))
    seen = Learned(wide, within=LinfBall(EPS), sample=True)(ROWS, generator=streams())
    assert float(((seen - ROWS).abs() > 0.999 * EPS).double().mean()) > 0.9
    assert LinfBall(EPS).contains(seen.double() - ROWS.double()).all()


class TestDivergence:
    def test_is_the_log_ratio_of_the_densities(self):
        attack = Learned(squashed(), within=LinfBall(EPS), sample=True)
        seen, divergence = attack.with_divergence(ROWS, generator=streams())
        assert torch.equal(seen, attack(ROWS, generator=streams()))
        push = ((seen - ROWS) / EPS).double()
        z = push.atanh()
        density = torch.distributions.Normal(POLICY(ROWS).double(), 0.5).log_prob(z) - torch.log1p(-push.square())
        expected = (density + math.log(2)).sum(-1)  # the uniform density is 1/2 per feature
        usual = (push.abs() < 0.99).all(-1)
        torch.testing.assert_close(divergence.double()[usual], expected[usual], rtol=1e-3, atol=1e-3)

    def test_integrates_to_one(self):
        """E_nu[p / nu] = 1."""
        one = Gaussian(lambda obs: (0.2 + 0 * obs, 0.9 + 0 * obs), squash=torch.tanh)
        attack = Learned(one, within=Masked(LinfBall(EPS), torch.tensor([True])), sample=True)
        rows = torch.zeros(50_000, 1)
        _, divergence = attack.with_divergence(rows, generator=Streams.seeded(range(50_000)))
        assert float((-divergence).exp().mean()) == pytest.approx(1.0, abs=0.02)

    def test_needs_samples(self):
        with pytest.raises(ValueError, match="`sample` must be True"):
            Learned(squashed(), within=LinfBall(EPS)).with_divergence(ROWS)
