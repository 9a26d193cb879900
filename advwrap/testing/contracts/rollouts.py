"""TorchRL's rollouts and specs in the terms of the other frameworks."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch

from advwrap.testing.contracts.histories import History

if TYPE_CHECKING:
    from tensordict import TensorDictBase
    from torchrl.data import TensorSpec


class SpecSpace:
    """The spec of one row, in the manners of a Gymnasium space.

    Example:
        >>> from torchrl.data import Bounded
        >>> space = SpecSpace(Bounded(-1.0, 1.0, (2,)))
        >>> space.sample() in space, torch.full((2,), 2.0) in space
        (True, False)
    """

    def __init__(self, spec: TensorSpec) -> None:
        self.spec = spec
        self._seed = 0

    def __repr__(self) -> str:
        """That of the spec."""
        return repr(self.spec)

    def __contains__(self, value: Any) -> bool:
        """Whether it is a value of the spec."""
        return bool(self.spec.is_in(torch.as_tensor(value, dtype=self.spec.dtype)))

    def seed(self, seed: int) -> None:
        """Begin a sequence of samples."""
        self._seed = 1000 * seed  # rows with neighbouring seeds share no sample

    def sample(self) -> Any:
        """The next of them."""
        self._seed += 1
        with torch.random.fork_rng(devices=[]):  # specs draw from torch's global generator
            torch.manual_seed(self._seed)
            return self.spec.rand().numpy()


def told(data: TensorDictBase, row: int) -> History:
    """The rollout of one row as its history."""
    history, after = History(f"row {row}"), data["next"]
    for t in range(len(data)):
        if t == 0 or after["done"][t - 1].any():
            history.begin(data["observation"][t].numpy(), _entries(data[t], "clean_observation"))
        info = {**_entries(data[t], "action", "executed_action"), **_entries(after[t], "clean_observation")}
        outcome = [after[name][t].item() for name in ("reward", "terminated")]
        ended = after["done"][t].item() and not outcome[1]
        history.add(data["action"][t].numpy(), (after["observation"][t].numpy(), *outcome, ended, info))
    return history


def _entries(data: TensorDictBase, *names: str) -> dict[str, Any]:
    return {name: data[name].numpy() for name in names if name in data.keys()}  # noqa: SIM118 - a tensordict
