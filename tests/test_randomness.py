"""Streams: the numbers are uniform, independent in every direction, and a function of the key alone."""

import copy
import itertools
import pickle

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from advwrap.randomness import Streams, as_streams, fold
from advwrap.testing import strategies
from advwrap.testing.contracts.rules import global_randomness_untouched

ROWS, DRAWS = 200, 200
SMALLEST = 1e-4  # p-value; the seeds are fixed, so this is decided once


def many(seeds=range(ROWS), features=DRAWS):
    return Streams.seeded(seeds).uniform(torch.zeros(len(seeds), features, dtype=torch.float64))


def assert_uniform(numbers):
    assert stats.kstest(numbers.flatten().numpy(), "uniform").pvalue > SMALLEST


def assert_independent(a, b):
    """Neither the numbers nor their order correlate; and pairs fill the unit square."""
    a, b = a.flatten().numpy(), b.flatten().numpy()
    assert stats.pearsonr(a, b).pvalue > SMALLEST
    table, _, _ = np.histogram2d(a, b, bins=8, range=[[0, 1], [0, 1]])
    assert stats.chisquare(table.flatten()).pvalue > SMALLEST


# Distribution


def test_uniform():
    assert_uniform(many())


def test_every_row_and_every_column_is_uniform():
    """No seed and no position is special."""
    numbers = many().numpy()
    for block in (numbers, numbers.T):
        p = [stats.kstest(row, "uniform").pvalue for row in block]
        assert min(p) > SMALLEST / len(p)
        assert_uniform(torch.tensor(p))  # p-values are uniform themselves


def test_normal():
    drawn = Streams.seeded(range(ROWS)).normal(torch.zeros(ROWS, DRAWS, dtype=torch.float64))
    assert stats.kstest(drawn.flatten().numpy(), "norm").pvalue > SMALLEST
    assert drawn.isfinite().all()


def test_integers_are_fair():
    drawn = Streams.seeded(range(1000)).integers(7, (5,))
    assert drawn.dtype == torch.int64
    assert stats.chisquare(torch.bincount(drawn.flatten(), minlength=7).numpy()).pvalue > SMALLEST


@pytest.mark.parametrize("p", [0.0, 0.1, 0.5, 1.0])
def test_chance(p):
    heads = int(Streams.seeded(range(5000)).chance(p).sum())
    assert stats.binomtest(heads, 5000, p).pvalue > SMALLEST if 0 < p < 1 else heads == 5000 * p


def test_bits_are_fair():
    """Each of the 53 bits of a number is set half of the time."""
    bits = (many().numpy() * 2**53).astype(np.int64)
    ones = np.array([((bits >> k) & 1).mean() for k in range(53)])
    assert np.abs(ones - 0.5).max() < 5 * 0.5 / np.sqrt(bits.size)


# Independence


def test_neighbouring_rows_seeds_and_columns():
    numbers = many()
    assert_independent(numbers[1:], numbers[:-1])
    assert_independent(numbers[:, 1:], numbers[:, :-1])
    assert_independent(numbers, many(range(ROWS, 2 * ROWS)))


def test_successive_draws():
    streams = Streams.seeded(range(ROWS))
    like = torch.zeros(ROWS, DRAWS, dtype=torch.float64)
    first, second = streams.uniform(like), streams.uniform(like)
    assert_independent(first, second)
    assert_uniform((first + second) % 1)
    assert len(torch.cat([first, second]).unique()) == 2 * ROWS * DRAWS  # no draw goes on where another is


def test_forks_and_parts():
    streams = Streams.seeded(range(ROWS))
    like = torch.zeros(ROWS, DRAWS, dtype=torch.float64)
    parent, child, grandchild = streams.uniform(like), streams.fork().uniform(like), streams.fork().fork().uniform(like)
    later = Streams.seeded(range(ROWS)).at(np.ones(ROWS, dtype=np.int64)).uniform(like)
    for a, b in ((parent, child), (child, grandchild), (parent, later), (child, later)):
        assert_independent(a, b)
        assert len(torch.cat([a, b]).unique()) == 2 * ROWS * DRAWS


def test_forks_of_long_searches():
    """A stream that has forked more often than a step has draws is still none of its forks."""
    streams, like = Streams.seeded([3]), torch.zeros(1, 3, dtype=torch.float64)
    forks = [streams.fork() for _ in range(5000)]
    drawn = torch.cat([fork.uniform(like) for fork in forks] + [streams.uniform(like) for _ in range(5000)])
    assert len(drawn.unique()) == drawn.numel()


def test_folded_keys():
    keys = np.arange(ROWS)
    like = torch.zeros(ROWS, DRAWS, dtype=torch.float64)
    drawn = [Streams(fold(keys, data)).uniform(like) for data in (0, 1, 2, 1 << 32)]
    for a, b in itertools.pairwise(drawn):
        assert_independent(a, b)


