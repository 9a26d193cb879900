"""AdversarialObs on a vector environment."""

import copy
import warnings

import gymnasium
import numpy as np
import pytest
import torch
from gymnasium import spaces
from gymnasium.vector import AsyncVectorEnv, AutoresetMode, SyncVectorEnv
from hypothesis import given
from hypothesis import strategies as st

from advwrap import (
    PGD,
    UNBOUNDED,
    ActionShift,
    AtMost,
    EveryNth,
    Gated,
    Identity,
    LinfBall,
    Mixture,
    Noise,
    RandomVertex,
    WithProbability,
)
from advwrap.wrappers.gymnasium import AdversarialObs as SingleObs
from advwrap.wrappers.vector import AdversarialObs
from advwrap.wrappers.workers import FrozenCopyWarning
from tests.wrappers.environments import Image, Shift, Spy, Walk, WalkInDict

LENGTHS = [[3, 2, 4], [4, 1], [1, 5]]
ATTACKS = {
    "noise": Noise(LinfBall(0.1)),
    "pgd": PGD(ActionShift(lambda x: x), within=LinfBall(0.1), steps=2),
    "budget": Gated(RandomVertex(LinfBall(0.1)), AtMost(2) & EveryNth(2)),
    "coins": Gated(Noise(LinfBall(0.1)), WithProbability(0.5)),
    "mixture": Mixture((0.5, Noise(LinfBall(0.1))), (0.5, Identity())),
}


def make(mode, lengths=LENGTHS, wrap=lambda env: env, **options):
    functions = [lambda own=own: wrap(Walk(length=own, **options)) for own in lengths]
    return SyncVectorEnv(functions, autoreset_mode=mode)


def actions(envs, steps, seed=0):
    envs.action_space.seed(seed)
    return [envs.action_space.sample() for _ in range(steps)]


def run(envs, steps, seed):
    """What is seen and what is true, of every call."""
    observations, infos = envs.reset(seed=seed)
    calls = [(observations, infos)]
    for action in actions(envs, steps):
        observations, _, terminations, truncations, infos = envs.step(action)
        calls.append((observations, infos))
        ended = terminations | truncations
        if envs.metadata["autoreset_mode"] is AutoresetMode.DISABLED and ended.any():
            calls.append(envs.reset(options={"reset_mask": ended}))
    return [o.copy() for o, _ in calls], [i["clean_observation"].copy() for _, i in calls]


