"""A policy that plays: the deterministic action and samples of it, drawn from streams of ours."""

import pytest
import torch
from torch.distributions import Normal
from torch.distributions.transformed_distribution import TransformedDistribution
from torch.distributions.transforms import SigmoidTransform

from advwrap import Streams
from advwrap.testing.contracts.rules import global_randomness_untouched
from advwrap.victims import Categorical, Deterministic, Gaussian, as_policy
from advwrap.victims.sampling import best_action, sampled_action

LOGITS = torch.tensor([0.0, 1.0, -1.0, 3.0])


def many(rows=4000):
    return Streams.seeded(range(rows))


def test_a_gaussian_is_sampled_with_its_mean_and_std():
    loc, std = torch.tensor([1.0, -2.0]), torch.tensor([0.5, 2.0])
    with global_randomness_untouched():
        sample = sampled_action(Gaussian(lambda x: loc.expand(len(x), 2), std), torch.zeros(4000, 1), many())
    # Four standard errors.
    assert ((sample.mean(0) - loc).abs() < 4 * std / 4000**0.5).all()
    assert ((sample.std(0) / std - 1).abs() < 4 / 8000**0.5).all()


def test_a_squashed_gaussian_is_the_squashed_sample():
    plain = sampled_action(Gaussian(lambda x: x, 0.7), torch.ones(5, 2), many(5))
    squashed = sampled_action(Gaussian(lambda x: x, 0.7, squash=torch.tanh), torch.ones(5, 2), many(5))
    torch.testing.assert_close(squashed, plain.tanh(), rtol=0, atol=0)


def test_a_choice_comes_as_often_as_its_probability_says():
    policy = Categorical(lambda x: LOGITS.expand(len(x), 4))
    chosen = sampled_action(policy, torch.zeros(4000, 1), many())
    assert chosen.dtype == torch.int64
    share = torch.bincount(chosen, minlength=4) / 4000
    p = LOGITS.softmax(-1)
    assert ((share - p).abs() < 4 * (p * (1 - p) / 4000).sqrt()).all()


@pytest.mark.parametrize("policy", [Gaussian(lambda x: x, 1.0), Categorical(lambda x: x)])
def test_a_row_draws_what_it_draws_alone(policy):
    x = torch.randn(6, 3, generator=torch.Generator().manual_seed(0))
    together = sampled_action(policy, x, Streams.seeded(range(6)))
    alone = sampled_action(policy, x[4:5], Streams.seeded([4]))
    assert torch.equal(together[4:5], alone)
    assert not torch.equal(together, sampled_action(policy, x, Streams.seeded(range(1, 7))))


@pytest.mark.parametrize("victim", [Deterministic(lambda x: 3 * x), as_policy(lambda x: 3 * x)])
def test_a_deterministic_policy_has_one_action(victim):
    x = torch.ones(2, 3)
    assert torch.equal(sampled_action(victim, x, many(2)), 3 * x)
    assert torch.equal(best_action(victim, x), 3 * x)


def test_the_best_action():
    x = torch.tensor([[0.0, 2.0, 1.0]])
    assert best_action(Categorical(lambda o: o), x).tolist() == [1]
    torch.testing.assert_close(best_action(Gaussian(lambda o: o, 5.0, squash=torch.tanh), x), x.tanh())
    net = torch.nn.Linear(3, 2)
    assert not best_action(as_policy(net), x).requires_grad


def test_what_cannot_be_drawn_with_streams_is_an_error():
    def odd(x):
        return TransformedDistribution(Normal(x, 1.0), SigmoidTransform())

    with pytest.raises(TypeError, match="Gaussian"):
        sampled_action(as_policy(odd), torch.zeros(1, 2), many(1))
