"""Radii: numbers, tensors, schedules, standard deviations."""

import math

import numpy as np
import pytest
import torch

from advwrap import InStd, L2Ball, Linear, LinfBall
from advwrap.sets.epsilon import resolve


def test_schedule_is_linear_and_then_stays():
    eps = Linear(0.1, 0.3, steps=4)
    seen = []
    for _ in range(6):
        seen.append(eps())
        eps.advance()
    assert seen == pytest.approx([0.1, 0.15, 0.2, 0.25, 0.3, 0.3])


def test_schedule_continues_from_a_checkpoint():
    eps, other = Linear(0.0, 1.0, steps=10), Linear(0.0, 1.0, steps=10)
    eps.advance(7)
    other.load_state_dict(eps.state_dict())
    assert other() == eps() == pytest.approx(0.7)


def test_schedule_ends_exactly():
    """0.1 + 0.2 is 0.30000000000000004: the last radius is the one that was asked for."""
    eps = Linear(0.1, 0.3, steps=3)
    eps.advance(3)
    assert eps() == 0.3


def test_standard_deviations_are_read_live():
    std = torch.tensor([1.0, 2.0])
    ball = LinfBall(InStd(0.5, lambda: std))
    assert ball.radius.tolist() == [0.5, 1.0]
    std *= 2
    assert ball.project(torch.full((1, 2), 9.0)).tolist() == [[1.0, 2.0]]


@pytest.mark.parametrize("eps", [[0.1, 0.2], (0.1, 0.2), np.array([0.1, 0.2]), torch.tensor([0.1, 0.2])])
def test_radius_per_feature_from_any_array(eps):
    assert LinfBall(eps).project(torch.ones(1, 2)).tolist() == [[pytest.approx(0.1), pytest.approx(0.2)]]


@pytest.mark.parametrize("eps", [np.float32(0.1), np.float64(0.1), torch.tensor(0.1), 1, np.int64(1)])
def test_scalar_radius_from_any_number(eps):
    assert isinstance(LinfBall(eps).radius, float)


def test_radius_beyond_a_short_dtype_is_its_largest_number():
    for dtype in (torch.float16, torch.bfloat16, torch.float32):
        like = torch.zeros(1, 2, dtype=dtype)
        assert resolve(1e300, like) == torch.finfo(dtype).max
        per_feature = resolve(torch.tensor([1e300, 0.5], dtype=torch.float64), like)
        assert per_feature.tolist() == [torch.finfo(dtype).max, 0.5]


def test_radius_keeps_no_graph():
    eps = torch.tensor([0.1, 0.2], requires_grad=True)
    assert not LinfBall(eps).project(torch.ones(1, 2)).requires_grad


def test_radius_of_an_image_broadcasts():
    """One radius per channel of [height, width, channels]."""
    ball = L2Ball(torch.tensor([0.1, 0.0, 0.1]))
    moved = ball.steepest(torch.ones(2, 4, 4, 3))
    assert (moved[..., 1] == 0).all()
    assert (moved[..., 0] > 0).all()


@pytest.mark.parametrize("kind", [LinfBall, L2Ball])
def test_repr_rebuilds_the_set(kind):
    rebuilt = eval(repr(kind(0.25)), {kind.__name__: kind})  # noqa: S307 - what repr is for
    assert rebuilt.radius == 0.25


@pytest.mark.parametrize("bad", [math.nan, math.inf, -1.0])
def test_bad_radius_of_a_schedule_is_refused_when_it_comes(bad):
    with pytest.raises(ValueError, match="`eps` must be"):
        LinfBall(InStd(1.0, lambda: torch.tensor([0.1, bad]))).steepest(torch.ones(1, 2))
