"""What can play: a function of a batch of observations, a network, an actor, an agent."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol

import gymnasium as gym
from torch import Tensor, nn

from advwrap.victims import Policy, as_policy


class Acts(Protocol):
    """Chooses actions [rows, ...] from observations [rows, ...], each row on its own.

    Observations arrive as CPU tensors, floating point in torch's default dtype, dicts and tuples as
    such; actions may be tensors on any device or arrays. It is called without gradients and is not
    told where an episode begins.
    """

    def __call__(self, observation: Any, /) -> Any:
        """The actions."""
        ...


@dataclass(frozen=True)
class Agent:
    """A policy, and the critic that some attacks against it climb.

    Args:
        policy: Whatever `acting` takes.
        critic: Whatever `LowValue` takes, if there is one.
    """

    policy: Any
    critic: Any | None = None


def acting(policy: Any, space: gym.Space[Any]) -> Acts:
    """The function that plays: deterministic, so that only the task and the attack are random.

    Args:
        policy: A function, which is called as it is (see `Acts`). Or a network, a TorchRL actor, a
            Stable-Baselines3 model or a `Policy`, which plays its mean action; for discrete actions
            the one of the highest probability, logit or value.
        space: The action space of one environment.

    Raises:
        TypeError: If the policy is none of these.

    Example:
        >>> import torch
        >>> net = nn.Linear(4, 2, bias=False)
        >>> act = acting(net, gym.spaces.Discrete(2))
        >>> act(torch.ones(3, 4)).tolist() == [int(net.weight.sum(1).argmax())] * 3
        True
    """
    if callable(policy) and not isinstance(policy, nn.Module):
        return policy  # type: ignore[no-any-return]
    victim: Policy = as_policy(policy)
    weight = next(policy.parameters(), None) if isinstance(policy, nn.Module) else None

    def play_mean(observation: Any, /) -> Tensor:
        mean = victim.mean(observation if weight is None else observation.to(weight.device))
        if isinstance(space, gym.spaces.Discrete) and mean.is_floating_point():
            return mean.argmax(dim=-1) + int(space.start)
        return mean

    return play_mean
