"""Which agents of an environment share the attacked entry, and which streams of the clock are theirs.

Agents are numbered over all groups of the environment, in its own order: as in PettingZoo.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from tensordict.utils import NestedKey
from torchrl.envs import EnvBase, TransformedEnv

from advwrap.modules.rows import group_of

Mask = NDArray[np.bool_]
"""Which environments, or which rows, are meant."""


@dataclass(frozen=True, eq=False)
class Agents:
    """The agents that share an entry, among all of the environment.

    Args:
        numbers: Their numbers, in the order of the entry.
        total: How many agents the environment has.

    Example:
        >>> Agents(np.array([1, 2]), total=3).streams(rows=2, who=None)
        array([1, 2, 4, 5])
    """

    numbers: NDArray[np.int64]
    total: int

    def streams(self, rows: int, who: Mask | None) -> NDArray[np.int64] | None:
        """The clock's streams of the rows of the entry, or only of `who`; None for all streams.

        Args:
            rows: Number of environments.
            who: Which rows of the entry (environment by environment, agents varying fastest).
        """
        if who is None and len(self.numbers) == self.total and (np.diff(self.numbers) == 1).all():
            return None
        each = (np.arange(rows)[:, None] * self.total + self.numbers).reshape(-1)
        return each if who is None else each[who]


def agents_of(env: EnvBase, key: NestedKey, count: int) -> Agents:
    """The agents that share an entry.

    Args:
        env: The environment.
        key: The entry.
        count: How many there are.
    """
    groups, group = _groups(env), group_of(key)
    if len(group) != 1 or group[0] not in groups:
        return Agents(np.arange(count), count)
    names = [name for members in groups.values() for name in members]
    order = list(getattr(innermost(env), "possible_agents", None) or names)
    return Agents(np.array([order.index(name) for name in groups[group[0]]]), len(order))


def apart(env: EnvBase, key: NestedKey, other: NestedKey) -> bool:
    """Whether two entries belong to different groups of agents, who have different streams."""
    groups, group, others = _groups(env), group_of(key), group_of(other)
    known = all(len(names) == 1 and names[0] in groups for names in (group, others))
    return known and group != others


def innermost(env: EnvBase) -> EnvBase:
    """The environment below all transforms."""
    while isinstance(env, TransformedEnv):
        env = env.base_env
    return env


def _groups(env: EnvBase) -> dict[str, list[Any]]:
    # In a batched environment this is a call to other processes, or not there.
    groups = vars(innermost(env)).get("group_map")
    return groups if isinstance(groups, dict) else {}
