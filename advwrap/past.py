"""What a channel carried in the last steps of the episode, before and after the attack: for faults that look back."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

Array = NDArray[Any]


class Past:
    """The last `depth` values of every stream, the latest first.

    Args:
        streams: Rows times agents.
        depth: Steps to look back.
        shape: Of one value.
        dtype: Of the values.

    Example:
        >>> import numpy as np
        >>> past = Past(1, 2, (1,), np.dtype(np.float32))
        >>> past.push(np.array([[1.0]]), np.array([[1.5]]), slice(None))
        >>> past.context(slice(None))["past_executed"]
        tensor([[[1.5000],
                 [0.0000]]])
    """

    def __init__(self, streams: int, depth: int, shape: tuple[int, ...], dtype: np.dtype[Any]) -> None:
        self.intended = np.zeros((streams, depth, *shape), dtype)
        self.executed = np.zeros_like(self.intended)
        self.steps = np.zeros(streams, np.int64)

    def fits(self, depth: int, shape: tuple[int, ...]) -> bool:
        """Whether it holds so many values of this shape."""
        return tuple(self.intended.shape[1:]) == (depth, *shape)

    def context(self, who: Array | slice) -> dict[str, Tensor]:
        """For the attack: ``past_intended`` and ``past_executed`` [B, depth, ...], and how many of them are known.

        ``past_steps`` counts the steps of the episode that were seen, also those that are forgotten; values from before
        the episode are 0.
        """
        # Indexing with numbers copies, a slice does not: nothing that is handed out may change later.
        return {
            "past_intended": torch.from_numpy(self.intended[who].copy()),
            "past_executed": torch.from_numpy(self.executed[who].copy()),
            "past_steps": torch.from_numpy(self.steps[who].copy()),
        }

    def push(self, intended: Array, executed: Array, who: Array | slice) -> None:
        """One step more of these streams."""
        for kept, value in ((self.intended, intended), (self.executed, executed)):
            kept[who] = np.concatenate([value[:, None], kept[who][:, :-1]], 1)
        self.steps[who] += 1

    def forget(self, who: Array) -> None:
        """A new episode of these streams."""
        for kept in (self.intended, self.executed, self.steps):
            kept[who] = 0

    def state_dict(self) -> dict[str, Tensor]:
        """All of it."""
        return {name: torch.tensor(getattr(self, name)) for name in ("intended", "executed", "steps")}

    @classmethod
    def restored(cls, state: Mapping[str, Tensor]) -> Past:
        """From a `state_dict`."""
        arrays = {name: value.cpu().numpy().copy() for name, value in state.items()}
        kept = arrays["intended"]
        past = cls(len(kept), kept.shape[1], kept.shape[2:], kept.dtype)
        past.__dict__.update(arrays)
        return past
