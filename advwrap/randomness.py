"""Batched, counter-based randomness: one independent stream per row, no hidden state.

A `torch.Generator` is one sequential stream on one device. An attack on a batch needs more: row *i* of a vector
environment must get the numbers that it would get alone (one seed, one perturbation, in every framework), whatever
its neighbours do and wherever the tensor lives. So every number here is a pure function of *(row key, position)*: the
output of a SplitMix64 stream at that position, computed for the whole batch in a dozen integer operations. Global
generators are never touched.

The arithmetic is on NumPy arrays for the CPU (a fifth of torch's dispatch cost on one row, measured) and on torch
tensors for any other device; both wrap around at 64 bits, so the same lines serve both and give the same numbers.

Source: Steele, Lea, Flood, *Fast splittable pseudorandom number generators*, OOPSLA 2014 (with Stafford's mixing
variant 13, as in Java's ``SplittableRandom``); keys are folded as in JAX.
"""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from functools import lru_cache
from typing import Any

import numpy as np
import torch
from torch import Tensor


def _signed(value: int) -> int:
    """The signed 64-bit integer with the bits of `value`: torch has no full unsigned 64-bit arithmetic."""
    value &= 0xFFFFFFFFFFFFFFFF
    return value - (1 << 64) if value >> 63 else value


_GAMMA = _signed(0x9E3779B97F4A7C15)
_MIX_1 = _signed(0xBF58476D1CE4E5B9)
_MIX_2 = _signed(0x94D049BB133111EB)
_STEP = _signed(_GAMMA << 40)  # a step has 2**40 positions,
_DRAW = _signed(_GAMMA << 28)  # each of its 2**12 draws 2**28 of them: one per element of a row
_DRAWS = 1 << 12

Int64 = Any
"""A NumPy int64 array on the CPU, a torch int64 tensor on another device."""


def _logical(bits: int) -> tuple[int, int]:
    """How far to shift, and the mask that makes the arithmetic shift of an int64 a logical one."""
    return bits, (1 << (64 - bits)) - 1


_ON_DEVICE = (*_logical(30), _MIX_1, *_logical(27), _MIX_2, *_logical(31))
# An array of no dimensions halves the cost of a NumPy operation on few numbers.
_ON_CPU = tuple(np.array(constant) for constant in _ON_DEVICE)
# The upper 53 bits as a number in [0, 1).
_UNIT_ON_DEVICE = (*_logical(11), 2.0**-53)
_UNIT_ON_CPU = tuple(np.array(constant) for constant in _UNIT_ON_DEVICE)
_STEP_ON_CPU = np.array(_STEP)


def _mix(z: Int64) -> Int64:
    s30, m30, k1, s27, m27, k2, s31, m31 = _ON_DEVICE if isinstance(z, Tensor) else _ON_CPU
    z = (z ^ ((z >> s30) & m30)) * k1
    z = (z ^ ((z >> s27) & m27)) * k2
    return z ^ ((z >> s31) & m31)


def fold(keys: Int64, data: Int64) -> Int64:
    """Derive new keys from `keys` and integers, as ``jax.random.fold_in`` does.

    Shapes: keys [N], data [] or [N] -> [N], int64.

    Example:
        >>> import numpy as np
        >>> keys = np.array([1, 2])
        >>> bool((fold(keys, 0) == fold(keys, 1)).any())
        False
    """
    jump = _signed((data + 1) * _GAMMA) if isinstance(data, int) else (data + 1) * _GAMMA
    return _mix(_mix(keys) + jump)


def derived_seed(seed: int, number: int) -> int:
    """A seed of its own for a part that is numbered, in [0, 2^31): neighbours share nothing.

    Example:
        >>> derived_seed(0, 1) != derived_seed(1, 0)
        True
    """
    return int(fold(np.array([seed]), number)[0]) % 2**31


@lru_cache(maxsize=64)
def _positions(count: int, device: torch.device | None) -> Int64:
    """The first positions of a stream, on the CPU (None) or another device."""
    if device is None:
        return np.arange(1, count + 1) * _GAMMA
    return torch.arange(1, count + 1, device=device) * _GAMMA


_CPU = torch.device("cpu")


def entropy() -> int:
    """A fresh 63-bit seed from the operating system, for a stream that nobody seeded."""
    return secrets.randbits(63)


