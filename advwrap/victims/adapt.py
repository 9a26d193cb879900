"""From whatever the user has to a `Policy` or a `Critic`, without importing libraries that are not in use."""

from __future__ import annotations

import inspect
import sys
from collections.abc import Callable, Sequence
from typing import Any

from torch import nn

from advwrap.victims.critic import Critic, NetworkCritic
from advwrap.victims.policy import Policy, any_output


def _is(value: object, library: str, name: str) -> bool:
    """isinstance, for a class of a library that is imported only if the value can come from it."""
    module = sys.modules.get(library)
    return module is not None and isinstance(value, getattr(module, name))


def as_policy(policy: Any, *, key: Any = None, agents: int = 1) -> Policy:
    """The victim as pure tensor functions.

    Args:
        policy: A `Policy`; a TorchRL actor (`ProbabilisticActor`, `QValueActor`, recurrent, plain); a
            Stable-Baselines3 model; or a module or callable ``observation -> action``, ``-> (loc, scale)`` or
            ``-> torch.distributions.Distribution`` (logits: wrap it in `advwrap.victims.Categorical`). A module whose
            attribute `policy` is a `Policy` says itself how it is read.
        key: For TensorDict actors, which in_key is the observation, where that is not clear.
        agents: For TensorDict actors of many agents, how many there are.

    Raises:
        TypeError: If it is none of these.

    Example:
        >>> from torch import nn
        >>> import torch
        >>> as_policy(torch.nn.Linear(3, 2)).mean(torch.zeros(1, 3)).shape
        torch.Size([1, 2])
    """
    if isinstance(policy, Policy):
        return policy
    if _is(policy, "tensordict.nn", "TensorDictModuleBase"):
        from advwrap.victims.tensordict_policy import from_actor

        return from_actor(policy, key=key, agents=agents)
    if _is_sb3(policy):
        from advwrap.victims.sb3 import policy_of

        return policy_of(policy)
    if isinstance(policy, nn.Module) and isinstance(getattr(policy, "policy", None), Policy):
        return policy.policy  # type: ignore[return-value]
    if callable(policy):
        return any_output(policy)
    raise TypeError(
        f"`policy` must be a module, a callable, a TensorDict actor or a Stable-Baselines3 model, "
        f"got {type(policy).__name__}."
    )


def as_critic(critic: Any) -> Critic:
    """A critic as a pure tensor function.

    Args:
        critic: A TorchRL loss (its live critics are read), a TensorDict critic, a Stable-Baselines3 model, a module or
            callable ``(observation[, action]) -> values``, a list of them, or anything that is called as a `Critic` is:
            ``(observation, action, context)``.

    Raises:
        TypeError: If it is none of these.

    Example:
        >>> from torch import nn
        >>> import torch
        >>> as_critic([torch.nn.Linear(3, 1)] * 2)(torch.zeros(5, 3)).shape
        torch.Size([2, 5])
    """
    if _is(critic, "tensordict.nn", "TensorDictModuleBase"):
        from advwrap.victims.tensordict_critic import from_module

        return from_module(critic)
    if _is_sb3(critic):
        from advwrap.victims.sb3 import critic_of

        return critic_of(critic)
    if _is_adapted(critic):
        return critic  # type: ignore[no-any-return]
    if isinstance(critic, Sequence) and not isinstance(critic, str):
        return NetworkCritic(critic)
    if callable(critic):
        return NetworkCritic([critic])
    raise TypeError(
        f"`critic` must be a TorchRL loss, a TensorDict critic, a module, a callable or a list of them, "
        f"got {type(critic).__name__}."
    )


def _is_adapted(critic: Any) -> bool:
    """Whether it is called as a `Critic` is, with a context: an adapter, ours or another."""
    if isinstance(critic, nn.Module) or not callable(critic):
        return False
    try:
        return "context" in inspect.signature(critic).parameters
    except ValueError:  # a builtin without a signature
        return False


def _is_sb3(value: object) -> bool:
    return _is(value, "stable_baselines3.common.base_class", "BaseAlgorithm") or _is(
        value, "stable_baselines3.common.policies", "BasePolicy"
    )


AnyPolicy = Policy | Callable[..., Any]
AnyCritic = Critic | Callable[..., Any] | Sequence[Callable[..., Any]]
