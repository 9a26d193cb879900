"""WocaR's worst-case critic against closed forms, grids and a fixed point."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from tensordict import TensorDict
from torch import nn
from torch.nn import functional as F
from torchrl.modules import MLP, ValueOperator
from torchrl.objectives import SACLoss, SoftUpdate

from advwrap import Bounds, L2Ball, LinfBall, RandomVertex
from advwrap.bounds import ActionBounds, Box, box_around
from advwrap.losses import WorstCaseCritic
from advwrap.losses.box_search import lowest_in_box
from advwrap.modules import Perturb
from advwrap.sets import Linear
from advwrap.testing.contracts import LossContract
from advwrap.victims import as_critic
from tests.victims.torchrl_actors import normal

FEATURES, ACTIONS, ROWS = 5, 3, 8
CLEAN = "clean_observation"


def draw(*shape, seed=0, dtype=torch.float32):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=dtype)


def batch(features=FEATURES, actions=ACTIONS, dtype=torch.float32):
    ended = torch.zeros(ROWS, 1, dtype=torch.bool)
    ended[::3] = True
    after = {"observation": draw(ROWS, features, seed=1, dtype=dtype), "reward": draw(ROWS, 1, seed=2, dtype=dtype)}
    after |= {"terminated": ended, "done": ended | (torch.arange(ROWS).unsqueeze(1) == 1)}
    return TensorDict(
        {
            "observation": draw(ROWS, features, seed=3, dtype=dtype),
            "action": draw(ROWS, actions, seed=4, dtype=dtype),
            "next": TensorDict(after, [ROWS]),
        },
        [ROWS],
    )


def q(keys=(CLEAN, "action"), features=FEATURES, actions=ACTIONS, cells=(8,)):
    return ValueOperator(
        MLP(features + actions, 1, num_cells=list(cells), activation_class=nn.Tanh), in_keys=list(keys)
    )


def worst(actor=None, qvalue=None, **options):
    torch.manual_seed(0)
    options = {"within": LinfBall(0.2), "kappa": 0.4, **options}
    loss = WorstCaseCritic(normal() if actor is None else actor, q() if qvalue is None else qvalue, **options)
    updater = SoftUpdate(loss, tau=0.25)
    loss.target_qvalue_network_params.data.apply_(lambda weight: weight * 1.5)  # else it is the online one
    return loss, updater


class LinearCase:
    """mu(s) = <w, s> and U(s, a) = <u, s> + v a, float64: the worst action is known."""

    def __init__(self, gamma=0.9, eps=0.3, **options):
        self.actor = nn.Linear(FEATURES, 1, dtype=torch.float64)
        net = nn.Linear(FEATURES + 1, 1, dtype=torch.float64)
        for seed, p in enumerate([*self.actor.parameters(), *net.parameters()]):
            p.data.copy_(draw(*p.shape, seed=seed, dtype=torch.float64))
        qvalue = ValueOperator(MLP(FEATURES + 1, 1, depth=0).double(), in_keys=[CLEAN, "action"])
        qvalue.module[0].load_state_dict(net.state_dict())
        self.gamma, self.eps = gamma, eps
        self.loss, _ = worst(self.actor, qvalue, within=LinfBall(eps), gamma=gamma, **options)
        self.online = self.loss.qvalue_network_params["module", "0"].data
        self.target = self.loss.target_qvalue_network_params["module", "0"].data

    def value(self, params, s, a):
        return F.linear(torch.cat([s, a], -1), params["weight"], params["bias"]).squeeze(-1)

    def lowest(self, s):
        """U(s, mu(s)) - |v| eps ||w||_1."""
        spread = self.eps * self.actor.weight.detach().abs().sum()
        with torch.no_grad():
            return self.value(self.target, s, self.actor(s)) - self.target["weight"][0, -1].abs() * spread


@pytest.mark.parametrize("loss_function", ["smooth_l1", "l2"])
@pytest.mark.parametrize("eps", [0.0, 0.3])
def test_the_target_in_closed_form(eps, loss_function):
    case, data = LinearCase(eps=eps, loss_function=loss_function), batch(actions=1, dtype=torch.float64)
    after = data["next"]
    target = after["reward"][:, 0] + 0.9 * (~after["terminated"][:, 0]) * case.lowest(after["observation"])
    value = case.value(case.online, data["observation"], data["action"])
    distance = F.smooth_l1_loss if loss_function == "smooth_l1" else F.mse_loss
    out = case.loss(data)
    torch.testing.assert_close(out["loss_worst_qvalue"].detach(), distance(value, target))
    torch.testing.assert_close(out["worst_value"], value.mean())
    torch.testing.assert_close(out["action_width"], 2 * eps * case.actor.weight.detach().abs().sum())


def test_the_least_value_on_a_grid():
    """One action: the box can be searched by brute force."""
    torch.manual_seed(3)
    actor = MLP(FEATURES, 1, num_cells=[8], activation_class=nn.Tanh)
    loss, _ = worst(actor, q(actions=1), within=LinfBall(0.1), steps=20, loss_function="l1", gamma=1.0)
    data = batch(actions=1)
    s = data["next", "observation"]
    box = ActionBounds(actor)(box_around(s, LinfBall(0.1)))
    share = torch.linspace(0, 1, 1001)
    critic = loss.worst_target
    grid = torch.stack([critic(s, box.low + x * box.width).squeeze(0) for x in share]).amin(0)
    found, _ = loss._worst_next(s, {})
    natural = critic(s, actor(s)).squeeze(0)
    assert (found >= grid - 1e-5).all()
    assert (natural - grid).mean() > 0.01
    assert (found - grid <= 0.06 * (natural - grid) + 1e-5).all()  # a step is a twentieth of the box


def test_the_policy_really_reaches_no_worse_value():
    """Sound: nothing that the adversary can show makes the policy act worse than the worst critic's target assumes."""
    torch.manual_seed(3)
    loss, _ = worst(steps=50)
    s = batch()["next", "observation"]
    found, _ = loss._worst_next(s, {})
    with torch.no_grad():
        seen = [s + 0.2 * draw(ROWS, FEATURES, seed=i).sign() for i in range(200)]
        reached = torch.stack([loss.worst_target(s, loss.policy.mean(x)).squeeze(0) for x in seen])
    assert (found <= reached.amin(0) + 1e-4).all()


