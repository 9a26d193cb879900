"""Attacks on NumPy rows give the numbers of the attacks on tensors, bit for bit."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from advwrap import UNBOUNDED, Bounds, Identity, LinfBall, Masked, Noise, Streams


@given(
    shape=st.sampled_from([(1, 4), (3, 2), (5,), (2, 3, 2), (0, 3), (2, 0)]),
    dtype=st.sampled_from([np.float32, np.float64]),
    eps=st.one_of(st.just(0.0), st.floats(1e-30, 1e3)),
    scale=st.sampled_from([0.0, 1.0, 1e6]),
    bounds=st.sampled_from([UNBOUNDED, Bounds(-0.5, 0.5), Bounds(0.0, 0.0)]),
    seed=st.integers(0, 2**63),
)
def test_noise(shape, dtype, eps, scale, bounds, seed):
    attack = Noise(LinfBall(eps))
    clean = (np.random.default_rng(seed).normal(size=shape) * scale).astype(dtype)
    clean.reshape(-1)[:1] = -0.0
    before = clean.copy()
    seeds = [seed + row for row in range(len(clean))]
    rows = attack.on_rows(clean, bounds, Streams.seeded(seeds))
    tensor = attack(torch.from_numpy(clean), bounds=bounds, generator=Streams.seeded(seeds))
    assert clean.tobytes() == before.tobytes()
    if rows is not None:  # rounding that needs more care is left to the call on a tensor
        assert rows.dtype == dtype
        assert rows.tobytes() == tensor.numpy().tobytes()


def test_it_is_the_usual_way():
    rows = Noise(LinfBall(0.1)).on_rows(np.ones((1, 11)), UNBOUNDED, Streams.seeded([0]))
    assert rows is not None


@pytest.mark.parametrize(
    ("within", "dtype"),
    [
        (LinfBall(torch.tensor([0.1, 0.2])), np.float32),
        (LinfBall(lambda: 0.1), np.float32),
        (Masked(LinfBall(0.1), torch.tensor([True, False])), np.float32),
        (LinfBall(0.1), np.float16),
    ],
)
def test_other_sets_are_left_to_tensors(within, dtype):
    clean = np.zeros((1, 2), dtype)
    assert Noise(within).on_rows(clean, UNBOUNDED, Streams.seeded([0])) is None


def test_identity_copies():
    clean = np.zeros((1, 2))
    rows = Identity().on_rows(clean, UNBOUNDED, Streams.seeded([0]))
    assert rows is not clean
    np.testing.assert_array_equal(rows, clean)
