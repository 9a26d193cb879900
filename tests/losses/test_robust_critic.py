"""OA-PI's robust critic: the target in closed form, the gradient at the worst action, also at the actuator's limit."""

from __future__ import annotations

from functools import partial

import pytest
import torch
from tensordict import TensorDict
from torch import nn
from torch.nn import functional as F
from torchrl.modules import MLP, ValueOperator
from torchrl.objectives import SoftUpdate

from advwrap import Bounds, Corners, CrossEntropyMethod, LinfBall, Varying
from advwrap.losses import RobustCriticLoss
from advwrap.losses.robust_critic import search_quality
from advwrap.targets import Falling, worst_action
from advwrap.testing.contracts import LossContract
from tests.losses.test_worst_case_critic import ACTIONS, CLEAN, FEATURES, batch, draw, q
from tests.victims.torchrl_actors import normal

BOX = Bounds(-1.0, 1.0)


def robust(actor=None, qvalue=None, **options):
    torch.manual_seed(0)
    options = {"within": LinfBall(0.3), "bounds": BOX, "seed": 0, **options}
    loss = RobustCriticLoss(normal() if actor is None else actor, q() if qvalue is None else qvalue, **options)
    SoftUpdate(loss, tau=0.25)
    loss.target_qvalue_network_params.data.apply_(lambda weight: weight * 1.5)  # else it is the online one
    return loss


class TestRobustCriticLoss(LossContract):
    def make_loss(self):
        return robust(num_qvalue_nets=2)

    def make_batch(self):
        return batch()


class LinearCase:
    """mu(s) = <w, s> / 4 and U(s, a) = <u, s> + v a, float64: the worst action is a - eps sign(v), clipped."""

    def __init__(self, gamma=0.9, eps=0.3, **options):
        self.actor = nn.Linear(FEATURES, 1, dtype=torch.float64)
        qvalue = ValueOperator(MLP(FEATURES + 1, 1, depth=0).double(), in_keys=[CLEAN, "action"])
        for seed, p in enumerate([*self.actor.parameters(), *qvalue.parameters()]):
            p.data.copy_(draw(*p.shape, seed=seed, dtype=torch.float64) / 4)
        self.eps = eps
        self.loss = robust(self.actor, qvalue, within=LinfBall(eps), gamma=gamma, **options)
        self.online = self.loss.qvalue_network_params["module", "0"].data
        self.target = self.loss.target_qvalue_network_params["module", "0"].data

    def value(self, params, s, a):
        return F.linear(torch.cat([s, a], -1), params["weight"], params["bias"]).squeeze(-1)

    def executed(self, params, a):
        return (a - self.eps * params["weight"][0, -1].sign()).clamp(-1, 1)


@pytest.mark.parametrize("eps", [0.0, 0.3, 5.0])
@pytest.mark.parametrize("loss_function", ["smooth_l1", "l2"])
def test_the_target_in_closed_form(eps, loss_function):
    case, data = LinearCase(eps=eps, loss_function=loss_function), batch(actions=1, dtype=torch.float64)
    case.target["weight"][0, -1].neg_()  # by the online critic the worst action is on the other side
    after = data["next"]
    with torch.no_grad():
        intended = case.actor(after["observation"])
        # Where the policy leaves the box itself, the adversary cannot push it further out.
        low, high = intended.clamp(max=-1.0), intended.clamp(min=1.0)
        worst = (intended - eps * case.target["weight"][0, -1].sign()).clamp(low, high)
    following = case.value(case.target, after["observation"], worst)
    target = after["reward"][:, 0] + 0.9 * (~after["terminated"][:, 0]) * following
    value = case.value(case.online, data["observation"], data["action"])
    distance = F.smooth_l1_loss if loss_function == "smooth_l1" else F.mse_loss
    torch.testing.assert_close(case.loss(data)["loss_robust_qvalue"].detach(), distance(value, target))


def test_without_an_actor_only_the_critics_learn():
    data = batch()
    loss = robust(next_action=lambda following: data["action"])
    alone = RobustCriticLoss(None, q(), within=LinfBall(0.3), bounds=BOX, next_action=loss.next_action, seed=0)
    SoftUpdate(alone, tau=0.25)
    for name in ("qvalue_network_params", "target_qvalue_network_params"):
        getattr(alone, name).data.copy_(getattr(loss, name).data)
    found = alone(data)
    assert list(found.keys()) == ["loss_robust_qvalue"]
    torch.testing.assert_close(found["loss_robust_qvalue"], loss(data)["loss_robust_qvalue"])
    with pytest.raises(ValueError, match="`next_action` must be given"):
        RobustCriticLoss(None, q(), within=LinfBall(0.3))


