"""The oracle itself: closed forms against linear programming, brute force against both."""

from itertools import product

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy.optimize import linprog, minimize

from advwrap import L0Ball, L1Ball, L2Ball, LinfBall, Masked
from advwrap.testing import strategies
from advwrap.testing.victims import (
    ElementwisePolicy,
    LinearPolicy,
    LinearQ,
    LinearValue,
    QuadraticQ,
    TwoActions,
)
from advwrap.testing.worst_case import brute_force, shorten, support

BALLS = [LinfBall(0.3), L2Ball(0.3), L1Ball(0.3), L0Ball(2, 0.3)]
EPS = torch.tensor([0.5, 0.0, 2.0], dtype=torch.float64)


def weights(size=3):
    return strategies.observations(shape=(size,), rows=1, dtype=torch.float64).map(lambda w: w[0])


@given(weights())
def test_linf_support_is_a_linear_program(w):
    best = linprog(-w.numpy(), bounds=[(-e, e) for e in EPS.tolist()])
    assert support(LinfBall(EPS), w).item() == pytest.approx(-best.fun, abs=1e-6)


@given(weights())
def test_l1_support_is_a_linear_program(w):
    """With d = p - q: sum (p_j + q_j) / eps_j <= 1 over the features that may move."""
    free = EPS.numpy() > 0
    cost = np.concatenate([-w.numpy()[free], w.numpy()[free]])
    best = linprog(cost, A_ub=np.tile(1 / EPS.numpy()[free], 2)[None], b_ub=[1.0])
    assert support(L1Ball(EPS), w).item() == pytest.approx(-best.fun, abs=1e-6)


@given(weights(2))
def test_l2_support_is_a_scan_of_the_ellipse(w):
    angle = torch.linspace(0, 2 * torch.pi, 10001, dtype=torch.float64)
    eps = torch.tensor([0.5, 2.0], dtype=torch.float64)
    border = torch.stack([angle.cos(), angle.sin()], 1) * eps
    assert support(L2Ball(eps), w).item() == pytest.approx((border @ w).max().item(), abs=1e-4)


@given(weights(), st.integers(0, 3))
def test_l0_support_chooses_the_best_features(w, k):
    chosen = [sum(sorted((EPS * w.abs()).tolist(), reverse=True)[:k])]
    assert support(L0Ball(k, EPS), w).item() == pytest.approx(chosen[0])


def test_masked_support_ignores_protected_features():
    within = Masked(LinfBall(0.5), torch.tensor([True, False]))
    assert support(within, torch.tensor([2.0, 100.0])) == 1.0


def test_unknown_set_is_refused():
    with pytest.raises(TypeError, match="brute_force"):
        support(object(), torch.ones(2))


@pytest.mark.parametrize("within", BALLS, ids=repr)
@given(weights())
def test_brute_force_finds_linear_optima(within, w):
    """Exactly where they are corners or axes; the round ball within the spacing of the grid."""
    value, where = brute_force(lambda x: x @ w, torch.zeros(3, dtype=torch.float64), within, points=11)
    best = support(within, w)
    slack = 0.03 * best if isinstance(within, L2Ball) else 1e-6 * best + 1e-12
    assert best - slack <= value <= best + 1e-9
    assert within.contains(where[None]).all()


def test_brute_force_is_for_few_features():
    with pytest.raises(ValueError, match="at most 3 features"):
        brute_force(lambda x: x.sum(-1), torch.zeros(4), LinfBall(0.1))


@given(strategies.observations(shape=(3,), dtype=torch.float64))
def test_shortened_rows_are_on_the_border(delta):
    short = shorten(delta, L2Ball(0.5))
    norms, full = short.norm(dim=1), delta.norm(dim=1)
    assert torch.allclose(norms, full.clamp(max=0.5), atol=1e-9)


SIGNS = np.array(list(product((-1.0, 1.0), repeat=3)))
SMOOTH = {  # the same sets, written without kinks
    LinfBall: {"bounds": [(-0.3, 0.3)] * 3},
    L2Ball: {"constraints": {"type": "ineq", "fun": lambda d: 0.09 - d @ d}},
    L1Ball: {"constraints": {"type": "ineq", "fun": lambda d: 0.3 - SIGNS @ d}},
}


@pytest.mark.parametrize("kind", SMOOTH)
def test_closed_forms_of_the_victims_agree_with_an_optimiser(kind):
    within, clean = kind(0.3), torch.tensor([[0.5, -1.0, 0.2]], dtype=torch.float64)
    policy, q = LinearPolicy.random(3), LinearQ.random(3, 1)
    v, two = LinearValue.random(3), TwoActions.random(3)

    def worst(f):
        """The largest f(clean + d), f on one float64 row, by SLSQP from several starts."""

        def cost(d):
            with torch.no_grad():
                return -f(clean + torch.as_tensor(d)).item()

        starts = np.random.default_rng(0).uniform(-0.1, 0.1, (4, 3))
        return max(-minimize(cost, start, method="SLSQP", **SMOOTH[kind]).fun for start in starts)

    shift = worst(lambda x: (policy(x) - policy(clean)).square().sum())
    assert policy.largest_shift(within).item() == pytest.approx(shift, rel=1e-3)
    assert v.lowest(clean, within).item() == pytest.approx(-worst(lambda x: -v(x)), rel=1e-3)
    assert q.lowest_seen(clean, policy, within).item() == pytest.approx(
        -worst(lambda x: -q(clean, policy(x))), rel=1e-3
    )
    low, high = two.reach(clean, within)[0].tolist()
    assert high == pytest.approx(worst(lambda x: two(x)[:, 1]), rel=1e-3)
    assert low == pytest.approx(-worst(lambda x: -two(x)[:, 1]), rel=1e-3)


def test_quadratic_q_has_its_worst_case_at_a_corner():
    q, state = QuadraticQ.random(2), torch.tensor([[0.3, -0.7]], dtype=torch.float64)
    action = torch.tensor([[0.1, 0.2]], dtype=torch.float64)

    def score(a):
        with torch.no_grad():
            return -q(state.expand_as(a), a)

    value, _ = brute_force(score, action[0], LinfBall(0.25))
    assert -q.lowest_done(state, action, LinfBall(0.25)).item() == pytest.approx(value.item(), rel=1e-6)


def test_shift_of_many_actions_has_no_closed_form():
    with pytest.raises(ValueError, match="one action feature"):
        LinearPolicy.random(3, actions=2).largest_shift(LinfBall(0.1))


@given(strategies.observations(shape=(3,), rows=4, dtype=torch.float32))
def test_elementwise_policy_does_not_depend_on_the_batch(x):
    victim = ElementwisePolicy(torch.tensor([1.0, -2.0, 0.5]), torch.tensor([0.1, 0.0, -0.3]))
    assert torch.equal(victim(x), torch.cat([victim(row[None]) for row in x]))
