"""A policy whose parameters get gradients, and what is read of a batch for it."""

from __future__ import annotations

import torch
from tensordict.utils import NestedKey
from torch import Tensor, nn

from advwrap.victims import AnyPolicy, Context, Network, Policy, as_policy
from advwrap.victims.heads import DeterministicHead, OutputHead
from advwrap.victims.laws import NormalLaw
from advwrap.victims.tensordict_heads import SquashedHead


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


def key_of(actor: AnyPolicy, key: NestedKey) -> NestedKey | None:
    """Which in_key of a TensorDict actor is meant by the observation; other policies have none."""
    return key if hasattr(actor, "in_keys") else None


def sampled(
    policy: Policy, observation: Tensor, context: Context | None = None, *, generator: torch.Generator | None = None
) -> Tensor:
    """Actions of a continuous policy, as a differentiable function of its parameters; a deterministic one has its own.

    a = squash(mu(s) + sigma(s) xi),   xi ~ N(0, I)

    Args:
        policy: The policy.
        observation: What it reads.
        context: What else it reads.
        generator: Draws xi; by default torch's global one, as in TorchRL's losses.

    Shapes: observation [B, ...] -> [B, A].

    Raises:
        TypeError: If it is another kind of policy, discrete for example.

    Example:
        >>> import torch
        >>> from advwrap.victims import Gaussian
        >>> generator = torch.Generator().manual_seed(0)
        >>> sampled(Gaussian(nn.Identity(), 0.5), torch.zeros(1000, 1), generator=generator).std()
        tensor(0.5143)
    """
    output = policy.output(observation, context)
    law = policy.head.law(output)
    if not isinstance(law, NormalLaw):
        raise TypeError(f"the policy must be normal, squashed normal or deterministic, got {policy}.")
    bare = isinstance(policy.head, OutputHead) and isinstance(output, Tensor)
    if bare or isinstance(policy.head, (DeterministicHead, SquashedHead)):
        return policy.head.mean(output)
    loc = law.loc
    normal = torch.randn(loc.shape, generator=generator, dtype=loc.dtype, device=loc.device)
    action = loc + law.scale * normal
    squash = getattr(policy.head, "squash", None)
    return action if squash is None else squash(action)
