"""A policy whose parameters get gradients, and what is read of a batch for it."""

from __future__ import annotations

from collections.abc import Callable

import torch
from tensordict.utils import NestedKey
from torch import Tensor, nn

from advwrap.victims import AnyPolicy, Context, Network, Policy, as_policy
from advwrap.victims.heads import DeterministicHead
from advwrap.victims.laws import NormalLaw
from advwrap.victims.tensordict_heads import SquashedHead

Coefficient = float | Tensor | Callable[[], float | Tensor]
"""A weight: a number, or a schedule that is asked at every call."""


def trained(actor: AnyPolicy, *, key: NestedKey | None = None, agents: int = 1) -> tuple[Policy, nn.Module]:
    """A policy through which gradients reach the parameters, and the module that holds these.

    For attacks the weights of a plain network are constants; this goes through the network itself.

    Args:
        actor: A TensorDict actor, a network, or a `Policy` of a network.
        key: For TensorDict actors, which in_key is the observation.
        agents: For TensorDict actors of many agents, how many there are.

    Raises:
        TypeError: If there is no module to train.

    Example:
        >>> import torch
        >>> policy, net = trained(nn.Linear(2, 1))
        >>> policy.mean(torch.ones(1, 2)).sum().backward()
        >>> net.weight.grad
        tensor([[1., 1.]])
    """
    policy = as_policy(actor, key=key, agents=agents)
    module = actor if policy.network is None or isinstance(actor, nn.Module) else policy.network.module
    if not isinstance(module, nn.Module):
        raise TypeError(
            f"`actor` must be a module whose parameters can be trained, got {type(actor).__name__}. "
            "Fix: pass the actor, its network, or Gaussian(network, std)."
        )
    if policy.network is not None:
        policy = Policy(Network(policy.network.module, fast=False), policy.head, read=policy.read)
    return policy, module


def sampled(policy: Policy, observation: Tensor, context: Context | None, normal: Tensor | None = None) -> Tensor:
    """Actions of a continuous policy, as a differentiable function of its parameters; a deterministic one has its own.

    a = squash(mu(s) + sigma(s) xi),   xi ~ N(0, I)

    Args:
        policy: The policy.
        observation: What it reads.
        context: What else it reads.
        normal: xi; from torch's global generator by default, as in TorchRL's losses.

    Shapes: observation [B, ...] -> [B, A].

    Raises:
        TypeError: If the policy is not continuous.

    Example:
        >>> import torch
        >>> from advwrap.victims import Gaussian
        >>> sampled(Gaussian(nn.Identity(), 0.5), torch.zeros(1, 2), None, torch.ones(1, 2))
        tensor([[0.5000, 0.5000]])
    """
    output = policy.output(observation, context)
    law = policy.head.law(output)
    if not isinstance(law, NormalLaw):
        raise TypeError(f"the policy must be continuous, got {policy}.")
    if isinstance(policy.head, (DeterministicHead, SquashedHead)):
        return policy.head.mean(output)
    action = law.loc + law.scale * (torch.randn_like(law.loc) if normal is None else normal)
    squash = getattr(policy.head, "squash", None)
    return action if squash is None else squash(action)


def present(value: Coefficient) -> float | Tensor:
    """The value of a coefficient now.

    Example:
        >>> present(0.5), present(lambda: 0.25)
        (0.5, 0.25)
    """
    return value() if callable(value) else value
