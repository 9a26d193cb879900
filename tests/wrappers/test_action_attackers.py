"""Adversaries that share the actuators: what is executed, and that they strike as they were trained."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from gymnasium import spaces
from hypothesis import given
from hypothesis import strategies as st

from advwrap import AdversarialAction, LinfBall
from advwrap.attacks import Push
from advwrap.victims import as_policy
from advwrap.wrappers import ActionAdversary, AttackerKind, NoisyAdversary, ProbabilisticAdversary
from advwrap.wrappers.gymnasium import AttackerEnv
from tests.wrappers.environments import Walk

BALL = LinfBall(0.2)
KINDS = [ActionAdversary(), NoisyAdversary(0.3), ProbabilisticAdversary(0.5)]


def victim(observation: torch.Tensor) -> torch.Tensor:
    return torch.stack([observation[:, 0] - 0.5, 2 * observation[:, 1] - 1.0], 1)


def nu(observation: torch.Tensor) -> torch.Tensor:
    return torch.stack([observation[:, 2] - 0.5, observation[:, 0] * 3 - 1.5], 1)


def own(observation: np.ndarray) -> np.ndarray:
    return victim(torch.from_numpy(observation.copy())[None])[0].numpy()


@given(seed=st.integers(0, 2**32), data=st.data())
@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: type(kind).__name__)
def test_what_is_executed(kind: AttackerKind, seed: int, data: st.DataObject) -> None:
    """The victim sees the truth; its action is pushed, mixed or replaced; the reward is minus that of the task."""
    env, task = kind.around(Walk(length=4), as_policy(victim), within=BALL, stochastic=False), Walk(length=4)
    observation, _ = env.reset(seed=seed)
    np.testing.assert_array_equal(observation, task.reset(seed=seed)[0])
    floats = st.lists(st.floats(-2, 2, width=32), min_size=2, max_size=2)
    for _ in range(3):
        command, clean = np.float32(data.draw(floats)), observation.copy()
        intended, clipped = own(clean), command.clip(-1, 1)
        observation, reward, *_, info = env.step(command)
        executed = info["victim_action"]
        np.testing.assert_array_equal(info["victim_observation"], clean)
        expected = {
            "ActionAdversary": [(intended + 0.2 * clipped).clip(-1, 1)],
            "NoisyAdversary": [0.7 * intended + 0.3 * clipped],
            "ProbabilisticAdversary": [intended, clipped],
        }[type(kind).__name__]
        assert any(np.allclose(executed, action, atol=1e-6) for action in expected)
        other, of_the_task, *_ = task.step(executed)
        np.testing.assert_array_equal(observation, other)
        assert reward == -of_the_task


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: type(kind).__name__)
def test_an_adversary_meets_in_evaluation_what_it_was_trained_in(kind: AttackerKind) -> None:
    """The same trajectory under `AdversarialAction`, the dice of PR-MDP included."""
    inside = kind.around(Walk(length=30), as_policy(victim), within=BALL, stochastic=False)
    outside = AdversarialAction(Walk(length=30), kind.attack(nu, as_policy(victim), within=BALL))
    for seed in (3, None):  # two episodes
        clean, _ = inside.reset(seed=seed)
        seen, _ = outside.reset(seed=seed)
        over, overruled = False, []
        while not over:
            np.testing.assert_array_equal(clean, seen)
            intended = own(seen)
            command = nu(torch.from_numpy(clean.copy())[None])[0].numpy()
            clean, reward, _, over, inner = inside.step(command)
            seen, victims_reward, *_, info = outside.step(intended)
            np.testing.assert_array_equal(inner["victim_action"], info["executed_action"])
            assert reward == -victims_reward
            overruled.append(not np.array_equal(info["executed_action"], intended))
        share = np.mean(overruled)
        assert (0.2 < share < 0.8) if isinstance(kind, ProbabilisticAdversary) else share == 1.0


def test_a_victim_outside_its_box_is_attacked_where_the_task_puts_it() -> None:
    """PPO's mean may be 5 where the limit is 1: a push down from 5 would change nothing."""
    far = as_policy(lambda observation: torch.full((len(observation), 2), 5.0))
    env = ActionAdversary().around(Walk(length=4), far, within=BALL, stochastic=False)
    env.reset(seed=0)
    executed = env.step(np.array([-1.0, 1.0], np.float32))[-1]["victim_action"]
    np.testing.assert_allclose(executed, [0.8, 1.0], atol=1e-6)


def test_unknown_channels() -> None:
    with pytest.raises(ValueError, match="`channel` must be one of observation, action"):
        AttackerEnv(Walk(), victim, attack=Push(within=BALL), commands=spaces.Box(-1, 1, (2,)), channel="reward")  # type: ignore[arg-type]
