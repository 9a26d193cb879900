"""The smoothness regulariser against closed forms, differences and recorded values."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from tensordict import TensorDict
from tensordict.nn import NormalParamExtractor, TensorDictModule, TensorDictSequential
from torch import nn
from torch.distributions import Normal
from torch.distributions import kl_divergence as kl_of_torch
from torchrl.modules import GRUModule, MultiAgentMLP, ProbabilisticActor, TanhNormal
from torchrl.objectives import SACLoss

from advwrap import PGD, Bounds, Identity, Langevin, LinfBall, PolicyKL, RandomVertex
from advwrap.losses import SmoothPolicy, kl_divergence, mean_shift
from advwrap.modules import Perturb
from advwrap.sets import Linear
from advwrap.testing.contracts import LossContract
from advwrap.testing.contracts.rules import global_randomness_untouched, same_bits
from advwrap.victims import Categorical, Gaussian
from tests.bounds.test_critic import q
from tests.victims.torchrl_actors import ACTORS, FEATURES, categorical, normal, observations

ROWS = 7
DELTA = 0.2 * torch.randn(ROWS, FEATURES, generator=torch.Generator().manual_seed(9))


def moved(clean, **_):
    """An attack that always does the same."""
    return clean + DELTA[: clean.shape[0], : clean.shape[1]].to(clean)


def batch(x, **others):
    return TensorDict({"observation": x, **others}, [x.shape[0]])


def linear(features=3, seed=0):
    """mu(s) = <w, s>, float64."""
    net = nn.Linear(features, 1, bias=False, dtype=torch.float64)
    generator = torch.Generator().manual_seed(seed)
    net.weight.data.copy_(torch.randn(1, features, generator=generator, dtype=torch.float64))
    return net


def rows(features=3, seed=1):
    return torch.randn(ROWS, features, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def test_importance_weights():
    """KL of row i = <w, d_i>^2 / (2 sigma^2)."""
    net, weights = linear(), torch.arange(ROWS, dtype=torch.float64)
    out = SmoothPolicy(Gaussian(net, 0.5), moved, seed=0)(batch(rows(), priority_weight=weights))
    divergence = (DELTA[:, :3].double() @ net.weight[0]).square() / 0.5
    torch.testing.assert_close(out["loss_smooth"], (weights * divergence).sum() / weights.sum())


@given(seed=st.integers(0, 1000), eps=st.floats(0.01, 3), std=st.floats(0.1, 3), kappa=st.floats(0, 100))
def test_the_maximum_of_a_linear_policy(seed, eps, std, kappa):
    """max KL = (eps ||w||_1)^2 / (2 sigma^2), in every state."""
    net = linear(seed=seed)
    policy = Gaussian(net, std)
    attack = PGD(PolicyKL(policy), within=LinfBall(eps), steps=5)
    out = SmoothPolicy(policy, attack, coefficient=kappa, seed=0)(batch(rows(seed=seed)))
    largest = (eps * net.weight.abs().sum()).square() / (2 * std**2)
    torch.testing.assert_close(out["smooth_divergence"], largest.detach(), rtol=1e-6, atol=1e-12)
    torch.testing.assert_close(out["loss_smooth"], kappa * largest, rtol=1e-6, atol=1e-12)


@pytest.mark.parametrize("divergence", [kl_divergence, mean_shift])
@pytest.mark.parametrize("detach_clean", [False, True])
def test_the_gradient_of_a_linear_policy(divergence, detach_clean):
    """By hand: with z = <w, x - s> the loss is mean z^2 / (2 sigma^2), and z depends on w through both sides."""
    net, s, std = linear(), rows(), 0.5
    out = SmoothPolicy(Gaussian(net, std), moved, divergence=divergence, detach_clean=detach_clean)(batch(s))
    delta = DELTA[:, :3].double()
    x = s + delta
    z = delta @ net.weight.detach().T
    factor = 2 if divergence is mean_shift else 1
    by_hand = factor * (z * (x if detach_clean else delta)).mean(0, keepdim=True) / std**2
    out["loss_smooth"].backward()
    torch.testing.assert_close(net.weight.grad, by_hand)
    torch.testing.assert_close(out["loss_smooth"], factor * z.square().mean() / (2 * std**2))


class WithDeviation(nn.Module):
    """mu(s) = W s and a deviation that does not depend on the state, as PPO has it."""

    def __init__(self):
        super().__init__()
        self.mean = nn.Linear(FEATURES, 2, dtype=torch.float64)
        self.log_std = nn.Parameter(torch.tensor([-0.5, 0.3], dtype=torch.float64))

    def forward(self, x):
        loc = self.mean(x)
        return loc, self.log_std.exp().expand_as(loc)


@pytest.mark.parametrize("detach_clean", [False, True])
def test_the_deviation_gets_a_gradient(detach_clean):
    """d/d log sigma_j of mean (z_j / sigma_j)^2 is - 2 mean (z_j / sigma_j)^2; also with a constant clean mean."""
    net = WithDeviation()
    loss = SmoothPolicy(net, moved, divergence=mean_shift, detach_clean=detach_clean)
    loss(batch(observations(ROWS).double()))["loss_smooth"].backward()
    shift = DELTA.double() @ net.mean.weight.detach().T / net.log_std.detach().exp()
    torch.testing.assert_close(net.log_std.grad, -2 * shift.square().mean(0))


NAMES = ["TanhNormal", "TanhNormal of another activation", "Normal of constant scale", "a trunk shared with the critic",
         "OneHotCategorical", "QValueActor", "TanhDelta", "MaskedCategorical"]  # fmt: skip


def masks(name):
    mask = torch.ones(ROWS, 3, dtype=torch.bool)
    mask[::2, 1] = False
    return {"action_mask": mask} if "Masked" in name else {}


@pytest.mark.parametrize("detach_clean", [False, True])
@pytest.mark.parametrize("name", NAMES)
def test_gradients_agree_with_differences(name, detach_clean):
    torch.manual_seed(0)
    actor = ACTORS[name]().double()
    loss = SmoothPolicy(actor, moved, detach_clean=detach_clean)
    data = batch(observations(ROWS).double(), **masks(name))
    params = {name: p for name, p in loss.named_parameters() if p.requires_grad}
    total = loss(data)["loss_smooth"]
    grads = torch.autograd.grad(total, list(params.values()), allow_unused=True)
    frozen = {name: p.detach().clone() for name, p in params.items()}
    generator = torch.Generator().manual_seed(3)
    direction = {name: torch.randn(p.shape, generator=generator, dtype=p.dtype) for name, p in params.items()}

    with torch.no_grad():
        clean = loss.policy.law(data["observation"], data)
        clean = type(clean)(*(getattr(clean, field).clone() for field in clean.__dataclass_fields__))

    @torch.no_grad()
    def at(step):
        for name, p in params.items():
            p.copy_(frozen[name] + step * direction[name])
        if detach_clean:
            return clean.kl(loss.policy.law(data["observation"] + DELTA, data)).mean()
        return loss(data)["loss_smooth"]

    numeric = (at(1e-6) - at(-1e-6)) / 2e-6
    exact = sum((g * direction[n]).sum() for n, g in zip(params, grads, strict=True) if g is not None)
    assert exact.abs() > 1e-6
    torch.testing.assert_close(exact, numeric, rtol=1e-5, atol=1e-8)


@pytest.mark.parametrize(
    "name", ["TanhNormal", "TanhNormal in limits per feature", "Normal of constant scale", "OneHotCategorical"]
)
def test_the_divergence_is_that_of_torch(name):
    torch.manual_seed(0)
    actor, x = ACTORS[name](), observations(ROWS)
    out = SmoothPolicy(actor, moved)(batch(x))
    with torch.no_grad():
        clean, seen = (actor.get_dist(batch(s)) for s in (x, x + DELTA))
        torch.testing.assert_close(out["loss_smooth"].detach(), kl_of_torch(clean, seen).mean())


def test_no_perturbation_no_loss():
    out = SmoothPolicy(normal(), Identity())(batch(observations()))
    assert out["loss_smooth"] == 0


def test_the_clean_key_is_read():
    """A batch that was perturbed for the other losses: the regulariser starts from the truth."""
    actor, x = normal(), observations(ROWS)
    loss = SmoothPolicy(actor, moved)
    perturbed = Perturb(RandomVertex(LinfBall(1.0)), next=False)(batch(x))
    assert not torch.equal(perturbed["observation"], x)
    assert torch.equal(loss(perturbed)["loss_smooth"], loss(batch(x))["loss_smooth"])


def test_the_batch_is_left_alone():
    data = batch(observations(ROWS))
    kept = data.clone()
    loss = SmoothPolicy.sgld(normal(), within=LinfBall(0.1))
    with global_randomness_untouched():
        loss(data)
    assert set(data.keys()) == set(kept.keys())
    assert same_bits(data["observation"], kept["observation"])


def test_any_batch_shape_and_agents():
    actor, x = normal(), observations(6)
    flat = SmoothPolicy(actor, lambda clean, **_: clean + 0.1)(batch(x))
    square = SmoothPolicy(actor, lambda clean, **_: clean + 0.1)(
        TensorDict({"observation": x.reshape(2, 3, -1)}, [2, 3])
    )
    torch.testing.assert_close(flat["loss_smooth"], square["loss_smooth"])


def test_a_group_of_agents():
    """Every agent has weights of its own: only an actor that is given whole groups knows whose."""
    torch.manual_seed(0)
    net = MultiAgentMLP(FEATURES, 4, n_agents=3, centralized=False, share_params=False, num_cells=[4])
    body = TensorDictModule(
        nn.Sequential(net, NormalParamExtractor()),
        [("agents", "observation")],
        [("agents", "loc"), ("agents", "scale")],
    )
    keys = {"loc": ("agents", "loc"), "scale": ("agents", "scale")}
    actor = ProbabilisticActor(body, keys, [("agents", "action")], distribution_class=TanhNormal)
    x = observations(6).reshape(2, 3, -1)
    loss = SmoothPolicy(actor, lambda clean, **_: clean + 0.1, key=("agents", "observation"), agents=3)
    out = loss(TensorDict({"agents": TensorDict({"observation": x}, [2, 3])}, [2]))
    with torch.no_grad():
        (loc, scale), (seen, other) = body.module(x), body.module(x + 0.1)
        by_torch = kl_of_torch(Normal(loc, scale), Normal(seen, other)).sum(-1)
    torch.testing.assert_close(out["loss_smooth"].detach(), by_torch.mean())
    # Importance weights belong to a step, that is to all of its agents.
    weighted = TensorDict({"agents": TensorDict({"observation": x}, [2, 3]), "priority_weight": torch.eye(2)[1]}, [2])
    torch.testing.assert_close(loss(weighted)["loss_smooth"].detach(), by_torch[1].mean())
    out["loss_smooth"].backward()
    assert all(p.grad.abs().sum() > 0 for p in net.parameters())


def test_a_recurrent_actor_keeps_its_state():
    torch.manual_seed(0)
    gru = GRUModule(
        input_size=FEATURES, hidden_size=4, in_keys=["observation", "hidden"], out_keys=["features", ("next", "hidden")]
    )
    head = TensorDictModule(nn.Sequential(nn.Linear(4, 4), NormalParamExtractor()), ["features"], ["loc", "scale"])
    actor = ProbabilisticActor(TensorDictSequential(gru, head), ["loc", "scale"], distribution_class=TanhNormal)
    x, hidden = observations(ROWS), torch.randn(ROWS, 1, 4)
    start = torch.zeros(ROWS, 1, dtype=torch.bool)
    data = batch(x, hidden=hidden, is_init=start)
    out = SmoothPolicy(actor, moved)(data)
    with torch.no_grad():
        laws = [actor.get_dist(batch(s, hidden=hidden, is_init=start)) for s in (x, x + DELTA)]
        torch.testing.assert_close(out["loss_smooth"].detach(), kl_of_torch(*laws).mean())


def test_within_the_bounds_of_the_observation():
    """What the bounds forbid cannot be shown: here everything above s."""
    net, s = linear(), rows()
    policy = Gaussian(net, 1.0)
    attack = PGD(PolicyKL(policy), within=LinfBall(0.5), steps=5, restarts=20)
    out = SmoothPolicy(policy, attack, bounds=Bounds(high=float(s.min())))(batch(s))
    below = (0.5 * net.weight.detach()).clamp(min=0).sum(), (0.5 * net.weight.detach()).clamp(max=0).sum()
    largest = max(abs(below[0]), abs(below[1])).square() / 2
    torch.testing.assert_close(out["smooth_divergence"], largest)


def test_langevin_dynamics_by_default():
    attack = SmoothPolicy.sgld(linear(), within=LinfBall(0.1), steps=5).perturb.attack
    assert isinstance(attack, Langevin)
    assert isinstance(attack.objective, PolicyKL)
    assert (attack.steps, attack.beta, attack.within.radius) == (5, 1e5, 0.1)


def test_schedules():
    kappa, radius = Linear(0.0, 2.0, steps=10), Linear(0.0, 0.5, steps=10)
    policy = Gaussian(linear(), 1.0)
    loss = SmoothPolicy(policy, PGD(PolicyKL(policy), within=LinfBall(radius), steps=3), coefficient=kappa)
    data = batch(rows())
    assert loss(data)["loss_smooth"] == 0
    for schedule in (kappa, radius):
        schedule.advance(5)
    once = loss(data)
    torch.testing.assert_close(once["loss_smooth"], once["smooth_divergence"])  # kappa is 1 now
    kappa.advance(5)
    twice = loss(data)
    torch.testing.assert_close(twice["loss_smooth"], 2 * once["loss_smooth"])
    torch.testing.assert_close(twice["smooth_divergence"], once["smooth_divergence"])


def test_the_actor_of_a_sac_loss():
    """The same parameters, so that one optimiser step serves both."""
    torch.manual_seed(0)
    actor = normal()
    sac = SACLoss(actor, q(dtype=torch.float32), target_entropy=-1.0, action_spec=None)
    loss = SmoothPolicy.sgld(actor, within=LinfBall(0.1))
    ours = {id(p) for p in loss.parameters()}
    assert ours == {id(p) for p in sac.actor_network_params.parameters()}


def test_it_makes_a_policy_smooth():
    torch.manual_seed(0)
    actor = categorical()
    x = observations(64)
    loss = SmoothPolicy.sgld(actor, within=LinfBall(0.3), steps=5, seed=0)
    optimiser = torch.optim.Adam(loss.parameters(), lr=1e-2)
    before = loss(batch(x))["smooth_divergence"]
    for _ in range(60):
        optimiser.zero_grad()
        loss(batch(x))["loss_smooth"].backward()
        optimiser.step()
    assert loss(batch(x))["smooth_divergence"] < before / 10


def test_what_cannot_be_trained_is_refused():
    with pytest.raises(TypeError, match="`actor` must be a module"):
        SmoothPolicy(lambda obs: obs, Identity())
    with pytest.raises(ValueError, match="`coefficient` must be >= 0, got -1"):
        SmoothPolicy(linear(), Identity(), coefficient=-1.0)
    with pytest.raises(TypeError, match="`mean_shift` needs a normal policy"):
        SmoothPolicy(Categorical(nn.Linear(3, 2)), Identity(), divergence=mean_shift)(batch(torch.zeros(2, 3)))


class TestContract(LossContract):
    def make_loss(self):
        return SmoothPolicy.sgld(normal(), within=LinfBall(0.1), coefficient=3.0)

    def make_batch(self):
        after = TensorDict({"observation": observations(ROWS)}, [ROWS])
        return batch(observations(ROWS), next=after, clean_observation=observations(ROWS, seed=4))


class TestContractOfADiscretePolicy(TestContract):
    def make_loss(self):
        return SmoothPolicy.sgld(ACTORS["QValueActor"](), within=LinfBall(0.1), detach_clean=True)
