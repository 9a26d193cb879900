"""Unmodified TorchRL losses on perturbed batches: each term sees the observation that it should."""

import pytest
import torch
from tensordict import TensorDict
from tensordict.nn import NormalParamExtractor, TensorDictModule
from torch import nn
from torchrl.modules import (
    MLP,
    ProbabilisticActor,
    QMixer,
    QValueModule,
    SafeSequential,
    TanhDelta,
    TanhNormal,
    ValueOperator,
)
from torchrl.objectives import ClipPPOLoss, DDPGLoss, QMixerLoss, SACLoss, SoftUpdate, TD3Loss
from torchrl.objectives.value import GAE

from advwrap import PGD, ActionShift, LinfBall, LowValue, RandomVertex
from advwrap.modules import Perturb, reads_also

FEATURES, ACTIONS, ROWS = 4, 2, 8
CLEAN = "clean_observation"
PLACES = ["observation", CLEAN, ("next", "observation"), ("next", CLEAN)]


def mlp(outputs, inputs=FEATURES):
    return MLP(inputs, outputs, num_cells=[16, 16], activation_class=nn.Tanh)


def gaussian():
    net = nn.Sequential(mlp(2 * ACTIONS), NormalParamExtractor())
    body = TensorDictModule(net, ["observation"], ["loc", "scale"])
    return ProbabilisticActor(body, ["loc", "scale"], distribution_class=TanhNormal, return_log_prob=True)


def deterministic():
    body = TensorDictModule(mlp(ACTIONS), ["observation"], ["param"])
    return ProbabilisticActor(body, ["param"], distribution_class=TanhDelta)


def q():
    return ValueOperator(mlp(1, FEATURES + ACTIONS), in_keys=[CLEAN, "action"])


def batch():
    generator = torch.Generator().manual_seed(0)

    def draw(*shape):
        return torch.randn(*shape, generator=generator)

    flags = {name: torch.zeros(ROWS, 1, dtype=torch.bool) for name in ("done", "terminated")}
    following = {"observation": draw(ROWS, FEATURES), "reward": draw(ROWS, 1), **flags}
    data = {"observation": draw(ROWS, FEATURES), "action": draw(ROWS, ACTIONS).tanh(), **flags}
    return TensorDict({**data, "next": TensorDict(following, [ROWS])}, [ROWS])


def updated(loss):
    SoftUpdate(loss, tau=0.1)
    return loss


def sac():
    return updated(SACLoss(gaussian(), q(), num_qvalue_nets=2, target_entropy=-2.0))


def ddpg():
    return updated(DDPGLoss(deterministic(), q(), delay_actor=True, delay_value=True))


def td3():
    limits = -torch.ones(ACTIONS), torch.ones(ACTIONS)
    return updated(TD3Loss(reads_also(deterministic(), CLEAN), q(), num_qvalue_nets=2, bounds=limits))


def sensitive(loss, data, term):
    """Which of the four places the term depends on."""
    found = set()
    values = []
    for place in [None, *PLACES]:
        changed = data.clone()
        if place is not None:
            changed[place] = changed[place] + 0.5
        torch.manual_seed(0)
        values.append(loss(changed)[term].detach())
        if place is not None and not torch.equal(values[-1], values[0]):
            found.add(place)
    return found


ACTOR = {"observation", CLEAN}
CRITIC = {CLEAN, ("next", "observation"), ("next", CLEAN)}


@pytest.mark.parametrize(
    ("make", "terms"),
    [
        (sac, {"loss_actor": ACTOR, "loss_qvalue": CRITIC}),
        (ddpg, {"loss_actor": ACTOR, "loss_value": CRITIC}),
        (td3, {"loss_actor": ACTOR, "loss_qvalue": CRITIC}),
    ],
    ids=["SAC", "DDPG", "TD3"],
)
class TestActorCritic:
    """The actor sees the perturbed observation, critics the true one, of this state and of the next."""

    def test_who_sees_what(self, make, terms):
        torch.manual_seed(0)
        loss = make()
        data = Perturb(RandomVertex(LinfBall(0.1)), seed=0)(batch())
        for term, places in terms.items():
            assert sensitive(loss, data, term) == places, term

    def test_training_under_attack(self, make, terms):
        torch.manual_seed(0)
        loss = make()
        perturb = Perturb(PGD(LowValue(loss.actor_network, loss), within=LinfBall(0.2)), seed=0)
        optimiser = torch.optim.Adam(loss.parameters(), lr=0.01)
        for _ in range(3):
            out = loss(perturb(batch()))
            total = sum(value for key, value in out.items() if key.startswith("loss"))
            assert total.isfinite()
            optimiser.zero_grad()
            total.backward()
            optimiser.step()

    def test_the_gradient_is_that_of_the_perturbed_batch(self, make, terms):
        """Nothing of the attack's search is in the gradient of the loss."""
        torch.manual_seed(0)
        loss = make()
        data = Perturb(PGD(LowValue(loss.actor_network, loss), within=LinfBall(0.2)), seed=0)(batch())
        grads = []
        for given in (data, data.clone().detach().apply(torch.clone)):
            loss.zero_grad()
            torch.manual_seed(0)
            loss(given)[next(iter(terms))].backward()
            grads.append([p.grad.clone() for p in loss.parameters() if p.grad is not None])
        assert all(torch.equal(a, b) for a, b in zip(*grads, strict=True))


