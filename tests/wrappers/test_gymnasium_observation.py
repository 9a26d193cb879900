"""AdversarialObs on a Gymnasium environment."""

import copy
import pickle
import random

import gymnasium
import numpy as np
import pytest
import torch
from gymnasium import spaces
from hypothesis import given
from hypothesis import strategies as st

from advwrap import (
    FGSM,
    PGD,
    UNBOUNDED,
    ActionShift,
    AtMost,
    Bounds,
    EveryNth,
    Gated,
    Identity,
    L2Ball,
    Linear,
    LinfBall,
    LowValue,
    Masked,
    Mixture,
    Noise,
    RandomVertex,
)
from advwrap.wrappers.gymnasium import AdversarialObs
from tests.wrappers.environments import Image, Shift, Spy, Walk, WalkInDict, play


def pickled(env):
    return pickle.loads(pickle.dumps(env))  # noqa: S301 - our own


FLOATS = [np.float16, np.float32, np.float64]


@given(
    dtype=st.sampled_from(FLOATS),
    shape=st.sampled_from([(), (1,), (3,), (2, 3)]),
    eps=st.floats(0, 2),
    seed=st.integers(0, 2**63),
    box=st.booleans(),
)
def test_the_perturbed_observation_is_in_the_ball_and_in_the_space(dtype, shape, eps, seed, box):
    limits = {"low": 0.2, "high": 0.8} if box else {}
    env = AdversarialObs(Walk(dtype, shape=shape, **limits), Noise(LinfBall(eps)))
    seen, truth, _ = play(env, 7, seed=seed)
    for observation, clean in zip(seen, truth, strict=True):
        assert type(observation) is np.ndarray
        assert (observation.dtype, observation.shape) == (dtype, shape)
        assert observation in env.observation_space
        assert (abs(observation.astype(np.float64) - clean.astype(np.float64)) <= eps).all()
        if eps == 0:
            assert observation.tobytes() == clean.tobytes()


@pytest.mark.parametrize(
    "attack", [Identity(), Noise(LinfBall(0.3)), PGD(ActionShift(lambda x: x), within=L2Ball(1.0))]
)
@pytest.mark.parametrize("dtype", FLOATS)
def test_dynamics_are_those_of_the_clean_environment(attack, dtype):
    _, truth, rewards = play(AdversarialObs(Walk(dtype), attack), 12, seed=3)
    bare, bare_rewards = [], []
    env = Walk(dtype)
    env.action_space.seed(3)
    bare.append(env.reset(seed=3)[0].copy())
    for _ in range(12):
        observation, reward, _, over, _ = env.step(env.action_space.sample())
        bare.append(observation.copy())
        bare_rewards.append(reward)
        if over:
            bare.append(env.reset()[0].copy())
            bare_rewards.append(reward)
    assert rewards == bare_rewards
    np.testing.assert_array_equal(truth, bare)


def test_identity_shows_the_truth_and_still_writes_it():
    seen, truth, _ = play(AdversarialObs(Walk(), Identity()), 6)
    np.testing.assert_array_equal(seen, truth)


def test_nothing_returned_shares_memory():
    env = AdversarialObs(Walk(), Identity())
    first, info = env.reset(seed=0)
    second, *_, later = env.step([0, 0])
    arrays = [first, info["clean_observation"], second, later["clean_observation"], env.env.buffer]
    for i, one in enumerate(arrays):
        assert not any(np.shares_memory(one, other) for other in arrays[i + 1 :])


def test_an_attack_that_returns_its_input_is_copied():
    env = AdversarialObs(Walk(), lambda clean, **_: clean)
    seen, info = env.reset(seed=0)
    assert not np.shares_memory(seen, info["clean_observation"])


