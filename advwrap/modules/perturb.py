"""An attack as a TensorDictModule: transitions go in, what the victim would see comes out."""

from __future__ import annotations

from typing import Any

import torch
from tensordict import TensorDictBase
from tensordict.nn import TensorDictModuleBase
from tensordict.utils import NestedKey, unravel_key
from torch import Tensor

from advwrap.attacks import Attack
from advwrap.modules.rows import Rows, beside, truth_of
from advwrap.modules.streams import CallStreams
from advwrap.sets import UNBOUNDED, Bounds


class Perturb(TensorDictModuleBase):  # type: ignore[misc]
    """Rewrite the observation of a batch, at root and under ``"next"``, in one batch of 2B rows.

    ::

        batch = Perturb(attack)(replay_buffer.sample())
        loss = SACLoss(actor, qvalue)(batch)  # the actor reads "observation", the critics
                                              # read "clean_observation"

    The attack always starts from the clean key, so that applying it twice is applying it once.
    Where a tensordict has no clean key yet, its observation is the truth, and is stored there.
    No gradient flows through. The attack's context holds everything else that the victim may read
    (recurrent states, action masks), flattened in the same way, and ``"agent_index"``.

    Row i of call c has its own random stream, a hash of (seed, c, i).

    Args:
        attack: The attack.
        key: What the victim reads. In a group of agents, ``("agents", "observation")``, every agent
            is a row.
        clean_key: Where the truth is; by default beside `key`, with ``clean_`` before its name.
        next: Whether to perturb ``("next", key)`` too.
        bounds: The valid range of the observation.
        seed: Of the random streams, fresh entropy by default; their state is in `state_dict`.

    Shapes: any batch size; observations [*batch, *agents, ...].

    Reads: `clean_key`, else `key`; what the victim reads besides.

    Writes: `key`, `clean_key`.

    Raises:
        KeyError: If neither of the two keys is there, or ``"next"`` is missing.

    Example:
        >>> from tensordict import TensorDict
        >>> from advwrap import LinfBall, RandomVertex
        >>> batch = TensorDict({"observation": torch.zeros(4, 3)}, [4])
        >>> out = Perturb(RandomVertex(LinfBall(0.1)), next=False)(batch)
        >>> out["observation"].abs().max(), out["clean_observation"].abs().max()
        (tensor(0.1000), tensor(0.))
    """

    def __init__(
        self,
        attack: Attack,
        key: NestedKey = "observation",
        clean_key: NestedKey | None = None,
        *,
        next: bool = True,  # noqa: A002 - the name of the entry
        bounds: Bounds = UNBOUNDED,
        seed: int | None = None,
    ) -> None:
        super().__init__()
        self.attack = attack
        self.key = unravel_key(key)
        self.clean_key = beside(self.key, "clean_") if clean_key is None else unravel_key(clean_key)
        self.next = next
        self.bounds = bounds
        self.streams = CallStreams(seed)
        places: list[tuple[str, ...]] = [(), ("next",)] if next else [()]
        self.in_keys = [unravel_key((*place, self.key)) for place in places]
        self.out_keys = [unravel_key((*place, name)) for place in places for name in (self.key, self.clean_key)]

    def __setattr__(self, name: str, value: Any) -> None:
        if name == "attack":
            # Networks inside an attack must not become parts of this module.
            self.__dict__[name] = value
        else:
            super().__setattr__(name, value)

    def seed(self, seed: int | None) -> None:
        """Begin the random streams anew."""
        self.streams.seed(seed)

    def forward(self, tensordict: TensorDictBase) -> TensorDictBase:
        """Perturb in place, and return the tensordict."""
        parts = [tensordict]
        if self.next:
            following = tensordict.get("next", None)
            if following is None:
                raise KeyError(
                    f"`next` is True, but there is no 'next' among {_names(tensordict)}. "
                    "Fix: Perturb(attack, next=False)."
                )
            parts.append(following)
        truths = [truth_of(part, self.clean_key, self.key, fix="Perturb(attack, key=...).").detach() for part in parts]
        context = Rows(parts, self.key)
        clean = context.flat(self.key, truths)
        context.extra = {self.clean_key: clean, "agent_index": _agents(context, clean)}
        perturbed = self.attack(clean, context=context, bounds=self.bounds, generator=self.streams(clean.shape[0]))
        for part, truth, seen in zip(parts, truths, context.unflat(perturbed), strict=True):
            part.set(self.clean_key, truth)
            part.set(self.key, seen.detach())
        return tensordict

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.attack!r}, key={self.key!r}, next={self.next})"


def _agents(rows: Rows, like: Tensor) -> Tensor:
    """The index of the agent of every row."""
    agents = rows.shape[len(rows.batch) :].numel() if rows.group else 1
    index = torch.arange(agents, device=like.device)
    return index.expand(like.shape[0]) if agents == 1 else index.repeat(like.shape[0] // agents)


def _names(tensordict: TensorDictBase) -> list[str]:
    return sorted(map(str, tensordict.keys()))
