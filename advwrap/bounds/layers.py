"""How a box goes through one layer of a network."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from advwrap.bounds.box import Box
from advwrap.victims.chain import Affine, Layer, Weights, altered


class IntervalLayer(Protocol):
    """Maps a box to a box that holds the layer's output at every point of it."""

    def __call__(self, box: Box) -> Box:
        """The box of outputs."""
        ...


class IntervalAffine:
    """y = x W^T + b: the centre goes through the layer, the radius through |W|. Exact for a single layer.

    Args:
        weights: Returns the present weight [out, in] and bias, or those of E stacked networks, [E, out, in].

    Example:
        >>> layer = IntervalAffine(lambda: (torch.tensor([[1.0, -2.0]]), None))
        >>> layer(Box(torch.zeros(1, 2), torch.ones(1, 2)))
        Box(low=tensor([[-2.]]), high=tensor([[1.]]))
    """

    def __init__(self, weights: Weights) -> None:
        self.weights = weights

    def __call__(self, box: Box) -> Box:
        """The box of outputs."""
        weight, bias = self.weights()
        centre = _affine(box.centre.to(weight.dtype), weight, bias)
        radius = _affine(box.radius.to(weight.dtype), weight.abs(), None)
        return Box(centre - radius, centre + radius)


class Monotone:
    """A function that never decreases, feature by feature: the ends go through. Exact.

    Args:
        function: Such a function.

    Example:
        >>> Monotone(torch.relu)(Box(torch.tensor([[-1.0]]), torch.tensor([[2.0]])))
        Box(low=tensor([[0.]]), high=tensor([[2.]]))
    """

    def __init__(self, function: Callable[[Tensor], Tensor]) -> None:
        self.function = function

    def __call__(self, box: Box) -> Box:
        """The box of outputs."""
        return Box(self.function(box.low), self.function(box.high))


class Valley:
    """A function that decreases up to a point and increases after it (SiLU, GELU, Mish). Exact.

    Args:
        function: Such a function.
        bottom: Where it is lowest.

    Example:
        >>> Valley(torch.square, 0.0)(Box(torch.tensor([[-1.0]]), torch.tensor([[2.0]])))
        Box(low=tensor([[0.]]), high=tensor([[4.]]))
    """

    def __init__(self, function: Callable[[Tensor], Tensor], bottom: float) -> None:
        self.function = function
        self.bottom = bottom

    def __call__(self, box: Box) -> Box:
        """The box of outputs."""
        lowest = box.clamp(torch.full_like(box.low, self.bottom))
        return Box(self.function(lowest), torch.maximum(self.function(box.low), self.function(box.high)))


def interval_layers(modules: Sequence[nn.Module], weights_of: Callable[[nn.Linear], Weights]) -> list[IntervalLayer]:
    """One interval layer per module that does anything in eval mode.

    Args:
        modules: Linear layers and activations, applied one after the other.
        weights_of: Where the weights of a linear layer are read at each call.

    Raises:
        TypeError: If the bounds of a module are not known.
    """
    return [_layer(module, weights_of) for module in modules if _name(module) not in _NOTHING]


def known_layers(chain: Sequence[Layer]) -> list[IntervalLayer]:
    """The same for the layers of a victim's `Chain`: linear ones, activations, and what makes the action of a loc."""
    return [
        IntervalAffine(layer.weights) if isinstance(layer, Affine) else Monotone(_forward(layer)) for layer in chain
    ]


def _forward(layer: Layer) -> Callable[[Tensor], Tensor]:
    return lambda x: layer.forward(x)[0]


def _layer(module: nn.Module, weights_of: Callable[[nn.Linear], Weights]) -> IntervalLayer:
    kind = type(module)
    if altered(module):
        raise TypeError(f"interval bounds are not known for {kind.__name__} with hooks. Fix: remove the hooks.")
    if kind is nn.Linear:
        return IntervalAffine(weights_of(module))  # type: ignore[arg-type]
    function = _on_a_copy(module) if getattr(module, "inplace", False) else module
    if kind in _MONOTONE or (isinstance(module, (nn.ELU, nn.CELU)) and module.alpha > 0):
        return Monotone(function)
    if isinstance(module, nn.LeakyReLU):
        return Monotone(function) if module.negative_slope >= 0 else Valley(function, 0.0)
    if kind in _BOTTOMS:
        tanh = isinstance(module, nn.GELU) and module.approximate == "tanh"
        return Valley(function, _BOTTOM_OF_TANH_GELU if tanh else _BOTTOMS[kind])
    if _name(module) == _EXTRACTOR:
        return Monotone(_first_half)
    if getattr(module, "monotone", False):  # a layer of another author that says so of itself
        return Monotone(module)
    raise TypeError(
        f"interval bounds are not known for {kind.__name__}. Fix: use linear layers and the activations "
        f"{', '.join(sorted(k.__name__ for k in (*_MONOTONE, nn.ELU, nn.LeakyReLU, *_BOTTOMS)))}."
    )


def _name(module: nn.Module) -> str:
    return f"{type(module).__module__}.{type(module).__qualname__}"


def _affine(x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    if weight.ndim == 2:
        return F.linear(x, weight, bias)
    x = x.expand(weight.shape[0], -1, -1) if x.ndim == 2 else x
    transposed = weight.transpose(1, 2)
    return torch.bmm(x, transposed) if bias is None else torch.baddbmm(bias.unsqueeze(1), x, transposed)


def _on_a_copy(module: nn.Module) -> Callable[[Tensor], Tensor]:
    """An activation that works in place would change both ends where they are one tensor."""
    return lambda x: module(x.clone())


def _first_half(x: Tensor) -> Tensor:
    """The loc of a (loc, scale) pair."""
    return x.chunk(2, -1)[0]


_EXTRACTOR = "tensordict.nn.distributions.continuous.NormalParamExtractor"
_NOTHING = (  # nothing to the loc, in eval mode
    "torch.nn.modules.linear.Identity",
    "torch.nn.modules.dropout.Dropout",
    "torch.nn.modules.dropout.AlphaDropout",
    "tensordict.nn.distributions.continuous.AddStateIndependentNormalScale",
)
_MONOTONE = (
    nn.ReLU, nn.ReLU6, nn.Tanh, nn.Sigmoid, nn.Softplus, nn.Hardtanh, nn.Hardsigmoid, nn.Softsign, nn.SELU, nn.Flatten,
)  # fmt: skip
_BOTTOMS = {nn.SiLU: -1.2784645427610738, nn.GELU: -0.7517915246935645, nn.Mish: -1.1924312145154952}
_BOTTOM_OF_TANH_GELU = -0.7524614220710162