def test_the_deterministic_gradient():
    """Eq. (61): - kappa U(s, mu(s)), whose gradient in mu is - kappa v."""
    case, data = LinearCase(kappa=0.4), batch(actions=1, dtype=torch.float64)
    out = case.loss(data)
    s = data["observation"]
    with torch.no_grad():
        by_hand = -0.4 * case.value(case.online, s, case.actor(s)).mean()
    torch.testing.assert_close(out["loss_worst_actor"].detach(), by_hand)
    out["loss_worst_actor"].backward()
    torch.testing.assert_close(case.actor.weight.grad, -0.4 * case.online["weight"][0, -1] * s.mean(0, keepdim=True))


def sac_and_worst(**options):
    torch.manual_seed(1)
    actor = normal()
    sac = SACLoss(actor, q(), action_spec=None, target_entropy=-1.0)
    SoftUpdate(sac, tau=0.1)
    loss, _ = worst(actor, critic=sac, **options)
    return actor, sac, loss


@pytest.mark.parametrize("kappa", [0.0, 0.4, 1.0])
def test_mixed_values(kappa):
    """Eq. (60): added to the actor's loss of an unmodified SACLoss, Q becomes (1 - kappa) Q + kappa U."""
    actor, sac, loss = sac_and_worst(kappa=kappa)
    data = batch()
    data[CLEAN] = data["observation"]
    s = data["observation"]
    torch.manual_seed(5)
    term = loss(data)["loss_worst_actor"]
    got = torch.autograd.grad(term, list(actor.parameters()))
    torch.manual_seed(5)
    law = actor.get_dist(data).base_dist  # the normal before the tanh
    while hasattr(law, "base_dist"):
        law = law.base_dist
    action = (law.loc + law.scale * torch.randn_like(law.loc)).tanh()
    joined = TensorDict({CLEAN: s, "action": action}, [ROWS])
    value = torch.stack([
        _member(sac.qvalue_network, sac.qvalue_network_params.data[i], joined) for i in range(2)
    ]).amin(0)  # fmt: skip
    low = _member(loss.qvalue_network, loss.qvalue_network_params.data, joined)
    mixed = -((1 - kappa) * value + kappa * low).mean()
    torch.testing.assert_close(-value.mean() + term, mixed)
    by_hand = torch.autograd.grad(mixed, list(actor.parameters()), retain_graph=True)
    plain = torch.autograd.grad(-value.mean(), list(actor.parameters()))
    for a, b, c in zip(plain, got, by_hand, strict=True):
        torch.testing.assert_close(a + b, c, rtol=1e-4, atol=1e-6)


def _member(net, params, data):
    with params.to_module(net):
        return net(data.copy())["state_action_value"].squeeze(-1)


@pytest.mark.parametrize("name", ["loss_worst_qvalue", "loss_worst_actor"])
def test_each_term_trains_its_own_network(name):
    actor, sac, loss = sac_and_worst()
    loss(batch())[name].backward()
    critic = [p.grad is not None for p in loss.qvalue_network_params.parameters()]
    policy = [p.grad is not None for p in actor.parameters()]
    if name == "loss_worst_qvalue":
        assert all(critic)
        assert not any(policy)
    else:
        assert all(policy)
        assert not any(critic)
    assert all(p.grad is None for p in sac.qvalue_network_params.parameters())
    assert all(p.grad is None for p in loss.target_qvalue_network_params.parameters())


