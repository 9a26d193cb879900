"""Policy iteration under the optimal adversary of the actions, exactly: what improves, what does not, what contracts.

A cliff in one dimension: rewards grow towards the edge, behind it they are terrible. Actions are moves; the adversary
shifts each executed move by up to eps.
"""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

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
