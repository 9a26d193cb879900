"""TorchRL's own checker on attacked environments of many kinds."""

import gymnasium
import pytest
import torch
from mpe2 import simple_spread_v3, simple_tag_v3
from torchrl.data import Bounded, Unbounded
from torchrl.envs import (
    Compose,
    DoubleToFloat,
    GymEnv,
    GymWrapper,
    ObservationNorm,
    ParallelEnv,
    PettingZooWrapper,
    SerialEnv,
    StepCounter,
    TransformedEnv,
    VmasEnv,
    check_env_specs,
)

from advwrap import PGD, UNBOUNDED, ActionSet, ActionShift, Bounds, Identity, LinfBall, Noise, RandomVertex
from advwrap.modules.rows import beside
from advwrap.transforms import AdversarialAction, AdversarialObs

EPS = 0.05
vertex = RandomVertex(LinfBall(EPS))

pytestmark = [
    pytest.mark.filterwarnings("ignore:PettingZoo in TorchRL is tested using:UserWarning"),
    pytest.mark.filterwarnings("ignore:.*compiler attribute:UserWarning"),
    pytest.mark.filterwarnings("ignore::DeprecationWarning:pygame"),
    pytest.mark.filterwarnings("ignore::DeprecationWarning:vmas"),
]


def check(env, steps=12, key="observation"):
    check_env_specs(env)
    data = env.rollout(steps, break_when_any_done=False)
    clean = beside(key, "clean_")
    for part in (data, data["next"]):
        moved = (part[key].double() - part[clean].double()).abs()
        assert moved.max() <= EPS
        assert (moved > 0).any()
    return data


def check_action(env, steps=12, key="action"):
    check_env_specs(env)
    data = env.rollout(steps, break_when_any_done=False)
    executed = beside(key, "executed_")
    assert data[executed].shape == data[key].shape
    assert data[executed].dtype == data[key].dtype
    assert (data[executed] != data[key]).any()
    return data


MUJOCO = ["InvertedPendulum-v5", "InvertedDoublePendulum-v5", "Hopper-v5", "HalfCheetah-v5", "Reacher-v5"]


@pytest.mark.parametrize("name", [*MUJOCO, "Pendulum-v1", "CartPole-v1", "MountainCarContinuous-v0"])
def test_gymnasium(name):
    check(TransformedEnv(GymEnv(name), AdversarialObs(vertex)))
    if name != "CartPole-v1":
        data = check_action(TransformedEnv(GymEnv(name), AdversarialAction(vertex)))
        spec = GymEnv(name).action_spec
        assert (data["executed_action"] <= spec.high).all()
        assert (data["executed_action"] >= spec.low).all()


@pytest.mark.parametrize("one_hot", [True, False])
def test_discrete_actions(one_hot):
    env = GymEnv("CartPole-v1", categorical_action_encoding=not one_hot)
    check_action(TransformedEnv(env, AdversarialAction(Noise(ActionSet(2)))), steps=30)


@pytest.mark.parametrize("scenario", ["navigation", "simple_spread", "balance", "dispersion"])
@pytest.mark.parametrize("continuous", [True, False])
def test_vmas(scenario, continuous):
    def env():
        return VmasEnv(scenario, num_envs=3, continuous_actions=continuous, seed=0)

    data = check(
        TransformedEnv(env(), AdversarialObs(vertex, key=("agents", "observation"))), 5, ("agents", "observation")
    )
    assert data["agents", "clean_observation"].shape[:2] == (3, 5)
    attack = vertex if continuous else Noise(ActionSet(3))
    check_action(TransformedEnv(env(), AdversarialAction(attack, key=("agents", "action"))), 5, ("agents", "action"))


@pytest.mark.parametrize("continuous", [True, False])
def test_pettingzoo(continuous):
    def env():
        return PettingZooWrapper(simple_spread_v3.parallel_env(continuous_actions=continuous), use_mask=False)

    key = ("agent", "observation")
    check(TransformedEnv(env(), AdversarialObs(vertex, key=key)), 5, key)
    attack = vertex if continuous else Noise(ActionSet(5))
    check_action(TransformedEnv(env(), AdversarialAction(attack, key=("agent", "action"))), 5, ("agent", "action"))


def test_several_groups():
    env = PettingZooWrapper(simple_tag_v3.parallel_env(), use_mask=True)
    keys = [(group, "observation") for group in env.group_map]
    env = TransformedEnv(env, Compose(*[AdversarialObs(vertex, key=key) for key in keys]))
    for key in keys:
        check(env, 5, key)


def vector_env(rows=3):
    envs = gymnasium.make_vec(
        "Hopper-v5",
        num_envs=rows,
        vectorization_mode="sync",
        vector_kwargs={"autoreset_mode": gymnasium.vector.AutoresetMode.SAME_STEP},
    )
    return GymWrapper(envs)