def test_the_least_of_the_twins():
    loss, _ = worst(num_qvalue_nets=2)
    data = batch()
    out = loss(data)
    s, a = data["observation"], data["action"]
    with torch.no_grad():
        values = as_critic(loss)(s, a)
        assert values.shape == (2, ROWS)
        found, _ = loss._worst_next(data["next", "observation"], {})
        target = data["next", "reward"][:, 0] + 0.99 * (~data["next", "terminated"][:, 0]) * found
        errors = sum(F.smooth_l1_loss(value, target) for value in values)
        term = -0.4 * as_critic(loss)(s, loss.policy.mean(s)).amin(0).mean()
    torch.testing.assert_close(out["worst_value"], values.amin(0).mean())
    torch.testing.assert_close(out["loss_worst_qvalue"].detach(), errors)
    torch.testing.assert_close(out["loss_worst_actor"].detach(), term)
    out["loss_worst_qvalue"].backward()
    assert all((p.grad.flatten(1).norm(dim=1) > 0).all() for p in loss.qvalue_network_params.parameters())


def test_the_least_of_the_target_twins():
    loss, _ = worst(num_qvalue_nets=2, within=LinfBall(0.0))
    s = draw(ROWS, FEATURES)
    with torch.no_grad():
        both = loss.worst_target(s, loss.policy.mean(s))
    assert (both[0] < both[1]).any()
    assert (both[0] > both[1]).any()
    torch.testing.assert_close(loss._worst_next(s, {})[0], both.amin(0))


def test_within_the_bounds_of_the_observation():
    """Nothing above s can be shown, so the box is smaller; nothing at all, so it is a point."""
    s = batch()["next", "observation"][:1]
    free, below, none = (
        worst(bounds=bounds)[0]._worst_next(s, {})[1]
        for bounds in (Bounds(), Bounds(high=s[0]), Bounds(low=s[0], high=s[0]))
    )
    assert (below < free).all()
    assert (below > 0).all()
    assert (none == 0).all()


def test_a_list_of_networks_keeps_their_weights():
    first, second = q(), q()
    loss, _ = worst(qvalue=[first, second])
    s, a = draw(ROWS, FEATURES), draw(ROWS, ACTIONS, seed=1)
    expected = torch.stack([net.module(s, a).squeeze(-1) for net in (first, second)])
    torch.testing.assert_close(as_critic(loss)(s, a), expected)


def test_the_target_follows_and_is_not_trained():
    loss, updater = worst()
    online = loss.qvalue_network_params.data.clone()
    target = loss.target_qvalue_network_params.data.clone()
    loss(batch())["loss_worst_qvalue"].backward()
    updater.step()
    expected = target.lerp(online, 0.25)
    for key, value in expected.items(True, True):
        torch.testing.assert_close(loss.target_qvalue_network_params.data[key], value)
    assert not any("target" in name for name, _ in loss.named_parameters())


def test_the_clean_states_are_read():
    """Whatever the other losses see in "observation"."""
    loss, _ = worst()
    plain = loss(batch())
    perturbed = Perturb(RandomVertex(LinfBall(1.0)))(batch())
    assert not torch.equal(perturbed["observation"], batch()["observation"])
    for name in ("loss_worst_qvalue", "loss_worst_actor"):
        assert torch.equal(loss(perturbed)[name], plain[name])


def test_a_critic_of_the_plain_key():
    loss, _ = worst(qvalue=q(keys=("observation", "action")))
    again, _ = worst()
    again.load_state_dict(loss.state_dict())
    perturbed = Perturb(RandomVertex(LinfBall(1.0)))(batch())
    assert torch.equal(loss(perturbed)["loss_worst_qvalue"], again(batch())["loss_worst_qvalue"])


def test_schedules():
    kappa, radius = Linear(0.0, 1.0, steps=10), Linear(0.0, 0.2, steps=10)
    loss, _ = worst(kappa=kappa, within=LinfBall(radius))
    fixed, _ = worst(kappa=0.5, within=LinfBall(0.1))
    assert loss(batch())["loss_worst_actor"] == 0
    assert loss(batch())["action_width"] == 0
    kappa.advance(5), radius.advance(5)
    for name, value in fixed(batch()).items():
        torch.testing.assert_close(loss(batch())[name], value)


def test_importance_weights():
    loss, _ = worst()
    data = batch()
    data["priority_weight"] = torch.zeros(ROWS)
    data["priority_weight"][2] = 3.0
    one = batch()[2:3]
    for name in ("loss_worst_qvalue", "loss_worst_actor"):
        torch.testing.assert_close(loss(data)[name], loss(one)[name])


