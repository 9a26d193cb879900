"""From a network's output to the action of TorchRL's squashed distributions, bit for bit as they compute it.

Written as layers of a `Chain`: each can be called under autograd, and knows its own derivative.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from advwrap.victims.chain import Layer

Limit = Tensor | float


class FirstHalf:
    """The loc of TorchRL's `NormalParamExtractor`, which maps the second half to the scale."""

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """The first half of the features, and the second."""
        loc, rest = x.chunk(2, -1)
        return loc, rest

    def backward(self, grad: Tensor, rest: Tensor) -> Tensor:
        """Nothing flows to the second half."""
        return torch.cat([grad, torch.zeros_like(rest)], -1)


@dataclass(frozen=True, eq=False)
class SoftLimit:
    """The option `tanh_loc`: y = tanh(x / upscale) * upscale."""

    upscale: Limit

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """The output, and the tanh."""
        y = (x / _on(self.upscale, x)).tanh()
        return y * _on(self.upscale, x), y

    def backward(self, grad: Tensor, y: Tensor) -> Tensor:
        """Gradient of the input."""
        upscale = _on(self.upscale, y)
        inner: Tensor = torch.ops.aten.tanh_backward(grad * upscale, y)
        return inner / upscale


@dataclass(frozen=True, eq=False)
class Shift:
    """y = x + first + second, added one after the other."""

    first: Limit
    second: Limit

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """The output."""
        y = x + _on(self.first, x) + _on(self.second, x)
        return y, y

    def backward(self, grad: Tensor, _: Tensor) -> Tensor:
        """Gradient of the input."""
        return grad


class SafeTanh:
    """y = tanh(x), kept away from +-1 by the resolution of the dtype; its derivative is 1 - y^2 there too."""

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """The output, twice."""
        if torch.is_grad_enabled() and x.requires_grad:
            y: Tensor = _SafeTanh.apply(x)  # type: ignore[no-untyped-call]
        else:
            y = _safe_tanh(x)
        return y, y

    def backward(self, grad: Tensor, y: Tensor) -> Tensor:
        """Gradient of the input."""
        return grad * (1 - y.pow(2))


@dataclass(frozen=True, eq=False)
class Stretch:
    """y = middle + half * x."""

    middle: Limit
    half: Limit

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """The output."""
        y = _on(self.middle, x) + _on(self.half, x) * x
        return y, y

    def backward(self, grad: Tensor, _: Tensor) -> Tensor:
        """Gradient of the input."""
        return grad * _on(self.half, grad)


class Squash:
    """Layers as one function.

    Example:
        >>> import torch
        >>> Squash([SafeTanh(), Stretch(0.0, 2.0)])(torch.tensor([10.0]))
        tensor([2.0000])
    """

    def __init__(self, layers: Sequence[Layer]) -> None:
        self.layers = list(layers)

    def __call__(self, x: Tensor) -> Tensor:
        """Apply them."""
        for layer in self.layers:
            x, _ = layer.forward(x)
        return x


def tanh_normal(options: Mapping[str, Any]) -> tuple[Squash, Squash] | None:
    """What `TanhNormal` does to its loc before the tanh, and from there to the action.

    Returns:
        None for options that are not known here.
    """
    if set(options) - {"low", "high", "tanh_loc", "upscale", "event_dims", "safe_tanh"}:
        return None
    if not options.get("safe_tanh", True):
        return None
    low, high = (torch.as_tensor(options.get(name, limit)) for name, limit in (("low", -1.0), ("high", 1.0)))
    trivial = not bool((high != 1.0).any() or (low != -1.0).any())
    before: list[Layer] = [SoftLimit(options.get("upscale", 5.0))] if options.get("tanh_loc") else []
    if before and not trivial:
        before.append(Shift((high - low) / 2, low))
    after: list[Layer] = [SafeTanh()]
    if not trivial:
        after.append(Stretch((high + low) / 2, (high - low) / 2))
    return Squash(before), Squash(after)


def tanh_delta(options: Mapping[str, Any]) -> Squash | None:
    """From the parameter of a `TanhDelta` to the action; None for options that are not known here."""
    if set(options) - {"low", "high", "event_dims", "safe"} or not options.get("safe", True):
        return None
    low, high = options.get("low", -1.0), options.get("high", 1.0)
    # Its limits are always treated as if they were not -1 and 1.
    return Squash([Shift((high - low) / 2, low), SafeTanh(), Stretch((high + low) / 2, (high - low) / 2)])


def _on(value: Limit, like: Tensor) -> Limit:
    return value.to(like.device) if isinstance(value, Tensor) else value


def _safe_tanh(x: Tensor) -> Tensor:
    limit = 1.0 - torch.finfo(x.dtype).resolution
    return x.tanh().clamp(-limit, limit)


class _SafeTanh(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        y = _safe_tanh(x)
        ctx.save_for_backward(y)
        return y

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> Tensor:
        y: Tensor = ctx.saved_tensors[0]
        return grads[0] * (1 - y.pow(2))
