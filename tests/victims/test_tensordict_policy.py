"""TorchRL actors as policies: the numbers of TorchRL, on both paths, to the last bit."""

import pytest
import torch
from tensordict import TensorDict
from tensordict.nn import TensorDictModule, TensorDictSequential
from torch import nn
from torch.distributions import kl_divergence
from torchrl.envs.utils import ExplorationType, set_exploration_type
from torchrl.modules import GRUModule, LSTMModule, MultiAgentMLP

from advwrap import ActionShift, LowValue, PolicyKL
from advwrap.attacks.ascent import gradient
from advwrap.victims.tensordict_policy import from_actor
from tests.victims.torchrl_actors import (
    ACTIONS,
    ACTORS,
    CONTINUOUS,
    FEATURES,
    context,
    greedy,
    masked,
    mlp,
    normal,
    observations,
    torchrl_says,
    trunk,
)

every_actor = pytest.mark.parametrize("name", ACTORS)
FAST = set(ACTORS) - {"MaskedCategorical", "QValueActor with a mask"}


def made(name):
    torch.manual_seed(0)
    return ACTORS[name]()


@every_actor
@pytest.mark.parametrize("rows", [1, 7])
def test_both_paths_give_the_bits_of_torchrl(name, rows):
    actor, x = made(name), observations(rows)
    fast, slow = (from_actor(actor, fast=fast).mean(x, context(rows)) for fast in (True, False))
    assert torch.equal(fast, slow)
    same(fast, torchrl_says(actor, x), name)


def same(ours, theirs, name):
    if name in CONTINUOUS:
        assert torch.equal(ours, theirs)
    else:  # torch normalises logits before the softmax, which changes the last bit
        torch.testing.assert_close(ours, theirs, rtol=1e-6, atol=1e-7)


@every_actor
def test_a_path_without_tensordicts_is_found(name):
    assert (from_actor(made(name)).network is not None) == (name in FAST)


@every_actor
def test_gradients_are_those_of_autograd_through_torchrl(name):
    actor, x = made(name), observations()
    clean = torchrl_says(actor, x + 0.3).detach()
    leaf = x.clone().requires_grad_()
    torchrl_says(actor, leaf).sub(clean).square().sum().backward()
    for fast in (True, False):
        score = ActionShift(from_actor(actor, fast=fast))(x + 0.3, context())
        torch.testing.assert_close(gradient(score, x), leaf.grad, rtol=1e-5, atol=1e-7)


@every_actor
def test_both_paths_give_the_bits_of_one_gradient(name):
    actor, x = made(name), observations()
    scores = [ActionShift(from_actor(actor, fast=fast))(x + 0.3, context()) for fast in (True, False)]
    fast, slow = (gradient(score, x) for score in scores)
    assert torch.equal(fast, slow)


# Torch knows no divergence of a plain tanh.
@pytest.mark.parametrize("name", [n for n in CONTINUOUS if "Normal" in n and "not safe" not in n])
def test_divergence_is_that_of_torch(name):
    actor, x = made(name), observations()
    p, q = (actor.get_dist(TensorDict({"observation": y}, [7])) for y in (x + 0.3, x))
    for fast in (True, False):
        kl = PolicyKL(from_actor(actor, fast=fast))(x + 0.3)(x)
        torch.testing.assert_close(kl, kl_divergence(p, q), rtol=1e-4, atol=1e-5)


def test_float64_observations_reach_a_float32_actor():
    actor, x = made("TanhNormal in limits"), observations()
    for fast in (True, False):
        assert torch.equal(from_actor(actor, fast=fast).mean(x.double()), torchrl_says(actor, x))


def test_float64_actor():
    actor, x = made("TanhNormal in limits per feature").double(), observations().double()
    for fast in (True, False):
        assert torch.equal(from_actor(actor, fast=fast).mean(x), torchrl_says(actor, x))


def test_precision_may_change_after_the_policy_was_made():
    actor, x = made("TanhNormal"), observations()
    policies = [from_actor(actor, fast=fast) for fast in (True, False)]
    actor.double()
    for policy in policies:
        assert torch.equal(policy.mean(x), torchrl_says(actor, x.double()))


@every_actor
def test_weights_are_read_when_they_are_needed(name):
    actor, x = made(name), observations()
    policy = from_actor(actor)
    before = policy.mean(x, context())
    with torch.no_grad():
        for p in actor.parameters():
            p.mul_(1.1).add_(0.1)
    assert not torch.equal(policy.mean(x, context()), before)
    same(policy.mean(x, context()), torchrl_says(actor, x), name)


