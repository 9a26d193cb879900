"""V(s, s~): the numbers of TorchRL's SAC target, at an observation of our choice."""

import pytest
import torch
from tensordict import TensorDict
from tensordict.nn import NormalParamExtractor, TensorDictModule
from torch import nn
from torchrl.modules import MLP, ProbabilisticActor, TanhNormal, ValueOperator
from torchrl.objectives import DDPGLoss, SACLoss

from advwrap import Linear, Streams
from advwrap.sets.coefficient import present
from advwrap.targets import LossTemperature, SoftValue
from advwrap.victims import Categorical, Gaussian, TabularCritic
from advwrap.victims.tensordict_critic import LossCritic

FEATURES, ACTIONS, ROWS = 4, 2, 6


def actor():
    net = nn.Sequential(MLP(FEATURES, 2 * ACTIONS, num_cells=[16]), NormalParamExtractor())
    body = TensorDictModule(net, ["observation"], ["loc", "scale"])
    return ProbabilisticActor(body, ["loc", "scale"], distribution_class=TanhNormal, return_log_prob=True)


def sac(**options):
    torch.manual_seed(0)
    critic = ValueOperator(MLP(FEATURES + ACTIONS, 1, num_cells=[16]), in_keys=["clean_observation", "action"])
    return SACLoss(actor(), critic, num_qvalue_nets=2, target_entropy=-2.0, **options)


def states():
    generator = torch.Generator().manual_seed(0)
    return torch.randn(ROWS, FEATURES, generator=generator), torch.randn(ROWS, FEATURES, generator=generator)


def streams():
    return Streams.seeded(range(ROWS))


def by_torchrl(loss, clean, seen, normal):
    """min_i Q_i(s, a) - alpha log pi(a | s~) with TorchRL's own distribution and critics."""
    with torch.no_grad():
        law = loss.actor_network.get_dist(TensorDict({"observation": seen}, [ROWS]))
        base = law.base_dist.base_dist if hasattr(law.base_dist, "base_dist") else law.base_dist
        action = (base.loc + base.scale * normal(base.loc)).tanh()
        data = TensorDict({"clean_observation": clean, "action": action}, [ROWS])
        return _twins(loss, data).amin(0) - loss.log_alpha.exp() * law.log_prob(action)


def _twins(loss, data):
    def value(params):
        with params.to_module(loss.qvalue_network):
            return loss.qvalue_network(data.copy())["state_action_value"].squeeze(-1)

    return torch.stack([value(params) for params in loss.qvalue_network_params.data.unbind(0)])


@pytest.mark.parametrize("alpha", [0.3, 2.0])
def test_one_action_is_the_target_of_sac(alpha):
    loss, (clean, seen) = sac(alpha_init=alpha), states()
    ours = SoftValue(loss.actor_network, loss)(clean, seen, streams().normal)
    torch.testing.assert_close(ours, by_torchrl(loss, clean, seen, streams().normal), rtol=1e-4, atol=1e-4)


def test_entropy_is_read_live():
    loss, (clean, seen) = sac(), states()
    soft = SoftValue(loss.actor_network, loss)
    before = soft(clean, seen, streams().normal)
    with torch.no_grad():
        loss.log_alpha.fill_(2.0)
    after = soft(clean, seen, streams().normal)
    _, log_prob = soft.policy.draw(seen, streams().normal)
    torch.testing.assert_close(after - before, -(torch.tensor(2.0).exp() - 1) * log_prob, rtol=1e-4, atol=1e-4)
    assert not present(soft.entropy).requires_grad


def test_where_the_entropy_comes_from():
    loss = sac(fixed_alpha=True, alpha_init=0.5)
    assert float(present(SoftValue(loss.actor_network, loss).entropy)) == pytest.approx(0.5)
    # The adapter of the target critics belongs to the same loss.
    target = LossCritic(loss, target=False)
    assert isinstance(SoftValue(loss.actor_network, target).entropy, LossTemperature)
    assert SoftValue(loss.actor_network, loss, entropy=0.0).entropy == 0.0
    assert SoftValue(nn.Identity(), lambda obs, act: act.sum(-1)).entropy == 0.0
    policy = TensorDictModule(nn.Linear(FEATURES, ACTIONS), ["observation"], ["action"])
    critic = ValueOperator(MLP(FEATURES + ACTIONS, 1, num_cells=[8]), in_keys=["observation", "action"])
    assert SoftValue(policy, DDPGLoss(policy, critic, delay_value=False)).entropy == 0.0