def test_a_next_action_of_ones_own():
    """TD3 hands its smoothed target action."""
    data = batch(actions=1, dtype=torch.float64)
    following = torch.full((8, 1), 0.2, dtype=torch.float64)
    case = LinearCase(next_action=lambda part: following, eps=0.1)
    worst = case.value(case.target, data["next", "observation"], following - 0.1 * case.target["weight"][0, -1].sign())
    torch.testing.assert_close(case.loss._worst_next(data["next"]), worst)


def test_the_least_of_the_twins_counts():
    loss, data = robust(num_qvalue_nets=2, within=LinfBall(0.0)), batch()
    following = data["next"]
    mean = loss.policy.mean(following["observation"], None)
    expected = loss.robust_target(following["observation"], mean).amin(0)
    torch.testing.assert_close(loss._worst_next(following), expected)


@pytest.mark.parametrize("seed", range(12))
def test_the_actors_gradient_is_that_of_the_minimum(seed):
    """Danskin: the derivative of min over d of U(s, clip(mu + d)) with respect to mu, numerically, the box included."""
    start, eps = draw(2, seed=1000 + seed, dtype=torch.float64).tanh().tolist()
    eps = abs(eps) / 2 + 0.05
    curve = nn.Sequential(nn.Linear(1, 8), nn.Tanh(), nn.Linear(8, 1)).double()
    for i, p in enumerate(curve.parameters()):
        p.data.copy_(draw(*p.shape, seed=seed + i, dtype=torch.float64))
    actor = nn.Linear(1, 1, bias=False).double()
    actor.weight.data.fill_(start)

    class Curve(nn.Module):
        def __init__(self):
            super().__init__()
            self.curve = curve

        def forward(self, observation, action):
            return self.curve(action)

    loss = robust(
        actor,
        ValueOperator(Curve(), in_keys=[CLEAN, "action"]),
        within=LinfBall(eps),
        solver=lambda critic: worst_action(critic, within=LinfBall(eps), steps=40, restarts=4),
    )
    one = torch.ones(1, 1, dtype=torch.float64)
    data = TensorDict({"observation": one, "action": one, "reward": one}, [1])
    data["next"] = TensorDict({"observation": one, "reward": one, "terminated": one > 2}, [1])
    (found,) = torch.autograd.grad(loss(data)["loss_robust_actor"], actor.weight)

    def least(mu):
        grid = torch.linspace(max(mu - eps, -1.0), min(mu + eps, 1.0), 4001, dtype=torch.float64)
        return float(curve(grid.unsqueeze(1)).min().detach())

    h = 1e-4
    left, right = (least(start) - least(start - h)) / h, (least(start + h) - least(start)) / h
    # Where the minimum is inside, the search ends a step from it: its slope is small there, not 0.
    assert float(found) == pytest.approx(-(left + right) / 2, abs=0.05)


def test_at_the_limit_the_gradient_is_nothing():
    """The worst executed action is pinned at -1: moving the policy's action a little changes nothing."""
    actor = nn.Linear(1, 1, bias=False)
    actor.weight.data.fill_(-0.9)
    qvalue = ValueOperator(MLP(2, 1, depth=0), in_keys=[CLEAN, "action"])
    qvalue.module[0].weight.data.copy_(torch.tensor([[0.0, 1.0]]))
    one = torch.ones(1, 1)
    data = TensorDict({"observation": one, "action": one}, [1])
    data["next"] = TensorDict({"observation": one, "reward": one, "terminated": one > 2}, [1])
    for eps, expected in ((0.05, -1.0), (0.3, 0.0)):
        loss = robust(actor, qvalue, within=LinfBall(eps))
        (found,) = torch.autograd.grad(loss(data)["loss_robust_actor"], actor.weight)
        assert float(found) == expected


def test_plain_raises_the_value_of_the_intended_action():
    loss, data = robust(at_worst=False), batch()
    mean = loss.policy.mean(data["observation"], None)
    out = loss(data)
    torch.testing.assert_close(out["loss_robust_actor"], -loss.robust(data["observation"], mean)[0].mean())