class TestSameAsSingle:
    """Wrapping the vector is wrapping every environment in it."""

    @pytest.mark.parametrize("name", ATTACKS)
    @pytest.mark.parametrize("mode", [AutoresetMode.NEXT_STEP, AutoresetMode.SAME_STEP])
    def test_rows(self, mode, name):
        attack = ATTACKS[name]
        whole = AdversarialObs(make(mode), attack)
        each = make(mode, wrap=lambda env: SingleObs(env, attack))
        seen, truth = run(whole, 14, seed=11)
        same, same_truth = run(each, 14, seed=11)
        np.testing.assert_array_equal(truth, same_truth)
        np.testing.assert_array_equal(seen, same)

    @pytest.mark.parametrize("name", ATTACKS)
    def test_rows_without_autoreset(self, name):
        attack = ATTACKS[name]
        whole = AdversarialObs(make(AutoresetMode.DISABLED), attack)
        each = make(AutoresetMode.DISABLED, wrap=lambda env: SingleObs(env, attack))
        observations, _ = whole.reset(seed=2)
        same, _ = each.reset(seed=2)
        shown = observations
        np.testing.assert_array_equal(observations, same)
        for action in actions(whole, 12):
            observations, _, terminations, truncations, _ = whole.step(action)
            same, *_ = each.step(action)
            np.testing.assert_array_equal(observations, same)
            ended = terminations | truncations
            if ended.any():
                shown = observations.copy()
                observations[:] = -9  # what the caller does to its arrays is its own business
                observations, _ = whole.reset(options={"reset_mask": ended})
                same, _ = each.reset(options={"reset_mask": ended})
                np.testing.assert_array_equal(observations, same)
                np.testing.assert_array_equal(observations[~ended], shown[~ended])

    @given(seed=st.integers(0, 2**40), lengths=st.lists(st.integers(1, 4), min_size=1, max_size=4))
    def test_any_seed_and_any_lengths(self, seed, lengths):
        attack = ATTACKS["coins"]
        for mode in (AutoresetMode.NEXT_STEP, AutoresetMode.SAME_STEP):
            whole = AdversarialObs(make(mode, lengths), attack)
            each = make(mode, lengths, wrap=lambda env: SingleObs(env, attack))
            np.testing.assert_array_equal(run(whole, 6, seed)[0], run(each, 6, seed)[0])

    def test_dicts(self):
        def make_dicts(wrap=lambda env: env):
            return SyncVectorEnv([lambda: wrap(WalkInDict(length=3))] * 2)

        attack, key = Noise(LinfBall(0.1)), ("sensors", "near")
        whole = AdversarialObs(make_dicts(), attack, key=key)
        each = make_dicts(lambda env: SingleObs(env, attack, key=key))
        for envs in (whole, each):
            envs.reset(seed=4)
        for action in actions(whole, 6):
            seen, *_, infos = whole.step(action)
            same, *_, same_infos = each.step(action)
            np.testing.assert_array_equal(seen["sensors"]["near"], same["sensors"]["near"])
            np.testing.assert_array_equal(
                infos["clean_observation"]["sensors"]["near"],
                same_infos["clean_observation"]["sensors"]["near"],
            )
            assert seen in whole.observation_space

    def test_images(self):
        attack = Noise(LinfBall(9.0))
        whole = AdversarialObs(SyncVectorEnv([Image] * 2), attack)
        each = SyncVectorEnv([lambda: SingleObs(Image(), attack)] * 2)
        np.testing.assert_array_equal(whole.reset(seed=1)[0], each.reset(seed=1)[0])

    def test_scalars(self):
        attack = Noise(LinfBall(0.1))
        whole = AdversarialObs(make(AutoresetMode.NEXT_STEP, shape=()), attack)
        each = make(AutoresetMode.NEXT_STEP, shape=(), wrap=lambda env: SingleObs(env, attack))
        np.testing.assert_array_equal(run(whole, 5, 0)[0], run(each, 5, 0)[0])


class TestSeeds:
    def test_a_list_seeds_each_row(self):
        envs = AdversarialObs(make(AutoresetMode.NEXT_STEP), Noise(LinfBall(0.1)))
        by_number, _ = envs.reset(seed=5)
        by_list, _ = envs.reset(seed=[5, 6, 7])
        np.testing.assert_array_equal(by_number, by_list)
        swapped, _ = envs.reset(seed=[7, 6, 5])
        np.testing.assert_array_equal(swapped, by_list[::-1])

    def test_none_in_a_list_goes_on(self):
        envs = AdversarialObs(make(AutoresetMode.NEXT_STEP), Noise(LinfBall(0.1)))
        single = SingleObs(Walk(length=LENGTHS[1]), Noise(LinfBall(0.1)))
        envs.reset(seed=0), single.reset(seed=1)
        again, _ = envs.reset(seed=[0, None, 2])
        np.testing.assert_array_equal(again[1], single.reset()[0])

    def test_a_mask_with_seeds_begins_only_its_rows_anew(self):
        envs = AdversarialObs(make(AutoresetMode.DISABLED), Noise(LinfBall(0.1)))
        first, _ = envs.reset(seed=5)
        options = {"reset_mask": np.array([False, True, False]), "other": 1}
        seen, infos = envs.reset(seed=[None, 9, None], options=options)
        assert "reset_mask" in options
        np.testing.assert_array_equal(seen[[0, 2]], first[[0, 2]])
        alone, _ = SingleObs(Walk(), Noise(LinfBall(0.1))).reset(seed=9)
        np.testing.assert_array_equal(seen[1], alone)
        assert infos["_clean_observation"].all()

    def test_a_number_with_a_mask_seeds_the_rows_of_the_mask(self):
        envs = AdversarialObs(make(AutoresetMode.DISABLED), Noise(LinfBall(0.1)))
        envs.reset(seed=5)
        seen, _ = envs.reset(seed=20, options={"reset_mask": np.array([False, True, False])})
        alone, _ = SingleObs(Walk(), Noise(LinfBall(0.1))).reset(seed=21)
        np.testing.assert_array_equal(seen[1], alone)

    def test_rows_draw_differently(self):
        envs = AdversarialObs(make(AutoresetMode.NEXT_STEP), Noise(LinfBall(0.1)))
        seen, infos = envs.reset()
        noise = seen - infos["clean_observation"]
        assert not np.allclose(noise[0], noise[1])


