"""What the losses read of a batch of transitions, as rows."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from tensordict import TensorDictBase
from tensordict.utils import NestedKey, unravel_key
from torch import Tensor

from advwrap.modules.rows import Rows, beside, truth_of


@dataclass(frozen=True)
class Transitions:
    """Where a loss finds the true states, before and after the step.

    Args:
        key: What the actor reads.
        clean_key: Where the truth is; by default beside `key`.

    Example:
        >>> import torch
        >>> from tensordict import TensorDict
        >>> batch = TensorDict({"observation": torch.zeros(2, 3, 4), "clean_observation": torch.ones(2, 3, 4)}, [2, 3])
        >>> Transitions().state(batch).shape, Transitions().state(batch).sum()
        (torch.Size([6, 4]), tensor(24.))
    """

    key: NestedKey = "observation"
    clean_key: NestedKey | None = None

    @property
    def clean(self) -> NestedKey:
        """The key of the truth."""
        return beside(self.key, "clean_") if self.clean_key is None else self.clean_key

    def rows(self, part: TensorDictBase) -> Rows:
        """The entries of a tensordict as rows: the context of its states."""
        return Rows([part], self.key)

    def state(self, part: TensorDictBase) -> Tensor:
        """The true states, [N, ...].

        Raises:
            KeyError: If they are not there.
        """
        return self.rows(part).flat(self.key, [self._truth(part)])

    def entry(self, part: TensorDictBase, name: NestedKey) -> Tensor:
        """Another entry, [N, ...].

        Raises:
            KeyError: If it is not there.
        """
        return self.rows(part)[name]  # type: ignore[no-any-return]

    def number(self, part: TensorDictBase, name: NestedKey) -> Tensor:
        """An entry of one number per row, [N]."""
        return self.entry(part, name).reshape(-1)

    def at_truth(self, part: TensorDictBase) -> TensorDictBase:
        """The tensordict whose observation is the true one, under both keys; the given one stays as it is."""
        truth, seen = self._truth(part), part.copy()
        seen.set(self.key, truth)
        seen.set(self.clean, truth)
        return seen

    def keys(self, *modules: Any) -> list[NestedKey]:
        """Everything that is read of a transition: the states, what the modules read, the reward, the end."""
        here = [self.key, self.clean, *(name for module in modules for name in getattr(module, "in_keys", ()))]
        after = [("next", *_path(name)) for name in here]
        return list(dict.fromkeys(map(unravel_key, [*here, *after, *_STEP])))

    def _truth(self, part: TensorDictBase) -> Tensor:
        return truth_of(part, self.clean, self.key)


def weighted_mean(per_row: Tensor, tensordict: TensorDictBase) -> Tensor:
    """The mean over the batch, with the importance weights of a prioritised replay buffer where there are any.

    sum_i w_i x_i / sum_i w_i

    Shapes: per_row [N] -> []; several rows in succession may belong to one step (of several agents): they share its
        weight.
    """
    weights = tensordict.get("priority_weight", None)
    if weights is None:
        return per_row.mean()
    weights = weights.reshape(-1).to(per_row.dtype)
    weights = weights.repeat_interleave(len(per_row) // len(weights))
    mean: Tensor = (per_row * weights).sum() / weights.sum()
    return mean


def _path(key: NestedKey) -> tuple[str, ...]:
    return (key,) if isinstance(key, str) else tuple(key)


_STEP: list[NestedKey] = [("next", "reward"), ("next", "terminated"), ("next", "done"), "priority_weight"]
