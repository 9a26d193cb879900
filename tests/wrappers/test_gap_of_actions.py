"""`GapAbove` asks the victim what it sees, also where its actions are attacked."""

import numpy as np
import pytest
import torch
from gymnasium.vector import SyncVectorEnv
from pettingzoo.utils import parallel_to_aec
from torchrl.envs import GymWrapper, TransformedEnv

from advwrap import GapAbove, Gated, LinfBall, RandomVertex, Streams
from advwrap.transforms import AdversarialAction as AdversarialTorchRLAction
from advwrap.wrappers import AdversarialAction, AdversarialObs
from tests.wrappers.environments import Party, Shift, Walk

INTENDED = np.float32([0.9, -0.9])


@pytest.fixture
def asked():
    """What the victim was asked about."""
    return []


@pytest.fixture
def attack(asked):
    def gap(observation, context):
        asked.append(observation.clone())
        return observation[:, 0]

    return Gated(RandomVertex(LinfBall(0.1)), GapAbove(None, 0.5, gap=gap))


def test_gymnasium_and_torchrl(attack, asked):
    env = AdversarialAction(Walk(), attack)
    seen, _ = env.reset(seed=0)
    for _ in range(4):
        before = seen.copy()
        seen, *_, info = env.step(INTENDED)
        np.testing.assert_array_equal(asked[-1], before[None])
        assert np.array_equal(info["executed_action"], INTENDED) == (before[0] <= 0.5)
    torchrl = TransformedEnv(GymWrapper(Walk(reuse=False)), AdversarialTorchRLAction(attack))
    data = torchrl.reset()
    torchrl.step(data.clone().set("action", torch.tensor(INTENDED)))
    assert torch.equal(asked[-1], data["observation"][None])


def test_the_truth_where_the_observation_is_attacked_too(attack, asked):
    env = AdversarialAction(AdversarialObs(Walk(), Shift(5.0)), attack)
    _, info = env.reset(seed=0)
    env.step(INTENDED)
    np.testing.assert_array_equal(asked[-1], info["clean_observation"][None])


def test_rows_and_agents(attack, asked):
    vector = AdversarialAction(SyncVectorEnv([Walk] * 3), attack)
    seen, _ = vector.reset(seed=0)
    before = seen.copy()
    vector.step(np.stack([INTENDED] * 3))
    np.testing.assert_array_equal(asked[-1], before)
    sizes = {"sizes": (3, 3, 3)}
    env = AdversarialAction(Party(**sizes), attack)
    observations, _ = env.reset(seed=0)
    env.step(dict.fromkeys(env.agents, INTENDED))
    np.testing.assert_array_equal(asked[-1], np.stack(list(observations.values())))
    turns = AdversarialAction(parallel_to_aec(Party(**sizes)), attack)
    turns.reset(seed=0)
    turns.step(INTENDED)
    np.testing.assert_array_equal(asked[-1], observations["agent_0"][None])


def test_without_a_state_it_says_what_is_missing():
    budget = GapAbove(None, 0.5, gap=lambda observation, context: observation[:, 0])
    action = torch.zeros(1, 2)
    with pytest.raises(ValueError, match=r"needs the state in `context\['observation'\]` where actions are attacked"):
        budget(action, {"clean_action": action}, Streams.seeded([0]))