def test_sequences_are_rows():
    loss, _ = worst()
    flat, square = loss(batch()), loss(batch().reshape(2, 4))
    for name in flat.keys():  # noqa: SIM118 - a TensorDict
        torch.testing.assert_close(square[name], flat[name])


def test_the_fixed_point():
    """One state, r(a) = -a^2, the box [-1, 1]: U(a) = -a^2 + gamma min U, so min U = -1 / (1 - gamma)."""
    torch.manual_seed(0)
    actor = nn.Linear(1, 1, bias=False)
    actor.weight.data.fill_(1.0)
    qvalue = ValueOperator(MLP(2, 1, num_cells=[32], activation_class=nn.Tanh), in_keys=[CLEAN, "action"])
    loss = WorstCaseCritic(actor, qvalue, within=LinfBall(1.0), kappa=0.0, gamma=0.5, loss_function="l2")
    updater = SoftUpdate(loss, tau=0.1)
    optimiser = torch.optim.Adam(loss.qvalue_network_params.parameters(), lr=1e-2)
    for i in range(500):
        a = 2 * torch.rand(64, 1, generator=torch.Generator().manual_seed(i)) - 1
        zero = torch.zeros(64, 1)
        after = TensorDict({"observation": zero, "reward": -a.square(), "terminated": zero.bool()}, [64])
        optimiser.zero_grad()
        loss(TensorDict({"observation": zero, "action": a, "next": after}, [64]))["loss_worst_qvalue"].backward()
        optimiser.step()
        updater.step()
    actions = torch.tensor([[0.0], [-1.0], [1.0]])
    found = as_critic(loss)(torch.zeros(3, 1), actions)[0]
    torch.testing.assert_close(found, torch.tensor([-1.0, -2.0, -2.0]), rtol=0, atol=0.25)


@given(seed=st.integers(0, 1000), steps=st.integers(1, 6))
def test_the_search_of_a_linear_function_is_exact(seed, steps):
    centre, radius, slope = (draw(4, 3, seed=seed + i, dtype=torch.float64) for i in range(3))
    box = Box(centre - radius.abs(), centre + radius.abs())
    start = box.low + 0.3 * box.width
    found = lowest_in_box(lambda a: (slope * a).sum(-1), box, start=start, steps=steps)
    corner = torch.where(slope > 0, box.low, box.high)
    torch.testing.assert_close(found, corner)


@given(seed=st.integers(0, 1000), steps=st.integers(1, 6))
def test_the_search_stays_in_the_box(seed, steps):
    centre, radius = draw(4, 3, seed=seed), draw(4, 3, seed=seed + 1).abs()
    radius[0] = 0
    box = Box(centre - radius, centre + radius)
    found = lowest_in_box(lambda a: (a * 3).sin().sum(-1), box, start=centre + 5, steps=steps)
    assert box.contains(found).all()
    assert not found.requires_grad


def test_the_search_starts_in_the_box():
    box = Box(torch.zeros(1, 2), torch.ones(1, 2))
    assert lowest_in_box(lambda a: a.sum(-1), box, start=torch.tensor([[-3.0, 0.5]]), steps=0).tolist() == [[0.0, 0.5]]


def test_mistakes():
    with pytest.raises(ValueError, match=r"`kappa` must be in \[0, 1\], got 1.5"):
        worst(kappa=1.5)
    with pytest.raises(ValueError, match="`gamma` must be in"):
        worst(gamma=1.5)
    with pytest.raises(ValueError, match="`steps` must be >= 1, got 0"):
        worst(steps=0)
    with pytest.raises(TypeError, match="`within` must be an L-infinity ball"):
        worst(within=L2Ball(0.1))[0](batch())
    with pytest.raises(TypeError, match="LayerNorm"):
        worst(nn.Sequential(nn.Linear(FEATURES, ACTIONS), nn.LayerNorm(ACTIONS)))
    with pytest.raises(ValueError, match="`qvalue` must hold at least one network"):
        worst(qvalue=[])
    with pytest.raises(KeyError, match="neither 'clean_observation' nor 'observation'"):
        worst()[0](batch().exclude(("next", "observation")))


class TestContract(LossContract):
    def make_loss(self):
        return worst()[0]

    def make_batch(self):
        data = batch()
        data[CLEAN], data["next", CLEAN] = draw(ROWS, FEATURES, seed=7), draw(ROWS, FEATURES, seed=8)
        return data


class TestContractWithTwinsAndMixedValues(TestContract):
    def make_loss(self):
        self.sac = sac_and_worst(num_qvalue_nets=2)
        return self.sac[2]

    def others(self, loss):
        return [self.sac[1].qvalue_network]
