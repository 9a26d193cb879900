"""The robust Sarsa attack on the released HalfCheetah agent: published 489 +- 758, the lowest of 30 critics."""

import gymnasium as gym
import numpy as np
import pytest
import torch
from torch import nn

from advwrap import PGD, LinfBall, LowValue
from advwrap.evaluation import evaluate
from advwrap.losses import RobustSarsa, ShuffledSarsa, lowest_over_scan, sarsa_batches, scan_robust_sarsa
from advwrap.losses.fit_sarsa import SarsaTraining
from advwrap.victims import Gaussian
from tests.reference.released import EPS, victim

pytestmark = pytest.mark.reference

REWARD_STD = 214.87907312484086
"""Of the discounted return, as it was when the agent was trained."""
SETTINGS = {"eps": [0.02, 0.1], "reg": [0.1, 1.0]}


@pytest.fixture(scope="module")
def agent():
    return victim("ppo")


@pytest.fixture(scope="module")
def batches(agent):
    policy = Gaussian(agent.policy, agent.std)
    source = sarsa_batches(
        lambda: task(agent), policy, num_envs=8, reward_scale=1 / REWARD_STD, reward_limit=10.0, seed=1
    )
    return [next(source) for _ in range(30)]


def task(agent):
    env = gym.make("HalfCheetah-v5", disable_env_checker=True)
    space = gym.spaces.Box(-np.inf, np.inf, (17,), np.float32)
    return gym.wrappers.TransformObservation(env, agent.normalise, space)


def scan(batches, kind):
    return scan_robust_sarsa(batches, **SETTINGS, kind=kind, training=SarsaTraining(learning_rate=2.5e-4))


@pytest.fixture(scope="module")
def shuffled(batches):
    return scan(batches, ShuffledSarsa)


def mean_return(agent, critic, episodes):
    attack = PGD(LowValue(agent.policy, critic), within=LinfBall(EPS), steps=10, step_size=0.1, random_start=0.1)

    @torch.no_grad()
    def play(z):
        return agent.policy(z)

    return float(np.mean(evaluate(play, lambda: task(agent), attack, episodes=episodes, seed=7000).returns))


def test_the_attack_of_the_published_tables(agent, shuffled):
    found = lowest_over_scan(shuffled, lambda critic: mean_return(agent, critic, episodes=10))
    again = mean_return(agent, shuffled[found.settings], episodes=20)
    assert again < 1500, f"natural return about 7060, under attack {again:.0f}; the scan: {dict(found.values)}"


def spread(critic: nn.Module, batches):
    with torch.no_grad():
        return float(critic(batches[-1]["observation"], batches[-1]["action"]).std())


def test_the_variant_learns_little_more_than_a_constant(batches, shuffled):
    """Standard deviations .006 (shuffled) and .030 (true pairs) at (.02, .1), .002 and .017 at (.1, 1).

    Another processor rounds otherwise, and had .010 and .238, .001 and .067.
    """
    true = scan(batches, RobustSarsa)
    for settings in ((0.02, 0.1), (0.1, 1.0)):
        assert spread(shuffled[settings], batches) < 0.4 * spread(true[settings], batches)
