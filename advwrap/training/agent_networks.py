"""The networks of trained agents by kind of policy, so that a file can be read back by its name."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor, nn

from advwrap.errors import check
from advwrap.victims import Categorical, Critic, Gaussian, Policy, TabularCritic, as_critic, as_policy


def mlp(inputs: int, outputs: int, hidden: tuple[int, ...]) -> nn.Sequential:
    """Linear layers with ReLU between them."""
    sizes = [inputs, *hidden, outputs]
    layers: list[nn.Module] = []
    for size, following in pairwise(sizes):
        layers += [nn.Linear(size, following), nn.ReLU()]
    return nn.Sequential(*layers[:-1])


def tanh_mlp(inputs: int, outputs: int, hidden: tuple[int, ...], *, last: float = 1.0) -> nn.Sequential:
    """Linear layers with tanh between them, orthogonal with gain sqrt(2), the last one with gain `last`.

    Example:
        >>> [type(layer).__name__ for layer in tanh_mlp(3, 1, (8,))]
        ['Linear', 'Tanh', 'Linear']
    """
    layers: list[nn.Module] = []
    for size, following in pairwise([inputs, *hidden, outputs]):
        linear = nn.Linear(size, following)
        nn.init.orthogonal_(linear.weight, math.sqrt(2))
        nn.init.zeros_(linear.bias)
        layers += [linear, nn.Tanh()]
    nn.init.orthogonal_(layers[-2].weight, last)  # type: ignore[arg-type]
    return nn.Sequential(*layers[:-1])


class ToBox(nn.Module):
    """From the real line to an action box: centre + reach tanh(x).

    Args:
        low: Lower limits of the box.
        high: Upper limits.
    """

    monotone = True
    """In each feature: what interval bounds must know of a layer."""

    centre: Tensor
    reach: Tensor

    def __init__(self, low: Tensor, high: Tensor) -> None:
        super().__init__()
        self.register_buffer("centre", (high + low) / 2, persistent=False)
        self.register_buffer("reach", (high - low) / 2, persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        """Squash."""
        return self.centre + self.reach * x.tanh()


@dataclass(frozen=True)
class Kind:
    """How an agent acts and values.

    Args:
        actor: (features, actions, hidden) -> the network of the policy.
        critic: (features, actions, hidden) -> the network of one critic.
        policy: (actor network, low, high) -> the policy that objectives attack.
        values: (critic networks) -> the critic that objectives read.
        acts: (mean of the policy, low, high) -> what the task takes.
        values_actions: Whether the critics are Q(s, a), not V(s).

    Example:
        >>> KINDS["deterministic"].actor(3, 1, (8,))(torch.zeros(5, 3)).shape
        torch.Size([5, 1])
    """

    actor: Callable[[int, int, tuple[int, ...]], nn.Module]
    critic: Callable[[int, int, tuple[int, ...]], nn.Module]
    policy: Callable[[Any, Tensor, Tensor], Policy]
    values: Callable[[tuple[nn.Module, ...]], Critic]
    acts: Callable[[Tensor, Tensor, Tensor], Tensor] = lambda mean, low, high: mean
    values_actions: bool = True

    @property
    def of_actions(self) -> Kind:
        """The kind whose critics value the actions of such a policy: this one, if its own do."""
        return self if self.values_actions else KINDS["deterministic"]


def actor_network(features: int, actions: int, hidden: tuple[int, ...]) -> nn.Sequential:
    """Observation -> (loc, scale) of a normal variable."""
    from tensordict.nn import NormalParamExtractor

    return nn.Sequential(mlp(features, 2 * actions, hidden), NormalParamExtractor())


def critic_network(features: int, actions: int, hidden: tuple[int, ...]) -> nn.Sequential:
    """Observation and action, joined -> value."""
    return mlp(features + actions, 1, hidden)


def free_scale_network(features: int, actions: int, hidden: tuple[int, ...]) -> nn.Sequential:
    """Observation -> (loc, scale) of a normal variable; the scale is a parameter that no observation changes."""
    from tensordict.nn import AddStateIndependentNormalScale

    return nn.Sequential(tanh_mlp(features, actions, hidden, last=0.01), AddStateIndependentNormalScale(actions))


def value_network(features: int, actions: int, hidden: tuple[int, ...]) -> nn.Sequential:
    """Observation -> value."""
    return tanh_mlp(features, 1, hidden)


def _gaussian(actor: nn.Module, low: Tensor, high: Tensor) -> Policy:
    return Gaussian(actor, squash=ToBox(low, high))


def _deterministic(actor: nn.Module, low: Tensor, high: Tensor) -> Policy:
    return as_policy(nn.Sequential(actor, ToBox(low, high)))


def _categorical(actor: nn.Module, low: Tensor, high: Tensor) -> Policy:
    return Categorical(actor)


def _free_scale(actor: nn.Sequential, low: Tensor, high: Tensor) -> Policy:
    loc, scale = actor
    # The network of the mean alone is a chain that attacks differentiate by hand.
    return Gaussian(loc, scale(torch.zeros_like(low))[1])


def _ensemble(critics: tuple[nn.Module, ...]) -> Critic:
    return as_critic(list(critics))


class _Tables:
    """An ensemble of tables of action values."""

    def __init__(self, critics: tuple[nn.Module, ...]) -> None:
        self.tables = [TabularCritic(critic) for critic in critics]

    def __call__(self, observation: Tensor, action: Tensor | None = None, context: object = None) -> Tensor:
        return torch.cat([table(observation, action) for table in self.tables])


class _StateValues:
    """An ensemble of values of the observation alone."""

    def __init__(self, critics: tuple[nn.Module, ...]) -> None:
        self.critic = as_critic(list(critics))

    def __call__(self, observation: Tensor, action: Tensor | None = None, context: object = None) -> Tensor:
        check(
            action is None,
            "`critic` must be Q(s, a) to value an action, got V(s).",
            fix="LowValue(value=agent.critic), which is agent.low_value.",
        )
        return self.critic(observation)


KINDS: Mapping[str, Kind] = {
    "gaussian": Kind(actor_network, critic_network, _gaussian, _ensemble),
    "deterministic": Kind(mlp, critic_network, _deterministic, _ensemble),
    "categorical": Kind(mlp, mlp, _categorical, _Tables, acts=lambda mean, low, high: mean.argmax(-1)),
    "free-scale": Kind(
        free_scale_network, value_network, _free_scale, _StateValues, acts=torch.clamp, values_actions=False
    ),
}
"""Squashed Gaussian (SAC), squashed deterministic (TD3), choice among n actions (discrete SAC), clipped Gaussian with
a standard deviation of its own (PPO)."""