def test_a_schedule_of_the_entropy():
    schedule = Linear(0.0, 1.0, steps=2)
    victim = Gaussian(lambda obs: (obs, 1 + 0 * obs))
    soft = SoftValue(victim, lambda obs, act: 0 * act.sum(-1), entropy=schedule)
    x = torch.zeros(2, 3)
    zero = soft(x, x, torch.zeros_like)
    schedule.advance(2)
    torch.testing.assert_close(zero, torch.zeros(2))
    torch.testing.assert_close(soft(x, x, torch.zeros_like), torch.full((2,), 1.5 * 1.8378770664))


class TestActions:
    victim = Gaussian(lambda obs: (obs, 1 + 0 * obs))

    def test_pairs_have_opposite_noise(self):
        """So a value that is linear in the action has no error at all."""
        soft = SoftValue(self.victim, lambda obs, act: act.sum(-1), actions=2)
        seen = torch.tensor([[1.0, 2.0], [3.0, 4.0]])
        torch.testing.assert_close(soft(seen, seen, torch.randn_like), seen.sum(-1))

    def test_pairs_are_drawn_anew(self):
        draws = []

        def normal(like):
            draws.append(torch.randn_like(like))
            return draws[-1]

        SoftValue(self.victim, lambda obs, act: act.sum(-1), actions=5)(*[torch.zeros(2, 3)] * 2, normal)
        assert len(draws) == 3
        assert not torch.equal(draws[0], draws[1])

    def test_more_actions_average(self):
        """E[a^2] = 1 for a standard normal action, with a smaller error for more of them."""
        x = torch.zeros(2000, 1)

        def error(actions):
            soft = SoftValue(self.victim, lambda obs, act: act.square().sum(-1), actions=actions)
            return float((soft(x, x, Streams.seeded(range(2000)).normal) - 1).std())

        assert error(8) < 0.6 * error(2)

    def test_no_actions_is_the_mean_action_without_entropy(self):
        loss, (clean, seen) = sac(), states()

        def fail(like):
            raise AssertionError

        ours = SoftValue(loss.actor_network, loss, actions=0)(clean, seen, fail)
        action = SoftValue(loss.actor_network, loss).policy.mean(seen)
        data = TensorDict({"clean_observation": clean, "action": action}, [ROWS])
        torch.testing.assert_close(ours, _twins(loss, data).amin(0), rtol=1e-5, atol=1e-6)

    def test_exact_policies_are_evaluated_once(self):
        calls = []

        def critic(observation, action):
            calls.append(1)
            return action.sum(-1)

        SoftValue(nn.Identity(), critic, actions=4)(*[torch.zeros(2, 3)] * 2, torch.randn_like)
        assert len(calls) == 1


def test_discrete_policies_are_exact():
    logits, table = torch.tensor([[0.0, 1.0, 2.0]]), torch.tensor([[1.0, 0.0, -1.0]])
    victim = Categorical(lambda obs: logits.expand(len(obs), 3))
    critic = TabularCritic(lambda obs: table.expand(len(obs), 3))
    value = SoftValue(victim, critic, entropy=0.5)(*[torch.zeros(2, 4)] * 2, torch.randn_like)
    p = logits.softmax(-1)
    torch.testing.assert_close(value, ((p * table).sum(-1) - 0.5 * (p * p.log()).sum(-1)).expand(2))


def test_twins_are_compared_action_by_action():
    """As `DiscreteSACLoss` does: of two critics that disagree everywhere nothing is left."""
    victim = Categorical(lambda obs: torch.zeros(len(obs), 2))
    twins = [lambda o, a: a[:, 0], lambda o, a: a[:, 1]]
    x = torch.zeros(3, 1)
    assert SoftValue(victim, twins, entropy=0.0)(x, x, torch.randn_like).tolist() == [0.0] * 3
    assert SoftValue(victim, twins, actions=0)(x, x, torch.randn_like).tolist() == [0.0] * 3
    assert SoftValue(victim, twins, entropy=0.0, reduce=torch.mean)(x, x, torch.randn_like).tolist() == [0.5] * 3


def test_other_reductions():
    soft = SoftValue(nn.Identity(), [lambda o, a: a[:, 0], lambda o, a: a[:, 1]], reduce=torch.mean)
    x = torch.tensor([[1.0, 3.0]])
    assert soft(x, x, torch.randn_like).tolist() == [2.0]
    smaller = SoftValue(nn.Identity(), [lambda o, a: a[:, 0], lambda o, a: a[:, 1]])
    assert smaller(x, x, torch.randn_like).tolist() == [1.0]
