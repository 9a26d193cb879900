"""AdversarialAction on a Gymnasium environment."""

import gymnasium
import numpy as np
import pytest
import torch
from gymnasium import spaces
from hypothesis import given
from hypothesis import strategies as st

from advwrap import (
    FGSM,
    UNBOUNDED,
    ActionSet,
    AtMost,
    Gated,
    Identity,
    LinfBall,
    LowValue,
    Noise,
    RandomVertex,
    Search,
)
from advwrap.wrappers.gymnasium import AdversarialAction, AdversarialObs
from tests.wrappers.environments import Discrete, Shift, Spy, Walk, WalkInDict


def step(env, action):
    *_, info = env.step(action)
    return info["action"], info["executed_action"]


@given(
    eps=st.floats(0, 3),
    seed=st.integers(0, 2**63),
    action=st.lists(st.floats(-2, 2, width=32), min_size=2, max_size=2),
    dtype=st.sampled_from([np.float32, np.float64]),
)
def test_the_executed_action_is_in_the_ball_around_what_the_task_makes_of_the_intended_one(eps, seed, action, dtype):
    env = AdversarialAction(Walk(), Noise(LinfBall(eps)))
    env.reset(seed=seed)
    action = np.array(action, dtype)
    intended, executed = step(env, action)
    np.testing.assert_array_equal(intended, action)
    assert executed.dtype == intended.dtype == dtype
    if (executed != intended).any():
        assert (abs(executed.astype(np.float64) - action.clip(-1, 1)) <= eps).all()
        assert (abs(executed) <= 1).all()


def test_the_environment_receives_what_the_info_says():
    walk = Walk()
    env = AdversarialAction(walk, Shift(0.5))
    env.reset(seed=0)
    _, reward, _, _, info = env.step(np.float32([0.1, 0.2]))
    np.testing.assert_allclose(info["executed_action"], [0.6, 0.7])
    assert reward == pytest.approx(1.3)
    assert info["t"] == 1


def test_given_the_executed_actions_the_clean_environment_does_the_same():
    env, clean = AdversarialAction(Walk(np.float64), Noise(LinfBall(0.3))), Walk(np.float64)
    observation, _ = env.reset(seed=9)
    np.testing.assert_array_equal(observation, clean.reset(seed=9)[0])
    for _ in range(5):
        observation, reward, *_, info = env.step(env.action_space.sample())
        other, other_reward, *_ = clean.step(info["executed_action"])
        np.testing.assert_array_equal(observation, other)
        assert reward == other_reward


def test_the_callers_action_is_neither_changed_nor_kept():
    env = AdversarialAction(Walk(), Shift(0.5))
    env.reset(seed=0)
    action = np.zeros(2, np.float32)
    intended, executed = step(env, action)
    assert (action == 0).all()
    assert not np.shares_memory(action, intended)
    assert not np.shares_memory(intended, executed)


def test_lists_and_integers_are_actions_too():
    env = AdversarialAction(Walk(), Identity())
    env.reset(seed=0)
    intended, executed = step(env, [1, 0])
    assert intended.dtype == executed.dtype == np.float32
    assert executed.tolist() == [1.0, 0.0]


def test_bounds_may_be_wider_than_the_space():
    env = AdversarialAction(Walk(), Shift(5.0), bounds=UNBOUNDED)
    env.reset(seed=0)
    assert step(env, np.zeros(2, np.float32))[1].tolist() == [5.0, 5.0]


