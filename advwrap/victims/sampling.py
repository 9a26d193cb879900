"""A policy that plays: its deterministic action, or a sample drawn from streams of our own."""

from __future__ import annotations

import torch
from torch import Tensor

from advwrap.randomness import Streams
from advwrap.victims.context import Context
from advwrap.victims.laws import CategoricalLaw
from advwrap.victims.policy import Policy


def best_action(policy: Policy, observation: Tensor, context: Context | None = None) -> Tensor:
    """The deterministic action: the mean of a continuous policy, the most likely index of a discrete one.

    Shapes: observation [B, ...] -> action [B, A], or indices [B].

    Example:
        >>> import torch
        >>> from advwrap.victims import Categorical
        >>> best_action(Categorical(lambda obs: obs), torch.tensor([[0.0, 3.0, 1.0]]))
        tensor([1])
    """
    with torch.no_grad():
        if policy.acting is not None:
            return policy.mean(observation, context)
        output = policy.output(observation, context)
        law = policy.head.law(output)
        return law.mode() if isinstance(law, CategoricalLaw) else policy.head.mean(output)


def sampled_action(policy: Policy, observation: Tensor, streams: Streams, context: Context | None = None) -> Tensor:
    """A sample of the policy, in the units of its actions; a deterministic policy plays its one action.

    The draws come from `streams`, one per row: no global generator moves, and a row draws the same numbers whatever
    its neighbours do.

    Shapes: observation [B, ...] -> action [B, A], or indices [B].

    Raises:
        TypeError: If the distribution is neither normal (squashed or not) nor categorical.

    Example:
        >>> import torch
        >>> from advwrap.victims import Gaussian
        >>> policy = Gaussian(lambda obs: obs, std=0.1)
        >>> sample = sampled_action(policy, torch.zeros(2, 3), Streams.seeded([0, 1]))
        >>> sample.shape, bool((sample != 0).all())
        (torch.Size([2, 3]), True)
    """
    with torch.no_grad():
        output = policy.output(observation, context)
        law = policy.head.law(output)
        if not isinstance(law, CategoricalLaw):
            return policy.head.draw(output, streams.normal)[0]
        # Gumbel's trick: the index of the largest logit + noise is a with probability p_a.
        logits = law.logits.double()
        unit = streams.uniform(logits).clamp_min(2.0**-54)
        return (logits - (-unit.log()).log()).argmax(-1)
