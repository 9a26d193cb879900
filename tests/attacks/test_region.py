"""The region of one attack call: what is feasible stays, what is not is put just inside."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from advwrap import UNBOUNDED, Bounds, L1Ball, L2Ball, LinfBall
from advwrap.attacks.region import region
from advwrap.testing import strategies
from advwrap.testing.contracts.rules import same_bits

FLOATS = strategies.dtypes()


@given(strategies.sets(shape=(3,)), st.data())
def test_feasible_rows_keep_their_bits(within, data):
    """Whatever their neighbours need."""
    dtype = data.draw(FLOATS)
    clean, x = (data.draw(strategies.observations(shape=(3,), rows=2, dtype=dtype, largest=3.0)) for _ in range(2))
    sealed = region(clean, within, UNBOUNDED).seal(x)
    inside = within.contains(x.double() - clean.double()) & (x.double() - clean.double() != 0).all(1)
    assert same_bits(sealed[inside], x[inside])
    assert within.contains(sealed.double() - clean.double()).all()


def test_feasible_row_keeps_digits_that_its_difference_has_lost():
    """1e-20 - 1 is -1: putting the difference back on would give 0."""
    clean = torch.ones(2, 1, dtype=torch.float64)
    x = torch.tensor([[1e-20], [5.0]], dtype=torch.float64)
    assert region(clean, LinfBall(1.5), UNBOUNDED).seal(x).flatten().tolist() == [1e-20, 2.5]


@given(st.sampled_from([LinfBall, L2Ball, L1Ball]), st.floats(0.01, 1.0), st.data())
def test_what_is_outside_is_put_just_inside(ball, eps, data):
    """Not further in than the last digit: the result is the projection, to rounding."""
    dtype = data.draw(FLOATS)
    clean, x = (data.draw(strategies.observations(shape=(3,), rows=2, dtype=dtype, largest=2.0)) for _ in range(2))
    sealed = region(clean, ball(eps), UNBOUNDED).seal(x)
    nearest = clean.double() + ball(eps).project(x.double() - clean.double())
    # A projection that is itself an ulp outside is shortened by 2**-40.
    assert ((sealed.double() - nearest).abs() <= max(4 * torch.finfo(dtype).eps, 2.0**-39)).all()


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16])
def test_overflow_is_the_largest_number(dtype):
    """A radius beyond the dtype: the result is finite, and as far away as it can be."""
    clean, far = torch.zeros(1, 2, dtype=dtype), torch.finfo(dtype).max
    for within, least in ((LinfBall(1e300), 0.99 * far), (L2Ball(far), 0.7 * far), (L1Ball(far), 0.49 * far)):
        sealed = region(clean, within, UNBOUNDED).seal(clean + math.inf)
        assert sealed.isfinite().all()
        assert (sealed >= least).all()


def test_bounds_come_last():
    clean = torch.tensor([[0.0, 2.0]])
    area = region(clean, LinfBall(0.5), Bounds(-0.1, 1.0))
    assert area.project(torch.tensor([[-3.0, 9.0]])).tolist() == [[pytest.approx(-0.1), 2.0]]
    assert area.project(torch.tensor([[3.0, -9.0]])).tolist() == [[0.5, 1.5]]
