"""What every Gymnasium wrapper with an attack owes to the agent and to the environment."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
from gymnasium.utils.env_checker import check_env, data_equivalence

from advwrap.attacks import Attack, Identity, Noise
from advwrap.sets import LinfBall
from advwrap.testing.contracts.rules import global_randomness_untouched, seeds
from advwrap.testing.environments import SIGNAL, SignalEnv


@dataclass
class Step:
    """What an environment returned; a reset has no reward."""

    observation: Any
    reward: float
    terminated: bool
    truncated: bool
    info: dict[str, Any]


def play(env: gym.Env[Any, Any], actions: Sequence[Any], *, seed: int | None) -> list[Step]:
    """A reset and the actions one after the other, with a reset wherever an episode ends."""
    observation, info = env.reset(seed=seed)
    steps = [Step(observation, 0.0, False, False, info)]
    for action in actions:
        if steps[-1].terminated or steps[-1].truncated:
            observation, info = env.reset()
            steps.append(Step(observation, 0.0, False, False, info))
        observation, reward, terminated, truncated, info = env.step(action)
        steps.append(Step(observation, float(reward), terminated, truncated, info))
    return steps


class WrapperContract:
    """What both channels owe; inherit `ObservationWrapperContract` or `ActionWrapperContract` instead."""

    radius: float = 0.1
    """Of the noise that the rules use."""

    def make_env(self) -> gym.Env[Any, Any]:
        """The environment beneath; by default `SignalEnv`, made by `gymnasium.make`."""
        return gym.make(SIGNAL)

    def wrap(self, env: gym.Env[Any, Any], attack: Attack) -> gym.Env[Any, Any]:
        """The wrapper, around `env`, with this attack."""
        raise NotImplementedError("override wrap(env, attack)")

    @seeds
    def test_identity_changes_nothing(self, seed: int) -> None:
        """With `Identity` the agent cannot tell the wrapped environment from the bare one."""
        actions = self._actions(seed)
        bare = play(self.make_env(), actions, seed=seed)
        wrapped = play(self.wrap(self.make_env(), Identity()), actions, seed=seed)
        for a, b in zip(bare, wrapped, strict=True):
            assert data_equivalence(a.observation, b.observation), "the observation must be the bare one."
            same = (a.reward, a.terminated, a.truncated) == (b.reward, b.terminated, b.truncated)
            assert same, "reward and ends must be the bare ones."
            assert a.info.keys() <= b.info.keys(), "no info may be lost."

    @seeds
    def test_seed_decides(self, seed: int) -> None:
        """One seed, one run; the noise goes on without a seed; no other generator is advanced."""
        actions = self._actions(seed)
        envs = [self._noisy() for _ in range(2)]
        with global_randomness_untouched():
            first, second = (play(env, actions, seed=seed) for env in envs)
            again = play(envs[0], actions, seed=seed)
            later = [play(env, actions, seed=None) for env in envs]
        assert self._same(first, second), "one seed must give one run in two environments."
        assert self._same(first, again), "one seed must give one run, whatever happened before."
        assert self._same(*later), "the episodes that follow must be the same as well."
        bare = self.make_env()
        play(bare, actions, seed=seed)
        play(bare, actions, seed=None)
        assert envs[1].unwrapped.np_random.bit_generator.state == bare.unwrapped.np_random.bit_generator.state, (
            "the environment's own generator must not be advanced: clean and attacked runs start from one state."
        )

    def test_check_env_passes(self) -> None:
        """Gymnasium's own checker."""
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            warnings.filterwarnings("ignore", message=".*is different from the unwrapped version")
            check_env(self._noisy(), skip_render_check=True)

    def test_spec_rebuilds_the_environment(self) -> None:
        """`gymnasium.make(env.spec)` is the same environment with the same attack."""
        env = self._noisy()
        assert env.spec is not None, "a wrapped environment must keep its spec."
        actions = [env.action_space.sample() for _ in range(3)]
        rebuilt = gym.make(env.spec)
        assert self._same(play(env, actions, seed=1), play(rebuilt, actions, seed=1)), "the spec must rebuild it."

    @seeds
    def test_returned_data_are_the_agents(self, seed: int) -> None:
        """Writing to what was returned changes nothing that comes later, nor what came before."""
        actions = self._actions(seed)
        careful, careless = self._noisy(), self._noisy()
        expected = play(careful, actions, seed=seed)
        observation, info = careless.reset(seed=seed)
        for action, step in zip(actions, expected[1:], strict=False):
            if not isinstance(step.info, dict) or step.terminated or step.truncated:
                break
            np.asarray(observation)[...] = 1e6
            for value in info.values():
                if isinstance(value, np.ndarray) and value.flags.writeable:
                    value[...] = 1e6
            observation, *_, info = careless.step(action)
            assert data_equivalence(observation, step.observation), "returned arrays must not be read again."

    # What the rules use

    def _noisy(self) -> gym.Env[Any, Any]:
        return self.wrap(self.make_env(), Noise(LinfBall(self.radius)))

    def _actions(self, seed: int) -> list[Any]:
        """For a little more than an episode of `SignalEnv`."""
        space = self.make_env().action_space
        space.seed(seed)
        return [space.sample() for _ in range(8)]

    def _same(self, a: list[Step], b: list[Step]) -> bool:
        return all(
            data_equivalence(x.observation, y.observation)
            and (x.reward, x.terminated, x.truncated) == (y.reward, y.terminated, y.truncated)
            and data_equivalence(x.info, y.info)
            for x, y in zip(a, b, strict=True)
        )


