"""The action distributions of a policy in closed form: what the objectives ask of them, and nothing else.

`torch.distributions` would answer too, but building its objects in every gradient step costs more than the network.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Protocol, TypeVar

import torch
from torch import Tensor
from torch.distributions import Distribution, kl_divergence
from torch.nn import functional as F


class Law(Protocol):
    """A batch of B action distributions."""

    def log_prob(self, action: Tensor) -> Tensor:
        """Log p(action), [B]."""
        ...

    def kl(self, other: Law) -> Tensor:
        """KL(self || other), [B]."""
        ...

    def cross_entropy(self, other: Law) -> Tensor:
        """H(self, other) = - E_self[log other], [B]."""
        ...

    def mode(self) -> Tensor:
        """The most likely action: [B, A], or indices [B]."""
        ...


@dataclass(frozen=True, eq=False)
class NormalLaw:
    """Independent normals N(loc_j, scale_j), before a tanh where there is one.

    Shapes: loc, scale [B, A].

    Example:
        >>> import torch
        >>> p, q = NormalLaw(torch.zeros(1, 1), torch.ones(1, 1)), NormalLaw(torch.ones(1, 1), torch.ones(1, 1))
        >>> p.kl(q)
        tensor([0.5000])
    """

    loc: Tensor
    scale: Tensor

    def log_prob(self, action: Tensor) -> Tensor:
        """- sum_j (((a_j - mu_j) / sigma_j)^2 / 2 + log sigma_j + log(2 pi) / 2)."""
        z = (action - self.loc) / self.scale
        return -(z.square() / 2 + self.scale.log() + 0.5 * math.log(2 * math.pi)).sum(-1)

    def kl(self, other: Law) -> Tensor:
        """sum_j (log(sigma'_j / sigma_j) + (sigma_j^2 + (mu_j - mu'_j)^2) / (2 sigma'_j^2) - 1/2)."""
        other = _alike(self, other)
        ratio = self.scale / other.scale
        z = (self.loc - other.loc) / other.scale
        return (0.5 * (ratio.square() + z.square() - 1) - ratio.log()).sum(-1)

    def cross_entropy(self, other: Law) -> Tensor:
        """sum_j (log sigma'_j + (sigma_j^2 + (mu_j - mu'_j)^2) / (2 sigma'_j^2) + log(2 pi) / 2)."""
        other = _alike(self, other)
        ratio, z = self.scale / other.scale, (self.loc - other.loc) / other.scale
        return (0.5 * (ratio.square() + z.square()) + other.scale.log() + 0.5 * math.log(2 * math.pi)).sum(-1)

    def mode(self) -> Tensor:
        """The loc."""
        return self.loc


@dataclass(frozen=True, eq=False)
class CategoricalLaw:
    """A choice among n actions, p_a proportional to exp(logit_a).

    Shapes: logits [B, n]; forbidden actions have a very negative, finite logit.

    Example:
        >>> import torch
        >>> CategoricalLaw(torch.zeros(1, 4)).log_prob(torch.tensor([2])).exp()
        tensor([0.2500])
    """

    logits: Tensor

    @property
    def probs(self) -> Tensor:
        """softmax(logits)."""
        return self.logits.softmax(-1)

    @property
    def allowed(self) -> Tensor:
        """Which actions no mask forbids, bool [B, n]."""
        return self.logits > torch.finfo(self.logits.dtype).min / 4

    def log_prob(self, action: Tensor) -> Tensor:
        """The log-softmax at the index."""
        return -F.cross_entropy(self.logits, action, reduction="none")

    def kl(self, other: Law) -> Tensor:
        """sum_a p_a (log p_a - log p'_a)."""
        other = _alike(self, other)
        log_p = self.logits.log_softmax(-1)
        return (log_p.exp() * (log_p - other.logits.log_softmax(-1))).sum(-1)

    def cross_entropy(self, other: Law) -> Tensor:
        """- sum_a p_a log p'_a."""
        other = _alike(self, other)
        return -(self.probs * other.logits.log_softmax(-1)).sum(-1)

    def mode(self) -> Tensor:
        """The index of the largest logit."""
        return self.logits.argmax(-1)

    def least(self) -> Tensor:
        """The index of the smallest logit of an allowed action."""
        return self.logits.masked_fill(~self.allowed, torch.inf).argmin(-1)


@dataclass(frozen=True, eq=False)
class OtherLaw:
    """Any other `torch.distributions` object, as far as torch can answer for it."""

    distribution: Distribution

    def log_prob(self, action: Tensor) -> Tensor:
        """As torch computes it."""
        return self.distribution.log_prob(action)

    def kl(self, other: Law) -> Tensor:
        """As torch computes it."""
        other = _alike(self, other)
        try:
            return kl_divergence(self.distribution, other.distribution)
        except NotImplementedError:
            if type(self.distribution) is type(other.distribution):
                raise
            raise _unlike(self, other) from None

    def cross_entropy(self, other: Law) -> Tensor:
        """KL plus entropy."""
        return self.kl(other) + self.distribution.entropy()

    def mode(self) -> Tensor:
        """The deterministic sample, else the mode, else the mean."""
        for name in ("deterministic_sample", "mode", "mean"):
            try:
                return getattr(self.distribution, name)  # type: ignore[no-any-return]
            except (AttributeError, NotImplementedError, RuntimeError):
                continue
        raise TypeError(f"the policy's {type(self.distribution).__name__} has no deterministic action, mode or mean.")


L = TypeVar("L", bound=Law)


def _alike(law: L, other: Law) -> L:
    """The other one, as a law of the same kind; only those can be compared."""
    if not isinstance(other, type(law)):
        raise _unlike(law, other)
    return other


def _unlike(law: Law, other: Law) -> TypeError:
    first, second = (
        type(x.distribution).__name__ if isinstance(x, OtherLaw) else type(x).__name__.removesuffix("Law")
        for x in (law, other)
    )
    return TypeError(
        f"the policy must return the same kind of distribution for every observation, got {first} and {second}. "
        "Fix: decide the kind outside of the policy; a tensor or a (loc, scale) pair counts as a Normal."
    )


def law_of(distribution: Distribution) -> Law:
    """The closed form of a torch distribution where there is one, without the outer tanh that changes no divergence."""
    if hasattr(distribution, "logits") and hasattr(distribution, "probs"):
        logits: Tensor = distribution.logits
        # A forbidden action has probability 0 and logit -inf: 0 * inf would be NaN.
        return CategoricalLaw(logits.clamp_min(torch.finfo(logits.dtype).min / 2))
    base: Distribution = distribution
    while isinstance(base, torch.distributions.Independent):
        base = base.base_dist
    if type(base) is torch.distributions.Normal:
        return NormalLaw(base.loc, base.scale)
    return OtherLaw(distribution)
