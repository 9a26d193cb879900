"""Prioritised replay in plain torch: TorchRL's needs a compiled extension that does not load with every torch."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torchrl.data.replay_buffers.samplers import Sampler

from advwrap.errors import check

BLOCK = 128
"""Priorities are summed in blocks, so that neither sampling nor an update looks at all of them."""


class ProportionalSampler(Sampler):  # type: ignore[misc]
    """Samples transition i with probability p_i^alpha / sum_k p_k^alpha.

    with the priority p_i = abs(delta_i) + 1e-6, delta_i the last TD error of the transition (a new one has the largest
    priority so far), and the importance weights w_i = (N P(i))^-beta / max_k w_k, the maximum over the batch.

    Source: Schaul et al., *Prioritized experience replay*, ICLR 2016, the proportional variant.

    Args:
        capacity: Of the storage.
        alpha: How strongly priorities count; 0 is uniform.
        beta: How far the bias is corrected, a number or a schedule; 1 corrects it fully.

    Example:
        >>> from tensordict import TensorDict
        >>> from torchrl.data import LazyTensorStorage, TensorDictReplayBuffer
        >>> sampler = ProportionalSampler(8, alpha=1.0)
        >>> buffer = TensorDictReplayBuffer(storage=LazyTensorStorage(8), sampler=sampler, batch_size=100)
        >>> _ = buffer.extend(TensorDict({"x": torch.arange(4)}, [4]))
        >>> buffer.update_priority(torch.arange(4), torch.tensor([0.0, 0.0, 0.0, 1.0]))
        >>> buffer.sample()["x"].unique()
        tensor([3])
    """

    def __init__(self, capacity: int, *, alpha: float = 0.6, beta: float | Callable[[], float | Tensor] = 0.4) -> None:
        super().__init__()
        check(capacity >= 1, f"`capacity` must be >= 1, got {capacity}.")
        check(alpha >= 0, f"`alpha` must be >= 0, got {alpha}.")
        self.alpha, self.beta = alpha, beta
        self.mass = torch.zeros(-(-capacity // BLOCK), BLOCK, dtype=torch.float64)  # p^alpha
        self.sums = torch.zeros(self.mass.shape[0], dtype=torch.float64)
        self.largest = 1.0

    def sample(self, storage: Any, batch_size: int) -> tuple[Tensor, dict[str, Any]]:
        """Indices, and their weights as ``priority_weight``."""
        check(len(storage) > 0, "the replay buffer must hold something to sample, got nothing.")
        ends = self.sums.cumsum(0)
        target = torch.rand(batch_size, dtype=torch.float64) * ends[-1]
        block = torch.searchsorted(ends, target, right=True).clamp_max(len(ends) - 1)
        inside = self.mass[block].cumsum(1)
        rest = (target - (ends[block] - self.sums[block])).clamp_min(0).unsqueeze(1)
        index = block * BLOCK + torch.searchsorted(inside, rest, right=True).squeeze(1)
        # Rounding may point behind the last transition, or at one without any mass.
        index = index.clamp_max(len(storage) - 1)
        probability = self._flat[index] / ends[-1]
        beta = self.beta() if callable(self.beta) else self.beta
        weight = (len(storage) * probability.clamp_min(1e-300)) ** -float(beta)
        return index, {"priority_weight": (weight / weight.max()).float()}

    @property
    def _flat(self) -> Tensor:
        return self.mass.view(-1)

    def _set(self, index: Tensor, priority: Tensor | float) -> None:
        index = index.reshape(-1)
        value = torch.as_tensor(priority, dtype=torch.float64).reshape(-1).pow(self.alpha)
        self._flat[index] = value.expand(index.shape)
        touched = (index // BLOCK).unique()  # type: ignore[no-untyped-call]
        self.sums[touched] = self.mass[touched].sum(1)

    def add(self, index: int) -> None:
        """A new transition."""
        self._set(torch.tensor([index]), self.largest)

    def extend(self, index: Tensor) -> None:
        """New transitions."""
        self._set(torch.as_tensor(index).cpu(), self.largest)

    def update_priority(self, index: Tensor, priority: Tensor, **_: Any) -> None:
        """Set priorities from TD errors."""
        priority = priority.detach().abs().double().cpu() + 1e-6
        self.largest = max(self.largest, float(priority.max()))
        self._set(torch.as_tensor(index).cpu(), priority)

    def state_dict(self) -> dict[str, Any]:
        """The priorities."""
        return {"mass": self.mass, "largest": self.largest}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Continue from a `state_dict`."""
        self.mass.copy_(state["mass"])
        self.sums = self.mass.sum(1)
        self.largest = float(state["largest"])

    def _empty(self) -> None:
        self.mass.zero_()
        self.sums.zero_()
        self.largest = 1.0

    def dumps(self, path: Any) -> None:
        """Write into a folder."""
        folder = Path(path)
        folder.mkdir(parents=True, exist_ok=True)
        torch.save(self.mass, folder / "priorities.pt")
        (folder / "sampler.json").write_text(json.dumps({"largest": self.largest}))

    def loads(self, path: Any) -> None:
        """Read what `dumps` wrote."""
        mass = torch.load(Path(path) / "priorities.pt", weights_only=True)
        self.load_state_dict({"mass": mass, **json.loads((Path(path) / "sampler.json").read_text())})
