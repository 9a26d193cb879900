"""AdversarialAction on a vector environment."""

import copy

import numpy as np
import pytest
import torch
from gymnasium import spaces
from gymnasium.vector import AutoresetMode, SyncVectorEnv

from advwrap import (
    FGSM,
    ActionSet,
    AtMost,
    Gated,
    Identity,
    LinfBall,
    LowValue,
    Noise,
    RandomVertex,
    WithProbability,
)
from advwrap.wrappers.gymnasium import AdversarialAction as SingleAction
from advwrap.wrappers.gymnasium import AdversarialObs as SingleObs
from advwrap.wrappers.vector import AdversarialAction, AdversarialObs
from tests.wrappers.environments import Discrete, Shift, Spy, Walk, WalkInDict

LENGTHS = [[3, 2, 4], [4, 1], [1, 5]]
ATTACKS = {
    "noise": Noise(LinfBall(0.1)),
    "value": FGSM(LowValue(critic=lambda s, a: (s[:, :2] * a).sum(-1)), within=LinfBall(0.2)),
    "budget": Gated(RandomVertex(LinfBall(0.1)), AtMost(2)),
    "coins": Gated(Noise(LinfBall(0.1)), WithProbability(0.5)),
}


def make(mode, kind=Walk, wrap=lambda env: env, **options):
    functions = [lambda own=own: wrap(kind(length=own, **options)) for own in LENGTHS]
    return SyncVectorEnv(functions, autoreset_mode=mode)


@pytest.mark.parametrize("name", ATTACKS)
@pytest.mark.parametrize("mode", AutoresetMode)
def test_rows_are_those_of_single_environments(mode, name):
    attack = ATTACKS[name]
    whole = AdversarialAction(make(mode), attack)
    each = make(mode, wrap=lambda env: SingleAction(env, attack))
    whole.reset(seed=8), each.reset(seed=8)
    whole.action_space.seed(0)
    resetting = np.zeros(3, np.bool_)
    for _ in range(14):
        action = whole.action_space.sample()
        seen, rewards, terminations, truncations, infos = whole.step(action)
        same, same_rewards, *_, same_infos = each.step(action)
        np.testing.assert_array_equal(seen, same)
        np.testing.assert_array_equal(rewards, same_rewards)
        np.testing.assert_array_equal(infos["action"], action)
        ended = terminations | truncations
        # Where a single environment ended in this step, its action is in the final info.
        told = ~resetting & ~(ended & (mode is AutoresetMode.SAME_STEP))
        np.testing.assert_array_equal(infos["executed_action"][told], same_infos["executed_action"][told])
        np.testing.assert_array_equal(infos["executed_action"][resetting], action[resetting])
        resetting = ended & (mode is AutoresetMode.NEXT_STEP)
        if mode is AutoresetMode.DISABLED and ended.any():
            for envs in (whole, each):
                envs.reset(options={"reset_mask": ended})


@pytest.mark.parametrize("mode", AutoresetMode)
def test_discrete_actions(mode):
    whole = AdversarialAction(make(mode, Discrete), Noise(ActionSet(4)))
    each = make(mode, Discrete, wrap=lambda env: SingleAction(env, Noise(ActionSet(4))))
    whole.reset(seed=8), each.reset(seed=8)
    action = np.array([0, 1, 2])
    for _ in range(1 if mode is AutoresetMode.DISABLED else 8):
        seen, *_, infos = whole.step(action)
        same, *_ = each.step(action)
        np.testing.assert_array_equal(seen, same)
        assert infos["executed_action"].dtype == np.int64
        assert infos["executed_action"].shape == (3,)
        assert infos["executed_action"] in whole.action_space


def test_multi_discrete_actions():
    space = spaces.MultiDiscrete([3, 2])
    allowed = torch.tensor([[0, 0], [2, 1]])
    envs = AdversarialAction(make(AutoresetMode.NEXT_STEP, Discrete, space=space), Noise(ActionSet(allowed)))
    envs.reset(seed=0)
    *_, infos = envs.step(np.zeros((3, 2), np.int64))
    assert all(action in allowed.tolist() for action in infos["executed_action"].tolist())


def test_an_action_outside_the_space_is_an_error():
    envs = AdversarialAction(make(AutoresetMode.NEXT_STEP, Discrete), Shift(4))
    envs.reset(seed=0)
    with pytest.raises(ValueError, match="which is not in Discrete"):
        envs.step(np.zeros(3, np.int64))


