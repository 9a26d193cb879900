"""Warn where an attack is a copy in a worker process: its victim does not learn with the original."""

from __future__ import annotations

import multiprocessing
import os
import warnings

from advwrap.attacks import Attack
from advwrap.wrappers.parts import changes


class FrozenCopyWarning(UserWarning):
    """An attack in a worker process holds a copy of a victim that may be learning elsewhere."""


class Process:
    """The process in which a wrapper was made.

    Args:
        attacks: Its attacks.

    Warns:
        FrozenCopyWarning: If this is a worker process, and the attack can grow stale.
    """

    def __init__(self, *attacks: Attack) -> None:
        self._id = os.getpid()
        if multiprocessing.parent_process() is not None:
            _warn(attacks)

    def check(self, *attacks: Attack) -> None:
        """Warn once if the wrapper was carried into another process."""
        if self._id != os.getpid():
            self._id = os.getpid()
            _warn(attacks)


def _warn(attacks: tuple[Attack, ...]) -> None:
    stale = next(filter(changes, attacks), None)
    if stale is not None:
        warnings.warn(
            f"this worker process attacks with its own copy of {type(stale).__name__}, whose "
            "victim (or schedule) does not change with the original. Fix: wrap the vector "
            "environment instead, AdversarialObs(AsyncVectorEnv(...), attack=attack): it attacks "
            "in the main process and in one batch; or push each update with "
            'envs.set_attr("attack", attack).',
            FrozenCopyWarning,
            stacklevel=4,
        )
