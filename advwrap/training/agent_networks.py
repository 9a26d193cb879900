"""The networks of trained agents by kind of policy, so that a file can be read back by its name."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from itertools import pairwise

import torch
from torch import Tensor, nn

from advwrap.victims import Categorical, Critic, Gaussian, Policy, TabularCritic, as_critic, as_policy


def mlp(inputs: int, outputs: int, hidden: tuple[int, ...]) -> nn.Sequential:
    """Linear layers with ReLU between them."""
    sizes = [inputs, *hidden, outputs]
    layers: list[nn.Module] = []
    for size, following in pairwise(sizes):
        layers += [nn.Linear(size, following), nn.ReLU()]
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
    """

    actor: Callable[[int, int, tuple[int, ...]], nn.Module]
    critic: Callable[[int, int, tuple[int, ...]], nn.Module]
    policy: Callable[[nn.Module, Tensor, Tensor], Policy]
    values: Callable[[tuple[nn.Module, ...]], Critic]


def actor_network(features: int, actions: int, hidden: tuple[int, ...]) -> nn.Sequential:
    """Observation -> (loc, scale) of a normal variable."""
    from tensordict.nn import NormalParamExtractor

    return nn.Sequential(mlp(features, 2 * actions, hidden), NormalParamExtractor())


def critic_network(features: int, actions: int, hidden: tuple[int, ...]) -> nn.Sequential:
    """Observation and action, joined -> value."""
    return mlp(features + actions, 1, hidden)


def _gaussian(actor: nn.Module, low: Tensor, high: Tensor) -> Policy:
    return Gaussian(actor, squash=ToBox(low, high))


def _deterministic(actor: nn.Module, low: Tensor, high: Tensor) -> Policy:
    return as_policy(nn.Sequential(actor, ToBox(low, high)))


def _categorical(actor: nn.Module, low: Tensor, high: Tensor) -> Policy:
    return Categorical(actor)


def _ensemble(critics: tuple[nn.Module, ...]) -> Critic:
    return as_critic(list(critics))


class _Tables:
    """An ensemble of tables of action values."""

    def __init__(self, critics: tuple[nn.Module, ...]) -> None:
        self.members = [TabularCritic(critic) for critic in critics]

    def __call__(self, observation: Tensor, action: Tensor | None = None, context: object = None) -> Tensor:
        return torch.cat([member(observation, action) for member in self.members])


KINDS: Mapping[str, Kind] = {
    "gaussian": Kind(actor_network, critic_network, _gaussian, _ensemble),
    "deterministic": Kind(mlp, critic_network, _deterministic, _ensemble),
    "categorical": Kind(mlp, mlp, _categorical, _Tables),
}
"""Squashed Gaussian (SAC), squashed deterministic (TD3), choice among n actions (discrete SAC)."""