class TestDiscrete:
    @pytest.mark.parametrize("action", [2, np.int64(2), np.array(2), np.int32(2)])
    def test_every_kind_of_index(self, action):
        walk = Discrete()
        spy = Spy(ActionSet(4))
        env = AdversarialAction(walk, spy)
        env.reset(seed=0)
        intended, executed = step(env, action)
        assert intended == 2
        assert executed == walk.received
        assert walk.action_space.contains(executed)
        assert spy.calls[0][0].dtype == torch.int64
        assert spy.calls[0][0].shape == (1,)

    def test_all_actions_occur(self):
        env = AdversarialAction(Discrete(length=200), Noise(ActionSet(4)))
        env.reset(seed=0)
        assert {int(step(env, 0)[1]) for _ in range(50)} == {0, 1, 2, 3}

    def test_the_worst_action_of_a_table(self):
        table = torch.tensor([[3.0, 1.0, -2.0, 0.0]])
        q = LowValue(critic=lambda s, a: table.expand(len(s), 4).gather(1, a[:, None]))
        env = AdversarialAction(Discrete(), Search(q, within=ActionSet(4)))
        env.reset(seed=0)
        assert step(env, 0)[1] == 2

    @pytest.mark.parametrize(
        ("space", "actions", "given"),
        [
            (spaces.Discrete(3, start=5), torch.arange(5, 8), 6),
            (spaces.MultiDiscrete([3, 2]), torch.tensor([[0, 0], [2, 1]]), np.array([1, 1])),
            (spaces.MultiBinary(2), torch.tensor([[0, 1], [1, 0]]), np.array([1, 1], np.int8)),
        ],
    )
    def test_other_spaces(self, space, actions, given):
        env = AdversarialAction(Discrete(space), Noise(ActionSet(actions)))
        env.reset(seed=0)
        intended, executed = step(env, given)
        np.testing.assert_array_equal(intended, given)
        assert executed.tolist() in actions.tolist()

    @pytest.mark.parametrize("space", [spaces.Discrete(2), spaces.Discrete(3, start=5), spaces.Discrete(9, start=8)])
    def test_an_action_outside_the_space_is_an_error(self, space):
        env = AdversarialAction(Discrete(space), Shift(20))
        env.reset(seed=0)
        with pytest.raises(ValueError, match=r"is not in Discrete.*ActionSet"):
            env.step(space.start)

    def test_a_ball_is_an_error_with_the_fix(self):
        """Where it is made, and where another attack is put in."""
        with pytest.raises(TypeError, match="ActionSet"):
            AdversarialAction(Discrete(), Noise(LinfBall(0.1)))
        env = AdversarialAction(Discrete(), Identity())
        with pytest.raises(TypeError, match="ActionSet"):
            env.attack = Noise(LinfBall(0.1))


class TestObservation:
    def test_the_critic_reads_the_last_observation(self):
        spy = Spy(LinfBall(0.1))
        env = AdversarialAction(Walk(), spy)
        observation, _ = env.reset(seed=0)
        observation = observation.copy()
        env.step([0, 0])
        np.testing.assert_array_equal(spy.last("observation")[0], observation)
        env.step([0, 0])
        np.testing.assert_array_equal(spy.calls[1][1]["observation"].shape, (1, 3))
        assert not np.array_equal(spy.last("observation")[0], observation)

    def test_the_critic_reads_the_truth_where_the_agent_does_not(self):
        spy = Spy(LinfBall(0.1))
        env = AdversarialAction(AdversarialObs(Walk(), Shift(3.0)), spy)
        seen, info = env.reset(seed=0)
        env.step([0, 0])
        np.testing.assert_array_equal(spy.last("observation")[0], info["clean_observation"])
        assert not np.array_equal(seen, info["clean_observation"])

    def test_low_value_attacks_actions(self):
        q = LowValue(critic=lambda s, a: (s[:, :2] * a).sum(-1))
        env = AdversarialAction(Walk(), FGSM(q, within=LinfBall(0.25)))
        observation, _ = env.reset(seed=0)
        executed = step(env, np.zeros(2, np.float32))[1]
        np.testing.assert_array_equal(executed, -0.25 * np.sign(observation[:2]))

    def test_a_dict_observation_by_its_entries(self):
        spy = Spy(LinfBall(0.1))
        env = AdversarialAction(WalkInDict(), spy, key=("sensors", "far"))
        observation, _ = env.reset(seed=0)
        env.step([0, 0])
        np.testing.assert_array_equal(spy.last("observation")[0], observation["sensors"]["far"])
        assert spy.last("mask").shape == (1, 4)
        assert spy.last(("sensors", "near")).shape == (1, 3)

    def test_a_dict_observation_without_a_key_has_no_state(self):
        spy = Spy(LinfBall(0.1))
        env = AdversarialAction(WalkInDict(), spy)
        env.reset(seed=0)
        env.step([0, 0])
        assert "observation" not in spy.calls[0][1]


