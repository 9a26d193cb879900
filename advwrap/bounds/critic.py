"""Which values a critic can give over a box of states and actions."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from advwrap.bounds.box import Box
from advwrap.bounds.layers import IntervalLayer, interval_layers
from advwrap.bounds.network import IntervalNetwork, plain_chain, through
from advwrap.victims import AnyCritic, Critic, NetworkCritic, as_critic
from advwrap.victims.tensordict_critic import LossCritic, OperatorCritic
from advwrap.victims.tensordict_policy import network_of


class ValueBounds:
    """Bounds of V(s) or Q(s, a) over a box of states, of actions, or of both.

    low_e <= Q_e(s, a) <= high_e   for every s and a in their boxes and every member e of an ensemble

    by interval bound propagation (`IntervalNetwork`). The critics of a TorchRL loss are bounded with the weights that
    the loss has at the time of the call, and the bounds are differentiable with respect to them.

    Source: Gowal et al. 2018; as a regulariser of Q(s, .) over a box of actions: robust Sarsa, Zhang et al. 2020.

    Args:
        critic: Anything that `advwrap.victims.as_critic` takes and that is a plain chain of layers: a network of state
            and action joined, a list of them, a TorchRL `ValueOperator`, a TorchRL loss (its live critics, stacked).

    Shapes: state, action: [B, features] or a box of that shape -> low, high [E, B].

    Raises:
        TypeError: If the critic is not a plain chain.

    Example:
        >>> from torch import nn
        >>> q = nn.Sequential(nn.Linear(3, 8), nn.Tanh(), nn.Linear(8, 1))
        >>> actions = Box(torch.full((5, 1), -1.0), torch.full((5, 1), 1.0))
        >>> ValueBounds(q)(torch.zeros(5, 2), actions).low.shape
        torch.Size([1, 5])
    """

    def __init__(self, critic: AnyCritic) -> None:
        self.critic: Critic = as_critic(critic)
        self.action_first = False
        self._networks: Sequence[Callable[[Box], Box]]
        if isinstance(self.critic, NetworkCritic):
            self._networks = [IntervalNetwork(network.module) for network in self.critic.networks]
        elif isinstance(self.critic, OperatorCritic) and self.critic.network is not None:
            self._networks = [IntervalNetwork(self.critic.network.module)]
            self.action_first = _action_first(self.critic.operator)
        elif isinstance(self.critic, LossCritic):
            self._networks = [_Stacked(self.critic)]
            self.action_first = _action_first(self.critic.template)
        else:
            raise TypeError(
                f"`critic` must be a chain of layers of state and action, got {type(self.critic).__name__}. "
                "Fix: pass its network, or a list of networks."
            )

    def __call__(self, state: Tensor | Box, action: Tensor | Box | None = None) -> Box:
        """The box of values of every member."""
        boxes = [Box.point(x) if isinstance(x, Tensor) else x for x in (state, action) if x is not None]
        if self.action_first:
            boxes.reverse()
        joined = Box(torch.cat([box.low for box in boxes], -1), torch.cat([box.high for box in boxes], -1))
        found = [network(joined) for network in self._networks]
        return Box(_members([box.low for box in found]), _members([box.high for box in found]))


class _Stacked:
    """The critics that a loss trains, all at once."""

    def __init__(self, critic: LossCritic) -> None:
        self.critic = critic
        paths = {id(module): tuple(name.split(".")) for name, module in critic.template.named_modules()}
        self.layers: list[IntervalLayer] = interval_layers(
            plain_chain(network_of(critic.template)), lambda layer: _Live(critic, paths[id(layer)])
        )

    def __call__(self, box: Box) -> Box:
        return through(self.layers, box)


@dataclass(frozen=True, eq=False)
class _Live:
    """The weights that one layer of the loss's critics has at the time of the call, as parameters that learn."""

    critic: LossCritic
    path: tuple[str, ...]

    def __call__(self) -> tuple[Tensor, Tensor | None]:
        params = self.critic.params
        return params.get((*self.path, "weight")), params.get((*self.path, "bias"), None)


def _action_first(module: Any) -> bool:
    names = [key if isinstance(key, str) else key[-1] for key in module.in_keys]
    return names[0] in ("action", "executed_action")


def _members(ends: Sequence[Tensor]) -> Tensor:
    """[B, 1] of each network, or [E, B, 1] of a stack -> [E, B]."""
    rows = [end.squeeze(-1) for end in ends]
    return rows[0] if len(rows) == 1 and rows[0].ndim == 2 else torch.stack(rows)