@given(st.integers(-(2**63), 2**63 - 1), st.integers(-(2**63), 2**63 - 1))
def test_different_seeds_differ(a, b):
    first, second = many([a], 4), many([b], 4)
    assert torch.equal(first, second) == (a == b)


def test_no_position_is_used_twice():
    """However often one call draws, and whatever the other steps of the episode draw."""
    like = torch.zeros(1, 3, dtype=torch.float64)
    steps = [Streams.seeded([1]).at(np.array([t])) for t in range(3)]
    drawn = torch.cat([s.uniform(like) for s in steps for _ in range(20_000)])
    assert len(drawn.unique()) == drawn.numel()


# A function of the key alone


@given(st.lists(strategies.seeds(), min_size=1, max_size=5), st.data())
def test_row_depends_on_its_own_key(keys, data):
    row = data.draw(st.integers(0, len(keys) - 1))
    whole, alone = Streams.seeded(keys), Streams.seeded([keys[row]])
    for draw in (
        lambda s: s.uniform(torch.zeros(len(s), 2, 2)),
        lambda s: s.normal(torch.zeros(len(s), 3)),
        lambda s: s.integers(10, (2,)),
        lambda s: s.chance(0.5),
        lambda s: s.fork().uniform(torch.zeros(len(s), 2)),
    ):
        assert torch.equal(draw(whole)[row : row + 1], draw(alone))


@given(st.lists(strategies.seeds(), min_size=2, max_size=5), st.data())
def test_rows_of_streams(keys, data):
    """A mask, indices and a slice choose the same streams as choosing the numbers."""
    mask = torch.tensor(data.draw(st.lists(st.booleans(), min_size=len(keys), max_size=len(keys))))
    whole = Streams.seeded(keys).fork().uniform(torch.zeros(len(keys), 2))
    for rows in (mask, mask.nonzero()[:, 0]):
        chosen = Streams.seeded(keys)[rows]
        assert torch.equal(chosen.uniform(torch.zeros(len(chosen), 2)), whole[mask])
    assert torch.equal(Streams.seeded(keys)[1:].uniform(torch.zeros(len(keys) - 1, 2)), whole[1:])


def test_dtype_rounds_the_same_numbers():
    double = many(range(10), 50)
    for dtype in (torch.float32, torch.float16, torch.bfloat16):
        short = Streams.seeded(range(10)).uniform(torch.zeros(10, 50, dtype=dtype))
        assert torch.equal(short, double.to(dtype))


def test_limits():
    drawn = Streams.seeded(range(100)).uniform(torch.zeros(100, 100), -2.0, 3.0)
    assert ((drawn >= -2) & (drawn <= 3)).all()
    assert drawn.min() < -1.99
    assert drawn.max() > 2.99


def test_copies_go_on_alike():
    streams = Streams.seeded([1, 2])
    streams.uniform(torch.zeros(2, 3))
    copies = [copy.deepcopy(streams), pickle.loads(pickle.dumps(streams)), streams.to(torch.device("cpu"))]  # noqa: S301
    expected = copy.deepcopy(streams).uniform(torch.zeros(2, 3))
    for twin in copies[:2]:
        assert torch.equal(twin.uniform(torch.zeros(2, 3)), expected)


def test_tensor_keys_give_the_same_numbers():
    """What another device computes with torch is what NumPy computes here."""
    arrays = Streams.seeded(range(50))
    tensors = Streams(torch.from_numpy(arrays.keys.copy()))
    like = torch.zeros(50, 7, dtype=torch.float64)
    assert torch.equal(arrays.at(np.full(50, 9)).uniform(like), tensors.at(torch.full((50,), 9)).uniform(like))


# Where streams come from


def test_generator_is_advanced_and_nothing_else():
    like, generator = torch.zeros(3, 2), torch.Generator().manual_seed(0)
    with global_randomness_untouched():
        first, second = (as_streams(generator, like).uniform(like) for _ in range(2))
        repeated = as_streams(torch.Generator().manual_seed(0), like).uniform(like)
    assert torch.equal(first, repeated)
    assert not torch.equal(first, second)


def test_nothing_is_fresh_entropy():
    like = torch.zeros(3, 2)
    with global_randomness_untouched():
        first, second = (as_streams(None, like).uniform(like) for _ in range(2))
    assert not torch.equal(first, second)
    assert len(first.unique()) == 6


def test_anything_else_is_refused():
    with pytest.raises(TypeError, match=r"`generator` must be .* got int\. Fix:"):
        as_streams(0, torch.zeros(1, 1))


def test_wrong_number_of_streams_is_refused():
    with pytest.raises(ValueError, match=r"`generator` has 2 streams, .* Fix:"):
        Streams.seeded([1, 2]).uniform(torch.zeros(3, 2))
