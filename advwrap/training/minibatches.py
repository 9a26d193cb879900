"""Shuffled minibatches of a collected batch, for algorithms that pass over it several times."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from tensordict import TensorDictBase
from torchrl.trainers import Trainer

from advwrap.errors import check


class Minibatches:
    """Every transition of the batch once per epoch, in a new random order.

    For a TorchRL `Trainer` whose `optim_steps_per_batch` is the same number. (Its replay buffers serve such a loop as
    well, but with a fixed number of steps their iterator ends one call late, and every other epoch is empty.)

    Args:
        number: Minibatches per epoch.

    Example:
        >>> from tensordict import TensorDict
        >>> minibatches = Minibatches(2)
        >>> batch = minibatches.shuffle(TensorDict({"x": torch.arange(4).reshape(2, 2)}, [2, 2]))
        >>> sorted(torch.cat([minibatches.take(batch)["x"], minibatches.take(batch)["x"]]).tolist())
        [0, 1, 2, 3]
    """

    def __init__(self, number: int) -> None:
        check(number >= 1, f"`number` must be >= 1, got {number}.")
        self.number = number
        self._left: Iterator[TensorDictBase] = iter(())

    def register(self, trainer: Trainer) -> None:
        """Serve this trainer."""
        trainer.register_op("pre_epoch", self.shuffle)
        trainer.register_op("process_optim_batch", self.take)

    def shuffle(self, batch: TensorDictBase) -> TensorDictBase:
        """Begin an epoch; the batch itself stays as it is."""
        flat = batch.reshape(-1)
        check(
            len(flat) % self.number == 0, f"the batch must split into {self.number} equal parts, got {len(flat)} rows."
        )
        order = torch.randperm(len(flat), device=flat.device)
        self._left = iter(flat[order].split(len(flat) // self.number))
        return batch

    def take(self, batch: TensorDictBase) -> TensorDictBase:
        """The next minibatch of the epoch."""
        return next(self._left)
