"""A Gymnasium vector environment in TorchRL: the same numbers, every episode whole, the truth beside what is seen."""

import gymnasium as gym
import numpy as np
import pytest
import torch
from gymnasium import spaces
from gymnasium.vector import AutoresetMode, SyncVectorEnv
from tensordict import TensorDict
from torchrl.collectors import Collector
from torchrl.envs.utils import RandomPolicy, check_env_specs

from advwrap import AdversarialObs, LinfBall, Noise
from advwrap.training.vector_env import VectorGymEnv
from tests.wrappers.environments import Discrete, Walk


def vector(*makes):
    return SyncVectorEnv(makes, autoreset_mode=AutoresetMode.DISABLED)


def walks(*lengths):
    return vector(*(lambda n=n: Walk(length=n) for n in lengths))


@pytest.mark.parametrize(
    "make",
    [
        lambda: walks(3, 4),
        lambda: vector(*[lambda: gym.make("Pendulum-v1")] * 2),
        lambda: vector(*[lambda: Discrete(spaces.Discrete(3, start=4))] * 2),
    ],
)
@pytest.mark.parametrize("one_hot", [False, True])
def test_the_specs_hold(make, one_hot):
    check_env_specs(VectorGymEnv(make(), one_hot=one_hot))


def test_the_numbers_are_those_of_gymnasium():
    env, own = VectorGymEnv(walks(3, 5)), [Walk(length=3), Walk(length=5)]
    env.set_seed(7)
    policy = RandomPolicy(env.action_spec)
    batch = next(iter(Collector(env, policy, frames_per_batch=24, total_frames=24)))
    for row, task in enumerate(own):
        observation, _ = task.reset(seed=7 + row)
        for step in batch[row]:
            torch.testing.assert_close(step["observation"], torch.tensor(observation))
            observation, reward, terminated, truncated, _ = task.step(step["action"].numpy())
            torch.testing.assert_close(step["next", "observation"], torch.tensor(observation))
            assert step["next", "reward"].item() == pytest.approx(reward)
            assert step["next", "terminated"].item() == terminated
            assert step["next", "truncated"].item() == truncated
            assert step["next", "done"].item() == (terminated or truncated)
            if terminated or truncated:
                observation, _ = task.reset()


def test_what_is_attacked_lies_beside_the_truth():
    env = VectorGymEnv(AdversarialObs(walks(3, 3), Noise(LinfBall(0.5))))
    env.set_seed(0)
    batch = next(iter(Collector(env, RandomPolicy(env.action_spec), frames_per_batch=16, total_frames=16)))
    for part in (batch, batch["next"]):
        moved = (part["observation"] - part["clean_observation"]).abs()
        assert (moved <= 0.5 + 1e-6).all()
        assert moved.mean() > 0.1
    plain = VectorGymEnv(walks(3)).rollout(2)
    assert torch.equal(plain["observation"], plain["clean_observation"])


def test_tensors_are_not_the_buffers_of_the_environment():
    env = VectorGymEnv(walks(9))
    first = env.reset()["observation"].clone()
    state = env.reset()
    kept = state["observation"]
    before = kept.clone()
    env.step(TensorDict({"action": torch.ones(1, 2)}, [1]))
    assert torch.equal(kept, before)
    assert not torch.equal(first, before)


def test_actions_are_clipped_for_the_task_only():
    task = Walk()
    env = VectorGymEnv(vector(lambda: task))
    env.reset()
    step = env.step(TensorDict({"action": torch.tensor([[5.0, -0.25]])}, [1]))
    assert step["next", "reward"].item() == 0.75
    assert step["action"].tolist() == [[5.0, -0.25]]


def test_discrete_actions_count_from_where_the_space_starts():
    task = Discrete(spaces.Discrete(3, start=4))
    env = VectorGymEnv(vector(lambda: task))
    env.reset()
    env.step(TensorDict({"action": torch.tensor([2])}, [1]))
    assert task.received == 6


def test_one_hot_actions():
    """As TorchRL's `GymEnv` has them."""
    task = Discrete(spaces.Discrete(3, start=4))
    env = VectorGymEnv(vector(lambda: task), one_hot=True)
    env.reset()
    assert env.action_spec.rand().sum(-1).tolist() == [1]
    env.step(TensorDict({"action": torch.tensor([[0, 0, 1]])}, [1]))
    assert task.received == 6


def test_without_the_truth_there_is_only_what_is_seen():
    """What attacks it further out writes the truth itself."""
    env = VectorGymEnv(walks(3, 4), truth=False)
    check_env_specs(env)
    assert "clean_observation" not in env.rollout(2)
    attacked = AdversarialObs(VectorGymEnv(walks(3, 4), truth=False), attack=Noise(LinfBall(0.5)))
    batch = attacked.rollout(2)
    assert 0 < (batch["observation"] - batch["clean_observation"]).abs().max() <= 0.5 + 1e-6


def test_other_environments_are_refused():
    with pytest.raises(ValueError, match="DISABLED"):
        VectorGymEnv(SyncVectorEnv([Walk]))
    with pytest.raises(TypeError, match="Box observations"):
        VectorGymEnv(vector(lambda: gym.make("FrozenLake-v1")))
    with pytest.raises(TypeError, match="Box or Discrete actions"):
        VectorGymEnv(vector(lambda: Discrete(spaces.MultiBinary(2))))


def test_infinite_limits():
    task = Walk()
    task.action_space = spaces.Box(-np.inf, np.inf, (2,), np.float32)
    env = VectorGymEnv(vector(lambda: task))
    env.reset()
    assert env.step(TensorDict({"action": torch.tensor([[5.0, 2.0]])}, [1]))["next", "reward"].item() == 7.0
