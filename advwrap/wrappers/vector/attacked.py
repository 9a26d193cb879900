"""What the observation and the action wrapper of a vector environment share: when episodes begin."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from gymnasium.vector import AutoresetMode, VectorEnv, VectorWrapper
from numpy.typing import NDArray
from torch import Tensor

from advwrap.attacks import Attack
from advwrap.clock import EpisodeClock
from advwrap.wrappers.injection import Injection

Rows = NDArray[np.bool_]
Seeds = int | Sequence[int | None] | None


class Attacked(VectorWrapper):  # without parameters: generic only since Gymnasium 1.4
    """A vector environment with an attack, and a clock that follows its autoreset mode.

    Row i of ``reset(seed=s)`` draws the numbers that a single environment draws after
    ``reset(seed=s + i)``, episode by episode.

    Args:
        env: The environment.
    """

    _clock: EpisodeClock
    _injection: Injection

    def __init__(self, env: VectorEnv[Any, Any, Any]) -> None:
        if not isinstance(env, VectorEnv):
            raise TypeError(
                f"`env` must be a gymnasium.vector.VectorEnv, got {env}. Fix: advwrap."
                f"{type(self).__name__}(env, attack=...) chooses the wrapper by the kind of "
                "environment."
            )
        super().__init__(env)
        if "autoreset_mode" not in env.metadata:
            warnings.warn(
                f"{env} does not say how it resets; it is taken to be NEXT_STEP. "
                'Fix: env.metadata["autoreset_mode"] = gymnasium.vector.AutoresetMode.NEXT_STEP.',
                stacklevel=3,
            )
        self._mode = AutoresetMode(env.metadata.get("autoreset_mode", AutoresetMode.NEXT_STEP))
        # Rows that the coming step only resets, in mode NEXT_STEP.
        self._resetting: Rows = np.zeros(env.num_envs, dtype=np.bool_)

    @property
    def attack(self) -> Attack:
        """The attack; may be replaced at any time."""
        return self._injection.attack

    @attack.setter
    def attack(self, attack: Attack) -> None:
        self._injection.attack = attack

    def _begin(self, seed: Seeds, rows: Rows | None) -> None:
        """The clock of a reset of all rows, or of some: a seed starts anew, no seed goes on."""
        everywhere = slice(None) if rows is None else rows
        self._resetting[everywhere] = False
        if isinstance(seed, (int, np.integer)):
            seed = [int(seed) + row for row in range(self.num_envs)]
        if seed is None:
            self._clock.start(everywhere)
            return
        if rows is None and None not in seed:
            self._clock.seed(seed)  # type: ignore[arg-type]
            return
        given = np.array([s is not None for s in seed]) & (True if rows is None else rows)
        fresh = ~given if rows is None else rows & ~given
        if fresh.any():
            self._clock.start(fresh)
        seeds = dict(enumerate(seed))
        self._clock.seed_rows({row: s for row, s in seeds.items() if s is not None and given[row]})

    def _follow(self, terminations: Any, truncations: Any) -> None:
        """The clock of a step: which rows begin an episode with the observation that it returned."""
        if self._mode is AutoresetMode.DISABLED:
            return
        ended = np.asarray(terminations, np.bool_) | np.asarray(truncations, np.bool_)
        starting = ended if self._mode is AutoresetMode.SAME_STEP else self._resetting
        self._resetting = ended & (self._mode is AutoresetMode.NEXT_STEP)
        if starting.any():
            self._clock.start(starting)

    def _everyone(self, infos: Mapping[str, Any], **entries: Any) -> dict[str, Any]:
        """The infos with more entries, each of which holds for every row."""
        everyone = {f"_{name}": np.ones(self.num_envs, dtype=np.bool_) for name in entries}
        return {**infos, **entries, **everyone}

    def state_dict(self) -> dict[str, Tensor]:
        """The seeds, episodes and counts: with the state of the environments, enough to continue."""
        return {**self._clock.state_dict(), "resetting": torch.from_numpy(self._resetting.copy())}

    def load_state_dict(self, state: Mapping[str, Tensor]) -> None:
        """Continue from `state_dict`."""
        self._clock.load_state_dict(state)
        self._resetting = state["resetting"].cpu().numpy().copy()


def mask_of(options: dict[str, Any] | None) -> tuple[Rows | None, dict[str, Any] | None]:
    """Which rows a reset is for, and a copy of the options (environments take the mask out)."""
    if not options:
        return None, options
    return options.get("reset_mask"), dict(options)
