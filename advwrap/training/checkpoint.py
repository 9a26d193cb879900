"""Everything a training needs to go on as if it had never stopped, in one file that is never half written."""

from __future__ import annotations

import random
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch

from advwrap.errors import check


class CheckpointError(ValueError):
    """A file that is no checkpoint of this training, or a damaged one."""


class Stateful(Protocol):
    """Anything that can be saved and put back."""

    def state_dict(self) -> Mapping[str, Any]:
        """Tensors, numbers, strings, and containers of them."""
        ...

    def load_state_dict(self, state: Any, /) -> Any:
        """Put back what `state_dict` gave."""
        ...


class Checkpoint:
    """Named parts, saved and loaded together.

    The file appears whole or not at all (written beside, then renamed), and loading it executes no code.

    Args:
        path: The file.
        parts: What to save; each has a `state_dict` and a `load_state_dict`. They are loaded in this order: what tells
            one training from another comes first, or the message is about what follows from it.

    Example:
        >>> import tempfile
        >>> net = torch.nn.Linear(1, 1)
        >>> checkpoint = Checkpoint(Path(tempfile.mkdtemp()) / "last.pt", {"net": net})
        >>> checkpoint.load(), checkpoint.save(), checkpoint.load()
        (False, None, True)
    """

    def __init__(self, path: Path, parts: Mapping[str, Stateful]) -> None:
        self.path = path
        self.parts = dict(parts)

    def save(self) -> None:
        """Write all parts."""
        self.path.parent.mkdir(parents=True, exist_ok=True)
        partial = self.path.with_name(self.path.name + ".partial")
        torch.save({name: part.state_dict() for name, part in self.parts.items()}, partial)
        partial.replace(self.path)

    def load(self) -> bool:
        """Put all parts back; False where there is no file.

        Raises:
            CheckpointError: If the file is damaged, or of a training with other parts.
        """
        if not self.path.exists():
            return False
        try:
            state = torch.load(self.path, weights_only=True)
            for name, part in self.parts.items():
                check(name in state, f"it has no {name!r}, only {sorted(state)}.")
                part.load_state_dict(state[name])
            more = sorted(state.keys() - self.parts)
            check(not more, f"it has {more} besides.")
        except Exception as cause:
            raise CheckpointError(
                f"`{self.path}` must be a checkpoint of this training: {str(cause).rstrip('.')}. "
                "Fix: train into another folder, or delete the file to begin anew."
            ) from cause
        return True


class SameTraining:
    """The configuration in a checkpoint: what another one left is refused. Functions are compared by name only.

    Args:
        card: The configuration as JSON can hold it, its arguments under "config".

    Example:
        >>> SameTraining({"config": {"seed": 0}}).load_state_dict({"config": {"seed": 1}})
        Traceback (most recent call last):
        ...
        ValueError: it was made with seed=1 (here 0)
    """

    def __init__(self, card: Mapping[str, Any]) -> None:
        self.card = dict(card)

    def state_dict(self) -> dict[str, Any]:
        """The configuration."""
        return self.card

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Compare."""
        there, here = ({**card.pop("config"), **card} for card in (dict(state), dict(self.card)))
        check(there == here, f"it was made with {', '.join(differences(there, here))}")


def differences(there: Mapping[str, Any], here: Mapping[str, Any], within: str = "") -> Iterator[str]:
    """What two configurations have otherwise, in words; of another kind of thing, the kind alone.

    Example:
        >>> robust = {"type": "SAC", "steps": 9, "defence": {"type": "ValtEps", "epsilon": 0.1}}
        >>> list(differences({"type": "SAC", "steps": 5, "defence": {"type": "Undefended"}}, robust))
        ['steps=5 (here 9)', 'defence.type=Undefended (here ValtEps)']
    """
    names = ["type"] if there.get("type") != here.get("type") else [*there, *sorted(here.keys() - there)]
    for name in names:
        had, wanted = there.get(name), here.get(name)
        if isinstance(had, Mapping) and isinstance(wanted, Mapping):
            yield from differences(had, wanted, f"{within}{name}.")
        elif had != wanted:
            yield f"{within}{name}={had} (here {wanted})"


class GlobalRandomness:
    """The global generators of torch, NumPy and Python: exploration and replay draw from them.

    Example:
        >>> randomness = GlobalRandomness()
        >>> before = randomness.state_dict()
        >>> drawn = torch.rand(3)
        >>> randomness.load_state_dict(before)
        >>> torch.equal(torch.rand(3), drawn)
        True
    """

    def state_dict(self) -> dict[str, Any]:
        """The state of all three, and of the GPUs."""
        name, keys, position, has_gauss, gauss = np.random.get_state()  # noqa: NPY002 - what libraries draw from
        version, numbers, gauss_next = random.getstate()
        return {
            "torch": torch.get_rng_state(),
            "cuda": torch.cuda.get_rng_state_all() if torch.cuda.is_available() else [],
            "numpy": [name, torch.from_numpy(np.array(keys).astype(np.int64)), position, has_gauss, gauss],
            "python": [version, list(numbers), gauss_next],
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Put them back."""
        torch.set_rng_state(state["torch"])
        if state["cuda"]:
            torch.cuda.set_rng_state_all(state["cuda"])
        name, keys, *rest = state["numpy"]
        np.random.set_state((name, keys.numpy().astype(np.uint32), *rest))  # noqa: NPY002
        version, numbers, gauss_next = state["python"]
        random.setstate((version, tuple(numbers), gauss_next))
