"""A victim policy as the objectives see it: pure tensor functions of the observation."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.distributions import Distribution

from advwrap.victims.heads import CategoricalHead, DeterministicHead, DistributionHead, Head, NormalHead
from advwrap.victims.network import Network

Context = Mapping[str, Any]
"""What else the victim reads: recurrent state, action mask, the observation when the action is attacked."""

Forward = Callable[[Tensor, Any], Any]


class Policy:
    """A victim policy: a pure function of the observation, and a head that reads its output.

    Args:
        forward: ``forward(observation, context) -> output``.
        head: How the output becomes an action and a distribution.

    Shapes: observations [B, ...] -> mean [B, A] (or probabilities [B, n]), distribution with batch shape [B].

    Example:
        >>> policy = Policy(lambda obs, context: obs * 2, DeterministicHead())
        >>> policy.mean(torch.ones(1, 3))
        tensor([[2., 2., 2.]])
    """

    def __init__(self, forward: Forward, head: Head) -> None:
        self.forward = forward
        self.head = head

    def mean(self, observation: Tensor, context: Context | None = None) -> Tensor:
        """The deterministic action [B, A] of a continuous policy, the probabilities [B, n] of a discrete one."""
        return self.head.mean(self.forward(observation, context))

    def distribution(self, observation: Tensor, context: Context | None = None) -> Distribution:
        """The action distribution, before a tanh where there is one."""
        return self.head.distribution(self.forward(observation, context))

    def __repr__(self) -> str:
        return f"Policy({self.head})"


def Deterministic(net: Callable[..., Any]) -> Policy:  # noqa: N802 - reads as the kind of policy that it makes
    """A network or callable whose output is the action itself, shape [B, A].

    Example:
        >>> Deterministic(nn.Linear(3, 2)).mean(torch.zeros(1, 3)).shape
        torch.Size([1, 2])
    """
    return Policy(_reading(net), DeterministicHead())


def Categorical(net: Callable[..., Any]) -> Policy:  # noqa: N802
    """A network or callable whose output is logits, or action values, shape [B, n].

    Example:
        >>> bool(Categorical(nn.Linear(3, 2)).mean(torch.zeros(1, 3)).sum() - 1 < 1e-6)
        True
    """
    return Policy(_reading(net), CategoricalHead())


def Gaussian(  # noqa: N802
    net: Callable[..., Any],
    std: Tensor | float | None = None,
    *,
    squash: Callable[[Tensor], Tensor] | None = None,
) -> Policy:
    """A network or callable whose output is (loc, scale), or loc alone with a given `std`.

    Args:
        net: observation [B, ...] -> (loc, scale), each [B, A]; or loc.
        std: The standard deviation where the network gives only loc: a number or one per action feature.
        squash: The map from the normal variable to the action, such as `torch.tanh`.

    Example:
        >>> Gaussian(nn.Linear(3, 2), std=0.5, squash=torch.tanh).distribution(torch.zeros(1, 3)).stddev
        tensor([[0.5000, 0.5000]])
    """
    return Policy(_reading(net), NormalHead(squash, std))


def any_output(net: Callable[..., Any]) -> Policy:
    """A policy from a bare module or callable: what it returns at the first call decides the head."""
    return Policy(_reading(net), _ByOutput())


def _reading(net: Callable[..., Any]) -> Forward:
    network = Network(net)
    return lambda observation, context: network(observation)


class _ByOutput:
    """A tensor is an action, a pair is (loc, scale), a distribution is itself."""

    def mean(self, output: Any) -> Tensor:
        return self._head(output).mean(output)

    def distribution(self, output: Any) -> Distribution:
        return self._head(output).distribution(output)

    def _head(self, output: Any) -> Head:
        head: Head
        if isinstance(output, Distribution):
            head = DistributionHead()
        elif isinstance(output, tuple) and len(output) == 2:
            head = NormalHead()
        else:
            head = DeterministicHead()
        return head
