"""Warn where an attack is a copy in a worker process: its victim does not learn with the original."""

from __future__ import annotations

import multiprocessing
import os

from advwrap.attacks import Attack
from advwrap.attacks.copies import FrozenCopyWarning, warn_of_copies

__all__ = ["FrozenCopyWarning", "Process"]


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
    warn_of_copies(
        attacks,
        fix="wrap the vector environment instead, AdversarialObs(AsyncVectorEnv(...), "
        "attack=attack): it attacks in the main process and in one batch; or push each update with "
        'envs.set_attr("attack", attack).',
        stacklevel=4,
    )
