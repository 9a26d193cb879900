"""What the observation and the action wrapper of a Gymnasium environment share."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import gymnasium
from gymnasium.utils import RecordConstructorArgs
from torch import Tensor

from advwrap.attacks import Attack
from advwrap.clock import EpisodeClock
from advwrap.wrappers.injection import Injection
from advwrap.wrappers.stack import LiveArguments
from advwrap.wrappers.workers import Process


class Attacked(gymnasium.Wrapper[Any, Any, Any, Any], RecordConstructorArgs):
    """An environment with an attack, a clock and a spec that rebuilds it with the same attack.

    Args:
        env: The environment.
        arguments: What the constructor of the subclass got besides it.
    """

    _clock: EpisodeClock
    _injection: Injection

    def __init__(self, env: gymnasium.Env[Any, Any], **arguments: Any) -> None:
        if not isinstance(env, gymnasium.Env):
            raise TypeError(
                f"`env` must be a gymnasium.Env, got {env}. Fix: advwrap.{type(self).__name__}("
                "env, attack=...) chooses the wrapper by the kind of environment."
            )
        RecordConstructorArgs.__init__(self, _disable_deepcopy=True, **arguments)
        self._saved_kwargs = LiveArguments(self._saved_kwargs)
        gymnasium.Wrapper.__init__(self, env)
        self._process = Process(arguments["attack"])

    @property
    def attack(self) -> Attack:
        """The attack; may be replaced at any time."""
        return self._injection.attack

    @attack.setter
    def attack(self, attack: Attack) -> None:
        self._injection.attack = attack
        self._cached_spec = None
        if "attack" in self._saved_kwargs:  # a subclass may have other arguments
            self._saved_kwargs = LiveArguments(self._saved_kwargs, attack=attack)

    def _begin(self, seed: int | None) -> None:
        """The clock of a reset."""
        self._process.check(self.attack)
        if seed is None:
            self._clock.start()
        else:
            self._clock.seed([seed])

    def state_dict(self) -> dict[str, Tensor]:
        """The seed, the episode and the counts: with the state of the environment, enough to continue."""
        return self._clock.state_dict()

    def load_state_dict(self, state: Mapping[str, Tensor]) -> None:
        """Continue from `state_dict`."""
        self._clock.load_state_dict(state)