class TestSeeds:
    def test_one_seed_one_perturbation(self):
        def run():
            return play(AdversarialObs(Walk(), Noise(LinfBall(0.1))), 12, seed=5)[0]

        np.testing.assert_array_equal(run(), run())

    def test_other_seed_other_perturbation(self):
        env = AdversarialObs(Walk(), Noise(LinfBall(0.1)))
        noise = []
        for seed in (0, 1):
            seen, info = env.reset(seed=seed)
            noise.append(seen - info["clean_observation"])
        assert not np.array_equal(*noise)

    def test_every_episode_and_every_step_draws_anew_and_a_seed_begins_again(self):
        env = AdversarialObs(Walk(), Noise(LinfBall(0.1)))

        def noise():
            draws = []
            for options in ({"seed": 7}, {}, {}):
                seen, info = env.reset(**options)
                draws.append((seen - info["clean_observation"])[0])
                seen, *_, info = env.step([0, 0])
                draws.append((seen - info["clean_observation"])[0])
            return draws

        first = noise()
        assert len(set(first)) == 6
        np.testing.assert_array_equal(noise(), first)

    def test_without_a_seed_two_runs_differ(self):
        env, other = (AdversarialObs(Walk(), Noise(LinfBall(0.1))) for _ in range(2))
        one, two = (e.reset() for e in (env, other))
        assert not np.array_equal(one[0] - one[1]["clean_observation"], two[0] - two[1]["clean_observation"])

    def test_no_other_generator_is_advanced(self):
        def states(env):
            return (
                torch.get_rng_state().tolist(),
                str(np.random.get_state()),  # noqa: NPY002
                random.getstate(),
                env.unwrapped.np_random.bit_generator.state,
            )

        env = AdversarialObs(Walk(), Mixture((0.5, RandomVertex(LinfBall(0.1))), (0.5, Identity())))
        twin = Walk()
        env.reset(seed=0), twin.reset(seed=0)
        before = states(twin)
        assert states(env) == before
        env.step([0, 0]), twin.step([0, 0])
        assert states(env) == states(twin)


class TestBounds:
    def test_the_space_is_the_environments_and_limits_the_attack(self):
        walk = Walk(low=0.0, high=1.0)
        env = AdversarialObs(walk, Shift(5.0))
        assert env.observation_space is walk.observation_space
        spy = Spy(LinfBall(5.0))
        env.attack = spy
        for _ in range(5):
            seen, _ = env.reset()
            assert seen in env.observation_space
        assert spy.calls[0][2].low.tolist() == [0.0] * 3

    def test_unbounded_widens_the_space(self):
        env = AdversarialObs(Walk(low=0.0, high=1.0), Shift(5.0), bounds=UNBOUNDED)
        seen, info = env.reset(seed=0)
        np.testing.assert_allclose(seen, info["clean_observation"] + 5.0)
        assert seen in env.observation_space
        assert env.observation_space == spaces.Box(-np.inf, np.inf, (3,))

    def test_given_bounds_widen_only_where_they_are_wider(self):
        high = torch.tensor([0.5, 2.0, 1.0])
        walk = Walk(low=0.0, high=1.0)
        env = AdversarialObs(walk, RandomVertex(LinfBall(9.0)), bounds=Bounds(0.0, high))
        assert env.observation_space.high.tolist() == [1.0, 2.0, 1.0]
        assert env.observation_space.low.tolist() == [0.0, 0.0, 0.0]
        tops = [env.reset(seed=s)[0].max() for s in range(9)]
        assert max(tops) == 2.0
        with pytest.raises(ValueError, match=r"`bounds` must broadcast to the shape \(3,\), got .*\(2,\)"):
            AdversarialObs(walk, Identity(), bounds=Bounds(torch.zeros(2), 1.0))
        narrow = AdversarialObs(walk, Identity(), bounds=Bounds(0.4, 0.6))
        assert narrow.observation_space is walk.observation_space


