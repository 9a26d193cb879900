"""Actuator faults: what breaks in a real machine, as attacks; on observations they are sensor faults.

None of them searches. Each says what becomes of a command, in units of the half-range (high - low) / 2 of its feature
where it needs a unit, and every result is clipped to the valid range. When a fault occurs is a budget's business:
``Gated(Stuck(), WithProbability(0.25))`` are sticky actions.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

from advwrap.attacks.budgets import WithProbability
from advwrap.attacks.combinators import Gated
from advwrap.attacks.region import check_batch
from advwrap.errors import check, check_finite, check_fraction, check_integer
from advwrap.randomness import Streams, as_streams
from advwrap.sets import UNBOUNDED, Bounds
from advwrap.sets.rows import per_row
from advwrap.victims import Context

Features = Sequence[int] | None
"""Indices of the broken features (of the last axis); all of them by default."""


@dataclass(frozen=True)
class _Fault:
    """What all faults share: which features, the limits, and that a row never shares memory with the clean one."""

    features: Features = field(default=None, kw_only=True)

    def __post_init__(self) -> None:
        if self.features is not None:
            if not isinstance(self.features, Iterable):
                raise TypeError(
                    f"`features` must be a list of indices, got {self.features!r}. Fix: [0], or None for all."
                )
            features = tuple(int(i) for i in self.features)
            check(len(features) > 0, "`features` must name at least one feature, got none.", fix="None for all.")
            object.__setattr__(self, "features", features)

    def broken(self, clean: Tensor, context: Context | None, bounds: Bounds, streams: Streams) -> Tensor:
        """What becomes of every feature."""
        raise NotImplementedError

    def __call__(
        self,
        clean: Tensor,
        *,
        context: Context | None = None,
        bounds: Bounds = UNBOUNDED,
        generator: Streams | torch.Generator | None = None,
    ) -> Tensor:
        """Break a batch."""
        check_batch(clean)
        clean = clean.detach()
        x = self.broken(clean, context, bounds, as_streams(generator, clean)).to(clean.dtype)
        if clean.is_floating_point():
            x = x if bounds.unbounded else x.clamp(*bounds.around(clean))
            x = torch.where(clean.isfinite(), x, clean)
        if self.features is not None:
            size = clean.shape[-1] if clean.ndim > 1 else 1
            check(
                all(-size <= i < size for i in self.features),
                f"`features` must be indices of {size} features, got {list(self.features)}.",
            )
            mask = torch.zeros(size, dtype=torch.bool, device=clean.device)
            mask[list(self.features)] = True
            x = torch.where(mask if clean.ndim > 1 else mask[0], x, clean)
        return x.clone(memory_format=torch.contiguous_format)


@dataclass(frozen=True)
class Delay(_Fault):
    """The command of k steps ago: a slow bus, a remote robot.

    x_t = a_(t-k), and `initial` in the first k steps of an episode

    Source: the constant action delay of Dulac-Arnold et al. 2020.

    Args:
        steps: k, at least 1.
        initial: What is carried before the first command arrives.
        features: Indices of the delayed features; all by default.

    Reads: ``past_intended`` and ``past_steps``, which the wrapper around the environment keeps.

    Raises:
        ValueError: If `steps` < 1 or `initial` is not finite; when called, if nobody remembers the past.

    Example:
        >>> import gymnasium
        >>> import numpy as np
        >>> from advwrap import AdversarialAction
        >>> env = AdversarialAction(gymnasium.make("Pendulum-v1"), Delay(1))
        >>> _ = env.reset(seed=0)
        >>> [float(env.step(np.array([a], np.float32))[-1]["executed_action"][0]) for a in (1.0, 2.0, 0.5)]
        [0.0, 1.0, 2.0]
    """

    steps: int = 1
    initial: float = 0.0

    def __post_init__(self) -> None:
        super().__post_init__()
        check_integer("steps", self.steps, least=1, fix="Identity() for no delay.")
        check_finite("initial", self.initial)

    @property
    def memory(self) -> int:
        """How far it looks back."""
        return self.steps

    def broken(self, clean: Tensor, context: Context | None, bounds: Bounds, streams: Streams) -> Tensor:
        """The command of k steps ago."""
        past, steps = _past(context, "past_intended", self)
        return _rows(steps >= self.steps, past[:, self.steps - 1], torch.full_like(clean, self.initial))


@dataclass(frozen=True)
class Stuck(_Fault):
    """The actuator stays where it was: it executes again what it executed in the last step.

    x_t = x_(t-1), and the command itself in the first step of an episode

    Source: the stuck actuators of Dulac-Arnold et al. 2020; gated by `WithProbability`, the sticky actions of Machado
        et al., *Revisiting the arcade learning environment*, 2018: `sticky`.

    Args:
        features: Indices of the features that can be stuck; all by default.

    Reads: ``past_executed`` and ``past_steps``, which the wrapper around the environment keeps.

    Raises:
        ValueError: When called, if nobody remembers the past.

    Example:
        >>> import gymnasium
        >>> import numpy as np
        >>> from advwrap import AdversarialAction, Gated, After
        >>> env = AdversarialAction(gymnasium.make("Pendulum-v1"), Gated(Stuck(), After(2)))
        >>> _ = env.reset(seed=0)
        >>> [float(env.step(np.array([a], np.float32))[-1]["executed_action"][0]) for a in (1.0, 2.0, 0.5)]
        [1.0, 2.0, 2.0]
    """

    memory = 1
    """How far it looks back."""

    def broken(self, clean: Tensor, context: Context | None, bounds: Bounds, streams: Streams) -> Tensor:
        """What was executed last."""
        past, steps = _past(context, "past_executed", self)
        return _rows(steps >= 1, past[:, 0], clean)


def sticky(p: float, *, features: Features = None) -> Gated:
    """Sticky actions: with probability p at every step, what was executed last is executed again.

    Source: Machado et al., *Revisiting the arcade learning environment*, JAIR 2018, with p = 0.25.

    Example:
        >>> sticky(0.25)
        Gated(attack=Stuck(features=None), budget=WithProbability(p=0.25))
    """
    return Gated(Stuck(features=features), WithProbability(p))


@dataclass(frozen=True)
class Dropout(_Fault):
    """Commands get lost: each feature is 0 (or `value`) with probability p, independently at every step.

    Source: the dropped values of Dulac-Arnold et al. 2020.

    Args:
        p: Probability per feature and step.
        value: What is executed instead: of discrete actions, the index of doing nothing.
        features: Indices of the features that can be lost; all by default.

    Raises:
        ValueError: If `p` is not in [0, 1] or `value` is not finite.

    Example:
        >>> import torch
        >>> lost = Dropout(0.5)(torch.ones(1000, 1), generator=torch.Generator().manual_seed(0)) == 0
        >>> 400 < int(lost.sum()) < 600
        True
    """

    p: float = 1.0
    value: float = 0.0

    def __post_init__(self) -> None:
        super().__post_init__()
        check_fraction("p", self.p)
        check_finite("value", self.value)

    def broken(self, clean: Tensor, context: Context | None, bounds: Bounds, streams: Streams) -> Tensor:
        """Zeros and commands."""
        dice = streams.uniform(torch.empty_like(clean, dtype=torch.float64))
        return torch.where(dice < self.p, torch.full_like(clean, self.value), clean)


@dataclass(frozen=True)
class Gain(_Fault):
    """The actuator is weaker, stronger or reversed: x = g a.

    Source: the loss of effectiveness of fault-tolerant control: Zhang and Jiang,
        *Bibliographical review on reconfigurable fault-tolerant control systems*, Annual Reviews in Control 2008.

    Args:
        factor: g: 0.5 is half the effectiveness, 0 a dead actuator, -1 reversed wiring.
        features: Indices of the features; all by default.

    Raises:
        ValueError: If `factor` is not finite.

    Example:
        >>> import torch
        >>> Gain(0.5, features=[0])(torch.ones(1, 2))
        tensor([[0.5000, 1.0000]])
    """

    factor: float = 0.5

    def __post_init__(self) -> None:
        super().__post_init__()
        check_finite("factor", self.factor)

    def broken(self, clean: Tensor, context: Context | None, bounds: Bounds, streams: Streams) -> Tensor:
        """Multiply."""
        _check_numbers(clean, self)
        return clean * self.factor


@dataclass(frozen=True)
class Bias(_Fault):
    """A constant offset: x = a + b (high - low) / 2.

    Source: the bias fault of fault-tolerant control (Zhang and Jiang 2008).

    Args:
        offset: b, in half-ranges of the feature.
        features: Indices of the features; all by default.

    Raises:
        ValueError: If `offset` is not finite; when called, if a feature has no limits.

    Example:
        >>> import torch
        >>> from advwrap import Bounds
        >>> Bias(0.25)(torch.zeros(1, 1), bounds=Bounds(-2.0, 2.0))
        tensor([[0.5000]])
    """

    offset: float = 0.1

    def __post_init__(self) -> None:
        super().__post_init__()
        check_finite("offset", self.offset)

    def broken(self, clean: Tensor, context: Context | None, bounds: Bounds, streams: Streams) -> Tensor:
        """Add."""
        _check_numbers(clean, self)
        low, high = bounds.finite(clean, self)
        return clean + self.offset * (high - low) / 2


@dataclass(frozen=True)
class Quantised(_Fault):
    """A coarse converter: the nearest of n levels, evenly from the low to the high limit.

    Source: uniform quantisation as in Delchamps, *Stabilizing a linear system with quantized state feedback*, IEEE
        Transactions on Automatic Control 1990.

    Args:
        levels: n, at least 2.
        features: Indices of the features; all by default.

    Raises:
        ValueError: If `levels` < 2; when called, if a feature has no limits.

    Example:
        >>> import torch
        >>> from advwrap import Bounds
        >>> Quantised(3)(torch.tensor([[-0.9, 0.4, 0.6]]), bounds=Bounds(-1.0, 1.0))
        tensor([[-1.,  0.,  1.]])
    """

    levels: int = 8

    def __post_init__(self) -> None:
        super().__post_init__()
        check_integer("levels", self.levels, least=2)

    def broken(self, clean: Tensor, context: Context | None, bounds: Bounds, streams: Streams) -> Tensor:
        """Round."""
        _check_numbers(clean, self)
        low, high = bounds.finite(clean, self)
        # A value outside the limits is at the nearest of them: a converter knows no other levels.
        share = ((clean - low) / (high - low).clamp_min(torch.finfo(clean.dtype).tiny)).clamp(0, 1)
        return low + (share * (self.levels - 1)).round() / (self.levels - 1) * (high - low)


@dataclass(frozen=True)
class Saturated(_Fault):
    """The actuator reaches only a part of its range: x = m + clip(a - m, -c r, c r), middle m and half-range r.

    Source: Hu and Lin, *Control systems with actuator saturation*, 2001.

    Args:
        share: c, in (0, 1].
        features: Indices of the features; all by default.

    Raises:
        ValueError: If `share` is not in (0, 1]; when called, if a feature has no limits.

    Example:
        >>> import torch
        >>> from advwrap import Bounds
        >>> Saturated(0.5)(torch.tensor([[0.4, 0.9]]), bounds=Bounds(-1.0, 1.0))
        tensor([[0.4000, 0.5000]])
    """

    share: float = 0.5

    def __post_init__(self) -> None:
        super().__post_init__()
        check(0 < self.share <= 1, f"`share` must be in (0, 1], got {self.share}.")

    def broken(self, clean: Tensor, context: Context | None, bounds: Bounds, streams: Streams) -> Tensor:
        """Clip."""
        _check_numbers(clean, self)
        low, high = bounds.finite(clean, self)
        middle, half = (high + low) / 2, self.share * (high - low) / 2
        return torch.where((clean - middle).abs() <= half, clean, clean.clamp(middle - half, middle + half))


def _check_numbers(clean: Tensor, fault: _Fault) -> None:
    if not clean.is_floating_point():
        raise TypeError(f"`clean` must be floating point for {fault}, got {clean.dtype}. Fix: Delay, Stuck or Dropout.")


def _rows(known: Tensor, then: Tensor, otherwise: Tensor) -> Tensor:
    return torch.where(per_row(known.to(otherwise.device), otherwise), then.to(otherwise), otherwise)


def _past(context: Context | None, name: str, fault: _Fault) -> tuple[Tensor, Tensor]:
    past = None if context is None else context.get(name, None)
    check(
        past is not None,
        f"{fault} needs {name!r} in the `context`, which only an environment can remember.",
        fix="use it in AdversarialAction or AdversarialObs.",
    )
    return past, context["past_steps"]  # type: ignore[index,return-value]
