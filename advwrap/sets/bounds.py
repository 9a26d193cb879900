"""The valid range of the perturbed tensor: a property of the environment, not of the attacker."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor

from advwrap.errors import check


@dataclass(frozen=True, eq=False)
class Bounds:
    """A box low <= x <= high, per feature; infinite where the environment sets no limit.

    Args:
        low: Lower limit, a number or a tensor that broadcasts to the features.
        high: Upper limit.

    Raises:
        ValueError: If some low exceeds its high, or one of them is NaN.

    Example:
        >>> import torch
        >>> Bounds(0.0, 1.0).around(torch.tensor([[0.5]]))
        (tensor([[0.]]), tensor([[1.]]))
    """

    low: float | Tensor = -math.inf
    high: float | Tensor = math.inf
    _cache: dict[tuple[torch.dtype, torch.device], tuple[Tensor, Tensor]] = field(
        default_factory=dict, repr=False, init=False
    )
    unbounded: bool = field(init=False, repr=False, default=True)

    def __post_init__(self) -> None:
        for name in ("low", "high"):
            limit = getattr(self, name)
            if isinstance(limit, np.ndarray):
                object.__setattr__(self, name, torch.from_numpy(limit.astype(np.float64)))
        low, high = torch.as_tensor(self.low), torch.as_tensor(self.high)
        check(bool((low == low).all()) and bool((high == high).all()), f"`low` and `high` must not be NaN, got {self}.")
        check(bool((low <= high).all()), f"`low` must be <= `high`, got low {low} and high {high}.")
        # No limit at all: clamping can be skipped.
        limited = bool((low > -math.inf).any()) or bool((high < math.inf).any())
        object.__setattr__(self, "unbounded", not limited)

    def around(self, clean: Tensor) -> tuple[Tensor, Tensor]:
        """The limits for each row, widened where the clean value itself is outside them.

        So clamping never moves a feature further than the attack did: it stays in the ball.
        """
        low, high = self.limits(clean)
        return torch.minimum(low, clean), torch.maximum(high, clean)

    def clip(self, x: Tensor) -> Tensor:
        """The nearest valid point of each row; `x` itself where nothing is limited.

        Example:
            >>> Bounds(-1.0, 1.0).clip(torch.tensor([[5.0, 0.5]]))
            tensor([[1.0000, 0.5000]])
        """
        return x if self.unbounded else x.clamp(*self.limits(x))

    def finite(self, like: Tensor, who: object, *, fix: str | None = None) -> tuple[Tensor, Tensor]:
        """The limits of every feature, for `who` takes them as a unit; not inside a compiled graph.

        Raises:
            ValueError: If one of them is infinite.
        """
        low, high = (torch.as_tensor(limit, dtype=like.dtype, device=like.device) for limit in (self.low, self.high))
        check(
            bool((low.isfinite() & high.isfinite()).all()),
            f"{who} needs `bounds` with finite limits, got {self}.",
            fix=fix or "AdversarialAction(env, attack, bounds=Bounds(low, high)).",
        )
        return low, high

    def limits(self, like: Tensor) -> tuple[Tensor, Tensor]:
        """The limits in the dtype of `like`, rounded inwards: float16 cannot hold every float32 limit."""
        key = (like.dtype, like.device)
        if key in self._cache:
            return self._cache[key]
        exact_low = torch.as_tensor(self.low, dtype=torch.float64, device=like.device)
        exact_high = torch.as_tensor(self.high, dtype=torch.float64, device=like.device)
        low, high = exact_low.to(like.dtype), exact_high.to(like.dtype)
        low = torch.where(low.double() < exact_low, toward(low, torch.full_like(low, math.inf)), low)
        high = torch.where(high.double() > exact_high, toward(high, torch.full_like(high, -math.inf)), high)
        if not torch.compiler.is_compiling():  # the tensors of a graph end with it
            self._cache[key] = low, high
        return low, high


UNBOUNDED = Bounds()
"""No limit on any feature."""

_INTEGER_VIEW = {torch.float16: torch.int16, torch.bfloat16: torch.int16}


def toward(x: Tensor, target: Tensor) -> Tensor:
    """The next representable number after x in the direction of `target` (`torch.nextafter`, for every float dtype).

    Example:
        >>> import torch
        >>> toward(torch.ones(1, dtype=torch.float16), torch.zeros(1, dtype=torch.float16))
        tensor([0.9995], dtype=torch.float16)
    """
    if x.dtype not in _INTEGER_VIEW:
        return torch.nextafter(x, target)
    # Neighbouring floats are neighbouring integers of the sign-magnitude bit pattern; crossing zero goes through the
    # smallest subnormal of the target's sign.
    integer = _INTEGER_VIEW[x.dtype]
    bits = x.view(integer)
    away = ((target > x) == (x > 0)) & (x != 0)
    stepped = torch.where(away, bits + 1, bits - 1).view(x.dtype)
    smallest = torch.where(target > x, torch.ones_like(bits), torch.full_like(bits, -32767)).view(x.dtype)
    moved = torch.where(x == 0, smallest, stepped)
    return torch.where((x == target) | x.isnan(), x, moved)