class TestDict:
    def test_one_entry_is_attacked_and_the_attack_reads_the_others(self):
        spy = Spy(LinfBall(0.1))
        env = AdversarialObs(WalkInDict(), spy, key=("sensors", "near"))
        seen, info = env.reset(seed=0)
        truth = info["clean_observation"]
        assert seen in env.observation_space
        assert not np.array_equal(seen["sensors"]["near"], truth["sensors"]["near"])
        np.testing.assert_array_equal(seen["sensors"]["far"], truth["sensors"]["far"])
        np.testing.assert_array_equal(seen["mask"], [1, 0, 1, 1])
        assert (seen["level"], seen["name"]) == (2, "walk")
        context = spy.calls[-1][1]
        assert context["mask"].tolist() == [[1, 0, 1, 1]]
        assert context["level"].tolist() == [2]
        assert context["sensors", "far"].shape == (1, 3)
        assert {"name", ("sensors", "near")}.isdisjoint(context)
        assert context["episode_step"].tolist() == [0]

    def test_a_string_is_a_key(self):
        walk = gymnasium.wrappers.TransformObservation(
            WalkInDict(), lambda o: o["sensors"], WalkInDict().observation_space["sensors"]
        )
        seen, info = AdversarialObs(walk, Shift(1.0), key="far").reset(seed=0)
        np.testing.assert_allclose(seen["far"], info["clean_observation"]["far"] + 1)

    def test_beside_an_action_mask_the_observation_is_attacked(self):
        def masked(o):
            return {"observation": o["sensors"]["near"], "action_mask": o["mask"]}

        inside = WalkInDict().observation_space
        space = spaces.Dict(observation=inside["sensors"]["near"], action_mask=inside["mask"])
        spy = Spy(LinfBall(0.1))
        wrapped = gymnasium.wrappers.TransformObservation(WalkInDict(), masked, space)
        seen, _ = AdversarialObs(wrapped, spy).reset(seed=0)
        assert spy.last("action_mask").tolist() == [[1, 0, 1, 1]]
        assert seen["action_mask"].tolist() == [1, 0, 1, 1]

    @pytest.mark.parametrize("key", ["velocity", ("sensors", "up"), ("mask", "x")])
    def test_an_unknown_key_is_an_error_with_the_keys(self, key):
        with pytest.raises(ValueError, match=r"`key` must name an entry.*'mask'.*\('sensors', 'near'\)"):
            AdversarialObs(WalkInDict(), Identity(), key=key)

    @pytest.mark.parametrize("key", [None, "sensors"])
    def test_a_dict_needs_a_key(self, key):
        with pytest.raises(ValueError, match=r"`key` must name one entry of a Dict.*'sensors', 'far'"):
            AdversarialObs(WalkInDict(), Identity(), key=key)

    def test_a_box_has_no_keys(self):
        with pytest.raises(ValueError, match="leave it out"):
            AdversarialObs(Walk(), Identity(), key="observation")

    def test_widening_reaches_the_entry(self):
        env = AdversarialObs(WalkInDict(low=-1.0, high=1.0), Shift(9.0), key=("sensors", "near"), bounds=UNBOUNDED)
        seen, _ = env.reset(seed=0)
        assert seen in env.observation_space
        assert env.observation_space["sensors"]["far"].high.max() == 1.0


class TestIntegers:
    @pytest.mark.parametrize("within", [LinfBall(4.0), LinfBall(2.5), L2Ball(6.5)])
    @pytest.mark.parametrize("kind", [Noise, RandomVertex])
    def test_images_stay_images_in_the_ball(self, within, kind):
        env = AdversarialObs(Image(), kind(within))
        for seed in range(5):
            seen, info = env.reset(seed=seed)
            assert seen.dtype == np.uint8
            assert seen in env.observation_space
            delta = torch.from_numpy(seen.astype(np.float64) - info["clean_observation"])
            assert within.contains(delta[None]).all()
            assert delta.abs().max() >= 1

    def test_the_attack_sees_grey_levels_and_is_rounded_towards_the_truth(self):
        env = AdversarialObs(Image(), Shift(-2.7))
        seen, info = env.reset(seed=0)
        clean = info["clean_observation"].astype(int)
        np.testing.assert_array_equal(seen[clean >= 2], clean[clean >= 2] - 2)
        spy = Spy(LinfBall(3.0))
        env.attack = spy
        env.reset(seed=0)
        assert spy.calls[0][0].dtype == torch.float32
        assert spy.calls[0][0].max() == 255

    def test_gradients_reach_grey_levels(self):
        sign = torch.tensor([1.0, -1.0, 0.0]).repeat(10)
        value = LowValue(value=lambda image: (image.flatten(1) / 255 * sign).sum(1))
        env = AdversarialObs(Image(), FGSM(value, within=LinfBall(8)))
        seen, info = env.reset(seed=0)
        best = info["clean_observation"].ravel() - 8 * sign.int().numpy()
        np.testing.assert_array_equal(seen.ravel(), best.clip(0, 255))

    @pytest.mark.parametrize(
        "attack",
        [
            Noise(LinfBall(8 / 255)),
            Gated(RandomVertex(L2Ball(0.5)), EveryNth(2)),
            Mixture((0.5, Identity()), (0.5, Noise(Masked(LinfBall(0.1), torch.tensor(True))))),
        ],
    )
    def test_less_than_one_grey_level_is_an_error(self, attack):
        with pytest.raises(ValueError, match="grey levels") as error:
            AdversarialObs(Image(), attack)
        if isinstance(attack, Noise):
            assert "8 for 0.0313726 of 255" in str(error.value)
        env = AdversarialObs(Image(), Identity())
        with pytest.raises(ValueError, match="grey levels"):
            env.attack = attack

    def test_zero_and_schedules_may_be_small(self):
        for eps in (0.0, Linear(0.0, 8.0, steps=10)):
            seen, info = AdversarialObs(Image(), Noise(LinfBall(eps))).reset(seed=0)
            np.testing.assert_array_equal(seen, info["clean_observation"])

    @pytest.mark.parametrize("dtype", [np.int8, np.uint16, np.int32, np.int64])
    def test_other_integers(self, dtype):
        walk = Walk(dtype, low=0, high=100)
        env = AdversarialObs(walk, RandomVertex(LinfBall(3.0)))
        seen, info = env.reset(seed=0)
        assert seen.dtype == dtype
        assert set(abs(seen.astype(int) - info["clean_observation"])) == {3}

    def test_unbounded_is_the_range_of_the_dtype(self):
        env = AdversarialObs(Walk(np.int8, low=0, high=100), Shift(-300.0), bounds=UNBOUNDED)
        assert env.observation_space == spaces.Box(-128, 127, (3,), np.int8)
        assert AdversarialObs(Walk(np.int64, low=0, high=9), Identity(), bounds=UNBOUNDED)


