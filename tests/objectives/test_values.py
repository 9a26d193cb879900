"""Objectives against their formulas, written out once more."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.distributions import Categorical as TorchCategorical
from torch.distributions import Normal, kl_divergence

from advwrap import (
    ActionShift,
    AvoidAction,
    CrossEntropy,
    HighCost,
    HighReward,
    LowValue,
    PolicyKL,
    SeekAction,
    WeightedSum,
)
from advwrap.testing import strategies
from advwrap.testing.victims import LinearQ, TwoActions
from advwrap.victims import Categorical, Gaussian

WEIGHT = torch.tensor([[1.0, -0.5], [0.3, 2.0], [0.0, -1.0]], dtype=torch.float64)
STD = torch.tensor([0.2, 1.5], dtype=torch.float64)


def policy(observation):
    return observation @ WEIGHT


pairs = st.tuples(*[strategies.observations(shape=(3,), rows=3, dtype=torch.float64, largest=3.0)] * 2)


@given(pairs)
def test_action_shift(pair):
    clean, x = pair
    shift = policy(x) - policy(clean)
    assert torch.allclose(ActionShift(policy)(clean)(x), (shift**2).sum(1))
    weighted = ActionShift(Gaussian(policy, std=STD), by_std=True)(clean)(x)
    assert torch.allclose(weighted, ((shift / (STD / STD.mean())) ** 2).sum(1))


@given(pairs)
def test_action_shift_of_probabilities(pair):
    clean, x = pair
    shift = policy(x).softmax(1) - policy(clean).softmax(1)
    assert torch.allclose(ActionShift(Categorical(policy))(clean)(x), (shift**2).sum(1))


@given(pairs)
def test_policy_kl(pair):
    clean, x = pair
    discrete = kl_divergence(TorchCategorical(logits=policy(clean)), TorchCategorical(logits=policy(x)))
    assert torch.allclose(PolicyKL(Categorical(policy))(clean)(x), discrete)
    gaussian = kl_divergence(Normal(policy(clean), STD), Normal(policy(x), STD)).sum(1)
    assert torch.allclose(PolicyKL(Gaussian(policy, std=STD))(clean)(x), gaussian)
    assert torch.allclose(PolicyKL(Gaussian(policy, std=STD, squash=torch.tanh))(clean)(x), gaussian)


@given(pairs)
def test_cross_entropy_is_of_the_attacked_relative_to_the_clean(pair):
    """- sum_a pi(a|x) log pi(a|s), in this order."""
    clean, x = pair
    p, q = policy(x).softmax(1), policy(clean).log_softmax(1)
    assert torch.allclose(CrossEntropy(Categorical(policy))(clean)(x), -(p * q).sum(1))


def test_cross_entropy_of_gaussians_is_an_integral():
    clean, x = torch.zeros(1, 3).double(), torch.ones(1, 3).double()
    a = torch.linspace(-30, 30, 200_001, dtype=torch.float64)
    expected = 0.0
    for mean, reference, std in zip(policy(x)[0], policy(clean)[0], STD, strict=True):
        density = Normal(mean, std).log_prob(a).exp()
        expected -= torch.trapezoid(density * Normal(reference, std).log_prob(a), a).item()
    assert CrossEntropy(Gaussian(policy, std=STD))(clean)(x).item() == pytest.approx(expected, rel=1e-6)


@given(pairs)
def test_avoid_and_seek(pair):
    clean, x = pair
    log_p = policy(x).log_softmax(1)
    likely, unlikely = policy(clean).argmax(1, keepdim=True), policy(clean).argmin(1, keepdim=True)
    assert torch.allclose(AvoidAction(Categorical(policy))(clean)(x), -log_p.gather(1, likely)[:, 0])
    assert torch.allclose(SeekAction(Categorical(policy))(clean)(x), log_p.gather(1, unlikely)[:, 0])
    chosen = torch.tensor([0, 1, 1])
    assert torch.allclose(
        SeekAction(Categorical(policy), target=chosen)(clean)(x), log_p.gather(1, chosen[:, None])[:, 0]
    )


def test_seek_a_continuous_action():
    target = torch.tensor([0.5, -0.5], dtype=torch.float64)
    x = torch.ones(2, 3).double()
    expected = Normal(policy(x), STD).log_prob(target).sum(1)
    assert torch.allclose(SeekAction(Gaussian(policy, std=STD), target=target)(x)(x), expected)
    of_the_state = SeekAction(Gaussian(policy, std=STD), target=lambda clean: policy(clean) * 0 + target)
    assert torch.allclose(of_the_state(x)(x), expected)


@given(pairs)
def test_low_value_reads_the_true_state_and_the_misled_action(pair):
    clean, x = pair
    q = LinearQ.random(3, 2)
    with torch.no_grad():
        expected = -q(clean, policy(x))
        assert torch.allclose(LowValue(policy, q)(clean)(x), expected)
        assert torch.allclose(HighReward(policy, q)(clean)(x), -expected)
        assert torch.allclose(HighCost(policy, q)(clean)(x), -expected)
        actions = policy(x)
        of_actions = LowValue(critic=q)(actions, {"observation": clean})(actions)
        assert torch.allclose(of_actions, expected)


def test_clean_observation_comes_before_the_seen_one():
    """In an action attack behind an observation attack, the critic knows the truth."""
    q, action = LinearQ.random(3, 2), torch.zeros(1, 2).double()
    truth, seen = torch.ones(1, 3).double(), -torch.ones(1, 3).double()
    both = LowValue(critic=q)(action, {"observation": seen, "clean_observation": truth})(action)
    assert torch.equal(both, LowValue(critic=q)(action, {"observation": truth})(action))


@pytest.mark.parametrize(("reduce", "expected"), [(torch.mean, -2.0), (torch.amin, -1.0), (torch.amax, -3.0)])
def test_ensembles(reduce, expected):
    twins = [lambda obs: obs[:, 0] * 0 + 1.0, lambda obs: obs[:, :1] * 0 + 3.0]
    assert LowValue(value=twins, reduce=reduce)(torch.zeros(1, 2))(torch.zeros(1, 2)).item() == expected


@given(pairs, st.floats(-2, 2), st.floats(-2, 2))
def test_weighted_sum(pair, a, b):
    clean, x = pair
    shift, value = ActionShift(policy), LowValue(value=lambda obs: obs.sum(1))
    both = WeightedSum((a, shift), (b, value))(clean)(x)
    assert torch.allclose(both, a * shift(clean)(x) + b * value(clean)(x))


@given(strategies.observations(shape=(3,), rows=3, dtype=torch.float64))
def test_divergences_vanish_at_the_clean_input(clean):
    """With their gradients: the reason for the random start."""
    for objective in (ActionShift(policy), PolicyKL(Categorical(policy)), PolicyKL(Gaussian(policy, std=STD))):
        x = clean.clone().requires_grad_()
        value = objective(clean)(x)
        (grad,) = torch.autograd.grad(value.sum(), x)
        assert torch.allclose(value, torch.zeros(3).double(), atol=1e-12)
        assert torch.allclose(grad, torch.zeros_like(grad), atol=1e-7)


def test_two_actions_are_functions_of_one_number():
    """sigmoid and its logarithm, at the ends of what z can reach."""
    victim, x = TwoActions(torch.tensor([2.0, -1.0])), torch.tensor([[0.4, 0.1]])
    z = 0.7
    p = 1 / (1 + math.exp(-z))
    assert AvoidAction(Categorical(victim))(x)(x).item() == pytest.approx(-math.log(p), rel=1e-5)
    entropy = -(p * math.log(p) + (1 - p) * math.log(1 - p))
    assert CrossEntropy(Categorical(victim))(x)(x).item() == pytest.approx(entropy, rel=1e-5)
