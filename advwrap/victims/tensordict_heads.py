"""How the last module of a TorchRL actor turns the outputs of a network into an action."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from tensordict.nn import ProbabilisticTensorDictModule, TensorDictModuleBase
from tensordict.utils import NestedKey
from torch import Tensor
from torch.distributions import Distribution

from advwrap.victims.heads import CategoricalHead, DeterministicHead, DistributionHead, Head, Normal, NormalHead
from advwrap.victims.laws import Law, NormalLaw
from advwrap.victims.squash import Squash, tanh_delta, tanh_normal


@dataclass(frozen=True, eq=False)
class Reader:
    """What is read of a network's outputs, and how.

    Args:
        head: How it becomes an action and a distribution.
        keys: The entries of the actor's tensordict that are read, in the order of the network's outputs.
        change: From these entries to what the head reads; by default they are that.
        acting: From the first of them to the mean action, where that is known in layers.
    """

    head: Head
    keys: Sequence[NestedKey]
    change: Callable[[Any], Any] | None = None
    acting: Squash | None = None

    def __call__(self, output: Any) -> Any:
        """What the head reads, from the outputs of a network that may have more than these."""
        if isinstance(output, tuple):
            output = output[: len(self.keys)] if len(self.keys) > 1 else output[0]
        return output if self.change is None else self.change(output)


def reader_of(last: TensorDictModuleBase) -> Reader | None:
    """The reader for an actor's last module; None if that is an ordinary module, whose output is the action."""
    if isinstance(last, ProbabilisticTensorDictModule):
        names = [name if isinstance(name, str) else name[-1] for name in last.dist_keys]
        options = dict(last.distribution_kwargs)
        known = _known(last.distribution_class, names, options, list(last.in_keys))
        build = _Build(last.distribution_class, options, names)
        return known or Reader(DistributionHead(), list(last.in_keys), build)
    if hasattr(last, "action_value_key"):  # torchrl's QValueModule: greedy on action values
        mask = last.action_mask_key
        keys = [last.action_value_key] if mask is None else [last.action_value_key, mask]
        plain = mask is None and not hasattr(last, "support")
        return Reader(CategoricalHead(), keys, None if plain else _ActionValues(last))
    return None


def _known(
    family: Callable[..., Distribution], names: list[str], options: Mapping[str, Any], keys: list[NestedKey]
) -> Reader | None:
    """The reader for the distributions whose mathematics is known here."""
    kind = f"{family.__module__}.{family.__qualname__}"
    reader: Reader | None = None
    if kind == _TORCHRL.format("TanhNormal") and names == ["loc", "scale"]:
        parts = tanh_normal(options)
        if parts is not None:
            limit, squash = parts
            acting = Squash([*limit.layers, *squash.layers])
            reader = Reader(NormalHead(squash=squash), keys, _Loc(limit) if limit.layers else None, acting)
    elif kind in _NORMAL and names == ["loc", "scale"] and not set(options) - {"tanh_loc", "upscale", "event_dim"}:
        # Its constructor ignores `tanh_loc`.
        reader = Reader(NormalHead(), keys, acting=Squash([]))
    elif kind == _TORCHRL.format("TanhDelta") and names == ["param"]:
        delta = tanh_delta(options)
        reader = None if delta is None else Reader(SquashedHead(delta), keys, acting=delta)
    elif kind == _TORCHRL.format("Delta") and names == ["param"]:
        reader = Reader(DeterministicHead(), keys)
    elif kind in _CATEGORICAL and names == ["logits"] and not set(options) - {"grad_method"}:
        reader = Reader(CategoricalHead(), keys)
    return reader


_TORCHRL = "torchrl.modules.distributions.continuous.{}"
_NORMAL = (_TORCHRL.format("IndependentNormal"), "torch.distributions.normal.Normal")
_CATEGORICAL = (
    "torch.distributions.categorical.Categorical",
    "torch.distributions.one_hot_categorical.OneHotCategorical",
    "torchrl.modules.distributions.discrete.OneHotCategorical",
)


@dataclass(frozen=True, eq=False)
class SquashedHead:
    """The squashed output is the action; as a distribution it is a normal of unit variance around it."""

    squash: Squash

    def mean(self, output: Tensor) -> Tensor:
        """squash(output)."""
        return self.squash(output)

    def law(self, output: Tensor) -> Law:
        """N(squash(output), 1)."""
        action = self.squash(output)
        return NormalLaw(action, torch.ones_like(action))

    def draw(self, output: Tensor, normal: Normal) -> tuple[Tensor, Tensor]:
        """squash(output) and 0."""
        return self.squash(output), output.new_zeros(output.shape[:1])


@dataclass(frozen=True, eq=False)
class _Loc:
    """Limits the loc of a (loc, scale) pair."""

    limit: Squash

    def __call__(self, output: Any) -> Any:
        loc, scale = output
        return self.limit(loc), scale


@dataclass(frozen=True, eq=False)
class _Build:
    """Any other distribution: built from its parameters at every call."""

    family: Callable[..., Distribution]
    options: Mapping[str, Any]
    names: Sequence[str]

    def __call__(self, output: Any) -> Distribution:
        values = (output,) if isinstance(output, Tensor) else output
        return self.family(**dict(zip(self.names, values, strict=True)), **self.options)


@dataclass(frozen=True, eq=False)
class _ActionValues:
    """The values that a `QValueModule` compares: expected ones of a distributional critic, allowed ones of a mask."""

    module: TensorDictModuleBase

    def __call__(self, output: Any) -> Tensor:
        masked = self.module.action_mask_key is not None
        values, mask = output if masked else (output, None)
        support = getattr(self.module, "support", None)
        if support is not None:
            values = (values.exp() * support.to(values.device).unsqueeze(-1)).sum(-2)
        if mask is None:
            return values  # type: ignore[no-any-return]
        # Very negative but finite, so that 0 log 0 stays 0.
        return torch.where(mask, values, torch.finfo(values.dtype).min / 2)
