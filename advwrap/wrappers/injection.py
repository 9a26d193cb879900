"""One attack call of an environment: NumPy rows in, NumPy rows out, counted by the clock."""

from __future__ import annotations

from collections.abc import Mapping
from math import isfinite
from typing import Any

import numpy as np
import torch
from gymnasium import spaces
from numpy.typing import NDArray
from torch import Tensor

from advwrap.attacks import Attack
from advwrap.attacks.copies import memory
from advwrap.clock import EpisodeClock
from advwrap.past import Past
from advwrap.sets import UNBOUNDED, Bounds, where_allowed
from advwrap.victims.context import CLEAN_ACTION, FIRST_ACTION
from advwrap.wrappers.entry import AnySpace
from advwrap.wrappers.limits import arrays_of
from advwrap.wrappers.parts import check_reaches_indices, check_reaches_integers

Array = NDArray[Any]
Surroundings = Mapping[Any, Tensor]
"""What else the attack may read, one row per attacked row."""

_CPU = torch.device("cpu")


class Injection:
    """Attacks rows of one space with the randomness and the counts of a clock.

    Floats are attacked in their own dtype. Integers of a Box are attacked as floats and then
    truncated towards the clean value, so that they stay in the set. Discrete values are indices.

    Args:
        attack: What to do.
        space: Where one row lives: a Box, Discrete, MultiDiscrete or MultiBinary.
        clock: Whose rows these are.
        bounds: The valid range.
        device: Where the attack computes.
        what: The name of the rows in error messages.
        acts: Whether the rows are actions. Of numbers that are outside the bounds, what is attacked is what the task
            makes of them, the nearest valid ones, since a perturbation beyond the limit would be lost there. Attacks
            within an `ActionSet` choose among the indices that an "action_mask" beside the rows allows; where another
            attack chooses a forbidden one, nothing is changed.
    """

    def __init__(
        self,
        attack: Attack,
        *,
        space: AnySpace,
        clock: EpisodeClock,
        bounds: Bounds = UNBOUNDED,
        device: torch.device | str = _CPU,
        what: str = "observation",
        acts: bool = False,
    ) -> None:
        self.space = space
        self.clock = clock
        self.bounds = bounds
        self.device = torch.device(device)
        self.what = what
        self._acts = acts
        self._float = space.dtype is not None and space.dtype.kind == "f"
        self._working = _working_dtype(space)
        self._lowest, self._end = _indices(space)
        self._first = int(self._lowest) if isinstance(space, spaces.Discrete) else None
        self._shape = self.space.shape or ()
        self._limits: tuple[Array, Array] | None = None
        if acts and isinstance(space, spaces.Box) and not bounds.unbounded:
            self._limits = arrays_of(bounds, space)
        self._moves = self.device != _CPU
        self.attack = attack

    @property
    def attack(self) -> Attack:
        """What is done to the rows; may be replaced at any time."""
        return self._attack

    @attack.setter
    def attack(self, attack: Attack) -> None:
        if isinstance(attack, type) or not callable(attack):
            raise TypeError(
                f"`attack` must be an attack, got {attack!r}. Fix: attack=Noise(LinfBall(0.1)), or Identity() for none."
            )
        if not isinstance(self.space, spaces.Box):
            check_reaches_indices(attack, self.space, self.what)
        elif not self._float:
            check_reaches_integers(attack)
        self._attack = attack
        self._memory = memory(attack)
        self._on_rows = None if self._moves else getattr(attack, "on_rows", None)

    def rows(self, value: Any, count: int | None = None) -> Array:
        """Our own copy of a value of the space (or of so many), in a dtype of its kind.

        Raises:
            ValueError: If it is an action of another shape.
        """
        own = np.array(value)
        shape = self._shape if count is None else (count, *self._shape)
        if self._acts and own.shape != shape:
            raise ValueError(f"the {self.what} must have shape {shape}, got {own.shape}.")
        right = own.dtype.kind == "f" if self._float else own.dtype.kind in "iu"
        return own if right else own.astype(self.space.dtype)

    def __call__(self, clean: Array, known: Surroundings | None = None, who: Array | None = None) -> Array:
        """Attack rows and count it.

        Args:
            clean: The true rows, [B, ...].
            known: What else the attack may read.
            who: Which streams of the clock the rows are (indices); all of them by default.
        """
        perturbed = self.perturb(clean, known, who)
        self.remember(clean, perturbed, who)
        if len(clean) == 1:
            changed = np.array([perturbed.tobytes() != clean.tobytes()])
        else:
            changed = (perturbed != clean).reshape(len(clean), -1).any(1)
        if who is None:
            self.clock.record(changed)
        else:
            self.count(changed, who)
        return perturbed

    def remember(self, clean: Array, perturbed: Array, who: Array | None = None) -> None:
        """Keep what was carried, if the attack looks back."""
        if self._memory:
            carried = self._valid(clean), self._valid(perturbed)
            self._past(clean).push(*carried, slice(None) if who is None else who)

    def count(self, changed: Array, who: Array) -> None:
        """Count an attack call on some streams of the clock."""
        attacked, acted = np.zeros((2, len(self.clock.agent)), dtype=np.bool_)
        attacked[who], acted[who] = changed, True
        self.clock.record(attacked, acted)

    def perturb(self, clean: Array, known: Surroundings | None = None, who: Array | None = None) -> Array:
        """What the attack makes of the rows; nothing is counted."""
        valid = self._valid(clean)
        result = self._attacked(valid, known, who)
        if valid is clean or valid.tobytes() == clean.tobytes():
            return result
        left_alone = (result == valid).reshape(len(clean), -1).all(1)
        return np.where(left_alone.reshape(-1, *[1] * (clean.ndim - 1)), clean, result)

    def _valid(self, rows: Array) -> Array:
        """What the task makes of rows that are outside the limits."""
        return rows if self._limits is None else rows.clip(*self._limits)

    def _attacked(self, clean: Array, known: Surroundings | None, who: Array | None) -> Array:
        working = clean if self._working is None else clean.astype(self._working)
        finite = isfinite(np.vdot(working, working))
        if not finite and np.isnan(working).any():
            raise ValueError(self._nan(clean))
        result = None
        if self._on_rows is not None and finite:
            result = self._on_rows(working, self.bounds, self.clock.streams(who))
        if result is None:
            result = self._on_tensors(working, known, who)
        if self._working is not None:
            result = self._integers(clean, result, working)
        mask = known.get("action_mask") if self._first is not None and known else None
        return result if mask is None else self._allowed(clean, result, mask)

    def _on_tensors(self, working: Array, known: Surroundings | None, who: Array | None) -> Array:
        rows = torch.from_numpy(working)
        context = self.clock.context(who)
        if known:
            context = {**known, **context}
        if self._acts:
            context[CLEAN_ACTION] = rows
        if self._first is not None:
            context[FIRST_ACTION] = torch.full((len(rows),), self._first)
        if self._memory:
            context |= self._past(working).context(slice(None) if who is None else who)
        if self._moves:
            rows = rows.to(self.device)
            context = {name: value.to(self.device) for name, value in context.items()}
        perturbed = self._attack(rows, context=context, bounds=self.bounds, generator=self.clock.streams(who))
        if perturbed.shape != rows.shape or perturbed.dtype != rows.dtype:
            raise TypeError(
                f"{self._attack} must return {rows.dtype} of shape {tuple(rows.shape)} like its "
                f"input, got {perturbed.dtype} of shape {tuple(perturbed.shape)}."
            )
        result: Array = perturbed.numpy(force=True)
        return result.copy() if perturbed.data_ptr() == rows.data_ptr() else result

    def _past(self, clean: Array) -> Past:
        return self.clock.past_of(self.what, self._memory, clean)

    def _integers(self, clean: Array, result: Array, working: Array) -> Array:
        if working.dtype.kind == "f":
            moved = np.trunc(result - working).astype(np.int64)
            result = clean.astype(np.int64) + moved
        elif not ((result >= self._lowest) & (result < self._end)).all():
            raise ValueError(
                f"{self._attack} chose {result.tolist()}, which is not in {self.space}. "
                "Fix: an `ActionSet` of valid actions; Delay(initial=...) or Dropout(value=...) with one."
            )
        return result.astype(clean.dtype)

    def _allowed(self, intended: Array, chosen: Array, mask: Tensor) -> Array:
        first, second = (torch.as_tensor(indices - self._lowest) for indices in (chosen, intended))
        settled: Array = where_allowed(first, second, mask, int(self._end - self._lowest)).numpy() + self._lowest
        return settled.astype(chosen.dtype)

    def _nan(self, clean: Array) -> str:
        bad = [row for row, values in enumerate(clean) if np.isnan(values).any()]
        return (
            f"the {self.what} must not hold NaN, but its rows {bad} do. Fix: look for the cause "
            "in the environment (a diverged simulation?); no attack is meaningful there."
        )


def _working_dtype(space: AnySpace) -> np.dtype[Any] | None:
    """What integers are attacked in; None for floats, which stay as they are."""
    if space.dtype is None or space.dtype.kind == "f":
        return None
    if not isinstance(space, spaces.Box):
        return np.dtype(np.int64)
    return np.dtype(np.float32 if space.dtype.itemsize <= 2 else np.float64)


def _indices(space: AnySpace) -> tuple[Any, Any]:
    """The first valid index of a discrete space and the one after the last; per component."""
    if isinstance(space, spaces.Discrete):
        return space.start, space.start + space.n
    if isinstance(space, spaces.MultiDiscrete):
        return space.start, space.start + space.nvec
    return 0, 2  # of bits