def test_the_attack_reads_the_truth():
    spy = Spy(LinfBall(0.1))
    envs = AdversarialAction(AdversarialObs(make(AutoresetMode.SAME_STEP), Shift(5.0)), spy)
    _, infos = envs.reset(seed=0)
    for _ in range(5):
        truth = infos["clean_observation"]
        *_, infos = envs.step(envs.action_space.sample())
        np.testing.assert_array_equal(spy.last("observation"), truth)


def test_the_attack_reads_the_truth_of_attacked_single_environments():
    spy = Spy(LinfBall(0.1))
    envs = AdversarialAction(make(AutoresetMode.NEXT_STEP, wrap=lambda e: SingleObs(e, Shift(5.0))), spy)
    _, infos = envs.reset(seed=0)
    truth = infos["clean_observation"]
    envs.step(envs.action_space.sample())
    np.testing.assert_array_equal(spy.last("observation"), truth)


@pytest.mark.parametrize("rows_are_attacked", [False, True])
def test_the_truth_of_rows_that_are_not_reset(rows_are_attacked):
    """Where each row is an attacked environment, the infos of a reset tell of the reset rows only."""
    spy, mode = Spy(LinfBall(0.1)), AutoresetMode.DISABLED
    attacked = make(mode, wrap=lambda e: SingleObs(e, Shift(5.0))) if rows_are_attacked else make(mode)
    envs = AdversarialAction(attacked, spy)
    envs.reset(seed=0)
    observations, *_, infos = envs.step(envs.action_space.sample())
    truth = infos.get("clean_observation", observations).copy()
    observations, infos = envs.reset(options={"reset_mask": np.array([False, False, True])})
    truth[2] = infos.get("clean_observation", observations)[2]
    envs.step(envs.action_space.sample())
    np.testing.assert_array_equal(spy.last("observation"), truth)


def test_a_dict_observation_by_its_key():
    spy = Spy(LinfBall(0.1))
    envs = AdversarialAction(make(AutoresetMode.NEXT_STEP, WalkInDict), spy, key=("sensors", "far"))
    observations, _ = envs.reset(seed=0)
    envs.step(envs.action_space.sample())
    np.testing.assert_array_equal(spy.last("observation"), observations["sensors"]["far"])
    assert spy.last("level").tolist() == [2, 2, 2]


def test_an_ignored_action_is_neither_attacked_nor_counted():
    spy = Spy(LinfBall(0.1))
    envs = AdversarialAction(make(AutoresetMode.NEXT_STEP), spy)
    envs.reset(seed=0)
    steps = []
    for _ in range(5):
        envs.step(envs.action_space.sample())
        steps.append(spy.last("episode_step").tolist())
    assert steps == [[0, 0, 0], [1, 1], [2, 2, 0], [3, 1], [0, 2]]


def test_the_environment_and_the_caller_keep_their_arrays():
    envs = AdversarialAction(make(AutoresetMode.NEXT_STEP), Shift(0.5))
    envs.reset(seed=0)
    action = np.zeros((3, 2), np.float32)
    *_, infos = envs.step(action)
    assert (action == 0).all()
    assert not np.shares_memory(action, infos["action"])
    assert infos["_action"].all()
    assert infos["_executed_action"].all()


def test_stacked_the_innermost_executes():
    inner = AdversarialAction(make(AutoresetMode.NEXT_STEP), Shift(0.25))
    envs = AdversarialAction(inner, Shift(0.5))
    envs.reset(seed=0)
    *_, infos = envs.step(np.zeros((3, 2), np.float32))
    assert (infos["executed_action"] == 0.75).all()
    assert (infos["action"] == 0).all()


def test_a_saved_state_continues():
    attack = ATTACKS["value"]
    envs = AdversarialAction(make(AutoresetMode.NEXT_STEP), attack)
    envs.reset(seed=0)
    for _ in range(3):
        envs.step(envs.action_space.sample())
    other = AdversarialAction(copy.deepcopy(envs.env), attack)
    other.load_state_dict(envs.state_dict())
    for _ in range(5):
        action = envs.action_space.sample()
        np.testing.assert_array_equal(envs.step(action)[0], other.step(action)[0])


def test_a_single_environment_is_an_error_with_the_fix():
    with pytest.raises(TypeError, match=r"advwrap\.AdversarialAction"):
        AdversarialAction(Walk(), Identity())
