"""Saved, copied and moved transforms: what continues, and what has a life of its own."""

import copy
import io
import pickle

import pytest
import torch
from torch import nn
from torchrl.envs import Compose, GymEnv, ParallelEnv, SerialEnv, StepCounter, TransformedEnv

from advwrap import PGD, ActionShift, AtMost, Gated, LinfBall, Noise
from advwrap.testing.environments import SignalTorchRLEnv
from advwrap.transforms import AdversarialAction, AdversarialObs

noise = Noise(LinfBall(0.25))


def env(rows=2, attack=noise):
    base = SignalTorchRLEnv(rows=rows, horizon=100)
    return TransformedEnv(base, Compose(StepCounter(), AdversarialObs(attack), AdversarialAction(noise)))


def steps(env, data, n=3):
    out = []
    for _ in range(n):
        data["action"] = torch.zeros(*env.batch_size, 2)
        data = env.step(data)
        out += [data["next", "observation"] - data["next", "clean_observation"], data["executed_action"]]
        data = env.step_mdp(data)
    return torch.cat(out, -1), data


def close(a, b):
    torch.testing.assert_close(a, b, atol=1e-6, rtol=0)


class TestState:
    def test_in_the_middle_of_an_episode(self):
        one, other = env(), env()
        one.set_seed(0)
        _, data = steps(one, one.reset())
        saved = copy.deepcopy(one.state_dict())
        expected, _ = steps(one, data.clone())
        other.reset()
        other.load_state_dict(saved)
        continued, _ = steps(other, data.clone())
        close(continued, expected)

    def test_into_an_environment_that_was_never_reset(self):
        one, other = env(), env()
        one.set_seed(0)
        _, data = steps(one, one.reset())
        other.load_state_dict(one.state_dict())
        assert other.state_dict().keys() == one.state_dict().keys()
        other.base_env.reset()
        close(steps(other, data.clone())[0], steps(one, data.clone())[0])

    def test_budgets_continue(self):
        attack = Gated(noise, AtMost(2))
        one, other = env(attack=attack), env(attack=attack)
        _, data = steps(one, one.reset(), 1)
        other.reset()
        other.load_state_dict(one.state_dict())
        moved, _ = steps(other, data, 3)
        assert (moved[:, :3] == 0).all()  # the reset and the first step spent it

    def test_before_the_first_reset(self):
        one, other = env(), env()
        one.set_seed(3)
        other.load_state_dict(one.state_dict())
        one.base_env.set_seed(0)
        other.base_env.set_seed(0)
        close(one.reset()["observation"], other.reset()["observation"])

    def test_a_seed_given_later_wins(self):
        one, other = env(), env()
        one.set_seed(0)
        steps(one, one.reset())
        other.load_state_dict(one.state_dict())
        for e in (one, other):
            e.set_seed(7)
        close(steps(one, one.reset())[0], steps(other, other.reset())[0])

    def test_only_tensors_and_readable_without_code(self):
        one = env()
        one.rollout(2)
        saved = one.state_dict()
        assert all(isinstance(value, torch.Tensor) for value in saved.values())
        buffer = io.BytesIO()
        torch.save(saved, buffer)
        buffer.seek(0)
        env().load_state_dict(torch.load(buffer, weights_only=True))

    def test_another_number_of_rows_is_an_error(self):
        one, other = env(2), env(3)
        one.reset()
        other.load_state_dict(one.state_dict())
        with pytest.raises(ValueError, match=r"must have shape.*Fix: load into an environment with as many rows"):
            other.reset()

    def test_a_missing_state_is_an_error(self):
        one = env()
        saved = {key: value for key, value in one.state_dict().items() if "seed" not in key}
        with pytest.raises(RuntimeError, match="Missing key"):
            env().load_state_dict(saved)

    def test_serial_envs(self):
        def make():
            return TransformedEnv(SignalTorchRLEnv(horizon=100), AdversarialObs(noise))

        one, other = SerialEnv(2, make), SerialEnv(2, make)
        one.set_seed(0)
        other.set_seed(9)
        one.reset()
        other.reset()
        other.load_state_dict(one.state_dict())
        a, b = (e.rollout(3, auto_reset=False, tensordict=e.reset()) for e in (one, other))
        close(a["observation"] - a["clean_observation"], b["observation"] - b["clean_observation"])

    @pytest.mark.slow
    def test_parallel_envs(self):
        one = ParallelEnv(2, attacked_pendulum)
        one.set_seed(0)
        one.reset()
        saved = one.state_dict()
        assert any("clock" in key for key in saved["worker0"])
        one.load_state_dict(saved)
        one.close()


def attacked_pendulum():
    return TransformedEnv(GymEnv("Pendulum-v1"), AdversarialObs(noise))


class TestCopies:
    def test_a_clone_shares_the_attack_but_not_the_clock(self):
        one = env()
        one.set_seed(0)
        one.reset()
        transform = one.transform[1]
        twin = transform.clone()
        assert twin.attack is transform.attack
        assert twin.container is None
        before = transform.state_dict()
        other = TransformedEnv(SignalTorchRLEnv(rows=2), twin)
        other.set_seed(5)
        other.rollout(3)
        assert all(torch.equal(value, before[key]) for key, value in transform.state_dict().items())

    def test_appending_to_a_transformed_env_keeps_the_seed(self):
        first = TransformedEnv(SignalTorchRLEnv(rows=2), AdversarialObs(noise))
        first.set_seed(4)
        expected = first.reset()
        first = TransformedEnv(SignalTorchRLEnv(rows=2), AdversarialObs(noise))
        first.set_seed(4)
        second = TransformedEnv(first, StepCounter(), auto_unwrap=True)
        assert torch.equal(second.reset()["observation"], expected["observation"])
        second.set_seed(4)
        assert torch.equal(second.reset()["observation"], expected["observation"])

    def test_set_seed_through_nested_environments(self):
        inner = TransformedEnv(SignalTorchRLEnv(rows=2), AdversarialObs(noise))
        outer = TransformedEnv(inner, StepCounter(), auto_unwrap=False)
        outer.set_seed(4)
        expected = outer.reset()["observation"]
        outer.set_seed(4)
        assert torch.equal(outer.reset()["observation"], expected)

    @pytest.mark.parametrize("copied", [copy.deepcopy, lambda e: pickle.loads(pickle.dumps(e))])  # noqa: S301
    def test_a_copied_environment_goes_its_own_way(self, copied):
        net = nn.Linear(3, 2)
        one = env(attack=PGD(ActionShift(net), within=LinfBall(0.25)))
        one.set_seed(0)
        _, data = steps(one, one.reset())
        twin = copied(one)
        expected, _ = steps(one, data.clone())
        close(steps(twin, data.clone())[0], expected)
        twin.set_seed(1)
        assert twin.transform[1].container is twin
        assert int(one.state_dict()["transforms.1.seed"]) == 0
        assert int(twin.state_dict()["transforms.1.seed"]) == 1

    def test_set_seed_returns_what_torchrl_returns(self):
        assert env().set_seed(3) == SignalTorchRLEnv(rows=2).set_seed(3)
        assert env().set_seed(3, static_seed=True) == 3


def test_moving_an_environment():
    one = env()
    one.set_seed(0)
    one.reset()
    moved = one.to("cpu")
    assert moved.rollout(2).shape == (2, 2)
