"""What PPO makes of a collected batch: minibatches, returns of episodes, scaled rewards."""

from itertools import pairwise

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from tensordict import TensorDict

from advwrap.training.minibatches import Minibatches
from advwrap.training.returns import EpisodeReturns, ReturnScale


@given(rows=st.integers(1, 4), time=st.integers(1, 6), number=st.sampled_from([1, 2, 3]), seed=st.integers(0, 99))
def test_every_transition_once_per_epoch(rows, time, number, seed):
    time *= number
    torch.manual_seed(seed)
    batch = TensorDict({"x": torch.arange(rows * time).reshape(rows, time)}, [rows, time])
    before = batch.clone()
    minibatches = Minibatches(number)
    for _ in range(3):
        assert minibatches.shuffle(batch) is batch
        parts = [minibatches.take(batch)["x"] for _ in range(number)]
        assert {len(part) for part in parts} == {rows * time // number}
        assert sorted(torch.cat(parts).tolist()) == list(range(rows * time))
    with pytest.raises(StopIteration):
        minibatches.take(batch)
    assert (batch == before).all()


def test_the_order_is_new_in_every_epoch():
    torch.manual_seed(0)
    batch, minibatches = TensorDict({"x": torch.arange(50)}, [50]), Minibatches(1)
    orders = [minibatches.take(minibatches.shuffle(batch))["x"] for _ in range(2)]
    assert not torch.equal(*orders)


def test_a_batch_that_does_not_split_is_an_error():
    with pytest.raises(ValueError, match="3 equal parts"):
        Minibatches(3).shuffle(TensorDict({"x": torch.arange(4)}, [4]))


def episodes(seed, rows=3, time=40):
    draw = np.random.default_rng(seed)
    return draw.normal(1.0, 2.0, (rows, time)), draw.random((rows, time)) < 0.15


def tensors(reward, done):
    return torch.tensor(reward).float().unsqueeze(-1), torch.tensor(done).unsqueeze(-1)


@given(seed=st.integers(0, 1000), cut=st.integers(1, 39))
def test_returns_of_episodes_across_batches(seed, cut):
    reward, done = episodes(seed)
    counter, found = EpisodeReturns(3), []
    for part in (slice(0, cut), slice(cut, 40)):
        counter.add(*tensors(reward[:, part], done[:, part]))
        ended = list(counter.ended)
        found += ended
        assert not ended or counter.take() == pytest.approx(np.mean(ended))
        assert counter.ended == []
    expected = []
    for r, over in zip(reward, done, strict=True):
        ends = [0, *(np.flatnonzero(over) + 1)]
        expected += [r[start:end].sum() for start, end in pairwise(ends)]
    np.testing.assert_allclose(sorted(found), sorted(expected), rtol=1e-4, atol=1e-4)


@given(seed=st.integers(0, 1000), cut=st.integers(1, 39), gamma=st.floats(0, 1))
def test_rewards_in_units_of_the_returns_standard_deviation(seed, cut, gamma):
    reward, done = episodes(seed)
    scale = ReturnScale(3, gamma=gamma, clip=1e9)
    first, second = (
        scale(*tensors(reward[:, part], done[:, part])).squeeze(-1).numpy() for part in (slice(0, cut), slice(cut, 40))
    )
    trace = np.zeros((3, 40))
    for i in range(3):
        running = 0.0
        for t in range(40):
            running = gamma * running + np.float32(reward[i, t])
            trace[i, t] = running
            running = 0.0 if done[i, t] else running
    np.testing.assert_allclose(first, reward[:, :cut] / max(trace[:, :cut].std(), 1e-8), rtol=1e-3)
    np.testing.assert_allclose(second, reward[:, cut:] / trace.std(), rtol=1e-4)


def test_large_rewards_are_clipped_and_the_sign_stays():
    scale = ReturnScale(1, gamma=0.0, clip=2.0)
    reward = torch.tensor([[[0.0]] * 99 + [[-1000.0]]]).reshape(1, 100, 1)
    assert scale(reward, torch.zeros_like(reward).bool()).min() == -2.0


def test_a_state_goes_on_where_it_was():
    first, second = (tensors(*(x[:, part] for x in episodes(0))) for part in (slice(0, 17), slice(17, 40)))
    scale, counter = ReturnScale(3, gamma=0.9), EpisodeReturns(3)
    scale(*first)
    counter.add(*first)
    again, recounted = ReturnScale(3, gamma=0.9), EpisodeReturns(3)
    again.load_state_dict(scale.state_dict())
    recounted.load_state_dict(counter.state_dict())
    assert torch.equal(scale(*second), again(*second))
    counter.add(*second)
    recounted.add(*second)
    assert counter.take() == recounted.take()
