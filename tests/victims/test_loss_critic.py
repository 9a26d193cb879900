"""The critics of TorchRL losses: the live ones, with their bits, on both paths."""

import pytest
import torch
from tensordict import TensorDict
from tensordict.nn import TensorDictModule, TensorDictSequential
from torch import nn
from torchrl.modules import MLP, ActorValueOperator, QValueActor, ValueOperator
from torchrl.objectives import ClipPPOLoss, DDPGLoss, DQNLoss, SACLoss, SoftUpdate, TD3Loss

from advwrap import FGSM, PGD, LinfBall, LowValue
from advwrap.attacks.ascent import gradient
from advwrap.victims import as_critic
from advwrap.victims.tensordict_critic import LossCritic, OperatorCritic
from tests.victims.torchrl_actors import ACTIONS, FEATURES, categorical, delta, mlp, normal, observations


def q_network(activation=nn.ReLU):
    return ValueOperator(mlp(1, activation, FEATURES + ACTIONS), in_keys=["observation", "action"])


def updated(loss):
    """TorchRL warns where nothing updates the targets."""
    SoftUpdate(loss, tau=0.1)
    return loss


def sac():
    return updated(SACLoss(normal(), q_network(), num_qvalue_nets=2, target_entropy=-3.0))


def td3():
    bounds = {"low": -torch.ones(ACTIONS), "high": torch.ones(ACTIONS)}
    options = {"num_qvalue_nets": 2, "bounds": (bounds["low"], bounds["high"])}
    return updated(TD3Loss(delta(), q_network(nn.Tanh), **options))


def ddpg():
    return updated(DDPGLoss(delta(), q_network(), delay_actor=True, delay_value=True))


def ppo():
    return ClipPPOLoss(normal(), ValueOperator(mlp(1), ["observation"]))


def other_activation():
    return updated(SACLoss(normal(), q_network(nn.SiLU), num_qvalue_nets=2))


def trunk():
    common = TensorDictModule(mlp(8), ["observation"], ["hidden"])
    head = TensorDictModule(nn.Linear(8, ACTIONS), ["hidden"], ["action"])
    both = ActorValueOperator(common, head, ValueOperator(nn.Linear(8, 1), ["hidden"]))
    return ClipPPOLoss(normal(), both.get_value_operator())


LOSSES = {f.__name__: f for f in (sac, td3, ddpg, ppo, other_activation, trunk)}
STACKED = {"sac", "td3", "ddpg", "ppo"}
every_loss = pytest.mark.parametrize("name", LOSSES)


def made(name):
    torch.manual_seed(0)
    return LOSSES[name]()


def inputs(name):
    x = observations()
    action = torch.randn(7, ACTIONS, generator=torch.Generator().manual_seed(2)).tanh()
    return (x,) if name in ("ppo", "trunk") else (x, action)


def batch():
    x, action = inputs("sac")
    following = {"observation": x + 0.1, "reward": torch.ones(7, 1)}
    following |= {name: torch.zeros(7, 1, dtype=torch.bool) for name in ("done", "terminated")}
    return TensorDict({"observation": x, "action": action, "next": TensorDict(following, [7])}, [7])


def by_hand(loss, name, *args, target=False):
    """Each member's network with its own parameters, one after the other."""
    network = next(n for n in ("qvalue_network", "value_network", "critic_network") if hasattr(loss, f"{n}_params"))
    params = getattr(loss, f"{'target_' if target else ''}{network}_params").data
    template = getattr(loss, network)
    keys = ["observation", "action"][: len(args)]
    values = []
    for p in params.unbind(0) if params.batch_size else [params]:
        with p.to_module(template):
            data = template(TensorDict(dict(zip(keys, args, strict=True)), [args[0].shape[0]]))
            values.append(data.get("state_action_value" if len(args) == 2 else "state_value").squeeze(-1))
    return torch.stack(values)


@every_loss
def test_numbers_of_the_loss(name):
    loss, args = made(name), inputs(name)
    for fast in (True, False):
        values = LossCritic(loss, fast=fast)(*args)
        torch.testing.assert_close(values, by_hand(loss, name, *args), rtol=1e-5, atol=1e-6)


@every_loss
def test_both_paths_give_the_same_bits(name):
    loss, args = made(name), inputs(name)
    fast, slow = (LossCritic(loss, fast=fast)(*args) for fast in (True, False))
    assert torch.equal(fast, slow)


@every_loss
def test_a_path_without_tensordicts_is_found(name):
    assert (LossCritic(made(name)).chain is not None) == (name in STACKED)