class Streams:
    """Independent random streams, one per row of a batch.

    Each call of a drawing method gives new numbers; the numbers of a row depend on its key and on the number of draws
    before it, never on the other rows.

    Args:
        keys: One int64 key per row, shape [N]: a NumPy array, or a torch tensor on a device other than the CPU.

    Example:
        >>> import torch
        >>> streams = Streams.seeded([7, 8])
        >>> noise = streams.uniform(torch.zeros(2, 3))
        >>> alone = Streams.seeded([8]).uniform(torch.zeros(1, 3))
        >>> torch.equal(noise[1:], alone)
        True
    """

    def __init__(self, keys: Int64) -> None:
        self.keys = keys
        self.device = keys.device if isinstance(keys, Tensor) else _CPU
        self._draws = 0

    @classmethod
    def seeded(cls, seeds: Sequence[int]) -> Streams:
        """Streams on the CPU, one per seed."""
        return cls(_mix(np.array([_signed(seed) for seed in seeds], dtype=np.int64)))

    def at(self, step: Int64) -> Streams:
        """The part of these streams that belongs to one time step per row; parts of two steps never overlap."""
        return Streams(self.keys + step * (_STEP if isinstance(step, Tensor) else _STEP_ON_CPU))

    def __len__(self) -> int:
        return int(self.keys.shape[0])

    def __getitem__(self, rows: Tensor | slice) -> Streams:
        """Streams of some rows (a boolean mask, indices or a slice), independent of those of later calls."""
        keys = self.fork().keys
        if isinstance(rows, slice):
            return Streams(keys[rows])
        return Streams(keys[rows.to(self.device) if isinstance(keys, Tensor) else rows.cpu().numpy()])

    def fork(self) -> Streams:
        """Streams for the same rows that are independent of everything else drawn from this object."""
        self._draws += 1
        return Streams(fold(self.keys, self._draws))

    def to(self, device: torch.device) -> Streams:
        """The same streams on another device (self when they are there already)."""
        if self.device == device:
            return self
        keys = torch.as_tensor(self.keys).to(device)
        moved = Streams(keys.numpy() if device.type == "cpu" else keys)
        moved._draws = self._draws
        return moved

    def uniform(self, like: Tensor, low: float = 0.0, high: float = 1.0) -> Tensor:
        """Numbers from U[low, high), in the shape, dtype and device of `like`.

        Drawn in float64 and rounded, so that float32 and float64 runs see the same noise.
        """
        return self._tensor(self.unit(like.shape) * (high - low) + low, like)

    def normal(self, like: Tensor) -> Tensor:
        """Numbers from N(0, 1), in the shape, dtype and device of `like`."""
        # The inverse distribution function needs an open interval: 0 is moved by half a step, 1 is never drawn.
        unit = torch.as_tensor(self.unit(like.shape)).clamp_min(2.0**-54)
        standard: Tensor = torch.special.ndtri(unit)
        return standard.to(like)

    def integers(self, n: int, shape: Sequence[int] = ()) -> Tensor:
        """Integers from 0 to n - 1, shape [N, *shape]."""
        return torch.as_tensor(self.unit((len(self), *shape)) * n).long()

    def chance(self, p: float) -> Tensor:
        """One coin per row that is True with probability p, shape [N]."""
        return torch.as_tensor(self.unit((len(self),)) < p)

    def unit(self, shape: Sequence[int]) -> Any:
        """float64 numbers in [0, 1) with 53 random bits."""
        rows, per_row = shape[0], 1
        if rows != len(self):
            raise ValueError(
                f"`generator` has {len(self)} streams, but the batch has shape {tuple(shape)}. "
                "Fix: give one stream per row (the first axis)."
            )
        for size in shape[1:]:
            per_row *= size
        if self._draws >= _DRAWS:
            # The next draw would be the first one of the following step: go on with new keys.
            self.keys, self._draws = fold(self.keys, -2), 0  # forks fold numbers >= 1
        start = self.keys + _signed(self._draws * _DRAW) if self._draws else self.keys
        self._draws += 1
        on_device = isinstance(start, Tensor)
        s11, m11, step = _UNIT_ON_DEVICE if on_device else _UNIT_ON_CPU
        # A compiler traces through the cache, and warns that it does.
        positions = _positions.__wrapped__ if torch.compiler.is_compiling() else _positions
        bits = _mix(start[:, None] + positions(per_row, self.device if on_device else None))
        whole = (bits >> s11) & m11
        # torch would multiply an integer tensor by a number in float32
        return ((whole.double() if on_device else whole) * step).reshape(shape)

    @staticmethod
    def _tensor(numbers: Any, like: Tensor) -> Tensor:
        tensor = numbers if isinstance(numbers, Tensor) else torch.from_numpy(numbers)
        return tensor.to(device=like.device, dtype=like.dtype)


def as_streams(generator: Streams | torch.Generator | None, like: Tensor) -> Streams:
    """One stream per row of `like`, from whatever the caller has.

    Args:
        generator: Streams (taken as they are), a `torch.Generator` (advanced by one key per row), or None for
            fresh entropy from the operating system.
        like: The batch, shape [N, ...].

    Raises:
        TypeError: If `generator` is something else.
    """
    if isinstance(generator, Streams):
        return generator.to(like.device)
    rows = like.shape[0]
    if generator is None:
        return Streams(fold(np.arange(rows), entropy())).to(like.device)
    if isinstance(generator, torch.Generator):
        keys = torch.randint(2**63 - 1, (rows,), generator=generator, device=generator.device)
        return Streams(keys.cpu().numpy()).to(like.device)
    raise TypeError(
        f"`generator` must be a torch.Generator, advwrap Streams or None, got {type(generator).__name__}. "
        "Fix: torch.Generator().manual_seed(seed)."
    )