def test_final_observations_stay_true():
    bare = make(AutoresetMode.SAME_STEP)
    envs = AdversarialObs(make(AutoresetMode.SAME_STEP), Shift(5.0))
    bare.reset(seed=3), envs.reset(seed=3)
    finals = 0
    for action in actions(envs, 8):
        seen, *_, infos = envs.step(action)
        clean, *_, bare_infos = bare.step(action)
        np.testing.assert_allclose(seen, clean + 5)
        np.testing.assert_array_equal(infos["clean_observation"], clean)
        assert ("final_obs" in infos) == ("final_obs" in bare_infos)
        for one, other in zip(infos.get("final_obs", []), bare_infos.get("final_obs", []), strict=True):
            finals += one is not None
            np.testing.assert_array_equal(one, other)
    assert finals > 3


def test_only_observations_change():
    bare = make(AutoresetMode.NEXT_STEP)
    envs = AdversarialObs(make(AutoresetMode.NEXT_STEP), Noise(LinfBall(0.5)))
    bare.reset(seed=3), envs.reset(seed=3)
    for action in actions(envs, 8):
        _, *rest, infos = envs.step(action)
        clean, *bare_rest, bare_infos = bare.step(action)
        np.testing.assert_array_equal(rest, bare_rest)
        np.testing.assert_array_equal(infos["clean_observation"], clean)
        assert set(infos) - set(bare_infos) == {"clean_observation", "_clean_observation"}


def test_one_attack_call_per_step():
    spy = Spy(LinfBall(0.1))
    envs = AdversarialObs(make(AutoresetMode.NEXT_STEP), spy)
    envs.reset(seed=0)
    for action in actions(envs, 4):
        envs.step(action)
    assert [len(clean) for clean, _, _ in spy.calls] == [3] * 5
    assert spy.last("episode_step").tolist() == [0, 4, 2]


def test_a_masked_reset_attacks_only_its_rows():
    spy = Spy(LinfBall(0.1))
    envs = AdversarialObs(make(AutoresetMode.DISABLED), spy)
    envs.reset(seed=0)
    envs.reset(options={"reset_mask": np.array([True, False, True])})
    assert len(spy.calls[-1][0]) == 2


def test_bounds_and_spaces():
    envs = AdversarialObs(make(AutoresetMode.NEXT_STEP, low=0.0, high=1.0), Shift(4.0), bounds=UNBOUNDED)
    assert envs.observation_space == spaces.Box(-np.inf, np.inf, (3, 3))
    assert envs.single_observation_space == spaces.Box(-np.inf, np.inf, (3,))
    seen, _ = envs.reset(seed=0)
    assert seen in envs.observation_space
    envs = AdversarialObs(make(AutoresetMode.NEXT_STEP, low=0.0, high=1.0), RandomVertex(LinfBall(9)))
    assert envs.observation_space is envs.env.observation_space
    seen, _ = envs.reset(seed=0)
    assert seen in envs.observation_space


def test_different_spaces_need_bounds():
    functions = [lambda: Walk(low=0.0, high=1.0), lambda: Walk(low=0.0, high=2.0)]
    envs = SyncVectorEnv(functions, observation_mode="different")
    with pytest.raises(ValueError, match="`bounds` must be given where"):
        AdversarialObs(envs, Identity())
    wide = AdversarialObs(envs, Shift(9.0), bounds=UNBOUNDED)
    assert wide.reset(seed=0)[0] in wide.observation_space