def test_saturated_actions_keep_a_gradient():
    actor = made("TanhNormal")
    with torch.no_grad():
        for p in actor.parameters():
            p.mul_(5.0)
    x = observations()
    leaf = x.clone().requires_grad_()
    torchrl_says(actor, leaf).sum().backward()
    score = from_actor(actor)
    score = score.then(score.head.mean, lambda action: action.sum(-1))
    assert torch.equal(gradient(score, x), leaf.grad)


def test_no_action_is_sampled_even_while_exploring():
    state = torch.get_rng_state()
    for name in ACTORS:
        policy = from_actor(made(name), fast=False)
        torch.set_rng_state(state)
        with set_exploration_type(ExplorationType.RANDOM):
            policy.mean(observations(), context())
        assert torch.equal(torch.get_rng_state(), state), name


def test_masked_actions_have_no_probability():
    x = observations()
    for actor in (masked(), greedy("action_mask")):
        for fast in (True, False):
            policy = from_actor(actor, fast=fast)
            probs = policy.mean(x, context())
            assert (probs[~context()["action_mask"]] == 0).all()
            # 0 log 0 is 0 here.
            assert policy.law(x, context()).kl(policy.law(x + 0.1, context())).isfinite().all()


def test_a_missing_mask_is_an_error():
    for actor in (masked(), greedy("action_mask")):
        with pytest.raises(KeyError, match=r"no 'action_mask'.*Fix"):
            from_actor(actor).mean(observations())


def test_distributional_action_values_are_expected_ones():
    from torchrl.modules import DistributionalQValueActor

    class Atoms(nn.Module):
        def __init__(self):
            super().__init__()
            self.net = mlp(4 * ACTIONS)

        def forward(self, x):
            return self.net(x).unflatten(-1, (4, ACTIONS)).log_softmax(-2)

    support = torch.tensor([-1.0, 0.0, 1.0, 3.0])
    actor = DistributionalQValueActor(Atoms(), in_keys=["observation"], support=support, action_space="categorical")
    x = observations()
    data = actor(TensorDict({"observation": x}, [7]))
    for fast in (True, False):
        policy = from_actor(actor, fast=fast)
        assert torch.equal(policy.mean(x).argmax(-1), data["action"])


def recurrent(layer, states):
    torch.manual_seed(0)
    memory = layer(
        input_size=FEATURES,
        hidden_size=8,
        in_keys=["observation", *states],
        out_keys=["embedding", *(("next", state) for state in states)],
    )
    head = TensorDictModule(mlp(ACTIONS, inputs=8), ["embedding"], ["action"])
    return TensorDictSequential(memory, head)


@pytest.mark.parametrize(("layer", "states"), [(GRUModule, ["h"]), (LSTMModule, ["h", "c"])])
class TestRecurrent:
    def context(self, states):
        generator = torch.Generator().manual_seed(3)
        hidden = {name: torch.randn(7, 1, 8, generator=generator) for name in states}
        return {**hidden, "is_init": torch.tensor([[True], *[[False]] * 6])}

    def test_numbers_of_torchrl(self, layer, states):
        actor, x, given = recurrent(layer, states), observations(), self.context(states)
        expected = actor(TensorDict({"observation": x, **given}, [7]))["action"]
        assert torch.equal(from_actor(actor).mean(x, given), expected)

    def test_the_state_matters_and_stays(self, layer, states):
        actor, x, given = recurrent(layer, states), observations(), self.context(states)
        before = {name: value.clone() for name, value in given.items()}
        out = from_actor(actor).mean(x, given)
        other = from_actor(actor).mean(x, {**given, "h": given["h"] + 1})
        assert torch.equal(out[0], other[0])  # the first step of an episode forgets
        assert not torch.equal(out[1:], other[1:])
        assert all(torch.equal(given[name], before[name]) for name in given)

    def test_gradient(self, layer, states):
        actor, x, given = recurrent(layer, states), observations(), self.context(states)
        grad = gradient(LowValue(actor, lambda s, a: a.sum(-1))(x, given), x)
        assert (grad != 0).any(1).all()

    def test_a_missing_state_is_an_error(self, layer, states):
        given = self.context(states)
        del given["h"]
        with pytest.raises(KeyError, match=r"no 'h'.*Fix: put the transform after InitTracker"):
            from_actor(recurrent(layer, states)).mean(observations(), given)


