"""What every Gymnasium wrapper with an attack owes to the agent and to the environment."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from typing import Any

import gymnasium as gym
import numpy as np
from gymnasium.utils.env_checker import check_env

from advwrap.attacks import Attack
from advwrap.testing.contracts.any_wrapper import AnyWrapperContract
from advwrap.testing.contracts.channels import ActionRules, ObservationRules
from advwrap.testing.contracts.histories import Commands, History, alone
from advwrap.testing.environments import SIGNAL


class WrapperContract(AnyWrapperContract):
    """What both channels owe; inherit `ObservationWrapperContract` or `ActionWrapperContract` instead."""

    def make_env(self) -> gym.Env[Any, Any]:
        """The environment beneath; by default `SignalEnv`, made by `gymnasium.make`."""
        return gym.make(SIGNAL)

    def wrap(self, env: gym.Env[Any, Any], attack: Attack) -> gym.Env[Any, Any]:
        """The wrapper, around `env`, with this attack."""
        raise NotImplementedError("override wrap(env, attack)")

    def test_check_env_passes(self) -> None:
        """Gymnasium's own checker."""
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            warnings.filterwarnings("ignore", message=".*is different from the unwrapped version")
            check_env(self._attacked(self.make_env), skip_render_check=True)

    def test_spec_rebuilds_the_environment(self) -> None:
        """`gymnasium.make(env.spec)` is the same environment with the same attack."""
        env = self._attacked(self.make_env)
        assert env.spec is not None, "a wrapped environment must keep its spec."
        commands = self._commands(env, 1)
        rebuilt = gym.make(env.spec)
        self._check_same(self._play(env, commands, 1), self._play(rebuilt, commands, 1), "the spec must rebuild it.")

    def _worlds(self) -> Sequence[Callable[[], Any]]:
        return [self.make_env]

    def _play(self, env: Any, commands: Commands, seed: int | None) -> list[History]:
        return alone(env, commands, seed)

    def _spaces(self, env: Any) -> dict[str, list[Any]]:
        return {"action": [env.action_space], "observation": [env.observation_space]}

    def _generators(self, env: Any) -> Sequence[np.random.Generator]:
        return [env.unwrapped.np_random]


class ObservationWrapperContract(ObservationRules, WrapperContract):
    """Inherit it in a test class named ``Test...`` and override `wrap`: for attacked observations.

    Example:
        >>> from advwrap import AdversarialObs
        >>> class TestMyWrapper(ObservationWrapperContract):
        ...     def wrap(self, env, attack):
        ...         return AdversarialObs(env, attack)
        >>> TestMyWrapper().test_spec_rebuilds_the_environment()
    """


class ActionWrapperContract(ActionRules, WrapperContract):
    """Inherit it in a test class named ``Test...`` and override `wrap`: for attacked actions.

    Example:
        >>> from advwrap import AdversarialAction
        >>> class TestMyWrapper(ActionWrapperContract):
        ...     def wrap(self, env, attack):
        ...         return AdversarialAction(env, attack)
        >>> TestMyWrapper().test_spec_rebuilds_the_environment()
    """
