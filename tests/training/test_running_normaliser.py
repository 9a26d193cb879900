"""Running statistics equal those of all observations, and reach the environment and the batch alike."""

from __future__ import annotations

import numpy as np
import torch
from hypothesis import given
from hypothesis import strategies as st
from tensordict import TensorDict
from torchrl.envs import GymEnv, SerialEnv, TransformedEnv
from torchrl.envs.utils import check_env_specs

from advwrap.training import Normaliser
from advwrap.training.running_normaliser import NormaliseRunning, RunningNormaliser, normalise_batch


@given(st.lists(st.integers(1, 5), min_size=1, max_size=6), st.integers(0, 10**6), st.floats(-1e4, 1e4))
def test_batches_add_up_to_the_whole(sizes: list[int], seed: int, offset: float) -> None:
    rng = np.random.default_rng(seed)
    batches = [torch.from_numpy(rng.normal(offset, 3.0, (n, 2))) for n in sizes]
    running = RunningNormaliser(2)
    for rows in batches:
        running.update(rows)
    seen = torch.cat(batches)
    torch.testing.assert_close(running.mean, seen.mean(0))
    std = seen.std(0, correction=0)
    torch.testing.assert_close(running.std, torch.where(std < 1e-3, 1.0, std))


def test_a_feature_that_never_moves_keeps_its_unit() -> None:
    running = RunningNormaliser(2)
    running.update(torch.tensor([[1.0, 7.0], [3.0, 7.0]]))
    torch.testing.assert_close(running(torch.tensor([[3.0, 9.0]])), torch.tensor([[1.0, 2.0]]))


def test_frozen_is_a_copy() -> None:
    running = RunningNormaliser(1)
    running.update(torch.tensor([[0.0], [2.0]]))
    frozen = running.frozen()
    running.update(torch.full((10, 1), 50.0))
    assert frozen.mean.tolist() == [1.0]
    again = RunningNormaliser(1)
    again.begin_with(frozen)
    assert isinstance(frozen, Normaliser)
    torch.testing.assert_close(again(torch.tensor([[2.0]])), torch.tensor([[1.0]]))


def test_only_rows_that_begin_an_episode_count_at_a_reset() -> None:
    env = TransformedEnv(
        SerialEnv(3, lambda: GymEnv("CartPole-v1")), NormaliseRunning(normaliser := RunningNormaliser(4))
    )
    data = env.reset()
    before = float(normaliser.count)
    data["_reset"] = torch.tensor([[True], [False], [False]])
    env.reset(data)
    assert float(normaliser.count) == before + 1


def test_the_environment_shows_both() -> None:
    env = TransformedEnv(GymEnv("CartPole-v1"), NormaliseRunning(normaliser := RunningNormaliser(4)))
    check_env_specs(env)
    step = env.rollout(1)[0]
    raw = step["next", "raw_observation"]
    torch.testing.assert_close(step["next", "observation"], normaliser(raw))


def test_a_batch_is_normalised_with_the_present_statistics() -> None:
    running = RunningNormaliser(1)
    raw = TensorDict({"raw_observation": torch.full((2, 1), 5.0)}, [2])
    data = TensorDict({"raw_observation": torch.full((2, 1), 3.0), "next": raw}, [2])
    running.update(torch.tensor([[1.0], [5.0]]))
    out = normalise_batch(running, data)
    for key in ("observation", "clean_observation"):
        assert out[key].tolist() == [[0.0], [0.0]]
        assert out["next", key].tolist() == [[1.0], [1.0]]
