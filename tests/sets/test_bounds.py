"""Bounds, and the neighbouring numbers that they are rounded to."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from advwrap import UNBOUNDED, Bounds
from advwrap.sets.bounds import toward
from advwrap.testing import strategies

SHORT = [torch.float16, torch.bfloat16]


@pytest.mark.parametrize("dtype", SHORT)
def test_toward_visits_every_number_of_a_short_dtype(dtype):
    """Walking up from the smallest number meets every finite bit pattern, in order."""
    bits = torch.arange(-32768, 32768, dtype=torch.int32).to(torch.int16)
    numbers = bits.view(dtype)
    numbers = numbers[numbers.isfinite()].double().unique().to(dtype)  # sorted; one zero
    up = toward(numbers[:-1], torch.full_like(numbers[:-1], math.inf))
    down = toward(numbers[1:], torch.full_like(numbers[1:], -math.inf))
    assert torch.equal(up.double(), numbers[1:].double())
    assert torch.equal(down.double(), numbers[:-1].double())


@given(strategies.observations(shape=(4,), rows=1), st.floats(-1e4, 1e4))
def test_toward_goes_one_step_in_the_right_direction(x, target):
    goal = torch.full_like(x, target)
    moved = toward(x, goal)
    assert ((moved > x) == (goal > x)).all()
    assert ((moved < x) == (goal < x)).all()
    # nothing lies between: the midpoint rounds to one of the two
    middle = ((x.double() + moved.double()) / 2).to(x.dtype)
    assert ((middle == x) | (middle == moved)).all()


def test_toward_stays_where_it_is():
    for dtype in (*SHORT, torch.float32):
        x = torch.tensor([0.5, -0.0, math.nan], dtype=dtype)
        moved = toward(x, x)
        assert torch.equal(moved[:2], x[:2])
        assert moved[2].isnan()


@given(strategies.bounds(shape=(3,)), strategies.observations(shape=(3,)))
def test_around_holds_the_clean_value_and_rounds_inwards(bounds, clean):
    low, high = bounds.around(clean)
    assert (low <= clean).all()
    assert (clean <= high).all()
    exact_low, exact_high = torch.as_tensor(bounds.low).double(), torch.as_tensor(bounds.high).double()
    assert ((low.double() >= exact_low) | (low == clean)).all()
    assert ((high.double() <= exact_high) | (high == clean)).all()


def test_numpy_limits_of_a_space():
    bounds = Bounds(np.array([-1, 0], np.float32), np.array([1, np.inf], np.float32))
    low, high = bounds.around(torch.zeros(1, 2))
    assert low.tolist() == [[-1.0, 0.0]]
    assert high.tolist() == [[1.0, math.inf]]


def test_unbounded():
    assert UNBOUNDED.unbounded
    assert not Bounds(0.0).unbounded
    assert Bounds(torch.tensor([-math.inf] * 2)).unbounded