def test_budgets_count_actions_of_the_episode():
    env = AdversarialAction(Walk(), Gated(RandomVertex(LinfBall(0.1)), AtMost(2)))
    moved = []
    for _ in range(2):
        env.reset()
        for _ in range(4):
            intended, executed = step(env, np.zeros(2, np.float32))
            moved.append(not np.array_equal(intended, executed))
    assert moved == [True, True, False, False] * 2


def test_a_seed_begins_again():
    env = AdversarialAction(Walk(), Noise(LinfBall(0.1)))

    def noise():
        env.reset(seed=3)
        return [step(env, np.zeros(2, np.float32))[1].tolist() for _ in range(3)]

    first = noise()
    assert first == noise()
    assert first[0] != first[1]


def test_actions_and_observations_get_different_noise():
    env = AdversarialObs(AdversarialAction(Walk(np.float64), Noise(LinfBall(1.0))), Noise(LinfBall(1.0)))
    seen, info = env.reset(seed=0)
    seen_noise = (seen - info["clean_observation"])[:2]
    assert not np.allclose(step(env, np.zeros(2))[1], seen_noise)


def test_stacked_the_innermost_executes_and_the_outermost_intends():
    env = AdversarialAction(AdversarialAction(Walk(), Shift(0.25)), Shift(0.5))
    env.reset(seed=0)
    intended, executed = step(env, np.zeros(2, np.float32))
    assert intended.tolist() == [0, 0]
    assert executed.tolist() == [0.75, 0.75]
    two = AdversarialAction(AdversarialAction(Walk(), Noise(LinfBall(0.1))), Identity())
    one = AdversarialAction(AdversarialAction(Walk(), Identity()), Noise(LinfBall(0.1)))
    two.reset(seed=0), one.reset(seed=0)
    assert not np.array_equal(step(two, [0, 0])[1], step(one, [0, 0])[1])


def test_nan_is_an_error():
    env = AdversarialAction(Walk(), Noise(LinfBall(0.1)))
    env.reset(seed=0)
    with pytest.raises(ValueError, match="action must not hold NaN"):
        env.step([np.nan, 0])


@pytest.mark.parametrize("space", [spaces.Text(3), spaces.Dict(a=spaces.Discrete(2)), spaces.Tuple([])])
def test_other_actions_are_an_error(space):
    walk = Walk()
    walk.action_space = space
    with pytest.raises(TypeError, match="action must be Box, Discrete"):
        AdversarialAction(walk, Identity())


def test_spec_round_trip():
    attack = Noise(ActionSet(2))
    env = AdversarialAction(gymnasium.make("CartPole-v1"), attack)
    again = gymnasium.make(env.spec)
    assert again.attack is attack
    for e in (env, again):
        e.reset(seed=1)
    assert [step(env, 0)[1] for _ in range(5)] == [step(again, 0)[1] for _ in range(5)]


def test_a_saved_state_continues():
    critic = LowValue(critic=lambda s, a: (s[:, :2] * a).sum(-1))
    env = AdversarialAction(Walk(np.float64), Gated(FGSM(critic, within=LinfBall(0.1)), AtMost(2)))
    env.reset(seed=0)
    env.step([0, 0])
    other = AdversarialAction(env.env, env.attack)
    other.load_state_dict(env.state_dict())
    assert step(other, np.zeros(2))[1].any()
    assert not step(other, np.zeros(2))[1].any()
