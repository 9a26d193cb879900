"""Policy iteration under the optimal adversary of the actions, exactly: what improves, what does not, what contracts.

A cliff in one dimension: rewards grow towards the edge, behind it they are terrible. Actions are moves; the adversary
shifts each executed move by up to eps.
"""

from __future__ import annotations

import itertools

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


def evaluate(policy, *, attacked):
    """The fixed point of Q(s, a) = r + gamma Q(s', pi(s')), or of its least around pi(s')."""
    can = REACH[policy] if attacked else np.arange(len(ACTIONS)) == policy[:, None]
    q = np.zeros_like(REWARDS)
    for _ in range(500):
        q = REWARDS + GAMMA * np.where(can, q, np.inf).min(1)[NEXT]
    return q


def worst_value(policy):
    """What the policy is worth under the optimal adversary, in every state."""
    return least(evaluate(policy, attacked=True))[np.arange(len(STATES)), policy]


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
        q, u = evaluate(policy, attacked=False), evaluate(policy, attacked=True)
        policy = RULES[rule](q, u).argmax(1)
        values.append(worst_value(policy))
    return values


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


def test_the_mixture_needs_the_worst_action_as_well():
    reached = {rule: iterate(rule)[-1].mean() for rule in ("mixed plain", "mixed worst")}
    assert reached["mixed worst"] > optimum().mean() - 0.5
    assert reached["mixed plain"] < reached["mixed worst"] - 1.0


@given(st.integers(0, 10_000))
def test_the_operator_contracts(seed):
    """max |T Q - T Q'| <= gamma max |Q - Q'| on random MDPs and policies."""
    rng = np.random.default_rng(seed)
    rewards, transitions = rng.normal(size=(5, 7)), rng.dirichlet(np.ones(5), size=(5, 7))
    reach = rng.random((7, 7)) < 0.4
    reach |= np.eye(7, dtype=bool)
    policy = rng.integers(7, size=5)

    def backup(q):
        lowest = np.where(reach[None], q[:, None, :], np.inf).min(-1)[np.arange(5), policy]
        return rewards + GAMMA * transitions @ lowest

    one, other = rng.normal(size=(2, 5, 7)) * 10
    assert np.abs(backup(one) - backup(other)).max() <= GAMMA * np.abs(one - other).max() + 1e-12


GRID = torch.linspace(-1, 1, 41, dtype=torch.float64)
"""Of the states as of the actions."""


class Table(nn.Module):
    """U(s, a) of the points of the grid."""

    def __init__(self):
        super().__init__()
        self.values = nn.Parameter(torch.zeros(41, 41, dtype=torch.float64))

    def forward(self, state, action):
        return self.values[index(state), index(action)].unsqueeze(-1)


class TablePolicy(nn.Module):
    """An action per state of the grid; idle at first."""

    def __init__(self):
        super().__init__()
        self.actions = nn.Parameter(torch.zeros(41, dtype=torch.float64))

    def forward(self, state):
        return self.actions[index(state)].unsqueeze(-1)


def index(x):
    return ((x[..., 0] + 1) * 20).round().long()


class Enumerate:
    """The worst point of the grid within eps: exact."""

    def __init__(self, critic):
        self.critic = critic

    def __call__(self, action, *, context, bounds=None, generator=None):
        state = context["observation"].repeat_interleave(41, 0)
        values = self.critic(state, GRID.repeat(len(action)).unsqueeze(-1)).amin(0).reshape(-1, 41)
        return GRID[values.where((GRID - action).abs() <= EPS + 1e-9, torch.inf).argmin(-1)].unsqueeze(-1)


class Parts:
    """The cliff as a batch of all transitions, and the library's loss on tables."""

    def __init__(self, **options):
        self.table, self.policy = Table(), TablePolicy()
        self.loss = RobustCriticLoss(
            self.policy,
            ValueOperator(self.table, ["clean_observation", "action"]),
            within=LinfBall(EPS),
            bounds=Bounds(-1.0, 1.0),
            solver=Enumerate,
            gamma=GAMMA,
            **options,
        )
        SoftUpdate(self.loss, tau=0.5)  # tells TorchRL that somebody keeps the target: `keep`
        state, action = (GRID[i.reshape(-1, 1)] for i in np.indices((41, 41)))
        ended = torch.zeros(41 * 41, 1, dtype=torch.bool)
        after = {"observation": GRID[NEXT].reshape(-1, 1), "terminated": ended, "done": ended}
        after["reward"] = torch.from_numpy(REWARDS).reshape(-1, 1)
        self.batch = TensorDict({"observation": state, "action": action, "next": after}, [41 * 41])

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
        state, action = self.batch["observation"], self.batch["action"]
        executed = self.loss.attack(action, context={"observation": state}) if self.loss.at_worst else action
        values = self.loss.raised(state, executed)[0].detach().reshape(41, 41)
        self.policy.actions.data.copy_(GRID[values.argmax(1)])

    def played(self):
        return index(self.policy.actions.data.unsqueeze(-1)).numpy()


def test_a_gradient_step_of_the_loss_is_the_operator():
    """From any table, at any policy: the test's arithmetic and the library's loss agree."""
    parts, rng = Parts(), np.random.default_rng(0)
    for _ in range(3):
        table, policy = rng.normal(size=(41, 41)), rng.integers(41, size=41)
        parts.table.values.data.copy_(torch.from_numpy(table))
        parts.keep()
        parts.policy.actions.data.copy_(GRID[policy])
        parts.back_up()
        aim = REWARDS + GAMMA * np.where(REACH[policy], table, np.inf).min(1)[NEXT]
        np.testing.assert_allclose(parts.table.values.data.numpy(), aim, atol=1e-12)


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
