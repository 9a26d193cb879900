"""What every wrapper of a Gymnasium vector environment owes: row by row what the single one does."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import gymnasium as gym
import numpy as np
from gymnasium.vector import AutoresetMode, VectorEnv
from gymnasium.vector.utils import batch_space

from advwrap.attacks import Attack
from advwrap.testing.contracts.any_wrapper import AnyWrapperContract
from advwrap.testing.contracts.channels import ActionRules, ObservationRules, RowRules
from advwrap.testing.contracts.histories import Commands, History, in_rows
from advwrap.testing.environments import SignalEnv, signal_vector

HORIZONS = [2, 4, 3]
"""The rows of the default environment do not end together."""


class VectorContract(AnyWrapperContract):
    """What both channels owe; inherit `ObservationVectorContract` or `ActionVectorContract` instead."""

    modes: Sequence[AutoresetMode] = tuple(AutoresetMode)
    """In which the wrapper works; every rule is tried in each of them."""

    def make_env(self, autoreset: AutoresetMode) -> VectorEnv[Any, Any, Any]:
        """The environment beneath, in this mode; by default three rows of `SignalEnv` that do not end together."""
        return signal_vector(len(HORIZONS), horizon=HORIZONS, autoreset=autoreset)

    def make_single(self, row: int) -> gym.Env[Any, Any] | None:
        """The environment of one row, as a Gymnasium environment; None if it cannot be had."""
        return SignalEnv(horizon=HORIZONS[row])

    def wrap(self, env: VectorEnv[Any, Any, Any], attack: Attack) -> VectorEnv[Any, Any, Any]:
        """The wrapper, around `env`, with this attack."""
        raise NotImplementedError("override wrap(env, attack)")

    def test_batched_spaces_fit(self) -> None:
        """The space of all rows is that of one row, so often as there are rows."""
        for make in self._worlds():
            env = self._attacked(make)
            for name in ("action_space", "observation_space"):
                one, whole = getattr(env, f"single_{name}"), getattr(env, name)
                assert whole == batch_space(one, env.num_envs), (
                    f"{name} must be {env.num_envs} times {one}, got {whole}."
                )

    def _worlds(self) -> Sequence[Callable[[], Any]]:
        return [partial(self.make_env, mode) for mode in self.modes]

    def _play(self, env: Any, commands: Commands, seed: int | None) -> list[History]:
        return in_rows(env, commands, seed)

    def _spaces(self, env: Any) -> dict[str, list[Any]]:
        one = {"action": env.single_action_space, "observation": env.single_observation_space}
        return {name: [space] * env.num_envs for name, space in one.items()}

    def _generators(self, env: Any) -> Sequence[np.random.Generator]:
        """Of the rows, where they are environments in this process."""
        return [row.unwrapped.np_random for row in getattr(env.unwrapped, "envs", ())]


class ObservationVectorContract(ObservationRules, VectorContract, RowRules):
    """Inherit it in a test class named ``Test...`` and override `wrap`: for attacked observations.

    Example:
        >>> from advwrap import AdversarialObs
        >>> class TestMyWrapper(ObservationVectorContract):
        ...     def wrap(self, env, attack):
        ...         return AdversarialObs(env, attack)
        >>> TestMyWrapper().test_memory_begins_anew()
    """


class ActionVectorContract(ActionRules, VectorContract, RowRules):
    """Inherit it in a test class named ``Test...`` and override `wrap`: for attacked actions.

    Example:
        >>> from advwrap import AdversarialAction
        >>> class TestMyWrapper(ActionVectorContract):
        ...     def wrap(self, env, attack):
        ...         return AdversarialAction(env, attack)
        >>> TestMyWrapper().test_memory_begins_anew()
    """
