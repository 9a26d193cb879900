"""The loss of the soft-worst adversary: its value, its gradient, and whom it trains."""

import math

import pytest
import torch
from tensordict import TensorDict
from torch import nn

from advwrap import L2Ball, Linear, LinfBall, Masked
from advwrap.errors import GradientError
from advwrap.losses.adversary import AdversaryLoss
from advwrap.modules import GaussianAdversary
from advwrap.testing.contracts.losses import LossContract
from advwrap.victims import Gaussian
from tests.targets.test_soft_value import FEATURES, sac

ROWS, EPS = 16, 0.25
BALL = LinfBall(EPS)


def adversary(seed=0):
    return GaussianAdversary(FEATURES, hidden=(8,), generator=torch.Generator().manual_seed(seed))


def batch(rows=ROWS):
    return TensorDict({"observation": torch.randn(rows, FEATURES, generator=torch.Generator().manual_seed(0))}, [rows])


def against_sac(**options):
    victim = sac()
    settings = {"within": BALL, "temperature": 0.5, "seed": 0, **options}
    return AdversaryLoss(adversary(), victim.actor_network, victim, **settings), victim


class TestAdversaryLoss(LossContract):
    def make_loss(self):
        loss, self.victim = against_sac()
        return loss

    def make_batch(self):
        return batch()

    def others(self, loss):
        return [self.victim]


class Normalised(nn.Module):
    """Not a chain of known layers: gradients would reach its weights."""

    def __init__(self, inputs, outputs):
        super().__init__()
        self.net = nn.Sequential(nn.Linear(inputs, 8), nn.LayerNorm(8), nn.SiLU(), nn.Linear(8, outputs))

    def forward(self, *inputs):
        return self.net(torch.cat(inputs, -1))


class TestAgainstOtherNetworks(LossContract):
    def make_loss(self):
        torch.manual_seed(0)
        self.nets = [Normalised(FEATURES, 2), Normalised(FEATURES + 2, 1), Normalised(FEATURES + 2, 1)]
        policy = Gaussian(lambda obs: (self.nets[0](obs), torch.full((len(obs), 2), 0.1)), squash=torch.tanh)
        return AdversaryLoss(adversary(), policy, self.nets[1:], within=BALL, temperature=0.5, entropy=0.1, seed=0)

    def make_batch(self):
        return batch()

    def others(self, loss):
        return self.nets


def by_hand(loss, victim, data, streams):
    """Eq. 57 with autograd through everything."""
    clean = data["observation"]
    loc, scale = loss.adversary(clean)
    z = loc + scale * streams.normal(loc)
    push = z.tanh()
    density = torch.distributions.Normal(loc, scale).log_prob(z) - torch.log1p(-push.square())
    value = loss.soft(clean, clean + EPS * push, streams.normal)
    return (value + 0.5 * density.sum(-1)).mean()


def test_value_and_gradient_are_those_of_equation_57():
    loss, victim = against_sac()
    out = loss(batch())
    out["loss_adversary"].backward()
    ours = [p.grad.clone() for p in loss.adversary.parameters()]
    copy, _ = against_sac()
    expected = by_hand(copy, victim, batch(), copy.streams(ROWS))
    torch.testing.assert_close(out["loss_adversary"], expected)
    theirs = torch.autograd.grad(expected, list(copy.adversary.parameters()))
    for mine, other in zip(ours, theirs, strict=True):
        torch.testing.assert_close(mine, other, rtol=1e-4, atol=1e-6)


def test_gradient_by_finite_differences():
    """Of a fixed draw, in float64."""
    victim = Gaussian(lambda obs: (obs.sin(), 0.3 + 0 * obs), squash=torch.tanh)
    net = adversary().double()
    data = TensorDict({"observation": batch()["observation"].double()}, [ROWS])

    def loss():
        return AdversaryLoss(
            net, victim, lambda o, a: -(a - o).square().sum(-1), within=BALL, temperature=0.5, entropy=0.2, seed=0
        )(data)["loss_adversary"]

    loss().backward()
    weight = net.net[2].weight
    for index in ((0, 0), (3, 5), (6, 1)):
        step = 1e-6
        with torch.no_grad():
            weight[index] += step
            above = loss()
            weight[index] -= 2 * step
            below = loss()
            weight[index] += step
        assert float((above - below) / (2 * step)) == pytest.approx(float(weight.grad[index]), rel=1e-4, abs=1e-9)


def test_log_is_consistent():
    """loss = V + alpha log nu, soft value = V + alpha KL, and KL = log nu + d log 2 for the uniform prior 2^-d."""
    loss, _ = against_sac()
    out = loss(batch())
    constant = 0.5 * FEATURES * math.log(2)
    torch.testing.assert_close(out["adversary_soft_value"], out["loss_adversary"].detach() + constant)
    torch.testing.assert_close(out["adversary_soft_value"], out["adversary_value"] + 0.5 * out["adversary_kl"])
    assert not any(out[key].requires_grad for key in out.keys() if key != "loss_adversary")  # noqa: SIM118


def test_uniform_adversary_has_no_divergence():
    """Nearly: no squashed normal is uniform; at deviation 0.87 it is 0.0095 nats per feature away."""
    net = adversary()
    with torch.no_grad():
        for p in net.parameters():
            p.zero_()
        net.net[-2].bias[FEATURES:] = -0.21565  # softplus to 0.87
    blind = AdversaryLoss(net, lambda o: o, lambda o, a: 0 * a.sum(-1), within=BALL, temperature=1.0, seed=0)
    assert float(net(torch.zeros(1, FEATURES))[1][0, 0].detach()) == pytest.approx(0.87, abs=0.002)
    assert float(blind(batch(100_000))["adversary_kl"]) == pytest.approx(FEATURES * 0.0095, abs=0.01)


