"""How the output of a network becomes a policy: its deterministic action and its distribution."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

import torch
from torch import Tensor
from torch.distributions import Categorical, Distribution, Independent, Normal


class Head(Protocol):
    """Turns network outputs into an action and a distribution; the first axis is the batch."""

    def mean(self, output: Any) -> Tensor:
        """The deterministic action [B, A] of a continuous policy, the probabilities [B, n] of a discrete one."""
        ...

    def distribution(self, output: Any) -> Distribution:
        """A `torch.distributions` object with batch shape [B]; before a tanh, where there is one."""
        ...


def _normal(loc: Tensor, scale: Tensor) -> Independent:
    return Independent(Normal(loc, scale, validate_args=False), 1, validate_args=False)


@dataclass(frozen=True)
class DeterministicHead:
    """The output is the action. As a distribution it is a normal of unit variance around it."""

    def mean(self, output: Tensor) -> Tensor:
        """The output itself."""
        return _tensor(output)

    def distribution(self, output: Tensor) -> Distribution:
        """N(output, 1): its KL divergence is half the squared distance of the actions."""
        return _normal(_tensor(output), torch.ones_like(output))


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
        loc, _ = self._parameters(output)
        return loc if self.squash is None else self.squash(loc)

    def distribution(self, output: Any) -> Distribution:
        """N(loc, scale) before squashing: a common bijection changes no divergence."""
        loc, scale = self._parameters(output)
        return _normal(loc, scale)

    def _parameters(self, output: Any) -> tuple[Tensor, Tensor]:
        if self.std is None:
            loc, scale = output
            return loc, scale
        return output, torch.as_tensor(self.std, dtype=output.dtype, device=output.device).expand_as(output)


@dataclass(frozen=True)
class CategoricalHead:
    """The output is the logits, or the action values of a greedy policy: shape [B, n]."""

    def mean(self, output: Tensor) -> Tensor:
        """softmax(logits)."""
        return _tensor(output).softmax(-1)

    def distribution(self, output: Tensor) -> Distribution:
        """Categorical(logits)."""
        return Categorical(logits=_tensor(output), validate_args=False)


@dataclass(frozen=True)
class DistributionHead:
    """The output is a distribution already."""

    def mean(self, output: Distribution) -> Tensor:
        """Probabilities, else the deterministic sample, else the mode, else the mean."""
        if is_categorical(output):
            return output.probs  # type: ignore[attr-defined,no-any-return]
        for name in ("deterministic_sample", "mode", "mean"):
            try:
                return getattr(output, name)  # type: ignore[no-any-return]
            except (AttributeError, NotImplementedError, RuntimeError):
                continue
        raise TypeError(f"the policy's {type(output).__name__} has no deterministic action, mode or mean.")

    def distribution(self, output: Distribution) -> Distribution:
        """The distribution, without the outer transforms that torch cannot compare."""
        if is_categorical(output):
            return Categorical(logits=output.logits, validate_args=False)  # type: ignore[attr-defined]
        return output


def is_categorical(distribution: Distribution) -> bool:
    """Whether the distribution is over a finite list (categorical, one-hot, masked)."""
    return hasattr(distribution, "logits") and hasattr(distribution, "probs")


def _tensor(output: Any) -> Tensor:
    if not isinstance(output, Tensor):
        raise TypeError(
            f"the victim must return a tensor, a (loc, scale) pair or a distribution, got {type(output).__name__}. "
            "Fix: wrap it in advwrap.victims.Deterministic, Gaussian or Categorical."
        )
    return output