@every_loss
@pytest.mark.parametrize("fast", [False, True])
def test_members_apart(name, fast):
    """Each with rows of its own, and each alone: the numbers of the whole ensemble."""
    loss, args = made(name), inputs(name)
    critic = LossCritic(loss, fast=fast)
    n = critic.members
    rows = [torch.cat([arg + member for member in range(n)]) for arg in args]
    expected = torch.cat([critic(*(arg + member for arg in args))[member] for member in range(n)])
    torch.testing.assert_close(critic.apart(*rows), expected, rtol=1e-5, atol=1e-6)
    for member in range(n):
        alone = LossCritic(loss, member=member, fast=fast)
        assert alone.members == 1
        torch.testing.assert_close(alone(*args), critic(*args)[[member]], rtol=1e-5, atol=1e-6)


@every_loss
def test_both_paths_give_the_same_gradient(name):
    loss, args = made(name), inputs(name)
    grads = []
    for fast in (True, False):
        leaf = args[-1].clone().requires_grad_()
        LossCritic(loss, fast=fast)(*args[:-1], leaf).sum().backward()
        grads.append(leaf.grad)
    torch.testing.assert_close(*grads, rtol=1e-5, atol=1e-6)


def train(loss, steps=3):
    optimiser = torch.optim.Adam(loss.parameters(), lr=0.05)
    for _ in range(steps):
        out = loss(batch())
        sum(value for key, value in out.items() if key.startswith("loss")).backward()
        optimiser.step()
        optimiser.zero_grad()


@pytest.mark.parametrize("name", ["sac", "td3", "ddpg"])
class TestLive:
    def test_updates_are_followed_and_the_template_is_not_read(self, name):
        loss, args = made(name), inputs(name)
        critics = [LossCritic(loss, fast=fast) for fast in (True, False)]
        before = critics[0](*args)
        train(loss)
        for critic in critics:
            assert not torch.allclose(critic(*args), before)
            torch.testing.assert_close(critic(*args), by_hand(loss, name, *args))

    def test_a_loaded_state_is_followed(self, name):
        loss, args = made(name), inputs(name)
        loss.make_value_estimator()
        critics, before = [LossCritic(loss, fast=fast) for fast in (True, False)], LossCritic(loss)(*args)
        saved = {key: value.clone() for key, value in loss.state_dict().items()}
        train(loss)
        loss.load_state_dict(saved)
        for critic in critics:
            torch.testing.assert_close(critic(*args), before)

    def test_a_change_of_precision_is_followed(self, name):
        loss, args = made(name), inputs(name)
        critics = [LossCritic(loss, fast=fast) for fast in (True, False)]
        loss.to(torch.float64)
        wide = [x.double() for x in args]
        for critic in critics:
            values = critic(*args)
            assert values.dtype == torch.float64
            torch.testing.assert_close(values, by_hand(loss, name, *wide))

    def test_the_attack_follows(self, name):
        loss, (x, _) = made(name), inputs(name)
        attack = FGSM(LowValue(lambda obs: obs[:, :ACTIONS].tanh(), loss), within=LinfBall(0.1))
        before = attack(x)
        with torch.no_grad():
            for p in loss.parameters():
                p.neg_()
        assert not torch.equal(attack(x), before)

    def test_the_loss_learns_the_same_whether_it_is_attacked_or_not(self, name):
        results = []
        for attacked in (False, True):
            loss = made(name)
            attack = PGD(LowValue(loss.actor_network, loss), within=LinfBall(0.1), steps=3)
            torch.manual_seed(1)
            for _ in range(2):
                if attacked:
                    attack(batch()["observation"])
                train(loss, steps=1)
            results.append(torch.cat([p.detach().flatten() for p in loss.parameters()]))
        assert torch.equal(*results)


def test_the_template_of_twin_critics_is_never_trained():
    """Why the template must not be attacked: TorchRL leaves it as it was."""
    torch.manual_seed(0)
    template = q_network()
    loss, args = SACLoss(normal(), template, num_qvalue_nets=2, target_entropy=-3.0), inputs("sac")
    updated(loss)
    before = as_critic(template)(*args)
    train(loss)
    assert torch.equal(as_critic(template)(*args), before)
    assert not torch.allclose(as_critic(loss)(*args), before)


def test_the_target_network():
    loss, args = made("sac"), inputs("sac")
    online, target = LossCritic(loss), LossCritic(loss, target=True)
    train(loss)
    assert not torch.allclose(online(*args), target(*args))
    torch.testing.assert_close(target(*args), by_hand(loss, "sac", *args, target=True))
    SoftUpdate(loss, tau=0.1).step()
    torch.testing.assert_close(target(*args), by_hand(loss, "sac", *args, target=True))