class TestBatched:
    def test_gymnasium_vector(self):
        env = TransformedEnv(vector_env(), AdversarialObs(vertex), auto_unwrap=True)
        assert env.batch_size == (3,)
        data = check(env, 60)
        assert data["next", "done"].any()  # went through resets

    def test_gymnasium_vector_actions(self):
        check_action(TransformedEnv(vector_env(), AdversarialAction(vertex), auto_unwrap=True), 60)

    def test_outside_a_serial_env(self):
        check(TransformedEnv(SerialEnv(2, lambda: GymEnv("Hopper-v5")), AdversarialObs(vertex)), 40)
        check_action(TransformedEnv(SerialEnv(2, lambda: GymEnv("Hopper-v5")), AdversarialAction(vertex)), 40)

    def test_inside_a_serial_env(self):
        check(SerialEnv(2, lambda: TransformedEnv(GymEnv("Hopper-v5"), AdversarialObs(vertex))), 40)

    @pytest.mark.slow
    def test_outside_a_parallel_env(self):
        env = ParallelEnv(2, make_pendulum)
        check(TransformedEnv(env, Compose(AdversarialObs(vertex), AdversarialAction(vertex))), 10)
        env.close()

    @pytest.mark.slow
    def test_inside_a_parallel_env(self):
        env = ParallelEnv(2, make_attacked_pendulum)
        check(env, 10)
        env.close()

    def test_actions_inside_a_serial_env_are_refused(self):
        with pytest.raises(RuntimeError, match=r"cannot be inside.*Fix: put it around"):
            SerialEnv(2, lambda: TransformedEnv(GymEnv("Pendulum-v1"), AdversarialAction(vertex)))


def make_pendulum():
    return GymEnv("Pendulum-v1")


def make_attacked_pendulum():
    return TransformedEnv(GymEnv("Pendulum-v1"), AdversarialObs(vertex))


class TestBounds:
    def test_of_the_spec(self):
        env = TransformedEnv(GymEnv("Pendulum-v1"), AdversarialObs(RandomVertex(LinfBall(0.5))))
        assert isinstance(env.observation_spec["observation"], Bounded)
        assert env.observation_spec["clean_observation"] == env.observation_spec["observation"]
        data = env.rollout(20)
        assert env.observation_spec["observation"].is_in(data["observation"])
        assert (data["observation"][:, :2].abs() == 1).any()  # the limit was reached

    def test_none(self):
        attack = RandomVertex(LinfBall(0.5))
        env = TransformedEnv(GymEnv("Pendulum-v1"), AdversarialObs(attack, bounds=UNBOUNDED))
        assert isinstance(env.observation_spec["observation"], Unbounded)
        assert isinstance(env.observation_spec["clean_observation"], Bounded)
        check_env_specs(env)
        data = env.rollout(20)
        torch.testing.assert_close((data["observation"] - data["clean_observation"]).abs(), torch.full((20, 3), 0.5))

    def test_given(self):
        attack = RandomVertex(LinfBall(0.5))
        env = TransformedEnv(GymEnv("Pendulum-v1"), AdversarialObs(attack, bounds=Bounds(-10.0, 0.25)))
        data = env.rollout(20)
        limit = data["clean_observation"].clamp_min(0.25)
        assert (data["observation"] <= limit).all()

    def test_after_normalisation_they_are_those_of_what_it_writes(self):
        norm = ObservationNorm(0.0, 10.0, in_keys=["observation"])
        env = TransformedEnv(GymEnv("Hopper-v5"), Compose(DoubleToFloat(), norm, AdversarialObs(vertex)))
        data = env.rollout(5)
        moved = (data["observation"] - data["clean_observation"]).abs()
        torch.testing.assert_close(moved, torch.full_like(moved, EPS))


def test_other_transforms_around():
    env = TransformedEnv(
        GymEnv("Pendulum-v1"), Compose(StepCounter(), AdversarialObs(vertex), AdversarialAction(vertex))
    )
    data = check(env)
    check_action(env)
    assert data["step_count"].flatten().tolist() == list(range(12))


def test_gradient_attack():
    net = torch.nn.Linear(3, 1)
    env = TransformedEnv(GymEnv("Pendulum-v1"), AdversarialObs(PGD(ActionShift(net), within=LinfBall(EPS))))
    data = check(env)
    assert not data["observation"].requires_grad


def test_identity_writes_both_keys():
    env = TransformedEnv(GymEnv("Pendulum-v1"), Compose(AdversarialObs(Identity()), AdversarialAction(Identity())))
    check_env_specs(env)
    data = env.rollout(3)
    assert torch.equal(data["observation"], data["clean_observation"])
    assert torch.equal(data["action"], data["executed_action"])
