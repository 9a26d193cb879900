"""Bounds of critics, live ones in a loss included."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from tensordict.nn import TensorDictModule
from torch import nn
from torchrl.modules import MLP, ValueOperator
from torchrl.objectives import SACLoss, SoftUpdate

from advwrap.bounds import Box, ValueBounds
from advwrap.victims import TabularCritic, as_critic
from advwrap.victims.tensordict_critic import LossCritic
from tests.victims.torchrl_actors import normal

FEATURES, ACTIONS, ROWS = 5, 3, 6


def q(activation=nn.Tanh, keys=("observation", "action"), dtype=torch.float64):
    torch.manual_seed(1)
    net = MLP(FEATURES + ACTIONS, 1, num_cells=[8, 8], activation_class=activation).to(dtype)
    return ValueOperator(net, in_keys=list(keys))


def sac(activation=nn.Tanh, keys=("observation", "action")):
    torch.manual_seed(0)
    actor = normal()
    loss = SACLoss(actor, q(activation, keys, dtype=torch.float32), target_entropy=-1.0, action_spec=None)
    SoftUpdate(loss, tau=0.5)
    return loss


def rows(features, seed=0, dtype=torch.float64):
    return torch.randn(ROWS, features, generator=torch.Generator().manual_seed(seed), dtype=dtype)


def around(x, radius):
    return Box(x - radius, x + radius)


def some(box, seed=0):
    share = torch.rand(box.low.shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    return box.low + share.to(box.low) * box.width


CRITICS = {
    "a network": lambda: MLP(FEATURES + ACTIONS, 1, num_cells=[8], activation_class=nn.ELU).double(),
    "two networks": lambda: [nn.Sequential(nn.Linear(8, 8), nn.SiLU(), nn.Linear(8, 1)).double() for _ in range(2)],
    "an operator": q,
    "an operator that reads the action first": lambda: q(keys=("action", "observation")),
    "twins in a loss": sac,
    "twins of another activation": lambda: sac(nn.ELU),
    "twins that read the action first": lambda: sac(keys=("action", "observation")),
}
every_critic = pytest.mark.parametrize("name", CRITICS)


@every_critic
@given(seed=st.integers(0, 1000), radius=st.floats(0, 2), state_radius=st.sampled_from([0.0, 0.5]))
def test_values_stay_in_the_bounds(name, seed, radius, state_radius):
    critic = CRITICS[name]()
    states, actions = around(rows(FEATURES, seed), state_radius), around(rows(ACTIONS, seed + 1), radius)
    low, high = ValueBounds(critic)(states, actions)
    value = as_critic(critic)(some(states, seed), some(actions, seed))
    assert low.shape == high.shape == value.shape
    assert Box(low, high).contains(value, within=1e-5).all()


@every_critic
def test_points_give_the_value(name):
    critic, s, a = CRITICS[name](), rows(FEATURES), rows(ACTIONS, 1)
    value = as_critic(critic)(s, a)
    low, high = ValueBounds(critic)(s, a)
    torch.testing.assert_close(low, value, rtol=1e-5, atol=1e-6)
    torch.testing.assert_close(high, value, rtol=1e-5, atol=1e-6)


def test_an_affine_critic_is_exact():
    net = nn.Linear(FEATURES + ACTIONS, 1, dtype=torch.float64)
    s, a = rows(FEATURES), rows(ACTIONS, 1)
    low, high = ValueBounds(net)(s, around(a, 0.5))
    spread = 0.5 * net.weight[0, FEATURES:].abs().sum()
    value = net(torch.cat([s, a], -1)).squeeze(-1)
    torch.testing.assert_close(low[0], value - spread)
    torch.testing.assert_close(high[0], value + spread)


def test_a_value_of_the_state_alone():
    net = nn.Linear(FEATURES, 1, dtype=torch.float64)
    low, high = ValueBounds(net)(around(rows(FEATURES), 0.1))
    assert Box(low, high).contains(net(rows(FEATURES)).T).all()


@pytest.mark.parametrize("activation", [nn.Tanh, nn.ELU])
def test_the_critics_of_a_loss_are_bounded_as_they_are_now(activation):
    loss, s, a = sac(activation), rows(FEATURES), around(rows(ACTIONS, 1), 0.3)
    bounds = ValueBounds(loss)
    before = bounds(s, a)
    loss.qvalue_network_params.data.apply_(lambda weight: weight * 2)
    after = bounds(s, a)
    assert not torch.equal(after.low, before.low)
    for member in range(2):  # each member alone
        net = MLP(FEATURES + ACTIONS, 1, num_cells=[8, 8], activation_class=activation)
        params = loss.qvalue_network_params["module"][member].data
        net.load_state_dict(dict(params.flatten_keys(".").items()))
        alone = ValueBounds(net)(s, a)
        torch.testing.assert_close(alone.low[0], after.low[member])
        torch.testing.assert_close(alone.high[0], after.high[member])
    target = ValueBounds(LossCritic(loss, target=True))(s, a)
    torch.testing.assert_close(target.low, before.low)


@pytest.mark.parametrize("activation", [nn.Tanh, nn.ELU])
def test_the_critics_of_a_loss_learn_from_their_bounds(activation):
    loss, s, a = sac(activation), rows(FEATURES), around(rows(ACTIONS, 1), 0.3)
    ValueBounds(loss)(s, a).width.sum().backward()
    grads = [p.grad for p in loss.qvalue_network_params.parameters()]
    # The last bias moves both ends alike.
    assert sum(grad is not None and bool(grad.abs().sum() > 0) for grad in grads) == len(grads) - 1
    assert all(p.grad is None for p in loss.actor_network_params.parameters())


def test_what_is_no_chain_is_refused():
    with pytest.raises(TypeError, match="TabularCritic"):
        ValueBounds(TabularCritic(nn.Linear(2, 3)))
    module = TensorDictModule(nn.Bilinear(2, 2, 1), ["observation", "action"], ["state_action_value"])
    with pytest.raises(TypeError, match="Bilinear"):
        ValueBounds(module)
