"""Policy iteration under the optimal adversary of the actions, exactly: what improves, what does not, what contracts.

A cliff in one dimension: rewards grow towards the edge, behind it they are terrible. Actions are moves; the adversary
shifts each executed move by up to eps.
"""

from __future__ import annotations

import itertools
from functools import cache, partial

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from tensordict import TensorDict
from torch import nn
from torchrl.modules import ValueOperator
from torchrl.objectives import SoftUpdate

from advwrap import Bounds, LinfBall
from advwrap.losses import RobustCriticLoss

STATES, ACTIONS, GAMMA, EPS = np.linspace(-1, 1, 41), np.linspace(-1, 1, 41), 0.95, 0.3
EDGE = 0.6
REACH = np.abs(ACTIONS[:, None] - ACTIONS[None, :]) <= EPS + 1e-9
"""Which actions the adversary can make of which."""


def cliff():
    """Rewards [S, A] and the next state [S, A]: a state moves by a quarter of the action."""
    following = np.clip(STATES[:, None] + 0.25 * ACTIONS[None, :], -1, 1)
    nearest = np.abs(following[..., None] - STATES).argmin(-1)
    rewards = np.where(following > EDGE, -10.0, following)
    return rewards, nearest


REWARDS, NEXT = cliff()


def least(q):
    """min over the adversary's actions of Q(s, .), for every intended action."""
    return np.where(REACH[None], q[:, None, :], np.inf).min(-1)


@cache
def evaluate(policy, *, attacked):
    """The fixed point of Q(s, a) = r + gamma Q(s', pi(s')), or of its least around pi(s')."""
    policy = np.array(policy)
    can = REACH[policy] if attacked else np.arange(len(ACTIONS)) == policy[:, None]
    q = np.zeros_like(REWARDS)
    for _ in range(500):
        q = REWARDS + GAMMA * np.where(can, q, np.inf).min(1)[NEXT]
    return q


def worst_value(policy):
    """What the policy is worth under the optimal adversary, in every state."""
    return least(evaluate(tuple(policy), attacked=True))[np.arange(len(STATES)), policy]


def optimum():
    """Max-min value iteration."""
    v = np.zeros(len(STATES))
    for _ in range(500):
        v = least(REWARDS + GAMMA * v[NEXT]).max(1)
    return v


RULES = {
    "nominal": lambda q, u: q,
    "plain": lambda q, u: u,
    "worst": lambda q, u: least(u),
    "mixed plain": lambda q, u: 0.5 * q + 0.5 * u,
    "mixed worst": lambda q, u: 0.5 * q + 0.5 * least(u),
}