SOLVERS = {
    "default": None,
    "worst_action": lambda critic: worst_action(critic, within=LinfBall(0.5)),
    "corners": partial(worst_action, within=LinfBall(0.5), strategy=Corners()),
    "cross-entropy method": partial(worst_action, within=LinfBall(0.5), strategy=CrossEntropyMethod()),
}


@pytest.mark.parametrize("solver", SOLVERS)
@pytest.mark.parametrize("name", ["target", "actor"])
def test_the_solver_against_a_grid(name, solver):
    """Against brute force, on curved critics with three actions: the least of the twins, in the target; the first one,
    which the actor follows.
    """
    loss, data = robust(num_qvalue_nets=2, within=LinfBall(0.5), solver=SOLVERS[solver]), batch()
    critic, attack = {
        "target": (loss.robust_target, loss.target_attack),
        "actor": (lambda *args: loss.robust(*args)[:1], loss.attack),
    }[name]
    state = data["observation"]
    action = draw(8, ACTIONS, seed=9).clamp(-1, 1)
    found = critic(state, loss._attacked(attack, action, state, loss.reading.rows(data))).amin(0)
    axis = torch.linspace(-0.5, 0.5, 21)
    offsets = torch.cartesian_prod(axis, axis, axis)
    grid = torch.stack([critic(state, (action + d).clamp(-1, 1)).amin(0) for d in offsets]).amin(0)
    clean = critic(state, action).amin(0)
    assert (found <= clean).all()
    share = (clean - found) / (clean - grid)
    if solver == "cross-entropy method":  # draws, and has no gradient
        assert share.mean() > 0.8
        return
    assert (share > 0.98).float().mean() >= 0.8
    assert share.mean() > 0.95