class TestAgents:
    def actor(self, *, share=False):
        torch.manual_seed(0)
        net = MultiAgentMLP(FEATURES, ACTIONS, 4, centralized=False, share_params=share, depth=1, num_cells=8)
        return TensorDictModule(net, [("agents", "observation")], [("agents", "action")])

    def test_numbers_of_torchrl(self):
        actor, x = self.actor(), observations(12)
        agents = TensorDict({"observation": x.unflatten(0, (3, 4))}, [3, 4])
        expected = actor(TensorDict({"agents": agents}, [3]))["agents", "action"]
        assert torch.equal(from_actor(actor, agents=4).mean(x), expected.flatten(0, 1))

    def test_some_agents_only(self):
        policy, x = from_actor(self.actor(), agents=4), observations(12)
        index = torch.arange(4).repeat(3)
        everyone = policy.mean(x, {"agent_index": index})
        for rows in ([1, 2, 5], [0], [3, 7, 11, 0, 1], list(range(12))):
            some = policy.mean(x[rows], {"agent_index": index[rows]})
            torch.testing.assert_close(some, everyone[rows])

    def test_gradient_of_some_agents(self):
        policy, x = from_actor(self.actor(), agents=4), observations(12)
        index = torch.arange(4).repeat(3)
        score = policy.then(policy.head.mean, lambda action: action.sum(-1), {"agent_index": index})
        rows = [1, 6, 7]
        some = policy.then(policy.head.mean, lambda action: action.sum(-1), {"agent_index": index[rows]})
        torch.testing.assert_close(gradient(some, x[rows]), gradient(score, x)[rows])


class TestKeys:
    def test_the_observation_among_others(self):
        actor = normal()
        actor.in_keys = ["observation", "clean_observation"]
        x = observations()
        assert torch.equal(from_actor(actor).mean(x), torchrl_says(actor, x))

    def test_an_unclear_observation_is_an_error(self):
        actor = TensorDictModule(lambda a, b: a + b, ["left", "right"], ["action"])
        with pytest.raises(ValueError, match=r"`key` must say which.*Fix: key="):
            from_actor(actor)
        x = observations()
        assert torch.equal(from_actor(actor, key="left").mean(x, {"right": x}), 2 * x)

    def test_an_unknown_observation_is_an_error(self):
        with pytest.raises(ValueError, match="`key` must be one of the actor's in_keys"):
            from_actor(normal(), key="pixels")


class TestNotPlain:
    """What looks like a plain network, but does more, is run as it is."""

    def agrees(self, actor):
        x = observations()
        assert torch.equal(from_actor(actor).mean(x), torchrl_says(actor, x))

    def test_forward_hook_inside(self):
        actor = normal()
        actor[0].module[0][0].register_forward_hook(lambda module, inputs, out: out + 1)
        self.agrees(actor)

    def test_forward_hook_on_the_tensordict_module(self):
        actor = normal()

        def hook(module, inputs, out):
            out["loc"] = out["loc"] + 1
            return out

        actor[0].register_forward_hook(hook)
        self.agrees(actor)

    def test_forward_of_its_own(self):
        actor = normal()
        layer = actor[0].module[0][0]
        layer.forward = lambda x: nn.functional.linear(x, layer.weight) - 1
        self.agrees(actor)

    def test_spectral_norm(self):
        actor = normal()
        nn.utils.parametrizations.spectral_norm(actor[0].module[0][0])
        actor.eval()
        self.agrees(actor)

    def test_subclass_of_linear(self):
        class Doubled(nn.Linear):
            def forward(self, x):
                return 2 * super().forward(x)

        actor = normal()
        actor[0].module[0][0] = Doubled(FEATURES, 16)
        self.agrees(actor)

    def test_convolutions_after_a_linear_layer(self):
        from torchrl.modules import ConvNet

        torch.manual_seed(0)
        net = nn.Sequential(
            nn.Linear(FEATURES, 64), nn.Unflatten(-1, (1, 8, 8)), ConvNet(1, 1, [4], [3]), nn.LazyLinear(ACTIONS)
        )
        actor = TensorDictModule(net, ["observation"], ["action"])
        x = observations()
        expected = actor(TensorDict({"observation": x}, [7]))["action"]
        assert torch.equal(from_actor(actor).mean(x), expected)


def test_shared_trunk_is_one_chain():
    assert from_actor(trunk()).acting is not None
