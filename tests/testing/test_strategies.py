"""The strategies draw what they promise, the awkward values included."""

import math

import gymnasium as gym
import numpy as np
import pytest
import torch
from hypothesis import find, given, settings
from hypothesis.errors import NoSuchExample

from advwrap import L0Ball, Masked
from advwrap.testing import strategies

seeking = settings(database=None, deadline=None, derandomize=True, max_examples=500)


def reaches(strategy, condition):
    """Whether some example meets the condition."""
    try:
        find(strategy, condition, settings=seeking)
    except NoSuchExample:
        return False
    return True


def test_observations_have_the_awkward_values():
    drawn = strategies.observations(shape=(2,), infinities=True)
    assert reaches(drawn, lambda x: len(x) == 0)
    assert reaches(drawn, lambda x: (torch.signbit(x) & (x == 0)).any().item())
    assert reaches(drawn, lambda x: x.isinf().any().item())
    for dtype in strategies.ALL_FLOATS:
        assert reaches(drawn, lambda x, dtype=dtype: x.dtype == dtype)


@given(strategies.observations(largest=3.0, max_rows=2))
def test_observations_are_finite_and_bounded(x):
    assert len(x) <= 2
    assert x.ndim >= 2
    assert (x.abs() <= 3.0).all()


def test_epsilons_are_of_all_sizes():
    drawn = strategies.epsilons(shape=(2,))
    for condition in (lambda e: e == 0, lambda e: 0 < e < 1e-6, lambda e: e > 1e3):
        assert reaches(drawn.filter(lambda e: isinstance(e, float)), condition)
    per_feature = drawn.filter(lambda e: isinstance(e, torch.Tensor))
    assert reaches(per_feature, lambda e: bool((e == 0).any() and (e > 0).any()))


@given(strategies.epsilons(shape=(2, 3), zero=False, smallest=0.001, largest=5.0))
def test_epsilons_keep_their_limits(eps):
    eps = torch.as_tensor(eps)
    assert ((eps >= 0.001) & (eps <= 5.0)).all()
    assert eps.shape in ((), (2, 3))


def test_sets_of_every_kind():
    drawn = strategies.sets(shape=(3,))
    for name in ("LinfBall", "L2Ball", "L1Ball", "L0Ball", "Masked"):
        assert reaches(drawn, lambda s, name=name: type(s).__name__ == name)
    plain = strategies.sets(shape=(3,), sparse=False, masked=False)
    assert not reaches(plain, lambda s: isinstance(s, (L0Ball, Masked)))


def test_bounds_of_every_kind():
    drawn = strategies.bounds(shape=(2,))

    def any_feature(condition):
        return reaches(drawn, lambda b: condition(torch.as_tensor(b.low), torch.as_tensor(b.high)).any().item())

    assert any_feature(lambda low, high: low.isfinite() & high.isfinite() & (low < high))
    assert any_feature(lambda low, high: low == high)
    assert any_feature(lambda low, high: low.isfinite() & (high == math.inf))
    assert any_feature(lambda low, high: (low == -math.inf) & high.isfinite())
    assert any_feature(lambda low, high: (low == -math.inf) & (high == math.inf))


@given(strategies.spaces())
def test_spaces_have_members(space):
    space.seed(0)
    assert space.sample() in space
    assert all(box.dtype == np.float32 for box in leaves(space))


def leaves(space):
    return [box for s in space.values() for box in leaves(s)] if isinstance(space, gym.spaces.Dict) else [space]


def test_spaces_are_vectors_images_and_nested():
    drawn = strategies.spaces()
    assert reaches(drawn, lambda s: isinstance(s, gym.spaces.Box) and len(s.shape) == 3)
    assert reaches(
        drawn, lambda s: isinstance(s, gym.spaces.Dict) and any(isinstance(v, gym.spaces.Dict) for v in s.values())
    )
    assert not reaches(strategies.spaces(nested=False), lambda s: isinstance(s, gym.spaces.Dict))


@given(strategies.tensordicts())
def test_tensordicts_look_like_a_replay_sample(data):
    for group in ((), ("next",)):
        assert torch.equal(data[(*group, "observation")], data[(*group, "clean_observation")])
        assert data[(*group, "agents", "observation")].shape[1] == 2
    assert data["next", "done"].dtype == torch.bool


@pytest.mark.parametrize("strategy", ["observations", "epsilons", "sets", "bounds", "spaces", "tensordicts", "dtypes"])
def test_everything_is_keyword_only(strategy):
    with pytest.raises(TypeError, match="positional"):
        getattr(strategies, strategy)((3,))
