"""What a contract says about its framework, so that the rules of all frameworks are written once."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from advwrap.attacks import Attack, Noise
from advwrap.sets import LinfBall
from advwrap.testing.contracts.histories import Commands, History, same_history


class Played:
    """An environment, an attack on it, and how they are played."""

    radius: float = 0.1
    """How far the attack may move a number; `math.inf` for one that knows no ball."""

    active: float = 1.0
    """In which share of the steps the attack changes something, at least."""

    random: bool = True
    """Whether the attack draws: two agents with the same commands then get different perturbations."""

    row_tolerance: float = 0.0
    """How far a row may be from what it is alone, for victims whose numbers depend on the batch size."""

    def make_attack(self) -> Attack:
        """The attack that the rules use; uniform noise by default."""
        return Noise(LinfBall(self.radius))

    # What a framework says

    def _worlds(self) -> Sequence[Callable[[], Any]]:
        """Makers of the environments beneath: each rule tries all of them."""
        raise NotImplementedError

    def _around(self, env: Any, attack: Attack) -> Any:
        """An environment with the attack."""
        raise NotImplementedError

    def _play(self, env: Any, commands: Commands, seed: int | None) -> list[History]:
        """A reset and the commands, with a reset wherever an episode ends; one history per row or agent."""
        raise NotImplementedError

    def _spaces(self, env: Any) -> dict[str, list[Any]]:
        """The spaces of each row or agent, under "action" and "observation"."""
        raise NotImplementedError

    # What the rules use

    def _attacked(self, make: Callable[[], Any]) -> Any:
        return self._around(make(), self.make_attack())

    def _commands(self, env: Any, seed: int) -> Commands:
        """For a little more than an episode of `SignalEnv`."""
        chosen = []
        for row, space in enumerate(self._spaces(env)["action"]):
            space.seed(seed + row)
            chosen.append([space.sample() for _ in range(6)])
        return chosen

    def _check_same(self, one: Sequence[History], other: Sequence[History], message: str) -> None:
        for a, b in zip(one, other, strict=True):
            assert same_history(a, b), f"{a.who}: {message}"

    def _are_numbers(self, commands: Commands) -> bool:
        """Whether they can be moved in a ball and be NaN, which indices cannot."""
        return np.asarray(commands[0][0]).dtype.kind == "f"

    def _broken(self, commands: Commands) -> Commands:
        """The same, but the second command of the last agent is NaN."""
        first, second, *others = commands[-1]
        return [*commands[:-1], [first, np.full_like(second, np.nan), *others]]
