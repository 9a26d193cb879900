"""Plain MLPs as one frozen function: the same numbers as the module, the gradient of the input only.

An attack needs the gradient with respect to its input and never that of the weights. Seen by autograd as a single node
with a hand-written backward pass, a chain of linear layers and activations costs two thirds of the module on one row
and the same on large batches (`benchmarks/attacks.py`), keeps no graph that reaches the weights, and is bitwise equal
because it calls the same kernels. Weights are read at every call, so the victim may go on learning.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

Weights = Callable[[], tuple[Tensor, Tensor | None]]
"""Returns the present weight [out, in] and bias [out], or those of an ensemble, [E, out, in] and [E, out]."""


class Affine:
    """y = x W^T + b, for one layer or a stack of E of them."""

    def __init__(self, weights: Weights) -> None:
        self.weights = weights

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """The output, and what the backward pass needs."""
        weight, bias = self.weights()
        if weight.ndim == 2:
            return F.linear(x, weight, bias), weight
        x = x.expand(weight.shape[0], -1, -1) if x.ndim == 2 else x
        transposed = weight.transpose(1, 2)
        y = torch.bmm(x, transposed) if bias is None else torch.baddbmm(bias.unsqueeze(1), x, transposed)
        return y, weight

    def backward(self, grad: Tensor, weight: Tensor) -> Tensor:
        """Gradient of the input."""
        return grad @ weight


class Tanh:
    """Hyperbolic tangent."""

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """The output, and what the backward pass needs."""
        y = x.tanh()
        return y, y

    def backward(self, grad: Tensor, y: Tensor) -> Tensor:
        """Gradient of the input."""
        return torch.ops.aten.tanh_backward(grad, y)  # type: ignore[no-any-return]


class ReLU:
    """Rectifier."""

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """The output, and what the backward pass needs."""
        y = x.relu()
        return y, y

    def backward(self, grad: Tensor, y: Tensor) -> Tensor:
        """Gradient of the input."""
        return torch.ops.aten.threshold_backward(grad, y, 0)  # type: ignore[no-any-return]


Layer = Affine | Tanh | ReLU


class _Chain(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, layers: Sequence[Layer]) -> Tensor:
        ctx.rows = x.ndim
        ctx.layers, ctx.saved = layers, []
        for layer in layers:
            x, needed = layer.forward(x)
            ctx.saved.append(needed)
        return x

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None]:  # type: ignore[override]
        for layer, needed in zip(reversed(ctx.layers), reversed(ctx.saved), strict=True):
            grad = layer.backward(grad, needed)
        # An ensemble read one batch: the gradients of its members add up.
        return (grad.sum(0) if grad.ndim > ctx.rows else grad), None


def run_chain(layers: Sequence[Layer], x: Tensor) -> Tensor:
    """Apply the layers to x, shape [B, in] -> [B, out], or [E, B, out] for an ensemble.

    Example:
        >>> net = nn.Linear(2, 1)
        >>> x = torch.ones(1, 2, requires_grad=True)
        >>> y = run_chain([Affine(lambda: (net.weight, net.bias))], x)
        >>> bool(torch.autograd.grad(y.sum(), x)[0].eq(net.weight).all())
        True
    """
    return _Chain.apply(x, layers)  # type: ignore[no-any-return,no-untyped-call]


def split_chain(modules: Sequence[nn.Module], weights_of: Callable[[nn.Linear], Weights]) -> tuple[list[Layer], int]:
    """The layers of the longest known beginning of `modules`, and how many modules they stand for.

    Only exact types without hooks count: a subclass or a hook may compute something else.
    """
    layers: list[Layer] = []
    for count, module in enumerate(modules):
        if module._forward_hooks or module._forward_pre_hooks or module._backward_hooks:
            return layers, count
        if type(module) is nn.Linear:
            layers.append(Affine(weights_of(module)))
        elif type(module) is nn.Tanh:
            layers.append(Tanh())
        elif type(module) is nn.ReLU:
            layers.append(ReLU())
        elif type(module) is not nn.Identity:
            return layers, count
    return layers, len(modules)