class TestBudgets:
    def test_counts_are_of_the_episode(self):
        env = AdversarialObs(Walk(length=4), Gated(RandomVertex(LinfBall(0.1)), AtMost(2)))
        moved = [not np.array_equal(o, c) for o, c in zip(*play(env, 10)[:2], strict=True)]
        assert moved == [*[True, True, False, False, False] * 2, True, True, False]

    def test_every_nth_counts_from_the_reset(self):
        env = AdversarialObs(Walk(length=4), Gated(RandomVertex(LinfBall(0.1)), EveryNth(3)))
        moved = [not np.array_equal(o, c) for o, c in zip(*play(env, 7)[:2], strict=True)]
        assert moved == [True, False, False, True, False, True, False, False, True]


class TestStacks:
    def test_two_wrappers_draw_different_noise_around_one_truth(self):
        inner = AdversarialObs(Walk(np.float64), Noise(LinfBall(0.1)))
        outer = AdversarialObs(gymnasium.wrappers.TimeLimit(inner, 9), Noise(LinfBall(0.1)))
        seen, info = outer.reset(seed=4)
        once, alone = inner.reset(seed=4)
        np.testing.assert_array_equal(info["clean_observation"], alone["clean_observation"])
        assert not np.allclose(seen - once, once - alone["clean_observation"])
        assert (abs(seen - info["clean_observation"]) <= 0.2).all()

    def test_order_of_other_wrappers_does_not_change_the_noise(self):
        plain = AdversarialObs(Walk(), Noise(LinfBall(0.1)))
        deep = AdversarialObs(gymnasium.wrappers.TimeLimit(Walk(), 9), Noise(LinfBall(0.1)))
        np.testing.assert_array_equal(plain.reset(seed=1)[0], deep.reset(seed=1)[0])


class TestAttack:
    def test_it_can_be_replaced(self):
        env = AdversarialObs(Walk(), Identity())
        env.reset(seed=0)
        env.attack = Shift(1.0)
        seen, *_, info = env.step([0, 0])
        np.testing.assert_allclose(seen, info["clean_observation"] + 1)
        assert isinstance(gymnasium.wrappers.TimeLimit(env, 9).get_wrapper_attr("attack"), Shift)

    @pytest.mark.parametrize("attack", [None, 0.1, LinfBall(0.1)])
    def test_it_must_be_an_attack(self, attack):
        with pytest.raises(TypeError, match="`attack` must be an attack"):
            AdversarialObs(Walk(), attack)

    @pytest.mark.parametrize("wrong", [lambda x, **_: x[:, :1], lambda x, **_: x.double(), lambda x, **_: x[0]])
    def test_its_result_must_look_like_its_input(self, wrong):
        with pytest.raises(TypeError, match=r"must return torch\.float32 of shape"):
            AdversarialObs(Walk(), wrong).reset()


