"""Running the modules of a TorchRL actor on a tensordict of our own."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from tensordict import TensorDict, TensorDictBase
from tensordict.nn import TensorDictModuleBase
from tensordict.utils import NestedKey
from torch import Tensor
from torchrl.envs.utils import ExplorationType, set_exploration_type

from advwrap.victims.context import Context
from advwrap.victims.network import adapted, reference_of
from advwrap.victims.quiet import mode_dependent, quietly


class ThroughTensorDict:
    """The outputs of modules as a function of the observation, the rest of what they read coming from the context.

    With many agents, rows are one agent each. If the rows are all agents of some environments, they are given to the
    modules as [B, agents, ...]. If they are only some (because only those are attacked), every row gets an environment
    of its own, in which the other agents' entries are 0: right for policies in which no agent sees another's
    observation.

    Args:
        body: The modules, in the order in which they are called.
        key: The observation.
        outputs: The entries to return.
        agents: Agents per environment.

    Raises:
        KeyError: If the context lacks something that a module reads.
    """

    def __init__(
        self, body: Sequence[TensorDictModuleBase], key: NestedKey, outputs: Sequence[NestedKey], *, agents: int = 1
    ) -> None:
        self.body = list(body)
        self.key = key
        self.outputs = list(outputs)
        self.agents = agents
        self.needed = _needed(self.body, key, self.outputs)
        self._modal = [m for module in self.body for m in mode_dependent(module)]
        self._reference = next((r for module in self.body if (r := reference_of(module)) is not None), None)

    def __call__(self, observation: Tensor, context: Context | None = None) -> Any:
        """The outputs: one tensor, or a tuple of them."""
        x = adapted(observation, self._reference)
        index = self._agent_index(x, context)
        rows = x.shape[0] // self.agents if index is None else x.shape[0]
        data = TensorDict({}, batch_size=[rows], device=x.device)
        for name in self.needed:
            data.set(name, self._spread(name, self._entry(context, name), index))
        data.set(self.key, self._spread(self.key, x, index))
        # Deterministic: nothing may draw from a global generator.
        with quietly(self._modal), set_exploration_type(ExplorationType.DETERMINISTIC):
            for module in self.body:
                data = module(data)
        found = [self._rows(data.get(name), index) for name in self.outputs]
        return found[0] if len(found) == 1 else tuple(found)

    def _agent_index(self, x: Tensor, context: Context | None) -> Tensor | None:
        """The agent of every row, where the rows are not all agents of some environments."""
        given = None if context is None or self.agents == 1 else context.get("agent_index", None)
        if given is None:
            return None
        index: Tensor = given.to(x.device)
        everyone = torch.arange(self.agents, device=x.device).repeat(-(-x.shape[0] // self.agents))
        return None if torch.equal(index, everyone) else index

    def _spread(self, name: NestedKey, rows: Any, index: Tensor | None) -> Any:
        """From rows to the shape that the modules expect."""
        if self.agents == 1 or not isinstance(rows, Tensor):
            return rows
        of_agents = isinstance(name, tuple) and isinstance(self.key, tuple) and name[:-1] == self.key[:-1]
        if index is None:
            return rows.reshape(-1, self.agents, *rows.shape[1:]) if of_agents else rows[:: self.agents]
        if not of_agents:
            return rows
        mine = torch.nn.functional.one_hot(index, self.agents).bool()
        mine = mine.reshape(*mine.shape, *[1] * (rows.ndim - 1))
        return torch.where(mine, rows.unsqueeze(1), torch.zeros_like(rows).unsqueeze(1))

    def _rows(self, found: Tensor, index: Tensor | None) -> Tensor:
        if self.agents == 1:
            return found
        if index is None:
            return found.flatten(0, 1)
        return found[torch.arange(len(index), device=found.device), index]

    def _entry(self, context: Context | TensorDictBase | None, name: NestedKey) -> Any:
        value = None if context is None else context.get(name, None)
        if value is None:
            # Without it a recurrent actor would silently start from a zero state, and the attack would be wrong.
            available = [] if context is None else sorted(map(str, context.keys()))
            raise KeyError(
                f"the actor reads {[self.key, *self.needed]}, but the attack's `context` has no {name!r} (it has "
                f"{available}). Fix: put the transform after InitTracker and the primer, or pass context=tensordict."
            )
        return value


def _needed(body: Sequence[TensorDictModuleBase], key: NestedKey, outputs: Sequence[NestedKey]) -> list[NestedKey]:
    """What the modules read and none of them writes, besides the observation."""
    written: set[NestedKey] = {key}
    needed: dict[NestedKey, None] = {}
    for module in body:
        needed |= dict.fromkeys(name for name in module.in_keys if name not in written)
        written |= set(module.out_keys)
    return list(needed | dict.fromkeys(name for name in outputs if name not in written))