def test_the_table_of_a_dqn():
    torch.manual_seed(0)
    actor = QValueActor(mlp(ACTIONS), in_keys=["observation"], action_space="categorical")
    loss, x = updated(DQNLoss(actor, action_space="categorical", delay_value=True)), observations()
    index = torch.tensor([0, 1, 2, 0, 1, 2, 0])
    table = actor[0].module(x)
    for fast in (True, False):
        critic = LossCritic(loss, fast=fast)
        assert torch.equal(critic(x, index), table.gather(1, index[:, None]).T)
        assert torch.equal(critic(x, nn.functional.one_hot(index, ACTIONS)), table.gather(1, index[:, None]).T)
        assert torch.equal(critic(x)[0], table.amax(1))


def test_an_exception_leaves_the_template_whole():
    loss = made("other_activation")
    names = [name for name, _ in loss.qvalue_network.named_parameters()]
    before = {name: p.clone() for name, p in loss.qvalue_network.named_parameters()}
    with pytest.raises(RuntimeError):
        LossCritic(loss)(torch.zeros(2, FEATURES + 1), torch.zeros(2, ACTIONS))
    assert [name for name, _ in loss.qvalue_network.named_parameters()] == names
    assert all(torch.equal(p, before[name]) for name, p in loss.qvalue_network.named_parameters())


@pytest.mark.filterwarnings("ignore:The name target_actor_network_params")
def test_a_loss_without_critic_is_an_error():
    from torchrl.objectives import BCLoss

    with pytest.raises(ValueError, match=r"has no critic.*Fix: pass the critic module itself"):
        LossCritic(BCLoss(normal()))


class TestOperator:
    def test_both_paths(self):
        torch.manual_seed(0)
        operator, (x, action) = q_network(), inputs("sac")
        data = TensorDict({"observation": x, "action": action}, [7])
        expected = operator(data)["state_action_value"].T
        for fast in (True, False):
            assert torch.equal(OperatorCritic(operator, fast=fast)(x, action), expected)

    def test_further_keys_come_from_the_context(self):
        torch.manual_seed(0)
        net = MLP(FEATURES + 2 + ACTIONS, 1, num_cells=[8])
        operator = ValueOperator(net, in_keys=["goal", "clean_observation", "action"])
        x, action = inputs("sac")
        goal = torch.randn(7, 2)
        values = as_critic(operator)(x, action, {"goal": goal})
        assert torch.equal(values, net(goal, x, action).T)

    def test_a_missing_key_is_an_error(self):
        operator = ValueOperator(MLP(FEATURES + 2, 1, num_cells=[8]), in_keys=["observation", "goal"])
        with pytest.raises(KeyError, match="no 'goal'"):
            as_critic(operator)(observations())

    def test_the_executed_action_is_an_action(self):
        torch.manual_seed(0)
        net = mlp(1, inputs=FEATURES + ACTIONS)
        operator = ValueOperator(net, in_keys=["clean_observation", "executed_action"])
        x, action = inputs("sac")
        assert torch.equal(as_critic(operator)(x, action), net(x, action).T)

    def test_float64_inputs(self):
        torch.manual_seed(0)
        operator, (x, action) = q_network(), inputs("sac")
        for fast in (True, False):
            values = OperatorCritic(operator, fast=fast)(x.double(), action.double())
            assert torch.equal(values, OperatorCritic(operator)(x, action))

    def test_sequence(self):
        torch.manual_seed(0)
        first = TensorDictModule(mlp(8), ["observation"], ["hidden"])
        operator = TensorDictSequential(first, ValueOperator(nn.Linear(8, 1), ["hidden"]))
        expected = operator(TensorDict({"observation": observations()}, [7]))["state_value"].T
        assert torch.equal(as_critic(operator)(observations()), expected)

    def test_value_of_the_perturbed_observation_has_a_gradient(self):
        operator = ValueOperator(MLP(FEATURES, 1, num_cells=[8]), in_keys=["state"])
        score = LowValue(value=operator)(observations(), {"state": observations()})
        assert (gradient(score, observations()) != 0).any()


def test_a_discrete_policy_with_its_loss():
    torch.manual_seed(0)
    actor, x = categorical(), observations()
    attack = PGD(LowValue(actor, lambda s, p: (p * torch.tensor([1.0, 0.0, -1.0])).sum(-1)), within=LinfBall(0.5))
    worse = attack(x, generator=torch.Generator().manual_seed(0))
    score = attack.objective(x)
    assert (score(worse) >= score(x)).all()
