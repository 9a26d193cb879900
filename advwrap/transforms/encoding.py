"""How actions are encoded: as they are, as an index, or one-hot."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor
from torchrl.data import Categorical, MultiCategorical, MultiOneHot, OneHot, TensorSpec

from advwrap.sets import where_allowed


@dataclass(frozen=True)
class Encoding:
    """From encoded actions to what is attacked, and back.

    Args:
        decode: From the encoded actions [N, ...] to numbers or indices.
        encode: The way back.
        indices: How many there are, if they are the index of one action.
    """

    decode: Callable[[Tensor], Tensor]
    encode: Callable[[Tensor], Tensor]
    indices: int | None = None

    def allowed(self, chosen: Tensor, intended: Tensor, mask: Tensor) -> Tensor:
        """The chosen indices, where the environment's mask allows them; else the intended ones."""
        return chosen if self.indices is None else where_allowed(chosen, intended, mask, self.indices)


def encoding_of(spec: TensorSpec) -> Encoding:
    """The encoding of the actions of a spec.

    Example:
        >>> encoding = encoding_of(OneHot(3))
        >>> encoding.decode(torch.tensor([[0, 1, 0]])), encoding.encode(torch.tensor([2]))
        (tensor([1]), tensor([[False, False,  True]]))
    """
    if isinstance(spec, MultiOneHot):  # which is a OneHot, too
        sizes = [box.n for box in spec.space.boxes]
        return Encoding(_Indices(sizes), _OneHots(sizes, spec.dtype))
    if isinstance(spec, OneHot):
        return Encoding(_index, _OneHot(spec.shape[-1], spec.dtype), indices=spec.shape[-1])
    plain = isinstance(spec, Categorical) and not isinstance(spec, MultiCategorical)
    return Encoding(_same, _same, indices=spec.space.n if plain else None)


def _same(action: Tensor) -> Tensor:
    return action


def _index(action: Tensor) -> Tensor:
    return action.long().argmax(-1)


@dataclass(frozen=True)
class _OneHot:
    n: int
    dtype: torch.dtype

    def __call__(self, index: Tensor) -> Tensor:
        return torch.nn.functional.one_hot(index, self.n).to(self.dtype)


@dataclass(frozen=True)
class _Indices:
    sizes: list[int]

    def __call__(self, action: Tensor) -> Tensor:
        return torch.stack([_index(part) for part in torch.split(action, self.sizes, -1)], -1)


@dataclass(frozen=True)
class _OneHots:
    sizes: list[int]
    dtype: torch.dtype

    def __call__(self, indices: Tensor) -> Tensor:
        parts = zip(self.sizes, indices.unbind(-1), strict=True)
        return torch.cat([_OneHot(n, self.dtype)(index) for n, index in parts], -1)
