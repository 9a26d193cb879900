"""Random streams for a module that is called again and again: a seed and a count of calls, nothing else."""

from __future__ import annotations

from zlib import crc32

import numpy as np
import torch
from torch import Tensor, nn

from advwrap.randomness import Streams, entropy, fold


def salted(seed: int | None, name: str) -> int | None:
    """A seed of its own for the part of this name: parts of one training share its seed, not their random numbers.

    Example:
        >>> salted(0, "regulariser") != salted(0, "adversary") and salted(None, "adversary") is None
        True
    """
    return None if seed is None else int(fold(np.array([seed]), crc32(name.encode()))[0])


class CallStreams(nn.Module):
    """One stream per row and call: row i of call c has the hash of (seed, c, i) as its key.

    Args:
        seed: Fresh entropy by default; seed and count are in `state_dict`.

    Example:
        >>> import torch
        >>> one, two = CallStreams(0), CallStreams(0)
        >>> torch.equal(one(4).uniform(torch.zeros(4)), two(4).uniform(torch.zeros(4)))
        True
    """

    def __init__(self, seed: int | None = None) -> None:
        super().__init__()
        self.seed(seed)

    def seed(self, seed: int | None) -> None:
        """Begin anew."""
        start = entropy() if seed is None else int(seed) % 2**63
        # On the device where networks are made: a compiled graph for a GPU must not reach for the CPU.
        self.random_state = torch.tensor([start, 0])  # the seed and the number of calls

    def forward(self, rows: int) -> Streams:
        """The streams of the next call."""
        # Arrays of one number each: the same lines run inside a compiled graph.
        seed, call = self.random_state[:1], self.random_state[1:]
        if seed.device.type == "cpu":
            keys = fold(fold(np.arange(rows), seed.numpy()), call.numpy())
        else:
            keys = fold(fold(torch.arange(rows, device=seed.device), seed), call)
        self.random_state[1] += 1
        return Streams(keys)

    def get_extra_state(self) -> Tensor:
        """For `state_dict`."""
        return self.random_state.clone()

    def set_extra_state(self, state: Tensor) -> None:
        """Continue from a `state_dict`."""
        self.random_state = state.to(self.random_state.device, copy=True)
