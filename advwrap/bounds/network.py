"""Interval bound propagation: a box of inputs through a network."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from torch import Tensor, nn

from advwrap.bounds.box import Box
from advwrap.bounds.layers import IntervalLayer, interval_layers
from advwrap.victims.network import Live, sequence_of


class IntervalNetwork:
    """Interval bound propagation (IBP): bounds of a network's outputs over a box of inputs.

    Each linear layer maps centre c and radius r of the box before it to W c + b and |W| r, each activation the ends:

    low' = f(W c + b - |W| r),   high' = f(W c + b + |W| r)

    For every x with low <= x <= high the output lies between the results, up to the rounding of the dtype. Exact for
    one linear layer with activations around it; wider with every further one, because it forgets how features depend
    on each other. The weights are read at each call and the result is differentiable with respect to them and to the
    ends, so that it can be trained on.

    Source: Gowal et al., *On the effectiveness of interval bound propagation for training verifiably robust models*,
        2018, eq. (6) and (7).

    Args:
        network: A plain chain: `nn.Linear`, `nn.Sequential` (also nested) or torchrl's `MLP` of linear layers and the
            usual activations. It is bounded as it is in eval mode.

    Shapes: low, high [B, in] -> [B, out].

    Raises:
        TypeError: If the bounds of a part are not known.

    Example:
        >>> import torch
        >>> net = nn.Sequential(nn.Linear(2, 8), nn.Tanh(), nn.Linear(8, 1))
        >>> low, high = IntervalNetwork(net)(Box(torch.full((1, 2), -0.1), torch.full((1, 2), 0.1)))
        >>> bool((low <= net(torch.zeros(1, 2))).all() and (net(torch.zeros(1, 2)) <= high).all())
        True
    """

    def __init__(self, network: Callable[..., Any]) -> None:
        self.layers = interval_layers(plain_chain(network), Live)

    def __call__(self, box: Box) -> Box:
        """The box of outputs."""
        return through(self.layers, box)


def interval_bounds(network: Callable[..., Any], low: Tensor, high: Tensor) -> Box:
    """Bounds of a network's outputs over a box of inputs, in one call; see `IntervalNetwork`.

    Example:
        >>> import torch
        >>> net = nn.Linear(2, 1, bias=False)
        >>> _ = net.weight.data.copy_(torch.tensor([[1.0, -2.0]]))
        >>> low, high = interval_bounds(net, torch.zeros(1, 2), torch.ones(1, 2))
        >>> low.item(), high.item()
        (-2.0, 1.0)
    """
    return IntervalNetwork(network)(Box(low, high))


def through(layers: Sequence[IntervalLayer], box: Box) -> Box:
    """The box after all layers."""
    for layer in layers:
        box = layer(box)
    return box


def plain_chain(network: Any) -> list[nn.Module]:
    """The modules that a network applies one after the other.

    Raises:
        TypeError: If it does anything else.
    """
    modules = sequence_of(network) if isinstance(network, nn.Module) else None
    if modules is None:
        raise TypeError(
            f"interval bounds need a chain of layers, got {type(network).__name__}. "
            "Fix: nn.Sequential or torchrl's MLP, without hooks."
        )
    return modules