def iterate(rule, rounds=8):
    policy = np.full(len(STATES), len(ACTIONS) // 2)
    values = [worst_value(policy)]
    for _ in range(rounds):
        q, u = (evaluate(tuple(policy), attacked=attacked) for attacked in (False, True))
        policy = RULES[rule](q, u).argmax(1)
        values.append(worst_value(policy))
    return values


def falls(values):
    """In how many rounds the mean value fell."""
    return sum(after.mean() < before.mean() - 1e-6 for before, after in itertools.pairwise(values))


def test_improvement_at_the_worst_action_is_monotone_and_reaches_the_optimum():
    values = iterate("worst")
    for before, after in itertools.pairwise(values):
        assert (after >= before - 1e-6).all()
    np.testing.assert_allclose(values[-1], optimum(), atol=1e-6)


@pytest.mark.parametrize("rule", ["nominal", "plain"])
def test_the_other_rules_do_not(rule):
    """Neither the nominal value nor the robust critic at the intended action."""
    values = iterate(rule)
    assert values[-1].mean() < optimum().mean() - 1.0
    assert falls(values) > 0


def test_the_mixture_needs_the_worst_action_as_well():
    reached = {rule: iterate(rule)[-1].mean() for rule in ("mixed plain", "mixed worst")}
    assert reached["mixed worst"] > optimum().mean() - 0.5
    assert reached["mixed plain"] < reached["mixed worst"] - 1.0


@pytest.mark.parametrize(
    ("rule", "turns", "fell"),
    [
        ("nominal", (-180.4, -180.4), 1),
        ("plain", (-180.4, -58.5), 10),
        ("worst", (5.9, 5.9), 0),
        ("mixed plain", (-180.4, -58.5), 10),
        ("mixed worst", (5.9, 5.9), 0),
    ],
)
def test_the_table_of_the_page(rule, turns, fell):
    """docs/oa-pi.md: the mean worst-case value from the second of twenty rounds on, and how many rounds lowered it."""
    values = iterate(rule, rounds=20)
    means = [value.mean() for value in values[2:]]
    np.testing.assert_allclose(means, np.resize(turns, 19), atol=0.05)
    assert falls(values) == fell


class Table(nn.Module):
    """U(s, a) of the points of the grid."""

    def __init__(self, size):
        super().__init__()
        self.values = nn.Parameter(torch.zeros(size, size, dtype=torch.float64))

    def forward(self, state, action):
        size = len(self.values)
        return self.values[index(state, size), index(action, size)].unsqueeze(-1)


class TablePolicy(nn.Module):
    """An action per state of the grid; idle at first."""

    def __init__(self, size):
        super().__init__()
        self.actions = nn.Parameter(torch.zeros(size, dtype=torch.float64))

    def forward(self, state):
        return self.actions[index(state, len(self.actions))].unsqueeze(-1)


def index(x, size):
    return ((x[..., 0] + 1) / 2 * (size - 1)).round().long()


class Enumerate:
    """The worst point of the grid within eps: exact."""

    def __init__(self, critic, *, grid):
        self.critic, self.grid = critic, grid

    def __call__(self, action, *, context, bounds=None, generator=None):
        grid, size = self.grid, len(self.grid)
        state = context["observation"].repeat_interleave(size, 0)
        values = self.critic(state, grid.repeat(len(action)).unsqueeze(-1)).amin(0).reshape(-1, size)
        return grid[values.where((grid - action).abs() <= EPS + 1e-9, torch.inf).argmin(-1)].unsqueeze(-1)


class Parts:
    """A task as a batch of all transitions, the cliff by default, and the library's loss on tables.

    Rewards and next states are [..., S, A], as many states as actions, on one grid; what comes before are outcomes of
    a step that are equally likely.
    """

    def __init__(self, rewards=REWARDS, following=NEXT, **options):
        size = rewards.shape[-1]
        self.grid = torch.linspace(-1, 1, size, dtype=torch.float64)
        self.table, self.policy = Table(size), TablePolicy(size)
        self.loss = RobustCriticLoss(
            self.policy,
            ValueOperator(self.table, ["clean_observation", "action"]),
            within=LinfBall(EPS),
            bounds=Bounds(-1.0, 1.0),
            solver=partial(Enumerate, grid=self.grid),
            gamma=GAMMA,
            **options,
        )
        SoftUpdate(self.loss, tau=0.5)  # tells TorchRL that somebody keeps the target: `keep`
        state, action = (self.grid[i.reshape(-1, 1)] for i in np.indices(rewards.shape)[-2:])
        ended = torch.zeros(rewards.size, 1, dtype=torch.bool)
        after = {"observation": self.grid[following].reshape(-1, 1), "terminated": ended, "done": ended}
        after["reward"] = torch.from_numpy(rewards).reshape(-1, 1)
        self.batch = TensorDict({"observation": state, "action": action, "next": after}, [rewards.size])

    def play(self, policy):
        """The policy takes these actions of the grid."""
        self.policy.actions.data.copy_(self.grid[policy])

    def operator(self, table):
        """T of a table."""
        self.table.values.data.copy_(torch.from_numpy(table))
        self.keep()
        self.back_up()
        return self.table.values.detach().numpy().copy()

    def back_up(self):
        """A gradient step that is long enough to reach the target of every entry."""
        loss, values = self.loss(self.batch)["loss_robust_qvalue"], self.table.values
        (gradient,) = torch.autograd.grad(loss, [values])
        values.data -= values.numel() / 2 * gradient
        self.keep()

    def keep(self):
        """The target is the table as it is."""
        self.loss.target_qvalue_network_params.data.copy_(self.loss.qvalue_network_params.data)

    def improve(self):
        """Per state the action whose term in the actor's loss is best."""
        states, values = self.batch[:: len(self.grid)], []
        for action in range(len(self.grid)):
            self.play(np.full(len(self.grid), action))
            executed, state = self.loss._executed(states)
            values.append(self.loss.raised(state, executed)[0])
        self.play(torch.stack(values).argmax(0))

    def played(self):
        return index(self.policy.actions.data.unsqueeze(-1), len(self.grid)).numpy()


def test_a_gradient_step_of_the_loss_is_the_operator():
    """From any table, at any policy: the test's arithmetic and the library's loss agree."""
    parts, rng = Parts(), np.random.default_rng(0)
    for _ in range(3):
        table, policy = rng.normal(size=(41, 41)), rng.integers(41, size=41)
        parts.play(policy)
        aim = REWARDS + GAMMA * np.where(REACH[policy], table, np.inf).min(1)[NEXT]
        np.testing.assert_allclose(parts.operator(table), aim, atol=1e-12)


@given(st.integers(0, 10_000), st.sampled_from([0.0, 0.1, 10.0]))
def test_the_operator_contracts(seed, spread):
    """max |T U - T U'| <= gamma max |U - U'| by a step of the loss, on random MDPs; a shift of all attains it."""
    rng = np.random.default_rng(seed)
    shape = 2, 9, 9
    parts = Parts(rng.normal(size=shape), rng.integers(9, size=shape))
    ends = torch.from_numpy(rng.random((162, 1)) < 0.2)
    parts.batch["next", "terminated"] = ends if spread else torch.zeros_like(ends)
    parts.play(rng.integers(9, size=9))
    one = 10 * rng.normal(size=(9, 9))
    other = one + 1 + spread * rng.normal(size=(9, 9))
    moved = np.abs(parts.operator(one) - parts.operator(other)).max()
    limit = GAMMA * np.abs(one - other).max()
    assert moved <= limit + 1e-9
    assert spread or moved == pytest.approx(limit)


@pytest.mark.parametrize("at_worst", [True, False])
def test_policy_iteration_by_the_loss(at_worst):
    """At the worst action it is monotone and reaches the optimum; by the plain reading it does not."""
    parts = Parts(at_worst=at_worst)
    values = [worst_value(parts.played())]
    for _ in range(3):
        for _ in range(120):
            parts.back_up()
        parts.improve()
        values.append(worst_value(parts.played()))
    if at_worst:
        for before, after in itertools.pairwise(values):
            assert (after >= before - 1e-5).all()
        np.testing.assert_allclose(values[-1], optimum(), atol=1e-4)
    else:
        assert values[-1].mean() < optimum().mean() - 1.0
        assert falls(values) > 0
