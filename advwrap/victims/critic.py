"""Critics as the objectives see them: value functions of an observation, and of an action where they take one."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Protocol, runtime_checkable

import torch
from torch import Tensor

from advwrap.victims.context import Context
from advwrap.victims.network import Network


class Critic(Protocol):
    """V(s) or Q(s, a) of an ensemble of E critics (E = 1 for a single one)."""

    def __call__(self, observation: Tensor, action: Tensor | None = None, context: Context | None = None) -> Tensor:
        """Values, shape [E, B].

        Args:
            observation: The state, [B, ...].
            action: The action for a Q function: [B, A], or indices / one-hot rows for a table of action values; None
                for V.
            context: What else the critic reads.
        """
        ...


@runtime_checkable
class Ensemble(Critic, Protocol):
    """Critics that can also be asked one by one, for the price of one of them per row."""

    @property
    def members(self) -> int:
        """How many there are."""
        ...

    def apart(self, observation: Tensor, action: Tensor | None = None, context: Context | None = None) -> Tensor:
        """Values of E B rows, each by one member: the first B by the first one. Shape [E B]."""
        ...


class NetworkCritic:
    """V or Q from modules or callables on tensors.

    Args:
        networks: One network per member of the ensemble. V: ``net(observation)``; Q: ``net(observation, action)``, or
            ``net(observation) -> [B, n]`` for discrete actions. A plain MLP gets both inputs joined.

    Example:
        >>> import torch
        >>> from torch import nn
        >>> q = NetworkCritic([nn.Linear(4, 1), nn.Linear(4, 1)])
        >>> q(torch.zeros(5, 3), torch.zeros(5, 1)).shape
        torch.Size([2, 5])
    """

    def __init__(self, networks: Sequence[Callable[..., Any]]) -> None:
        self.networks = [Network(net) for net in networks]

    def __call__(self, observation: Tensor, action: Tensor | None = None, context: Context | None = None) -> Tensor:
        """Values, shape [E, B]."""
        inputs = (observation,) if action is None else (observation, action)
        outputs = [net(*inputs) for net in self.networks]
        return torch.cat([ensemble(out, observation.shape[0]) for out in outputs])

    @property
    def members(self) -> int:
        """How many networks there are."""
        return len(self.networks)

    def apart(self, observation: Tensor, action: Tensor | None = None, context: Context | None = None) -> Tensor:
        """Values of E B rows, each by one network (the least, where it is an ensemble itself). Shape [E B]."""
        given = (observation,) if action is None else (observation, action)
        parts = zip(*(value.chunk(self.members) for value in given), strict=True)
        outputs = (ensemble(net(*part), len(part[0])) for net, part in zip(self.networks, parts, strict=True))
        return torch.cat([out.amin(0) for out in outputs])


class TabularCritic:
    """Q for discrete actions: a network from the observation to one value per action.

    Args:
        network: ``net(observation) -> [B, n]``.

    Shapes: action: indices [B] (or [B, 1]), or one-hot / probability rows [B, n], over which the value is averaged.

    Example:
        >>> import torch
        >>> q = TabularCritic(lambda obs: torch.tensor([[1.0, 2.0]]))
        >>> q(torch.zeros(1, 3), torch.tensor([1]))
        tensor([[2.]])
    """

    def __init__(self, network: Callable[..., Any]) -> None:
        self.network = Network(network)

    def __call__(self, observation: Tensor, action: Tensor | None = None, context: Context | None = None) -> Tensor:
        """Values, shape [1, B]; the best action's without an action."""
        values = self.network(observation)
        if action is None:
            return values.amax(-1).unsqueeze(0)  # type: ignore[no-any-return]
        return value_of(values, action).unsqueeze(0)


def value_of(values: Tensor, action: Tensor) -> Tensor:
    """The value of an action index, or the mean value under one-hot or probability rows; [B, n] -> [B]."""
    if action.is_floating_point() or action.shape == values.shape:
        return (values * action).sum(-1)
    return values.gather(-1, action.reshape(values.shape[0], 1)).squeeze(-1)


def ensemble(values: Any, rows: int) -> Tensor:
    """Bring the output of a critic to [E, B]: a tuple of members, [B], [B, 1], [E, B] or [E, B, 1].

    Raises:
        TypeError: If it is none of them.
    """
    if isinstance(values, (tuple, list)):
        return torch.cat([ensemble(value, rows) for value in values])
    if isinstance(values, Tensor):
        table: Tensor = values.squeeze(-1) if values.ndim > 1 and values.shape[-1] == 1 else values
        if table.shape == (rows,):
            return table.unsqueeze(0)
        if table.ndim == 2 and table.shape[1] == rows:
            return table
    shape = tuple(values.shape) if isinstance(values, Tensor) else type(values).__name__
    raise TypeError(
        f"a critic must return one value per row ([B] or [B, 1], {rows} rows) or an ensemble [E, B, 1], got {shape}. "
        "Fix: for a table of action values use advwrap.victims.TabularCritic(net)."
    )
