"""What PPO makes of a collected batch: minibatches, returns of episodes, scaled rewards."""

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
        found += counter.ended
        if counter.ended:
            mean = counter.take()
    expected = []
    for r, over in zip(reward, done, strict=True):
        ends = [0, *(np.flatnonzero(over) + 1)]
        expected += [r[a:b].sum() for a, b in zip(ends, ends[1:], strict=False)]
    np.testing.assert_allclose(sorted(found), sorted(expected), rtol=1e-4, atol=1e-4)
    if found:
        last = [x for x in found[-len(found) :]]
        assert np.isfinite(mean)
        assert min(last) - 1e-6 <= mean <= max(last) + 1e-6


@given(seed=st.integers(0, 1000), cut=st.integers(1, 39), gamma=st.floats(0, 1))
def test_rewards_in_units_of_the_returns_standard_deviation(seed, cut, gamma):
    reward, done = episodes(seed)
    scale, found = ReturnScale(3, gamma=gamma, clip=1e9), []
    for part in (slice(0, cut), slice(cut, 40)):
        found.append(scale(*tensors(reward[:, part], done[:, part])).squeeze(-1).numpy())
    trace = np.zeros((3, 40))
    for i in range(3):
        running = 0.0
        for t in range(40):
            running = gamma * running + np.float32(reward[i, t])
            trace[i, t] = running
            running = 0.0 if done[i, t] else running
    np.testing.assert_allclose(found[0], reward[:, :cut] / max(trace[:, :cut].std(), 1e-8), rtol=1e-3)
    np.testing.assert_allclose(found[1], reward[:, cut:] / trace.std(), rtol=1e-4)


def test_large_rewards_are_clipped_and_the_sign_stays():
    scale = ReturnScale(1, gamma=0.0, clip=2.0)
    reward = torch.tensor([[[0.0]] * 99 + [[-1000.0]]]).reshape(1, 100, 1)
    assert scale(reward, torch.zeros_like(reward).bool()).min() == -2.0


@pytest.mark.parametrize("make", [lambda: EpisodeReturns(3), lambda: ReturnScale(3, gamma=0.9)])
def test_a_state_goes_on_where_it_was(make):
    one, other = make(), make()
    first, second = (tensors(*(x[:, part] for x in episodes(0))) for part in (slice(0, 17), slice(17, 40)))
    step = one.add if isinstance(one, EpisodeReturns) else one
    step(*first)
    other.load_state_dict(one.state_dict())
    again = other.add if isinstance(other, EpisodeReturns) else other
    assert (found := step(*second)) is None or torch.equal(found, again(*second))
    if found is None:
        again(*second)
        assert one.ended == other.ended
