"""`advwrap.AdversarialObs(env, attack=...)` for TorchRL environments."""

import torch
from torchrl.envs import Compose, GymEnv, StepCounter, TransformedEnv, check_env_specs

from advwrap import UNBOUNDED, AdversarialAction, AdversarialObs, LinfBall, RandomVertex, transforms

vertex = RandomVertex(LinfBall(0.25))


def test_both_channels_around_each_other():
    env = AdversarialAction(AdversarialObs(GymEnv("Pendulum-v1"), attack=vertex), attack=vertex)
    assert isinstance(env, TransformedEnv)
    check_env_specs(env)
    data = env.rollout(4)
    assert (data["observation"] != data["clean_observation"]).any(-1).all()
    assert (data["action"] != data["executed_action"]).all()


def test_transforms_that_were_there_stay_beneath():
    env = AdversarialObs(TransformedEnv(GymEnv("Pendulum-v1"), StepCounter()), attack=vertex)
    assert isinstance(env.transform, Compose)
    kinds = [type(transform) for transform in env.transform]
    assert kinds == [StepCounter, transforms.AdversarialObs]
    env.set_seed(0)
    first = env.reset()["observation"]
    env.set_seed(0)
    assert torch.equal(env.reset()["observation"], first)


def test_options():
    env = AdversarialObs(GymEnv("Pendulum-v1"), attack=vertex, clean_key="truth", bounds=UNBOUNDED)
    data = env.reset()
    torch.testing.assert_close((data["observation"] - data["truth"]).abs(), torch.full((3,), 0.25))