def test_td3_must_be_told_of_the_clean_key():
    limits = -torch.ones(ACTIONS), torch.ones(ACTIONS)
    loss = updated(TD3Loss(deterministic(), q(), num_qvalue_nets=2, bounds=limits))
    with pytest.raises(KeyError, match=CLEAN):
        loss(Perturb(RandomVertex(LinfBall(0.1)))(batch()))


def test_sac_called_with_keyword_arguments_must_be_told_too():
    torch.manual_seed(0)
    loss = updated(SACLoss(reads_also(gaussian(), CLEAN), q(), num_qvalue_nets=2, target_entropy=-2.0))
    data = Perturb(RandomVertex(LinfBall(0.1)))(batch())
    keys = {key if isinstance(key, str) else "_".join(key): data[key] for key in [*PLACES, "action"]}
    keys |= {f"next_{key}": data["next", key] for key in ("reward", "done", "terminated")}
    assert all(torch.as_tensor(value).isfinite().all() for value in loss(**keys))


class TestPPO:
    """The perturbed observation is stored at collection; what was collected is on policy."""

    def parts(self):
        torch.manual_seed(0)
        actor = gaussian()
        critic = ValueOperator(mlp(1), in_keys=[CLEAN])
        return actor, critic, GAE(gamma=0.9, lmbda=0.9, value_network=critic), ClipPPOLoss(actor, critic)

    def collected(self, actor):
        data = Perturb(PGD(ActionShift(actor), within=LinfBall(0.2)), seed=0)(batch())
        with torch.no_grad():
            data = actor(data)
        data["next", "reward"] = torch.randn(ROWS, 1)
        return data.unsqueeze(0)

    def test_on_policy(self):
        actor, _, gae, loss = self.parts()
        out = loss(gae(self.collected(actor)))
        assert out["kl_approx"].abs().max() < 1e-6
        assert (out["ESS"] - 1).abs().max() < 1e-5

    def test_who_sees_what(self):
        actor, _, gae, loss = self.parts()
        data = gae(self.collected(actor))
        assert sensitive(loss, data, "loss_objective") == {"observation"}
        assert sensitive(loss, data, "loss_critic") == {CLEAN}

    def test_advantages_are_those_of_the_true_states(self):
        actor, _, gae, _ = self.parts()
        data = self.collected(actor)
        expected = gae(data.clone())["advantage"]
        for place in ("observation", ("next", "observation")):
            changed = data.clone()
            changed[place] = changed[place] + 1
            assert torch.equal(gae(changed)["advantage"], expected)


class TestQMixer:
    """Agents see perturbed observations; the mixer sees the true state, which is another entry."""

    agents = 3

    def loss(self):
        torch.manual_seed(0)
        net = TensorDictModule(mlp(ACTIONS), [("agents", "observation")], [("agents", "action_value")])
        choose = QValueModule(
            action_value_key=("agents", "action_value"),
            out_keys=[("agents", name) for name in ("action", "action_value", "chosen_action_value")],
            action_space="categorical",
        )
        mixer = TensorDictModule(
            QMixer(state_shape=(5,), mixing_embed_dim=8, n_agents=self.agents, device="cpu"),
            [("agents", "chosen_action_value"), "state"],
            ["chosen_action_value"],
        )
        loss = QMixerLoss(SafeSequential(net, choose), mixer, action_space="categorical")
        loss.set_keys(
            action_value=("agents", "action_value"),
            local_value=("agents", "chosen_action_value"),
            global_value="chosen_action_value",
            action=("agents", "action"),
        )
        return updated(loss), net

    def batch(self):
        def part():
            x = torch.randn(ROWS, self.agents, FEATURES)
            flags = {name: torch.zeros(ROWS, 1, dtype=torch.bool) for name in ("done", "terminated")}
            agents = TensorDict({"observation": x}, [ROWS, self.agents])
            return TensorDict({"agents": agents, "state": torch.randn(ROWS, 5), **flags}, [ROWS])

        torch.manual_seed(0)
        data, following = part(), part()
        data["agents", "action"] = torch.randint(ACTIONS, (ROWS, self.agents))
        following["reward"] = torch.randn(ROWS, 1)
        data["next"] = following
        return data

    def test_training_under_attack(self):
        loss, net = self.loss()
        victim = TensorDictModule(net.module, ["observation"], ["action_value"])
        attack = PGD(ActionShift(victim), within=LinfBall(0.2))
        data = Perturb(attack, key=("agents", "observation"), seed=0)(self.batch())
        key, clean = ("agents", "observation"), ("agents", CLEAN)
        shift = data[key] - data[clean]
        assert (shift != 0).any(-1).all()
        assert shift.abs().max() <= 0.2 + 1e-6
        out = loss(data)["loss"]
        out.backward()
        assert out.isfinite()
        plain = loss(data.clone().set(key, data[clean]))["loss"]
        assert not torch.equal(plain, out)
        assert torch.equal(loss(data.clone().set(clean, data[clean] + 1))["loss"], out)
