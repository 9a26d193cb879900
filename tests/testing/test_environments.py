"""The signal environments show the same observations in every framework, and pass its checkers."""

import warnings

import gymnasium as gym
import numpy as np
import pytest
import torch
from gymnasium.utils.env_checker import check_env
from gymnasium.vector import AutoresetMode
from torchrl.envs import check_env_specs

from advwrap.testing.environments import (
    Signal,
    SignalEnv,
    SignalParallelEnv,
    SignalTorchRLEnv,
    signal_aec,
    signal_vector,
)

ACTIONS = np.linspace(-1, 1, 8, dtype=np.float32).reshape(4, 2)


def formula(seed, actions, *, episode=0, agent=0):
    """The observations once more, from the docstring."""
    x, seen = np.zeros(2), []
    for t in range(len(actions) + 1):
        j = np.arange(3)
        wave = np.sin(seed % 1000 + 3 * episode + 0.7 * t + 1.3 * j + 0.1 * agent)
        seen.append((wave + x[j % 2]).astype(np.float32))
        if t < len(actions):
            x = 0.5 * x + 0.5 * np.clip(actions[t], -1, 1)
    return np.stack(seen)


def gymnasium_run(seed):
    env = SignalEnv()
    return np.stack([env.reset(seed=seed)[0], *(env.step(a)[0] for a in ACTIONS)])


def vector_run(seed):
    env = signal_vector(3)
    both = [env.reset(seed=seed - 1)[0], *(env.step(np.stack([a] * 3))[0] for a in ACTIONS)]
    return np.stack(both)[:, 1]


def parallel_run(seed):
    env = SignalParallelEnv(2)
    steps = [env.reset(seed=seed)[0], *(env.step(dict.fromkeys(env.agents, a))[0] for a in ACTIONS)]
    return np.stack([step["agent_0"] for step in steps])


def aec_run(seed):
    env = signal_aec(2)
    env.reset(seed=seed)
    seen = [env.observe("agent_0")]
    for action in ACTIONS:
        for _ in range(2):
            env.step(action)
        seen.append(env.observe("agent_0"))
    return np.stack(seen)


def torchrl_run(seed):
    env = SignalTorchRLEnv(rows=2)
    env.set_seed(seed - 1)
    data, seen = env.reset(), []
    for action in ACTIONS:
        seen.append(data["observation"][1])
        data = env.step(data.set("action", torch.from_numpy(np.stack([action] * 2))))["next"]
    return torch.stack([*seen, data["observation"][1]]).numpy()


@pytest.mark.parametrize("run", [gymnasium_run, vector_run, parallel_run, aec_run, torchrl_run])
@pytest.mark.parametrize("seed", [1, 12345])
def test_one_formula_in_every_framework(run, seed):
    np.testing.assert_array_equal(run(seed), formula(seed, ACTIONS))


def test_other_agents_see_their_own_wave():
    observations, _ = SignalParallelEnv(2).reset(seed=3)
    np.testing.assert_array_equal(observations["agent_1"], formula(3, ACTIONS, agent=1)[0])


def test_reset_without_a_seed_is_the_next_episode():
    env = SignalEnv()
    env.reset(seed=3)
    np.testing.assert_array_equal(env.reset()[0], formula(3, ACTIONS, episode=1)[0])
    rows = SignalTorchRLEnv(rows=1)
    rows.set_seed(3)
    rows.reset()
    np.testing.assert_array_equal(rows.reset()["observation"][0].numpy(), formula(3, ACTIONS, episode=1)[0])


def test_action_is_seen_one_step_later():
    env = SignalEnv()
    quiet, loud = (np.stack([env.reset(seed=0)[0], *(env.step(a)[0] for a in acts)]) for acts in (0 * ACTIONS, ACTIONS))
    assert np.array_equal(quiet[0], loud[0])
    assert (quiet[1:] != loud[1:]).any(1).all()


@pytest.mark.parametrize("truncates", [False, True])
def test_end(truncates):
    env = SignalEnv(horizon=2, truncates=truncates)
    env.reset(seed=0)
    assert env.step(ACTIONS[0])[2:4] == (False, False)
    assert env.step(ACTIONS[0])[2:4] == (not truncates, truncates)


def test_rows_may_end_at_different_times():
    env = signal_vector(2, horizon=[1, 3], autoreset=AutoresetMode.SAME_STEP)
    env.reset(seed=0)
    assert env.step(np.zeros((2, 2), np.float32))[2].tolist() == [True, False]


def test_agent_may_leave():
    env = SignalParallelEnv(2, leaves=2)
    env.reset(seed=0)
    for _ in range(2):
        env.step(dict.fromkeys(env.agents, ACTIONS[0]))
    assert env.agents == ["agent_0"]


@pytest.mark.parametrize(
    "make",
    [
        SignalEnv,
        lambda: SignalEnv(discrete=3),
        lambda: SignalEnv(gym.spaces.Dict(a=gym.spaces.Box(-2, 2, (2,)), b=gym.spaces.Box(-2, 2, (2, 2)))),
    ],
)
def test_gymnasium_checker(make):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        check_env(make(), skip_render_check=True)


def test_pettingzoo_checkers(capsys):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # importing them warns of their own classes, and they recommend rendering
        from pettingzoo.test import api_test, parallel_api_test, parallel_seed_test, seed_test

        parallel_api_test(SignalParallelEnv(3, leaves=2))
        parallel_seed_test(SignalParallelEnv)
        api_test(signal_aec())
        seed_test(signal_aec)
    capsys.readouterr()


@pytest.mark.parametrize("rows", [None, 3])
def test_torchrl_checker(rows):
    check_env_specs(SignalTorchRLEnv(rows=rows))


def test_signal_is_bounded():
    signal = Signal()
    for _ in range(50):
        signal.advance(np.ones(2))
        assert (np.abs(signal.observation) <= 2).all()
