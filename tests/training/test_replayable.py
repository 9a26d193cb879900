"""An environment put back where it stood goes on as if nothing had happened."""

from __future__ import annotations

import gymnasium as gym
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from advwrap.training.replayable import Replayable


def make(name: str) -> Replayable:
    return Replayable(gym.make(name))


@pytest.mark.parametrize("name", ["Pendulum-v1", "CartPole-v1", "InvertedDoublePendulum-v5", "HalfCheetah-v5"])
def test_a_copy_goes_on_bit_for_bit(name: str) -> None:
    env, copy = make(name), make(name)
    env.action_space.seed(0)
    env.reset(seed=5)
    for _ in range(70):  # over the ends of episodes
        *_, terminated, truncated, _ = env.step(env.action_space.sample())
        if terminated or truncated:
            env.reset()
    copy.load_state_dict(env.state_dict())
    for _ in range(70):
        action = env.action_space.sample()
        ours, theirs = env.step(action), copy.step(action)
        np.testing.assert_array_equal(ours[0], theirs[0])
        assert ours[1:4] == theirs[1:4]
        if ours[2] or ours[3]:
            np.testing.assert_array_equal(env.reset()[0], copy.reset()[0])


@given(st.integers(0, 2**31 - 1))
def test_the_first_episode_is_that_of_the_seed_and_later_ones_are_others(seed: int) -> None:
    env = make("CartPole-v1")
    first, _ = env.reset(seed=seed)
    np.testing.assert_array_equal(first, gym.make("CartPole-v1").reset(seed=seed)[0])
    second, third = env.reset()[0], env.reset()[0]
    assert (first != second).any()
    assert (second != third).any()
    again = make("CartPole-v1")
    again.reset(seed=seed)
    np.testing.assert_array_equal(again.reset()[0], second)


def test_actions_are_copied() -> None:
    env, copy = make("Pendulum-v1"), make("Pendulum-v1")
    env.reset(seed=0)
    action = np.ones(1, np.float32)
    env.step(action)
    action[:] = -1  # a buffer that its owner uses again
    copy.load_state_dict(env.state_dict())
    np.testing.assert_array_equal(env.step(action)[0], copy.step(action)[0])
