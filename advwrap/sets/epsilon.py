"""How large a perturbation may be: a number, one number per feature, or something that changes while training.

Every ball takes an `Epsilon`: a float, a tensor that broadcasts to the feature shape, or a callable without arguments
that returns either of them each time the ball is used.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor

from advwrap.errors import check

Epsilon = float | Tensor | Callable[[], "float | Tensor"]


def checked(eps: object, name: str = "eps") -> Epsilon:
    """Return `eps` as an `Epsilon`, or say what is wrong with the argument of this name."""
    if isinstance(eps, bool | str):
        raise TypeError(f"`{name}` must be a number, a tensor or a callable, got {eps!r}. Fix: LinfBall(0.1).")
    if callable(eps):
        return eps
    if isinstance(eps, (list, tuple, np.ndarray)):
        eps = torch.as_tensor(np.asarray(eps, dtype=np.float64))
    if isinstance(eps, Tensor):
        eps = eps.detach()
        finite, fix = torch.isfinite(eps), "negate the objective, not the radius."
        if not bool((finite & (eps >= 0)).all()):  # to write a tensor takes longer than to attack with it
            check(bool(finite.all()), f"`{name}` must be finite, got {eps}.")
            check(False, f"`{name}` must be >= 0, got {eps}.", fix=fix)
        return eps.item() if eps.ndim == 0 else eps
    try:
        value = float(eps)  # type: ignore[arg-type]
    except (TypeError, ValueError):
        raise TypeError(
            f"`{name}` must be a number, a tensor or a callable, got {eps!r}. Fix: LinfBall(0.1)."
        ) from None
    check(math.isfinite(value), f"`{name}` must be finite, got {value}.")
    check(value >= 0, f"`{name}` must be >= 0, got {value}.", fix="negate the objective, not the radius.")
    return value


def resolve(eps: Epsilon, like: Tensor) -> float | Tensor:
    """The present value of `eps`: a float, or a tensor in the dtype and on the device of `like`.

    Raises:
        ValueError: If a per-feature `eps` does not broadcast to ``like.shape[1:]``.
    """
    value: Any = eps  # a float or a tensor in the end
    if callable(eps):
        # A check would look at the number, and a graph may not depend on it.
        value = eps() if torch.compiler.is_compiling() else checked(eps())
    if not isinstance(value, Tensor):
        # A radius beyond the largest number of a short dtype is no limit there.
        number: float = value
        return number if number <= 1.0 else min(number, torch.finfo(like.dtype).max)
    features = tuple(like.shape[1:])
    sizes = zip(reversed(value.shape), reversed(features), strict=False)
    check(
        value.ndim <= len(features) and all(size in (1, feature) for size, feature in sizes),
        f"`eps` must broadcast to the feature shape {features}, got shape {tuple(value.shape)}.",
    )
    cast = value.to(device=like.device, dtype=like.dtype)
    return cast if cast.dtype == value.dtype else cast.clamp(max=torch.finfo(like.dtype).max)


@dataclass(eq=False)
class Linear:
    """A number that moves linearly from `start` to `end` within `steps` steps, and stays before and after.

    eps(t) = start + (end - start) clip((t - begin) / steps, 0, 1)

    For radii, probabilities, coefficients, temperatures. Inside a compiled graph it is a tensor that `advance` changes
    in place: a number would become a constant of the graph.

    Args:
        start: The first value.
        end: The last value.
        steps: How long it takes from one to the other.
        begin: The step at which it begins to move.
        t: The present step; `advance` moves it.

    Example:
        >>> from advwrap.sets import LinfBall
        >>> eps = Linear(0.0, 0.2, steps=100)
        >>> ball = LinfBall(eps)
        >>> eps.advance(50)
        >>> ball.radius
        0.1
    """

    start: float
    end: float
    steps: int
    begin: int = field(default=0, kw_only=True)
    t: int = field(default=0, kw_only=True)

    def __post_init__(self) -> None:
        check(self.steps >= 1, f"`steps` must be >= 1, got {self.steps}.")
        checked(self.start, "start"), checked(self.end, "end")
        self._tensor = torch.tensor(self._at(self.t), dtype=torch.float64)

    def __setattr__(self, name: str, value: Any) -> None:
        super().__setattr__(name, value)
        if name == "t" and hasattr(self, "_tensor"):
            self._tensor.fill_(self._at(value))

    def _at(self, t: int) -> float:
        progress = min(max((t - self.begin) / self.steps, 0.0), 1.0)
        return self.start + (self.end - self.start) * progress

    def __call__(self) -> float | Tensor:
        """The present value."""
        return self._tensor if torch.compiler.is_compiling() else self._at(self.t)

    def advance(self, steps: int = 1) -> None:
        """Move `steps` forward, usually once per training step."""
        self.t += steps

    def state_dict(self) -> dict[str, int]:
        """The position, for a checkpoint."""
        return {"t": self.t}

    def load_state_dict(self, state: dict[str, int]) -> None:
        """Continue from `state_dict`."""
        self.t = int(state["t"])


@dataclass(frozen=True, eq=False)
class InStd:
    """A radius in units of each feature's standard deviation: eps_j = eps * std_j.

    Args:
        eps: The radius in standard deviations.
        std: One deviation per feature, or a callable that returns them (a running normaliser, read live).

    Example:
        >>> import torch
        >>> from advwrap.sets import LinfBall
        >>> LinfBall(InStd(0.1, torch.tensor([1.0, 20.0]))).radius
        tensor([0.1000, 2.0000])
    """

    eps: float
    std: Tensor | Callable[[], Tensor]

    def __post_init__(self) -> None:
        checked(self.eps)
        if not callable(self.std):
            checked(self.std, "std")

    def __call__(self) -> Tensor:
        """The present radii."""
        std = self.std() if callable(self.std) else self.std
        check(
            std is not None,
            "`std` must return one deviation per feature, got None.",
            fix="collect statistics before the first attack.",
        )
        return self.eps * torch.as_tensor(std)
