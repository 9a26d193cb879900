"""An environment in the hands of somebody who writes into every array that he can reach."""

from __future__ import annotations

import copy
from typing import Any

import numpy as np
from gymnasium.utils.env_checker import data_equivalence


class Handled:
    """An environment whose arrays are written to, and that fails if it writes to a command itself.

    Args:
        env: Of Gymnasium, its vectors or PettingZoo.
        writes_given: Whether the commands are overwritten after their step.
        writes_got: Whether what was returned is overwritten; a copy of it is handed on.

    Example:
        >>> from advwrap.testing.environments import SignalEnv
        >>> env, command = Handled(SignalEnv(), writes_given=True), np.zeros(2)
        >>> _ = env.reset(seed=0), env.step(command)
        >>> command
        array([1000000., 1000000.])
    """

    def __init__(self, env: Any, *, writes_given: bool = False, writes_got: bool = False) -> None:
        self._env = env
        self._writes_given = writes_given
        self._writes_got = writes_got

    def __getattr__(self, name: str) -> Any:
        """Everything else is the environment's."""
        return getattr(self._env, name)

    def reset(self, **options: Any) -> Any:
        """Reset."""
        return self._handed_on(self._env.reset(**options))

    def step(self, action: Any) -> Any:
        """Step."""
        before = copy.deepcopy(action)
        result = self._env.step(action)
        assert data_equivalence(before, action, exact=True), (
            f"a command must not be written to: {before} became {action}."
        )
        if self._writes_given:
            overwrite(action)
        return self._handed_on(result)

    def last(self) -> Any:
        """What an AEC environment tells the agent whose turn it is."""
        return self._handed_on(self._env.last())

    def _handed_on(self, result: Any) -> Any:
        kept = copy.deepcopy(result)
        if self._writes_got:
            overwrite(result)
        return kept


def overwrite(tree: Any) -> None:
    """Write nonsense into every array.

    Example:
        >>> kept = {"a": (np.zeros(1), 1)}
        >>> overwrite(kept)
        >>> kept
        {'a': (array([1000000.]), 1)}
    """
    if isinstance(tree, np.ndarray) and tree.dtype == object:
        tree = [*tree.flat]
    if isinstance(tree, dict):
        tree = [*tree.values()]
    if isinstance(tree, (tuple, list)):
        for part in tree:
            overwrite(part)
    elif isinstance(tree, np.ndarray) and tree.flags.writeable:
        tree[...] = 1e6 if tree.dtype.kind == "f" else 1
