"""Random actions and their log-densities: the distributions of torch and TorchRL, drawn with numbers of ours."""

import math

import pytest
import torch
from tensordict import TensorDict
from torch import nn
from torch.distributions import Independent, Normal, OneHotCategorical, TransformedDistribution
from torch.distributions.transforms import TanhTransform

from advwrap import Streams
from advwrap.victims import Categorical, Deterministic, Gaussian, as_policy
from advwrap.victims.slope import log_slope, log_tanh_slope
from tests.victims.torchrl_actors import ACTIONS, CONTINUOUS, DISCRETE, FEATURES, context, observations

NORMALS = [name for name in CONTINUOUS if "Delta" not in name and name != "TanhNormal, not safe"]


def streams(rows=7):
    return Streams.seeded(range(rows))


def law(actor, x):
    return actor.get_dist(TensorDict({"observation": x, **context(len(x))}, [len(x)]))


@pytest.mark.parametrize("name", NORMALS)
def test_density_is_that_of_torchrl(name):
    torch.manual_seed(0)
    actor, x = CONTINUOUS[name]().double(), observations().double() / 3
    action, log_prob = as_policy(actor).draw(x, streams().normal)
    assert action.shape == (7, ACTIONS)
    torch.testing.assert_close(log_prob, law(actor, x).log_prob(action), rtol=1e-6, atol=1e-6)
    # The same noise, by hand: the action is squash(loc + scale * noise).
    policy = as_policy(actor)
    normal = policy.law(x)
    z = normal.loc + normal.scale * streams().normal(normal.loc)
    squash = policy.head.squash
    torch.testing.assert_close(action, z if squash is None else squash(z), rtol=0, atol=0)


@pytest.mark.parametrize("name", ["TanhDelta", "TanhDelta in limits", "Delta"])
def test_deterministic_policies_act_as_ever_and_have_no_density(name):
    policy = as_policy(CONTINUOUS[name]())
    action, log_prob = policy.draw(observations(), streams().normal)
    assert torch.equal(action, policy.mean(observations()))
    assert torch.equal(log_prob, torch.zeros(7))


@pytest.mark.parametrize("name", DISCRETE)
def test_discrete_policies_give_their_average(name):
    torch.manual_seed(0)
    actor = DISCRETE[name]()
    policy, x = as_policy(actor), observations()
    probs, log_prob = policy.draw(x, streams().normal, context())
    torch.testing.assert_close(probs, policy.mean(x, context()))
    torch.testing.assert_close(log_prob, -OneHotCategorical(probs=probs).entropy(), rtol=1e-5, atol=1e-6)


def test_bare_networks_are_read_by_their_output():
    x = observations()
    pair = as_policy(lambda obs: (obs, torch.ones_like(obs)))
    plain = as_policy(nn.Identity())
    given = as_policy(lambda obs: Independent(Normal(obs, 1.0), 1))
    noise = streams().normal(x)
    for policy in (pair, given):
        action, log_prob = policy.draw(x, streams().normal)
        torch.testing.assert_close(action, x + noise)
        expected = -(noise.square() + math.log(2 * math.pi)).sum(-1) / 2
        torch.testing.assert_close(log_prob, expected, rtol=1e-4, atol=1e-4)
    assert torch.equal(plain.draw(x, streams().normal)[0], x)
    assert torch.equal(Deterministic(nn.Identity()).draw(x, streams().normal)[0], x)
    logits = Categorical(nn.Identity()).draw(x, streams().normal)
    torch.testing.assert_close(logits[0].sum(-1), torch.ones(7))


def test_what_cannot_be_drawn_says_so():
    policy = as_policy(lambda obs: TransformedDistribution(Normal(obs, 1.0), [TanhTransform()]))
    with pytest.raises(TypeError, match=r"TransformedDistribution.*Fix: wrap its network in advwrap.victims.Gaussian"):
        policy.draw(observations(), streams().normal)


def test_density_is_that_of_the_draws():
    """E[1 / density; the action within +-0.9] is the length of that interval."""
    policy = Gaussian(lambda obs: (obs, torch.full_like(obs, 0.7)), squash=torch.tanh)
    rows = 200_000
    action, log_prob = policy.draw(torch.full((rows, 1), 0.4, dtype=torch.float64), streams(rows).normal)
    inside = action.squeeze(-1).abs() < 0.9
    assert float(((-log_prob).exp() * inside).mean()) == pytest.approx(1.8, rel=0.02)


@pytest.mark.parametrize(
    "squash", [torch.tanh, nn.Tanh(), torch.Tensor.tanh, lambda x: x.tanh(), lambda x: 2.0 * x.tanh() - 1.0]
)
def test_slope_of_any_map(squash):
    x = torch.linspace(-3, 3, 14, dtype=torch.float64).reshape(7, 2)
    leaf = x.clone().requires_grad_()
    (slope,) = torch.autograd.grad(squash(leaf).sum(), leaf)
    torch.testing.assert_close(log_slope(squash, x), slope.abs().log().sum(-1))


def test_slope_far_out_is_finite_and_exact():
    x = torch.tensor([[30.0, -30.0]])
    torch.testing.assert_close(log_slope(torch.tanh, x), torch.tensor([2 * (2 * math.log(2) - 60)]))
    assert log_slope(lambda x: x.tanh(), x).isfinite().all()
    assert torch.equal(log_tanh_slope(torch.tensor([0.0])), torch.tensor([0.0]))


def test_action_is_differentiable_in_the_observation():
    torch.manual_seed(0)
    net = nn.Linear(FEATURES, 2 * ACTIONS).double()
    policy = Gaussian(lambda obs: (net(obs)[:, :ACTIONS], net(obs)[:, ACTIONS:].exp()), squash=torch.tanh)
    x = (observations().double() / 3).requires_grad_()
    assert torch.autograd.gradcheck(lambda obs: policy.draw(obs, streams().normal), x)
