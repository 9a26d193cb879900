"""Any module or callable as a pure function of tensors, the fast way where the module allows it."""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from advwrap.victims.chain import Chain, Layer, Pullback, altered, split_chain
from advwrap.victims.quiet import mode_dependent, quietly


@dataclass(frozen=True, eq=False)
class Live:
    """The weights that a layer has at the time of the call."""

    layer: nn.Linear

    def __call__(self) -> tuple[Tensor, Tensor | None]:
        """Weight and bias."""
        return self.layer.weight, self.layer.bias


def sequence_of(module: nn.Module) -> list[nn.Module] | None:
    """The modules that `module` applies one after the other, or None if it does anything else."""
    if type(module) is nn.Linear:
        return [module]
    if not isinstance(module, nn.Sequential):
        return None
    # A subclass counts if it inherits the forward; torchrl's MLP overrides it to join its inputs, as `Network` does.
    inherits = type(module).forward is nn.Sequential.forward
    name = f"{type(module).__module__}.{type(module).__qualname__}"
    if altered(module) or not (inherits or name == "torchrl.modules.models.models.MLP"):
        return None
    modules: list[nn.Module] = []
    for child in module:
        inner = sequence_of(child) if isinstance(child, nn.Sequential) else [child]
        if inner is None:
            return None
        modules += inner
    return modules


class Network:
    """A module or callable as a pure function: same numbers, no trace in the module.

    Inputs are joined along the last axis for a plain MLP, passed as they are to anything else, and cast to the dtype of
    the parameters (so that float64 observations reach a float32 victim). A plain chain of linear layers, tanh and ReLU
    is known as a `Chain`; its remaining modules, and any other module, run as they are in eval mode.

    Args:
        module: What to call.
        fast: Whether to look for the chain; False serves comparisons.

    Raises:
        ValueError: If an input lies on another device than the parameters.

    Example:
        >>> import torch
        >>> from torch import nn
        >>> net = nn.Sequential(nn.Linear(3, 8), nn.Tanh(), nn.Linear(8, 2))
        >>> x = torch.zeros(5, 3, dtype=torch.float64)
        >>> Network(net)(x).shape, Network(net).chain is not None
        (torch.Size([5, 2]), True)
    """

    def __init__(self, module: Callable[..., Any], *, fast: bool = True) -> None:
        self.module = module
        self.chain: Chain | None = None
        self.rest: list[nn.Module] = []
        self._modal: list[nn.Module] = []
        self._reference: Reference | None = None
        if isinstance(module, nn.Module):
            self._modal = mode_dependent(module)
            self._reference = reference_of(module)
            modules = sequence_of(module) if fast else None
            layers, known = split_chain(modules, Live) if modules is not None else ([], 0)
            if modules is not None and layers:
                self.chain, self.rest = Chain(layers), modules[known:]

    def __call__(self, *inputs: Tensor) -> Any:
        """Apply the module."""
        if self.chain is not None:
            return self.finish(self.chained(*inputs))
        inputs = tuple(self._cast(x) for x in inputs)
        if not self._modal:
            return self.module(*inputs)
        with quietly(self._modal):
            return self.module(*inputs)

    def chained(self, *inputs: Tensor) -> Tensor:
        """The chain's output; autograd may follow."""
        assert self.chain is not None
        cast = [self._cast(x) for x in inputs]
        return self.chain(torch.cat(cast, -1) if len(cast) > 1 else cast[0])

    def linearize(self, x: Tensor) -> tuple[Tensor, Pullback]:
        """The chain's output at x and the pullback to x; `finish` turns it into the network's output."""
        assert self.chain is not None
        y, pullback = self.chain.linearize(self._cast(x))
        return y, lambda grad: pullback(grad).to(x.dtype)

    def finish(self, y: Any) -> Any:
        """Apply the modules that follow the chain."""
        if not self._modal:
            for module in self.rest:
                y = module(y)
            return y
        with quietly(self._modal):
            for module in self.rest:
                y = module(y)
        return y

    def through(self, layers: Sequence[Layer]) -> Network:
        """The network whose chain goes on with these layers, instead of the modules after it."""
        assert self.chain is not None
        longer = copy.copy(self)
        longer.chain, longer.rest = Chain([*self.chain.layers, *layers]), []
        return longer

    def _cast(self, x: Any) -> Any:
        return adapted(x, self._reference)


@dataclass(frozen=True, eq=False)
class Reference:
    """A parameter or buffer of a module, read when it is called: it may have been moved or replaced."""

    owner: nn.Module
    name: str

    def __call__(self) -> Tensor:
        """The tensor as it is now."""
        return getattr(self.owner, self.name)  # type: ignore[no-any-return]


def reference_of(module: nn.Module) -> Reference | None:
    """The first floating-point parameter or buffer: its dtype and device are those of the inputs."""
    for owner in module.modules():
        for name, tensor in (*owner.named_parameters(recurse=False), *owner.named_buffers(recurse=False)):
            if tensor.is_floating_point():
                return Reference(owner, name)
    return None


def adapted(x: Any, reference: Reference | None) -> Any:
    """A tensor in the dtype of a victim's parameters; anything else as it is.

    Raises:
        ValueError: If it lies on another device than they do.
    """
    if reference is None or not isinstance(x, Tensor):
        return x
    mine = reference()
    if x.device != mine.device:
        raise ValueError(
            f"the victim's parameters are on `{mine.device}`, but its input is on `{x.device}`. "
            "Fix: give the wrapper device=..., or move the victim."
        )
    return x.to(mine.dtype) if x.is_floating_point() and x.dtype != mine.dtype else x
