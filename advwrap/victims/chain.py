"""Plain MLPs differentiated by hand: the gradient of the input, without a graph.

An attack needs the gradient with respect to its input and never that of the weights. For a chain of linear layers and
activations that is a few matrix products; written out, they cost half of what autograd's bookkeeping makes of them on
one row (`benchmarks/attacks.py`), touch nothing of the victim, and give the same bits because they are the same
kernels. Weights are read at every call, so the victim may go on learning.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from advwrap.errors import check

Weights = Callable[[], tuple[Tensor, Tensor | None]]
"""Returns the present weight [out, in] and bias [out], or those of an ensemble, [E, out, in] and [E, out]."""

Pullback = Callable[[Tensor], Tensor]
"""From the gradient of the output to the gradient of the input."""


class Affine:
    """y = x W^T + b, for one layer or a stack of E of them."""

    def __init__(self, weights: Weights) -> None:
        self.weights = weights

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """The output, and what the backward pass needs."""
        weight, bias = self.weights()
        if torch.is_grad_enabled():  # the weights are constants of the attack
            weight, bias = weight.detach(), None if bias is None else bias.detach()
        check(
            x.shape[-1] == weight.shape[-1],
            f"a layer of the victim or of its critic takes {weight.shape[-1]} features, got {x.shape[-1]}.",
            fix="the network of this task; a critic of actions reads the observation and the action, side by side.",
        )
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


class Layer(Protocol):
    """A differentiable function of one tensor."""

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """The output, and what the backward pass needs."""
        ...

    def backward(self, grad: Tensor, needed: Tensor, /) -> Tensor:
        """Gradient of the input."""
        ...


class Chain:
    """Layers applied one after the other, to x [B, in] -> [B, out], or [E, B, out] for an ensemble.

    Example:
        >>> import torch
        >>> from torch import nn
        >>> net = nn.Linear(2, 1)
        >>> chain = Chain([Affine(lambda: (net.weight, net.bias))])
        >>> y, pullback = chain.linearize(torch.ones(1, 2))
        >>> bool(pullback(torch.ones(1, 1)).eq(net.weight).all())
        True
    """

    def __init__(self, layers: Sequence[Layer]) -> None:
        self.layers = layers

    @property
    def dtype(self) -> torch.dtype | None:
        """The dtype of the first weight, or None without linear layers."""
        return next((layer.weights()[0].dtype for layer in self.layers if isinstance(layer, Affine)), None)

    def __call__(self, x: Tensor) -> Tensor:
        """The output; autograd may follow."""
        for layer in self.layers:
            x, _ = layer.forward(x)
        return x

    def linearize(self, x: Tensor) -> tuple[Tensor, Pullback]:
        """The output and the pullback of its gradient; autograd sees neither."""
        ensemble = x.ndim + 1
        steps: list[tuple[Layer, Tensor]] = []
        with torch.no_grad():
            for layer in self.layers:
                x, needed = layer.forward(x)
                steps.append((layer, needed))

        def pullback(grad: Tensor) -> Tensor:
            with torch.no_grad():
                for layer, needed in reversed(steps):
                    grad = layer.backward(grad, needed)
                # An ensemble read one batch: the gradients of its members add up.
                return grad.sum(0) if grad.ndim == ensemble else grad

        return x, pullback


def altered(module: nn.Module) -> bool:
    """Whether a call of the module does more than its class says: hooks, or a forward of its own."""
    hooks = module._forward_hooks or module._forward_pre_hooks or module._backward_hooks
    return bool(hooks) or "forward" in vars(module)


def split_chain(modules: Sequence[nn.Module], weights_of: Callable[[nn.Linear], Weights]) -> tuple[list[Layer], int]:
    """The layers of the longest known beginning of `modules`, and how many modules they stand for.

    Only exact types without hooks count: a subclass or a hook may compute something else.
    """
    layers: list[Layer] = []
    for count, module in enumerate(modules):
        if altered(module):
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
