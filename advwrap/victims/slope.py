"""How densities change under the map that squashes an action: the logarithm of its derivative."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from advwrap.victims.chain import Layer
from advwrap.victims.squash import SafeTanh, Shift, SoftLimit, Squash, Stretch


def log_tanh_slope(x: Tensor) -> Tensor:
    """Log of d tanh(x) / dx = 1 - tanh(x)^2, feature by feature, exact where the tanh has rounded to 1.

    log(1 - tanh(x)^2) = 2 (log 2 - x - softplus(-2 x))

    Example:
        >>> import torch
        >>> log_tanh_slope(torch.tensor([0.0, 20.0]))
        tensor([  0.0000, -38.6137])
    """
    return 2.0 * (math.log(2.0) - x - F.softplus(-2.0 * x))


def log_slope(squash: Callable[[Tensor], Tensor] | None, x: Tensor) -> Tensor:
    """sum_j log |d squash(x)_j / d x_j|: what a change of variables subtracts from a log-density.

    Args:
        squash: A map that acts on every feature alone; None for the identity. The layers of TorchRL's distributions and
            `torch.tanh` have closed forms, anything else is differentiated.
        x: Where, [B, A].

    Returns:
        One number per row, [B].

    Example:
        >>> import torch
        >>> log_slope(lambda x: 3.0 * x, torch.ones(1, 2)).exp()
        tensor([9.])
    """
    if squash is None:
        return x.new_zeros(x.shape[:1])
    if squash in (torch.tanh, Tensor.tanh) or isinstance(squash, nn.Tanh):
        return log_tanh_slope(x).sum(-1)
    if isinstance(squash, Squash):
        total = torch.zeros_like(x)
        for layer in squash.layers:
            total = total + _of_layer(layer, x)
            x, _ = layer.forward(x)
        return total.sum(-1)
    slope = torch.func.grad(lambda z: squash(z).sum())(x)
    return _log_of(slope).sum(-1)


def _of_layer(layer: Layer, x: Tensor) -> Tensor:
    if isinstance(layer, SafeTanh):
        return log_tanh_slope(x)
    if isinstance(layer, SoftLimit):
        upscale = layer.upscale
        return log_tanh_slope(x / (upscale.to(x.device) if isinstance(upscale, Tensor) else upscale))
    if isinstance(layer, Stretch):
        return _log_of(torch.as_tensor(layer.half, dtype=x.dtype, device=x.device)).expand_as(x)
    if isinstance(layer, Shift):
        return torch.zeros_like(x)
    raise TypeError(f"no derivative is known for the layer {type(layer).__name__} of a `Squash`.")


def _log_of(slope: Tensor) -> Tensor:
    return slope.abs().clamp_min(torch.finfo(slope.dtype).tiny).log()
