"""The checkers of Gymnasium and PettingZoo pass on attacked environments."""

import warnings

import gymnasium
import numpy as np
import pytest
import torch
from gymnasium import spaces
from gymnasium.utils.env_checker import check_env
from mpe2 import simple_reference_v3, simple_spread_v3, simple_tag_v3
from pettingzoo.utils import parallel_to_aec

from advwrap import (
    FGSM,
    UNBOUNDED,
    ActionSet,
    AdversarialAction,
    AdversarialObs,
    AtMost,
    Gated,
    L2Ball,
    LinfBall,
    LowValue,
    Mixture,
    Noise,
    RandomVertex,
)
from tests.wrappers.environments import Discrete, Image, Party, Walk, WalkInDict

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # it imports environments that are deprecated
    from pettingzoo.test import api_test, parallel_api_test, parallel_seed_test, seed_test

VALUE = LowValue(value=lambda observation: observation.reshape(len(observation), -1).sum(1))
ATTACK = Mixture((0.5, RandomVertex(LinfBall(2.0))), (0.5, FGSM(VALUE, within=L2Ball(9.0))))

REGISTERED = [
    "CartPole-v1",
    "Pendulum-v1",
    "MountainCarContinuous-v0",
    "MountainCar-v0",
    "Acrobot-v1",
    "Hopper-v5",
    "HalfCheetah-v5",
    "Walker2d-v5",
    "Ant-v5",
    "Swimmer-v5",
    "Reacher-v5",
    "Humanoid-v5",
    "InvertedPendulum-v5",
    "InvertedDoublePendulum-v5",
]
OURS = {
    "float16": lambda: Walk(np.float16, low=-1.0, high=1.0, reuse=False),
    "scalar": lambda: Walk(shape=(), reuse=False),
    "half bounded": lambda: Walk(low=0.0, reuse=False),
    "discrete actions": lambda: Discrete(reuse=False),
    "image": Image,
    "int8": lambda: Walk(np.int8, low=0, high=100, reuse=False),
}


def make(name):
    return OURS[name]() if name in OURS else gymnasium.make(name).unwrapped


def check(env):
    """Gymnasium's checker, without its warnings about wrappers, bounds and this test's actions."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        check_env(env, skip_render_check=True)
    env.close()


@pytest.mark.parametrize("bounds", [None, UNBOUNDED], ids=["bounded", "unbounded"])
@pytest.mark.parametrize("name", [*REGISTERED, *OURS])
def test_gymnasium_observations(name, bounds):
    check(AdversarialObs(make(name), attack=ATTACK, bounds=bounds))


@pytest.mark.parametrize("name", [*REGISTERED, *OURS])
def test_gymnasium_actions(name):
    env = make(name)
    discrete = isinstance(env.action_space, spaces.Discrete)
    within = ActionSet(int(env.action_space.n)) if discrete else LinfBall(0.3)
    check(AdversarialAction(env, attack=Gated(Noise(within), AtMost(3))))


def test_gymnasium_both_channels_of_a_dict():
    attack = RandomVertex(LinfBall(2.0))
    env = AdversarialObs(WalkInDict(low=-1.0, high=1.0), attack=attack, key=("sensors", "near"))
    env = AdversarialObs(env, attack=attack, key=("sensors", "far"), bounds=UNBOUNDED)
    check(AdversarialAction(env, attack=Noise(LinfBall(0.1)), key=("sensors", "far")))


@pytest.mark.slow
@pytest.mark.parametrize("name", ["CarRacing-v3", "BipedalWalker-v3", "LunarLander-v3"])
def test_box2d_environments(name):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # as an error, the warning of its import is a crash
        pytest.importorskip("Box2D")
    check(AdversarialObs(make(name), attack=ATTACK))


def both(env):
    """Both channels, several budgets."""
    observation = Gated(RandomVertex(LinfBall(0.3)), AtMost(5))
    agent = env.possible_agents[0]
    discrete = isinstance(env.action_space(agent), spaces.Discrete)
    n = min(env.action_space(a).n for a in env.possible_agents) if discrete else 0
    within = ActionSet(int(n)) if discrete else LinfBall(0.3)
    return AdversarialAction(AdversarialObs(env, attack=observation), attack=Noise(within))


PARTIES = {
    "spread": lambda **o: simple_spread_v3.parallel_env(max_cycles=8, **o),
    "tag": lambda **o: simple_tag_v3.parallel_env(max_cycles=8, **o),
    "reference": lambda **o: simple_reference_v3.parallel_env(max_cycles=8, **o),
    "ours": lambda **_: Party(),
    "ours, masked": lambda **_: Party(masked=True, actions=spaces.Discrete(3)),
}
IN_TURNS = {
    "spread": lambda **o: simple_spread_v3.env(max_cycles=8, **o),
    "tag": lambda **o: simple_tag_v3.env(max_cycles=8, **o),
    "reference": lambda **o: simple_reference_v3.env(max_cycles=8, **o),
    "ours": lambda **_: parallel_to_aec(Party()),
}


@pytest.fixture
def quiet():
    """PettingZoo's checkers warn about the tiny environments and about infinite spaces."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


@pytest.mark.usefixtures("quiet")
@pytest.mark.parametrize("continuous", [False, True], ids=["discrete", "continuous"])
class TestPettingZoo:
    @pytest.mark.parametrize("name", PARTIES)
    def test_parallel(self, name, continuous):
        parallel_api_test(both(PARTIES[name](continuous_actions=continuous)), num_cycles=20)

    @pytest.mark.parametrize("name", ["spread", "tag", "reference"])
    def test_parallel_seeds(self, name, continuous):
        parallel_seed_test(lambda: both(PARTIES[name](continuous_actions=continuous)), num_cycles=8)

    @pytest.mark.parametrize("name", IN_TURNS)
    def test_aec(self, name, continuous):
        api_test(both(IN_TURNS[name](continuous_actions=continuous)), num_cycles=20)

    @pytest.mark.parametrize("name", ["spread", "tag", "reference"])
    def test_aec_seeds(self, name, continuous):
        seed_test(lambda: both(IN_TURNS[name](continuous_actions=continuous)), num_cycles=8)


def test_a_board_game_with_an_action_mask():
    attack = RandomVertex(LinfBall(torch.tensor(1.0)))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        tictactoe = pytest.importorskip("pettingzoo.classic.tictactoe_v3")
        api_test(AdversarialObs(tictactoe.env(), attack=attack), num_cycles=20)
        seed_test(lambda: AdversarialObs(tictactoe.env(), attack=attack), num_cycles=20)