def test_stacked_wrappers_differ_around_one_truth():
    inner = AdversarialObs(make(AutoresetMode.NEXT_STEP), Noise(LinfBall(0.1)))
    outer = AdversarialObs(inner, Noise(LinfBall(0.1)))
    seen, infos = outer.reset(seed=0)
    once, alone = inner.reset(seed=0)
    np.testing.assert_array_equal(infos["clean_observation"], alone["clean_observation"])
    assert not np.allclose(seen - once, once - alone["clean_observation"])


def test_nan_names_the_rows():
    envs = AdversarialObs(make(AutoresetMode.NEXT_STEP), Noise(LinfBall(0.1)))
    envs.reset(seed=0)
    envs.env.envs[1].state[0] = np.nan
    with pytest.raises(ValueError, match=r"observation must not hold NaN, but its rows \[1\] do"):
        envs.step(envs.action_space.sample())


def test_the_attack_can_be_replaced():
    envs = AdversarialObs(make(AutoresetMode.NEXT_STEP), Identity())
    envs.reset(seed=0)
    envs.attack = attack = Shift(1.0)
    assert envs.attack is attack
    seen, *_, infos = envs.step(envs.action_space.sample())
    np.testing.assert_allclose(seen, infos["clean_observation"] + 1)


def test_a_single_environment_is_an_error_with_the_fix():
    with pytest.raises(TypeError, match=r"must be a gymnasium.vector.VectorEnv.*advwrap.AdversarialObs"):
        AdversarialObs(Walk(), Identity())


def test_an_environment_that_hides_its_mode_is_taken_to_reset_at_the_next_step():
    envs = make(AutoresetMode.NEXT_STEP)
    del envs.metadata["autoreset_mode"]
    with pytest.warns(UserWarning, match="does not say how it resets"):
        AdversarialObs(envs, Identity())


def test_a_saved_state_continues():
    attack = Gated(Noise(LinfBall(0.1)), AtMost(3))
    envs = AdversarialObs(make(AutoresetMode.NEXT_STEP), attack)
    envs.reset(seed=0)
    steps = actions(envs, 9)
    for action in steps[:3]:
        envs.step(action)  # row 0 has just ended: its next step resets
    other = AdversarialObs(copy.deepcopy(envs.env), attack)
    other.load_state_dict(envs.state_dict())
    for action in steps[3:]:
        np.testing.assert_array_equal(envs.step(action)[0], other.step(action)[0])


@pytest.mark.filterwarnings("ignore:.*multi-threaded:DeprecationWarning")
def test_asynchronous_environments_are_attacked_in_this_process():
    net = torch.nn.Linear(3, 2)
    attack = PGD(ActionShift(net), within=LinfBall(0.1), steps=2)
    with warnings.catch_warnings():
        warnings.simplefilter("error", FrozenCopyWarning)
        envs = AdversarialObs(AsyncVectorEnv([Walk] * 2, context="fork"), attack)
        try:
            sync = AdversarialObs(SyncVectorEnv([Walk] * 2), attack)
            np.testing.assert_array_equal(envs.reset(seed=0)[0], sync.reset(seed=0)[0])
            for action in actions(sync, 6):
                np.testing.assert_array_equal(envs.step(action)[0], sync.step(action)[0])
        finally:
            envs.close()


def test_make_vec_takes_the_single_wrapper():
    attack = Noise(LinfBall(0.1))
    whole = AdversarialObs(gymnasium.make_vec("CartPole-v1", 2, vectorization_mode="sync"), attack)
    each = gymnasium.make_vec(
        "CartPole-v1", 2, vectorization_mode="sync", wrappers=[lambda env: SingleObs(env, attack)]
    )
    np.testing.assert_array_equal(run(whole, 60, 0)[0], run(each, 60, 0)[0])