@pytest.mark.parametrize(
    "space",
    [
        spaces.Discrete(3),
        spaces.MultiDiscrete([2, 2]),
        spaces.MultiBinary(2),
        spaces.Text(3),
        spaces.Tuple([spaces.Box(0, 1)]),
        spaces.Graph(spaces.Box(0, 1), None),
    ],
)
def test_only_numbers_move_in_a_ball(space):
    walk = Walk()
    walk.observation_space = space
    with pytest.raises(TypeError, match=r"must be a Box of numbers.*AdversarialAction"):
        AdversarialObs(walk, Identity())


@pytest.mark.parametrize("dtype", [np.bool_, np.longdouble])
def test_numbers_that_torch_cannot_hold(dtype):
    walk = Walk()
    walk.observation_space = spaces.Box(0, 1, (2,), dtype)
    with pytest.raises(TypeError, match="at most 64 bits"):
        AdversarialObs(walk, Identity())


def test_nan_is_an_error_and_infinity_is_not():
    walk = Walk()
    env = AdversarialObs(walk, Noise(LinfBall(0.1)))
    env.reset(seed=0)
    walk.state[1] = np.inf
    assert env.step([0, 0])[0][1] == np.inf
    walk.state[1] = np.nan
    with pytest.raises(ValueError, match=r"observation must not hold NaN, but its rows \[0\] do"):
        env.step([0, 0])


def test_a_vector_environment_is_an_error_with_the_fix():
    with pytest.raises(TypeError, match=r"advwrap\.AdversarialObs"):
        AdversarialObs(gymnasium.vector.SyncVectorEnv([Walk]), Identity())


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_the_attack_computes_on_the_device_of_the_victim():
    net = torch.nn.Linear(3, 2, dtype=torch.float64)
    attack = Gated(PGD(ActionShift(net), within=LinfBall(0.1)), AtMost(4))
    here, _, _ = play(AdversarialObs(Walk(np.float64), attack), 8)
    net.cuda()
    there, _, _ = play(AdversarialObs(Walk(np.float64), attack, device="cuda"), 8)
    np.testing.assert_allclose(here, there, atol=1e-9)


class TestSpec:
    def test_round_trip_with_the_live_attack(self):
        net = torch.nn.Linear(4, 1)
        attack = PGD(ActionShift(net), within=LinfBall(0.1))
        env = AdversarialObs(gymnasium.make("CartPole-v1"), attack)
        again = gymnasium.make(env.spec)
        assert type(again) is AdversarialObs
        assert again.attack is attack
        assert env.spec.additional_wrappers[-1].kwargs["attack"] is attack
        seen, same = env.reset(seed=0)[0], again.reset(seed=0)[0]
        np.testing.assert_array_equal(seen, same)

    def test_the_attack_stays_live_beneath_other_wrappers(self):
        attack = Noise(LinfBall(0.1))
        env = AdversarialObs(gymnasium.make("CartPole-v1"), attack, bounds=UNBOUNDED)
        outer = AdversarialObs(gymnasium.wrappers.TimeAwareObservation(env), Identity())
        again = gymnasium.make(outer.spec)
        assert again.env.env.attack is attack
        assert again.env.env.observation_space == env.observation_space

    def test_a_replaced_attack_is_the_one_in_the_spec(self):
        env = AdversarialObs(gymnasium.make("CartPole-v1"), Identity())
        env.attack = attack = Noise(LinfBall(0.1))
        assert gymnasium.make(env.spec).attack is attack


class TestState:
    @pytest.mark.parametrize("carry", [copy.deepcopy, pickled])
    def test_a_copy_goes_on_alike_and_alone(self, carry):
        env = AdversarialObs(Walk(), Gated(Noise(LinfBall(0.1)), AtMost(4)))
        env.reset(seed=0)
        env.step([0, 0])
        twin = carry(env)
        for _ in range(4):
            np.testing.assert_array_equal(env.step([0, 0])[0], twin.step([0, 0])[0])
        assert env.state_dict()["attacked"] == twin.state_dict()["attacked"] == 4

    def test_a_saved_clock_continues(self):
        env = AdversarialObs(Walk(), Gated(Noise(LinfBall(0.1)), AtMost(4)))
        env.reset(seed=0)
        env.step([0, 0])
        state, walk = env.state_dict(), copy.deepcopy(env.env)
        other = AdversarialObs(walk, env.attack)
        other.load_state_dict(state)
        for _ in range(4):
            np.testing.assert_array_equal(env.step([0, 0])[0], other.step([0, 0])[0])
        np.testing.assert_array_equal(env.reset()[0], other.reset()[0])
