"""Proportional sampling, over several blocks of priorities."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats
from tensordict import TensorDict
from torchrl.data import LazyTensorStorage, TensorDictReplayBuffer

from advwrap.training.prioritised import BLOCK, ProportionalSampler


def buffer(rows: int, **options: float) -> TensorDictReplayBuffer:
    sampler = ProportionalSampler(rows, **options)  # type: ignore[arg-type]
    made = TensorDictReplayBuffer(storage=LazyTensorStorage(rows), sampler=sampler)
    made.extend(TensorDict({"x": torch.arange(rows)}, [rows]))
    return made


def test_frequencies_are_proportional_to_the_priorities() -> None:
    torch.manual_seed(0)
    rows = 3 * BLOCK + 17
    made = buffer(rows, alpha=0.5)
    priorities = torch.zeros(rows)
    some = torch.tensor([0, BLOCK - 1, BLOCK, 2 * BLOCK + 5, rows - 1])
    priorities[some] = torch.tensor([1.0, 4.0, 9.0, 16.0, 25.0])
    made.update_priority(torch.arange(rows), priorities)
    drawn = made.sample(20_000)["x"]
    counts = torch.stack([(drawn == i).sum() for i in some])
    # The other rows have 1e-6 ** 0.5 each.
    rest = (rows - 5) * 1e-3
    share = torch.tensor([1.0, 2.0, 3.0, 4.0, 5.0], dtype=torch.float64) / (15 + rest)
    expected = torch.cat([share, (1 - share.sum()).reshape(1)]) * 20_000
    observed = torch.cat([counts, (20_000 - counts.sum()).reshape(1)])
    assert stats.chisquare(observed.numpy(), expected.numpy()).pvalue > 1e-4


@given(st.lists(st.floats(0.01, 100), min_size=2, max_size=20), st.floats(0, 1))
def test_weights_correct_the_bias(priorities: list[float], beta: float) -> None:
    rows = len(priorities)
    made = buffer(rows, alpha=1.0, beta=beta)
    made.update_priority(torch.arange(rows), torch.tensor(priorities))
    batch = made.sample(50)
    p = torch.tensor(priorities, dtype=torch.float64) + 1e-6
    weight = (rows * p[batch["x"]] / p.sum()) ** -beta
    torch.testing.assert_close(batch["priority_weight"], (weight / weight.max()).float(), rtol=1e-5, atol=1e-6)


def test_new_transitions_have_the_largest_priority() -> None:
    made = TensorDictReplayBuffer(storage=LazyTensorStorage(4), sampler=(sampler := ProportionalSampler(4, alpha=1.0)))
    made.extend(TensorDict({"x": torch.arange(2)}, [2]))
    made.update_priority(torch.arange(2), torch.tensor([3.0, 7.0]))
    made.extend(TensorDict({"x": torch.arange(2, 4)}, [2]))
    torch.testing.assert_close(sampler.mass.view(-1)[:4], torch.tensor([3.0, 7.0, 7.0, 7.0]).double() + 1e-6)


def test_a_state_continues() -> None:
    first, second = buffer(50), buffer(50)
    first.update_priority(torch.arange(50), torch.rand(50))
    second.load_state_dict(first.state_dict())
    samples = []
    for made in (first, second):
        torch.manual_seed(3)
        samples.append(made.sample(100)["x"])
    assert torch.equal(*samples)


def test_nothing_to_sample() -> None:
    sampler = ProportionalSampler(4)
    with pytest.raises(ValueError, match="must hold something"):
        sampler.sample([], 3)
