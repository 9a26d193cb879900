"""How the output of a network becomes a policy: its deterministic action and its distribution."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

import torch
from torch import Tensor
from torch.distributions import Distribution

from advwrap.victims.laws import CategoricalLaw, Law, NormalLaw, law_of
from advwrap.victims.slope import log_slope

Normal = Callable[[Tensor], Tensor]
"""Returns numbers from N(0, 1) in the shape of its argument: `Streams.normal`, say."""


class Head(Protocol):
    """Turns network outputs into an action and a distribution; the first axis is the batch."""

    def mean(self, output: Any) -> Tensor:
        """The deterministic action [B, A] of a continuous policy, the probabilities [B, n] of a discrete one."""
        ...

    def law(self, output: Any) -> Law:
        """The action distribution, before a tanh where there is one."""
        ...

    def draw(self, output: Any, normal: Normal) -> tuple[Tensor, Tensor]:
        """A random action [B, A] that can be differentiated, and its log-density [B], after a tanh.

        The probabilities and minus the entropy of a discrete policy: what a random action would give on average.
        A deterministic policy has no density; 0 stands for it.
        """
        ...


@dataclass(frozen=True)
class DeterministicHead:
    """The output is the action. As a distribution it is a normal of unit variance around it."""

    def mean(self, output: Tensor) -> Tensor:
        """The output itself."""
        return _tensor(output)

    def law(self, output: Tensor) -> Law:
        """N(output, 1): its KL divergence is half the squared distance of the actions."""
        return NormalLaw(_tensor(output), torch.ones_like(output))

    def draw(self, output: Tensor, normal: Normal) -> tuple[Tensor, Tensor]:
        """The output and 0."""
        return _tensor(output), output.new_zeros(output.shape[:1])


@dataclass(frozen=True)
class NormalHead:
    """The output is (loc, scale), squashed by `squash` before it acts.

    Args:
        squash: The map from the normal variable to the action (a tanh, say); None where there is none.
        std: A fixed scale, for a network whose output is only the loc.
    """

    squash: Callable[[Tensor], Tensor] | None = None
    std: Tensor | float | None = None

    def mean(self, output: Any) -> Tensor:
        """squash(loc)."""
        loc = _tensor(output if self.std is not None else output[0])
        return loc if self.squash is None else self.squash(loc)

    def law(self, output: Any) -> Law:
        """N(loc, scale) before squashing: a common bijection changes no divergence."""
        if self.std is None:
            loc, scale = output
            return NormalLaw(loc, scale)
        return NormalLaw(output, torch.as_tensor(self.std, dtype=output.dtype, device=output.device).expand_as(output))

    def draw(self, output: Any, normal: Normal) -> tuple[Tensor, Tensor]:
        """squash(z), z = loc + scale xi, and log N(z; loc, scale) - sum_j log |squash'(z_j)|."""
        return _reparameterised(self.law(output), self.squash, normal)


@dataclass(frozen=True)
class CategoricalHead:
    """The output is the logits, or the action values of a greedy policy: shape [B, n]."""

    def mean(self, output: Tensor) -> Tensor:
        """softmax(logits)."""
        return _tensor(output).softmax(-1)

    def law(self, output: Tensor) -> Law:
        """Categorical(logits)."""
        return CategoricalLaw(_tensor(output))

    def draw(self, output: Tensor, normal: Normal) -> tuple[Tensor, Tensor]:
        """The probabilities [B, n] and sum_a p_a log p_a: no action is drawn."""
        return _expected(self.law(output))


@dataclass(frozen=True)
class DistributionHead:
    """The output is a `torch.distributions` object already."""

    def mean(self, output: Distribution) -> Tensor:
        """Probabilities, or the deterministic sample, mode or mean of the distribution itself (after a tanh)."""
        law = law_of(output)
        return law.probs if isinstance(law, CategoricalLaw) else law.mode()

    def law(self, output: Distribution) -> Law:
        """Its closed form where there is one."""
        return law_of(output)

    def draw(self, output: Distribution, normal: Normal) -> tuple[Tensor, Tensor]:
        """Of a normal or a categorical one."""
        law = law_of(output)
        return _expected(law) if isinstance(law, CategoricalLaw) else _reparameterised(law, None, normal)


@dataclass(frozen=True)
class OutputHead:
    """Decides by what comes: a tensor is an action, a pair is (loc, scale), a distribution is itself."""

    def mean(self, output: Any) -> Tensor:
        """The deterministic action, or probabilities."""
        return self._head(output).mean(output)

    def law(self, output: Any) -> Law:
        """The action distribution."""
        return self._head(output).law(output)

    def draw(self, output: Any, normal: Normal) -> tuple[Tensor, Tensor]:
        """A random action and its log-density."""
        return self._head(output).draw(output, normal)

    def _head(self, output: Any) -> Head:
        if isinstance(output, Distribution):
            return DistributionHead()
        return NormalHead() if isinstance(output, tuple) and len(output) == 2 else DeterministicHead()


def _tensor(output: Any) -> Tensor:
    if not isinstance(output, Tensor):
        raise TypeError(
            f"the victim must return a tensor, a (loc, scale) pair or a distribution, got {type(output).__name__}. "
            "Fix: wrap it in advwrap.victims.Deterministic, Gaussian or Categorical."
        )
    return output


def _reparameterised(law: Law, squash: Callable[[Tensor], Tensor] | None, normal: Normal) -> tuple[Tensor, Tensor]:
    if not isinstance(law, NormalLaw):
        kind = type(getattr(law, "distribution", law)).__name__
        raise TypeError(
            f"no random action can be drawn from the victim's {kind} with random numbers of ours. "
            "Fix: wrap its network in advwrap.victims.Gaussian(net, squash=torch.tanh), or use its mean action."
        )
    z = law.loc + law.scale * normal(law.loc)
    action = z if squash is None else squash(z)
    return action, law.log_prob(z) - log_slope(squash, z)


def _expected(law: Law) -> tuple[Tensor, Tensor]:
    assert isinstance(law, CategoricalLaw)
    probs = law.probs
    return probs, (probs * law.logits.log_softmax(-1)).sum(-1)
