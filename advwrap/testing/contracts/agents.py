"""What every wrapper of a PettingZoo environment owes: each agent has its own numbers and its own memory."""

from __future__ import annotations

import contextlib
import io
import warnings
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import gymnasium as gym
import numpy as np

from advwrap.testing.contracts.any_wrapper import AnyWrapperContract
from advwrap.testing.contracts.channels import ActionRules, ObservationRules, RowRules
from advwrap.testing.contracts.histories import Commands, History, in_turns, together
from advwrap.testing.environments import SignalEnv


class PettingZooContract(AnyWrapperContract):
    """What parallel and AEC environments share."""

    def make_env(self) -> Any:
        """The environment beneath."""
        raise NotImplementedError

    def make_single(self, row: int) -> gym.Env[Any, Any] | None:
        """What agent 0 would have for itself, as a Gymnasium environment; the other agents have none."""
        return SignalEnv() if row == 0 else None

    def _worlds(self) -> Sequence[Callable[[], Any]]:
        return [self.make_env]

    def _spaces(self, env: Any) -> dict[str, list[Any]]:
        kinds = {"action": env.action_space, "observation": env.observation_space}
        return {name: [space_of(agent) for agent in env.possible_agents] for name, space_of in kinds.items()}

    def _generators(self, env: Any) -> Sequence[np.random.Generator]:
        """The one that PettingZoo's environments keep by custom."""
        return [own] if isinstance(own := getattr(env.unwrapped, "np_random", None), np.random.Generator) else []


@contextlib.contextmanager
def _quietly() -> Iterator[None]:
    """PettingZoo's checkers print what they check, and importing them warns of their own classes."""
    with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
        warnings.simplefilter("ignore")
        yield


class ParallelContract(PettingZooContract):
    """What both channels owe; inherit `ObservationParallelContract` or `ActionParallelContract` instead."""

    def make_env(self) -> Any:
        """The environment beneath; by default three agents of `SignalParallelEnv`, the last of which leaves early."""
        from advwrap.testing.environments import SignalParallelEnv

        return SignalParallelEnv(3, leaves=3)

    def test_parallel_api_passes(self) -> None:
        """PettingZoo's own checker."""
        with _quietly():
            from pettingzoo.test import parallel_api_test

            parallel_api_test(self._attacked(self.make_env), num_cycles=10)

    def _play(self, env: Any, commands: Commands, seed: int | None) -> list[History]:
        return together(env, commands, seed)


class AECContract(PettingZooContract):
    """What both channels owe; inherit `ObservationAECContract` or `ActionAECContract` instead."""

    def make_env(self) -> Any:
        """The environment beneath; by default three agents of `signal_aec`, the last of which leaves early."""
        from advwrap.testing.environments import signal_aec

        return signal_aec(3, leaves=3)

    def test_api_passes(self) -> None:
        """PettingZoo's own checker."""
        with _quietly():
            from pettingzoo.test import api_test

            api_test(self._attacked(self.make_env), num_cycles=10)

    def _play(self, env: Any, commands: Commands, seed: int | None) -> list[History]:
        return in_turns(env, commands, seed)


class ObservationParallelContract(ObservationRules, ParallelContract, RowRules):
    """Inherit it in a test class named ``Test...`` and override `wrap`: for attacked observations.

    Example:
        >>> from advwrap import AdversarialObs
        >>> class TestMyWrapper(ObservationParallelContract):
        ...     def wrap(self, env, attack):
        ...         return AdversarialObs(env, attack)
        >>> TestMyWrapper().test_memory_begins_anew()
    """


class ActionParallelContract(ActionRules, ParallelContract, RowRules):
    """Inherit it in a test class named ``Test...`` and override `wrap`: for attacked actions.

    Example:
        >>> from advwrap import AdversarialAction
        >>> class TestMyWrapper(ActionParallelContract):
        ...     def wrap(self, env, attack):
        ...         return AdversarialAction(env, attack)
        >>> TestMyWrapper().test_memory_begins_anew()
    """


class ObservationAECContract(ObservationRules, AECContract, RowRules):
    """Inherit it in a test class named ``Test...`` and override `wrap`: for attacked observations.

    Example:
        >>> from advwrap import AdversarialObs
        >>> class TestMyWrapper(ObservationAECContract):
        ...     def wrap(self, env, attack):
        ...         return AdversarialObs(env, attack)
        >>> TestMyWrapper().test_memory_begins_anew()
    """


class ActionAECContract(ActionRules, AECContract, RowRules):
    """Inherit it in a test class named ``Test...`` and override `wrap`: for attacked actions.

    Example:
        >>> from advwrap import AdversarialAction
        >>> class TestMyWrapper(ActionAECContract):
        ...     def wrap(self, env, attack):
        ...         return AdversarialAction(env, attack)
        >>> TestMyWrapper().test_memory_begins_anew()
    """