def test_importance_weights():
    data = batch()
    data["priority_weight"] = torch.zeros(ROWS)
    data["priority_weight"][0] = 3.0
    alone, weighted = (against_sac()[0](part)["loss_adversary"] for part in (batch()[:1], data))
    torch.testing.assert_close(weighted, alone)


def test_truth_is_read_from_the_clean_key():
    loss, _ = against_sac()
    data = batch()
    expected = loss(data)["loss_adversary"]
    again, _ = against_sac()
    seen = TensorDict({"observation": torch.zeros(ROWS, FEATURES), "clean_observation": data["observation"]}, [ROWS])
    assert torch.equal(again(seen)["loss_adversary"], expected)
    with pytest.raises(KeyError, match="neither 'clean_observation' nor 'observation'"):
        loss(TensorDict({"pixels": torch.zeros(2, 2)}, [2]))


def test_any_batch_size():
    one, two = against_sac()[0], against_sac()[0]
    assert torch.equal(one(batch())["loss_adversary"], two(batch().reshape(4, 4))["loss_adversary"])


def test_masked_features_do_not_move():
    seen = []

    def policy(observation):
        seen.append(observation.detach())
        return observation

    mask = torch.tensor([True, False, True, False])
    loss = AdversaryLoss(adversary(), policy, lambda o, a: a.sum(-1), within=Masked(BALL, mask), temperature=1.0)
    data = batch()
    loss(data)
    moved = seen[-1] - data["observation"]
    assert (moved[:, ~mask] == 0).all()
    assert (moved[:, mask] != 0).all()
    assert moved.abs().max() <= EPS + 1e-6


def test_temperature_on_a_schedule():
    schedule = Linear(1000.0, 4.0, steps=10)
    numbers = []
    for _ in range(2):
        out = against_sac(temperature=schedule)[0](batch())
        numbers.append(float((out["adversary_soft_value"] - out["adversary_value"]) / out["adversary_kl"]))
        schedule.advance(10)
    assert numbers == pytest.approx([1000.0, 4.0], rel=1e-4)


def test_streams_go_on_and_are_saved():
    loss, _ = against_sac()
    first, second = loss(batch())["loss_adversary"], loss(batch())["loss_adversary"]
    assert not torch.equal(first, second)
    other, _ = against_sac(seed=7)
    other.load_state_dict(loss.state_dict())
    assert torch.equal(other(batch())["loss_adversary"], loss(batch())["loss_adversary"])
    state = torch.get_rng_state()
    loss(batch())
    assert torch.equal(torch.get_rng_state(), state)


def test_critics_are_read_live():
    loss, victim = against_sac()
    before = loss(batch())["adversary_value"]
    with torch.no_grad():
        for p in victim.qvalue_network_params.parameters():
            p.add_(1.0)
    again, _ = against_sac()
    again.soft = loss.soft
    assert not torch.equal(again(batch())["adversary_value"], before)


@pytest.mark.parametrize(
    ("options", "error", "match"),
    [
        ({"within": L2Ball(0.1)}, TypeError, r"`within` must be a box.*Fix: LinfBall\(eps\)"),
        ({"temperature": 0.0}, ValueError, "`temperature` must be > 0"),
        ({"entropy": -1.0}, ValueError, "`entropy` must be >= 0"),
        ({"actions": 1.5}, ValueError, "`actions` must be an integer"),
    ],
)
def test_what_is_refused(options, error, match):
    with pytest.raises(error, match=match):
        against_sac(**options)


def test_networks_that_are_no_adversary_are_refused():
    with pytest.raises(TypeError, match="`adversary` must be a GaussianAdversary, got Linear"):
        AdversaryLoss(nn.Linear(4, 4), nn.Identity(), lambda o, a: a.sum(-1), within=BALL, temperature=1.0)


def test_a_victim_that_does_not_look_says_so():
    loss = AdversaryLoss(
        adversary(), lambda o: torch.ones(len(o), 1), lambda o, a: a.sum(-1), within=BALL, temperature=1
    )
    with pytest.raises(GradientError, match="no gradient"):
        loss(batch())


def test_it_learns_the_worst_corner():
    """A linear value: the adversary goes to the corner, from every state, and says at what price."""
    weight = torch.tensor([1.0, -1.0, 2.0, 0.0])
    net = GaussianAdversary(FEATURES, hidden=(16,), generator=torch.Generator().manual_seed(0))
    loss = AdversaryLoss(net, lambda o: o, lambda o, a: ((a - o) @ weight) / EPS, within=BALL, temperature=0.1, seed=0)
    optimiser = torch.optim.Adam(net.parameters(), lr=0.02)
    for _ in range(150):
        out = loss(batch(64))
        optimiser.zero_grad()
        out["loss_adversary"].backward()
        optimiser.step()
    push = net.policy.mean(batch()["observation"])
    assert (push[:, :3] * weight[:3].sign() < -0.8).all()
    assert float(out["adversary_value"]) < -3.4  # -4 is the least
    # Eq. 26: -alpha sum_j log(sinh(w_j / alpha) alpha / w_j), from above.
    exact = -0.1 * sum(math.log(math.sinh(w / 0.1) * 0.1 / w) for w in (1.0, 1.0, 2.0))
    assert exact < float(out["adversary_soft_value"]) < exact + 0.15