class ObservationWrapperContract(WrapperContract):
    """Inherit it in a test class named ``Test...`` and override `wrap`: for attacked observations.

    Example:
        >>> from advwrap import AdversarialObs
        >>> class TestMyWrapper(ObservationWrapperContract):
        ...     def wrap(self, env, attack):
        ...         return AdversarialObs(env, attack)
        >>> TestMyWrapper().test_spec_rebuilds_the_environment()
    """

    @seeds
    def test_only_the_observation_changes(self, seed: int) -> None:
        """With the same actions the environment runs as if nobody attacked, and the truth is in the info."""
        actions = self._actions(seed)
        bare, wrapped = play(self.make_env(), actions, seed=seed), play(self._noisy(), actions, seed=seed)
        for a, b in zip(bare, wrapped, strict=True):
            assert (a.reward, a.terminated, a.truncated) == (b.reward, b.terminated, b.truncated), (
                "an attack on the observation must leave reward and ends alone."
            )
            truth = b.info["clean_observation"]
            assert data_equivalence(a.observation, truth), "info['clean_observation'] must be the true one."
            seen = b.observation
            assert seen.dtype == truth.dtype, f"the dtype must stay {truth.dtype}, got {seen.dtype}."
            moved = np.abs(seen.astype(np.float64) - truth.astype(np.float64))
            assert (moved <= self.radius).all(), f"the agent must see at most {self.radius} off, got {moved}."
            assert (moved > 0).any(), "the attack must act, from the first observation on."

    def test_seen_observations_are_in_the_space(self) -> None:
        """Also where the true one is at the border of it."""
        edge = gym.spaces.Box(-0.5, 0.5, (3,), np.float32)
        clipped = gym.wrappers.TransformObservation(self.make_env(), lambda seen: np.clip(seen, -0.5, 0.5), edge)
        env = self.wrap(clipped, Noise(LinfBall(0.3)))
        for step in play(env, [env.action_space.sample() for _ in range(8)], seed=0):
            assert step.observation in env.observation_space, "the agent must see members of the space."

    def test_broken_observation_is_refused(self) -> None:
        """NaN from the environment raises at the step where it appears."""

        class Broken(SignalEnv):
            def _observe(self) -> Any:
                return super()._observe() * (np.nan if self.signal.time == 2 else 1.0)

        env = self.wrap(Broken(), Noise(LinfBall(self.radius)))
        env.reset(seed=0)
        env.step(env.action_space.sample())
        with pytest.raises(ValueError, match=r"NaN|nan"):
            env.step(env.action_space.sample())


class ActionWrapperContract(WrapperContract):
    """Inherit it in a test class named ``Test...`` and override `wrap`: for attacked actions.

    Example:
        >>> from advwrap import AdversarialAction
        >>> class TestMyWrapper(ActionWrapperContract):
        ...     def wrap(self, env, attack):
        ...         return AdversarialAction(env, attack)
        >>> TestMyWrapper().test_spec_rebuilds_the_environment()
    """

    @seeds
    def test_the_environment_gets_the_executed_action(self, seed: int) -> None:
        """Replaying ``info["executed_action"]`` without an attack gives the same run."""
        actions = self._actions(seed)
        wrapped = play(self._noisy(), actions, seed=seed)
        taken = [step for step in wrapped if "executed_action" in step.info]
        assert len(taken) == len(actions), "info['executed_action'] must be there at every step."
        for action, step in zip(actions, taken, strict=True):
            assert np.array_equal(step.info["action"], action), "info['action'] must be what the agent chose."
            executed = step.info["executed_action"]
            moved = np.abs(executed.astype(np.float64) - action.astype(np.float64))
            assert (moved <= self.radius).all(), f"the action may move {self.radius}, got {moved}."
            assert (moved > 0).any(), "the attack must act, from the first action on."
            assert executed in self.make_env().action_space, "the executed action must be in the space."
        replayed = play(self.make_env(), [step.info["executed_action"] for step in taken], seed=seed)
        for a, b in zip(replayed, wrapped, strict=True):
            assert data_equivalence(a.observation, b.observation), "the environment must get the executed action."
            assert a.reward == b.reward, "the reward must be that of the executed action."

    def test_broken_action_is_refused(self) -> None:
        """NaN from the agent raises before the environment is touched."""
        env = self._noisy()
        env.reset(seed=0)
        with pytest.raises(ValueError, match=r"NaN|nan"):
            env.step(np.full_like(env.action_space.sample(), np.nan))
