"""The box of actions of every kind of actor, beside what TorchRL itself does at points of the box."""

import itertools

import pytest
import torch
from torch import nn
from torchrl.data import OneHot
from torchrl.modules import DistributionalQValueActor

from advwrap.bounds import ActionBounds, Box, IntervalNetwork, box_around
from advwrap.sets import LinfBall
from advwrap.victims import Categorical, Gaussian
from tests.victims.torchrl_actors import ACTORS, mlp, normal, observations, torchrl_says

EPS = 0.3
OTHERS = {"MaskedCategorical", "QValueActor with a mask", "TanhNormal, not safe"}
PLAIN = [name for name in ACTORS if name not in OTHERS]


def made(name):
    torch.manual_seed(0)
    return ACTORS[name]()


def seen(x, seed=0):
    """Points of the ball around every row, many of them corners."""
    share = 2 * torch.rand(200, *x.shape, generator=torch.Generator().manual_seed(seed)) - 1
    share[::2] = share[::2].sign()
    return x + EPS * share


@pytest.mark.parametrize("name", PLAIN)
def test_actions_stay_in_the_box(name):
    actor, x = made(name), observations()
    box = ActionBounds(actor)(box_around(x, LinfBall(EPS)))
    clean = torchrl_says(actor, x)
    assert box.low.shape == box.high.shape == clean.shape
    acted = torch.stack([torchrl_says(actor, rows) for rows in seen(x)])
    assert box.contains(acted, within=1e-5).all()
    # The box says something: it is wider than the actions reach, but not by far in this small network.
    reach = acted.amax(0) - acted.amin(0)
    assert (box.width >= reach - 1e-5).all()
    assert box.width.mean() < 30 * reach.mean()


@pytest.mark.parametrize("name", PLAIN)
def test_a_point_is_the_action(name):
    actor, x = made(name), observations()
    low, high = ActionBounds(actor)(Box.point(x))
    torch.testing.assert_close(low, torchrl_says(actor, x), rtol=1e-6, atol=1e-6)
    torch.testing.assert_close(high, low, rtol=1e-6, atol=1e-6)


def test_a_squashed_normal_is_the_squashed_box_of_its_loc():
    net, x = mlp(2), observations()
    policy = Gaussian(net, 0.1, squash=lambda y: 3 + 2 * y.tanh())
    box = box_around(x, LinfBall(EPS))
    loc = IntervalNetwork(net)(box)
    low, high = ActionBounds(policy)(box)
    torch.testing.assert_close(low, 3 + 2 * loc.low.tanh())
    torch.testing.assert_close(high, 3 + 2 * loc.high.tanh())


def test_probabilities_are_exact_over_a_box_of_logits():
    """Brute force over the corners: a softmax is monotone in every logit."""
    logits, radius = torch.tensor([[0.3, -1.0, 0.5]]), torch.tensor([[0.5, 1.0, 0.1]])
    box = Box(logits - radius, logits + radius)
    corners = torch.tensor(list(itertools.product(*zip(box.low[0].tolist(), box.high[0].tolist(), strict=True))))
    identity = nn.Linear(3, 3, bias=False)
    identity.weight.data.copy_(torch.eye(3))
    low, high = ActionBounds(Categorical(identity))(box)
    torch.testing.assert_close(low[0], corners.softmax(-1).amin(0))
    torch.testing.assert_close(high[0], corners.softmax(-1).amax(0))


def test_a_limited_loc_behind_another_activation():
    torch.manual_seed(0)
    actor, x = normal(activation=nn.ELU, tanh_loc=True, upscale=0.1, low=-2.0, high=3.0), observations()
    low, high = ActionBounds(actor)(Box.point(x))
    torch.testing.assert_close(low, torchrl_says(actor, x), rtol=1e-6, atol=1e-6)
    torch.testing.assert_close(high, low, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("name", ["TanhNormal", "TanhNormal of another activation", "TanhDelta"])
def test_the_width_can_be_trained(name):
    actor, x = made(name), observations()
    ActionBounds(actor)(box_around(x, LinfBall(EPS))).width.mean().backward()
    grads = [p.grad for p in actor.parameters()]
    assert all(grad is not None and grad.isfinite().all() for grad in grads)
    assert any(grad.abs().sum() > 0 for grad in grads)


def test_stable_baselines():
    sb3 = pytest.importorskip("stable_baselines3")
    import gymnasium as gym

    model = sb3.SAC("MlpPolicy", gym.make("Pendulum-v1"), policy_kwargs={"net_arch": [16]}, seed=0, device="cpu")
    x = torch.randn(4, 3, generator=torch.Generator().manual_seed(0))
    box = ActionBounds(model)(box_around(x, LinfBall(0.1)))
    acted = torch.as_tensor(model.predict(x.numpy(), deterministic=True)[0])
    assert box.contains(acted, within=1e-5).all()
    assert (box.width > 0).all()


@pytest.mark.parametrize("name", sorted(OTHERS))
def test_an_actor_that_is_no_chain_is_refused(name):
    with pytest.raises(TypeError, match="`policy` must be a chain of layers"):
        ActionBounds(made(name))


def test_values_made_of_a_distribution_are_refused():
    """The mean of a distribution of returns falls where the log-probability of a negative return rises."""
    actor = DistributionalQValueActor(
        nn.Linear(5, 3),
        support=torch.linspace(-1, 1, 4),
        in_keys=["observation"],
        spec=OneHot(3),
        make_log_softmax=False,
    )
    with pytest.raises(TypeError, match="chain of layers"):
        ActionBounds(actor)


def test_a_function_is_refused():
    with pytest.raises(TypeError, match="chain of layers"):
        ActionBounds(lambda x: x)