@pytest.mark.parametrize("restarts", [1, 3])
def test_more_starts_of_every_member(restarts):
    """Peaks of the twins at the action itself: only a random start finds the way down, on both sides of each."""

    class Peak(nn.Module):
        def __init__(self):
            super().__init__()
            self.height = nn.Parameter(torch.zeros(1))

        def forward(self, observation, action):
            return self.height - action.square().sum(-1, keepdim=True)

    loss = robust(qvalue=ValueOperator(Peak(), in_keys=[CLEAN, "action"]), num_qvalue_nets=2)
    loss.qvalue_network_params.data["module", "height"].copy_(torch.tensor([[0.0], [-1.0]]))
    attack = worst_action(loss, within=LinfBall(0.5), steps=3, restarts=restarts)
    state, action = torch.zeros(6, FEATURES), torch.zeros(6, ACTIONS)
    executed = attack(action, context={"observation": state}, bounds=BOX, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(executed.abs(), torch.full_like(action, 0.0 if restarts == 1 else 0.5))


def test_the_number_of_starts_is_checked():
    with pytest.raises(ValueError, match="`restarts` must be an integer >= 1, got 0"):
        worst_action(lambda observation, action: action[:, 0], within=LinfBall(0.5), restarts=0)


@pytest.mark.parametrize("given", ["one by one", "together"])
def test_every_critic_finds_its_own_way_down(given):
    """The least critic at the action falls to the right, by little; the other one to the left, by much."""

    def gentle(observation, action):
        return -0.1 * action[:, 0] - 1.0

    def steep(observation, action):
        return 3.0 * action[:, 0]

    def both(observation, action):
        return torch.stack([gentle(observation, action), steep(observation, action)])

    critic, found = {"one by one": ([gentle, steep], -0.5), "together": (both, 0.5)}[given]
    attack = worst_action(critic, within=LinfBall(0.5), steps=3, restarts=1)
    state = torch.zeros(4, 2)
    executed = attack(torch.zeros(4, 1), context={"observation": state}, bounds=BOX)
    torch.testing.assert_close(executed, torch.full((4, 1), found))


def test_two_steps_go_from_vertex_to_vertex():
    """Down to the right from the action, where it is far higher than on the left: the second step turns back."""
    attack = worst_action(
        lambda _, action: (4 * action**3 - 0.1 * action)[:, 0], within=LinfBall(0.5), steps=2, restarts=1
    )
    executed = attack(torch.zeros(4, 1), context={"observation": torch.zeros(4, 2)}, bounds=BOX)
    assert executed.tolist() == [[-0.5]] * 4


def test_falling_steps():
    assert [Falling(5)(i) for i in range(5)] == pytest.approx([2.0, 1.6, 1.2, 0.8, 0.4])
    with pytest.raises(ValueError, match="`steps` must be an integer >= 1"):
        Falling(0)


@pytest.mark.parametrize(("options", "said"), [({"gamma": 1.5}, "`gamma`"), ({"num_qvalue_nets": 0}, "`num_qvalue_n")])
def test_bad_numbers(options, said):
    with pytest.raises(ValueError, match=said):
        robust(**options)


def test_the_gap_of_a_search() -> None:
    """U falls to both sides of the action, further on the right: who finds the left minimum misses a known share."""
    case, data = LinearCase(eps=0.3), batch(actions=1, dtype=torch.float64)

    class Valley:
        """-|d| on the left and -2 |d| on the right of 0, for every state."""

        def __call__(self, observation, action, context=None):
            d = action[:, 0]
            return torch.where(d < 0, d, -2 * d).unsqueeze(0)

    loss = robust(
        case.actor, case.loss.qvalue_network, within=LinfBall(0.3), next_action=lambda following: 0 * data["action"]
    )
    loss.robust_target = Valley()

    def at(x):
        return lambda critic: lambda clean, **_: torch.full_like(clean, x)

    for own, gap in ((-0.3, 0.5), (0.3, 0.0), (0.0, 1.0), (0.15, 0.5)):
        loss.target_attack = at(own)(None)
        found, damage = loss.search_gap(data, at(0.3))
        torch.testing.assert_close(found, torch.full((8,), gap, dtype=torch.float64))
        torch.testing.assert_close(damage, torch.full((8,), 0.6, dtype=torch.float64))
    loss.target_attack = at(0.3)(None)
    assert not loss.search_gap(data, at(-0.3))[0].any()  # the other one is worse


def test_what_is_logged_of_a_search():
    """A quarter of the actions are on a peak, where a single start stays; the others are at the bottom of a valley."""
    rows: list[int] = []

    class Waves(nn.Module):
        def __init__(self):
            super().__init__()
            self.height = nn.Parameter(torch.ones(1))

        def forward(self, observation, action):
            rows.append(len(action))
            return self.height * torch.cos(torch.pi * action / 0.34).sum(-1, keepdim=True)

    data, waves = batch(), ValueOperator(Waves(), in_keys=[CLEAN, "action"])
    action = torch.where(torch.arange(8).unsqueeze(1) % 4 == 0, 0.0, 0.34).repeat(1, ACTIONS)
    loss = robust(qvalue=waves, within=LinfBall(0.5), next_action=lambda following: action)
    found = search_quality(loss, data)
    assert (found["search_gap_mean"], found["search_gap_p95"]) == (0.25, 1.0)
    # The target's waves are 3 high in each action. Fewer steps than twenty come less close to the bottom.
    assert found["action_damage"] == pytest.approx(0.25 * ACTIONS * 3, rel=0.005)
    assert max(rows) == 4 * 8  # its starts are searched side by side


def test_the_limit_may_depend_on_the_state():
    """Within a `Varying` set the target is the nominal one where the share is 0, that of the ball where it is 1."""
    torch.manual_seed(0)
    share = lambda clean, context: (context["observation"][:, 0] > 0).float()  # noqa: E731
    qvalue = ValueOperator(MLP(2, 1, num_cells=[8]), in_keys=["clean_observation", "action"])
    ball, bounds = LinfBall(0.5), Bounds(-1.0, 1.0)
    actor = nn.Sequential(nn.Linear(1, 1), nn.Tanh())
    state = torch.linspace(-1, 1, 9)[:, None]
    after = {"observation": state, "reward": torch.zeros(9, 1), "terminated": torch.zeros(9, 1, dtype=torch.bool)}
    batch = TensorDict({"observation": state, "action": torch.zeros(9, 1), "next": TensorDict(after, [9])}, [9])
    least = {}
    for name, within in (("none", LinfBall(0.0)), ("some", Varying(ball, share)), ("all", ball)):
        loss = RobustCriticLoss(actor, [qvalue], within=within, bounds=bounds, seed=0)
        SoftUpdate(loss, tau=0.5)
        least[name] = loss._worst_next(batch["next"])
    apart = state[:, 0] > 0
    torch.testing.assert_close(least["some"], torch.where(apart, least["all"], least["none"]), atol=1e-5, rtol=0)
    assert (least["all"] < least["none"]).all()
