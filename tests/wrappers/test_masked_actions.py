"""An action that the environment forbids is never chosen by an attack, in any framework."""

from __future__ import annotations

import warnings
from functools import partial

import gymnasium
import numpy as np
import pytest
import torch
from gymnasium import spaces
from gymnasium.vector import SyncVectorEnv
from pettingzoo.utils import parallel_to_aec
from torchrl.data import Categorical, OneHot
from torchrl.envs import TransformedEnv

from advwrap import ActionSet, LowValue, Noise, Search
from advwrap.transforms import AdversarialAction as AdversarialTorchRLAction
from advwrap.wrappers import AdversarialAction
from tests.transforms.test_action import Echo
from tests.wrappers.environments import Party

START = 3
"""Of the actions: a mask counts from 0."""
WAYS = torch.arange(START, START + 4)


def least(within, rank=1):
    """The action with the least number is the worst one."""
    return Search(LowValue(critic=lambda observation, action: action.double()), within=within, rank=rank)


class Walls(gymnasium.Env):
    """Four ways, one of them closed; which one depends on the steps. The mask is in the observation or in the info."""

    def __init__(self, beside=False):
        self.beside = beside
        self.action_space = spaces.Discrete(4, start=START)
        box = spaces.Box(-1, 1, (2,), np.float32)
        mask = spaces.MultiBinary(4)
        self.observation_space = box if beside else spaces.Dict(observation=box, action_mask=mask)

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.closed, self.received = 0, []
        return self._see()

    def step(self, action):
        self.received.append((action - START, self.closed))
        self.closed = (self.closed + action) % 4
        observation, info = self._see()
        return observation, 0.0, False, False, info

    def _see(self):
        mask = np.ones(4, np.int8)
        mask[self.closed] = 0
        seen = np.zeros(2, np.float32)
        return (seen, {"action_mask": mask}) if self.beside else ({"observation": seen, "action_mask": mask}, {})

    @property
    def open(self):
        """A way that is open, as every agent takes."""
        return START + (self.closed + 1) % 4


@pytest.mark.parametrize("beside", [False, True])
def test_gymnasium(beside):
    walls = Walls(beside)
    env = AdversarialAction(walls, Noise(ActionSet(WAYS)))
    env.reset(seed=0)
    moved = 0
    for _ in range(40):
        intended = walls.open
        *_, info = env.step(intended)
        moved += info["executed_action"] != intended
    assert all(way != closed for way, closed in walls.received)
    assert moved > 10, "the attack acts all the same"


@pytest.mark.parametrize("beside", [False, True])
@pytest.mark.parametrize("rank", [1, 2])
def test_the_worst_of_those_that_are_allowed_is_executed(beside, rank):
    """An adversary that looked among all would be stopped by the mask, and seem weak."""
    walls = Walls(beside)
    env = AdversarialAction(walls, least(ActionSet(WAYS), rank))
    env.reset(seed=0)
    for _ in range(10):
        open_ways = [START + way for way in range(4) if way != walls.closed]
        *_, info = env.step(open_ways[-1])
        assert info["executed_action"] == open_ways[rank - 1]
    vector = AdversarialAction(SyncVectorEnv([lambda: Walls(beside)] * 3), least(ActionSet(WAYS), rank))
    vector.reset(seed=0)
    *_, infos = vector.step(np.array([START + 3] * 3))
    assert infos["executed_action"].tolist() == [START + rank] * 3  # at first the least one is closed


def test_the_worst_of_those_that_are_allowed_in_pettingzoo_and_torchrl():
    party = Party(masked=True, actions=spaces.Discrete(3))  # the mask closes the middle one of three
    attack = least(ActionSet(3), rank=2)
    env = AdversarialAction(party, attack)
    env.reset(seed=0)
    *_, infos = env.step(dict.fromkeys(env.agents, 0))
    assert {int(info["executed_action"]) for info in infos.values()} == {2}
    turns = AdversarialAction(parallel_to_aec(party), attack)
    turns.reset(seed=0)
    agent = turns.agent_selection
    turns.step(0)
    assert turns.infos[agent]["executed_action"] == 2
    for spec in (Categorical(3), OneHot(3)):
        torchrl = TransformedEnv(Echo(spec, mask=torch.tensor([True, False, True])), AdversarialTorchRLAction(attack))
        data = torchrl.reset()
        data = torchrl.step(data.set("action", spec.encode(0)))
        assert torch.equal(data["executed_action"], spec.encode(2))


@pytest.mark.parametrize("beside", [False, True])
def test_vector_with_the_numbers_of_gymnasium(beside):
    """Row by row."""
    attack = Noise(ActionSet(WAYS))
    singles = [Walls(beside) for _ in range(3)]
    rows = [Walls(beside) for _ in range(3)]
    vector = AdversarialAction(SyncVectorEnv([partial(lambda row: row, row) for row in rows]), attack)
    vector.reset(seed=5)
    for _ in range(20):
        vector.step(np.array([row.open for row in rows]))
    for i, single in enumerate(singles):
        env = AdversarialAction(single, attack)
        env.reset(seed=5 + i)
        for _ in range(20):
            env.step(single.open)
        assert single.received == rows[i].received
    assert all(way != closed for row in rows for way, closed in row.received)


def test_parallel_and_aec():
    """The mask of `Party` closes the middle one of three."""
    attack, executed = Noise(ActionSet(3)), set()
    env = AdversarialAction(Party(masked=True, actions=spaces.Discrete(3)), attack)
    for seed in range(5):
        env.reset(seed=seed)
        while env.agents:
            *_, infos = env.step(dict.fromkeys(env.agents, 0))
            executed |= {int(info["executed_action"]) for info in infos.values()}
    assert executed == {0, 2}
    turns = AdversarialAction(parallel_to_aec(Party(masked=True, actions=spaces.Discrete(3))), attack)
    executed = set()
    for seed in range(5):
        turns.reset(seed=seed)
        for agent in turns.agent_iter():
            if turns.terminations[agent] or turns.truncations[agent]:
                turns.step(None)
            else:
                turns.step(2)
                executed.add(int(turns.infos[agent]["executed_action"]))
    assert executed == {0, 2}


def test_a_game_goes_on():
    """Tic-tac-toe ends at an illegal move, with -1 for who made it."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # PettingZoo moves its games
        tictactoe = pytest.importorskip("pettingzoo.classic.tictactoe_v3")
        env = AdversarialAction(tictactoe.env(), Noise(ActionSet(9)))
    chooser = np.random.default_rng(0)
    for seed in range(10):
        env.reset(seed=seed)
        for agent in env.agent_iter():
            observation, reward, terminated, truncated, _ = env.last()
            if terminated or truncated:
                env.step(None)
                continue
            assert reward == 0
            legal = observation["action_mask"].nonzero()[0]
            env.step(int(chooser.choice(legal)))
            executed = env.infos[agent]["executed_action"]
            assert executed in legal


def test_what_the_agent_may_not_do_stays_its_own_mistake():
    walls = Walls()
    env = AdversarialAction(walls, Noise(ActionSet(WAYS[:1])))
    env.reset(seed=0)
    *_, info = env.step(START)  # closed, and the only one the attack knows
    assert (info["action"], info["executed_action"]) == (START, START)


def test_a_mask_of_another_size_is_refused():
    walls = Walls()
    walls.action_space = spaces.Discrete(5, start=START)
    env = AdversarialAction(walls, Noise(ActionSet(WAYS)))
    env.reset(seed=0)
    with pytest.raises(
        ValueError, match=r"`action_mask` must have an entry for each of the 5 actions, got shape \(4,\)"
    ):
        env.step(START)
