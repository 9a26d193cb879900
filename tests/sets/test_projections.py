"""The projections agree with a solver for quadratic programs, and L1 with the classic sort."""

from itertools import product

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy.optimize import minimize

from advwrap import L0Ball, L1Ball, L2Ball, LinfBall, Masked
from advwrap.testing import strategies

SIGNS = np.array(list(product((-1.0, 1.0), repeat=3)))
deltas = strategies.observations(shape=(3,), rows=1, dtype=torch.float64, largest=3.0)
radii = st.lists(st.floats(0.05, 2.0), min_size=3, max_size=3).map(lambda e: torch.tensor(e, dtype=torch.float64))


def nearest(delta, eps, constraint=None):
    """min ||x - delta||^2 over the set, by SLSQP in units of the radius."""
    d, e = delta[0].numpy(), eps.numpy()
    options = {"bounds": [(-1, 1)] * 3} if constraint is None else {"constraints": {"type": "ineq", "fun": constraint}}
    found = minimize(
        lambda u: np.sum((u * e - d) ** 2),
        np.zeros(3),
        jac=lambda u: 2 * e * (u * e - d),
        method="SLSQP",
        options={"ftol": 1e-14, "maxiter": 300},
        **options,
    )
    return torch.as_tensor(found.x * e)[None]


def assert_as_near(within, delta, reference, eps):
    """As near as the solver's point, and the same point to the solver's accuracy."""
    mine = within.project(delta)
    scale = float(eps.max() + delta.abs().max())
    assert (mine - delta).norm() <= (reference - delta).norm() + 1e-6 * scale
    assert torch.allclose(mine, reference, atol=2e-3 * scale)


@given(deltas, radii)
def test_box(delta, eps):
    assert_as_near(LinfBall(eps), delta, nearest(delta, eps), eps)


@given(deltas, radii)
def test_ellipsoid(delta, eps):
    assert_as_near(L2Ball(eps), delta, nearest(delta, eps, lambda u: 1 - u @ u), eps)


@given(deltas, radii)
def test_weighted_l1(delta, eps):
    assert_as_near(L1Ball(eps), delta, nearest(delta, eps, lambda u: 1 - SIGNS @ u), eps)


@given(deltas, st.floats(0.05, 2.0))
def test_one_radius_is_the_same_radius_for_every_feature(delta, eps):
    for ball in (LinfBall, L2Ball, L1Ball):
        same = ball(torch.full((3,), eps, dtype=torch.float64)).project(delta)
        assert torch.allclose(ball(eps).project(delta), same, atol=1e-9)


def by_sorting(d, eps):
    """Duchi et al. 2008, figure 1, in NumPy."""
    if np.abs(d).sum() <= eps:
        return d
    u = np.sort(np.abs(d))[::-1]
    total = np.cumsum(u) - eps
    rho = np.nonzero(u * np.arange(1, len(d) + 1) > total)[0][-1]
    return np.sign(d) * np.maximum(np.abs(d) - total[rho] / (rho + 1), 0)


@given(strategies.observations(shape=(6,), rows=2, dtype=torch.float64), st.floats(0.01, 20.0))
def test_l1_is_the_sort_of_duchi(delta, eps):
    expected = np.stack([by_sorting(row, eps) for row in delta.numpy()])
    np.testing.assert_allclose(L1Ball(eps).project(delta).numpy(), expected, atol=1e-9)


@given(deltas, radii, st.integers(0, 3))
def test_l0_is_the_best_support(delta, eps, k):
    """Every choice of k features, each clipped."""
    best = min(
        float((delta - clipped_on(delta, eps, chosen)).square().sum())
        for chosen in product((0.0, 1.0), repeat=3)
        if sum(chosen) <= k
    )
    mine = L0Ball(k, eps).project(delta)
    assert float((mine - delta).square().sum()) == pytest.approx(best, abs=1e-9)


def clipped_on(delta, eps, chosen):
    return torch.minimum(torch.maximum(delta, -eps), eps) * torch.tensor(chosen, dtype=torch.float64)


@given(deltas, radii, strategies.masks(shape=(3,)))
def test_masked_is_the_projection_of_what_is_free(delta, eps, mask):
    """Dropping features and projecting the rest, in fewer dimensions."""
    for ball in (LinfBall, L2Ball, L1Ball):
        mine = Masked(ball(eps), mask).project(delta)
        assert (mine[:, ~mask] == 0).all()
        if mask.any():
            assert torch.allclose(mine[:, mask], ball(eps[mask]).project(delta[:, mask]), atol=1e-9)


@pytest.mark.parametrize("ratio", [1e3, 1e6])
def test_flat_ellipsoid(ratio):
    """Optimal also where the half-axes differ by orders: the residual is parallel to the normal of the surface."""
    eps = torch.tensor([1.0, 1.0 / ratio, 1.0], dtype=torch.float64)
    delta = torch.tensor([[2.0, 3.0, -0.5]], dtype=torch.float64)
    x = L2Ball(eps).project(delta)
    normal, residual = x / eps**2, delta - x
    cosine = (normal * residual).sum() / (normal.norm() * residual.norm())
    assert (x / eps).norm().item() == pytest.approx(1.0)
    assert cosine.item() == pytest.approx(1.0)


@given(deltas, radii)
def test_in_units_of_the_radius(delta, eps):
    """Dividing the features by their radii makes every ball round."""
    for ball in (L2Ball, L1Ball):
        mine, units = ball(eps).project_in_radii(delta), ball(1.0).project(delta / eps) * eps
        assert torch.allclose(mine, units, atol=1e-9)
        assert ball(eps).contains(mine * (1 - 1e-9)).all()
        assert torch.equal(ball(0.3).project_in_radii(delta), ball(0.3).project(delta))
        masked = Masked(ball(eps), torch.tensor([True, False, True]))
        assert (masked.project_in_radii(delta)[:, 1] == 0).all()


@pytest.mark.parametrize("ball", [L2Ball, L1Ball])
def test_in_units_of_the_radius_where_it_is_zero(ball):
    eps = torch.tensor([0.5, 0.0], dtype=torch.float64)
    moved = ball(eps).project_in_radii(torch.tensor([[2.0, 1.0], [0.1, 1.0]], dtype=torch.float64))
    assert moved.tolist() == [[0.5, 0.0], [0.1, 0.0]]
