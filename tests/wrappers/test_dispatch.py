"""`advwrap.AdversarialObs` and `advwrap.AdversarialAction`: the wrapper for the kind of environment."""

import subprocess
import sys

import gymnasium
import pytest
from gymnasium.vector import SyncVectorEnv
from pettingzoo.utils import parallel_to_aec

import advwrap.wrappers.gymnasium as single
from advwrap import AdversarialAction, AdversarialObs, Identity
from advwrap.wrappers import vector
from advwrap.wrappers.pettingzoo import aec, parallel
from tests.wrappers.environments import Party, Walk

KINDS = {
    "gymnasium": (Walk, single),
    "vector": (lambda: SyncVectorEnv([Walk]), vector),
    "parallel": (Party, parallel),
    "aec": (lambda: parallel_to_aec(Party()), aec),
}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("channel", [AdversarialObs, AdversarialAction])
def test_the_same_kind_comes_back(kind, channel):
    make, module = KINDS[kind]
    env = channel(make(), attack=Identity())
    assert type(env) is getattr(module, channel.__name__)
    again = channel(env, Identity(), device="cpu")
    assert type(again) is type(env)
    assert again.env is env


def test_options_are_those_of_the_kind():
    env = AdversarialObs(Party(), attack=Identity(), agents=["agent_0"])
    assert [team.agents for team in env._teams] == [("agent_0",)]
    with pytest.raises(TypeError, match="agents"):
        AdversarialObs(Walk(), attack=Identity(), agents=["agent_0"])


@pytest.mark.parametrize("env", [None, "Hopper-v5", Walk, 3, gymnasium.spaces.Discrete(2)])
@pytest.mark.parametrize("channel", [AdversarialObs, AdversarialAction])
def test_anything_else_is_an_error_that_says_what_is_accepted(env, channel):
    accepted = r"gymnasium.Env, a gymnasium.vector.VectorEnv, a PettingZoo AECEnv or ParallelEnv, "
    with pytest.raises(TypeError, match=accepted.replace(".", r"\.") + r"or a torchrl\.envs\.EnvBase"):
        channel(env, attack=Identity())


def test_no_other_framework_is_imported():
    code = """
import sys
import gymnasium
from advwrap import AdversarialObs, AdversarialAction, ActionSet, Noise
env = AdversarialAction(gymnasium.make("CartPole-v1"), attack=Noise(ActionSet(2)))
env.reset(seed=0)
env.step(0)
try:
    AdversarialObs(object(), attack=None)
except TypeError:
    pass
print([name for name in ("torchrl", "tensordict", "pettingzoo") if name in sys.modules])
"""
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stdout.strip() == "[]"


def test_torchrl():
    envs = pytest.importorskip("torchrl.envs")
    env = AdversarialObs(envs.GymEnv("CartPole-v1"), attack=Identity())
    assert isinstance(env, envs.TransformedEnv)
    assert "clean_observation" in env.reset().keys()  # noqa: SIM118 - a TensorDict
