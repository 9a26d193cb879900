"""Attacks on whatever policy a collector runs: made in the process where that policy lives."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from advwrap.attacks import Attack


@dataclass(frozen=True, eq=False)
class OnCollectedPolicy:
    """Instead of an attack: how a transform makes one from the policy of the collector around it.

    ::

        attack = OnCollectedPolicy(lambda policy: PGD(ActionShift(policy), within=LinfBall(0.1)))
        collector = MultiSyncCollector([lambda: AdversarialObs(env(), attack=attack)], policy, ...)

    In a `MultiSyncCollector` every process makes the attack from its own copy of the policy, the
    one whose weights the collector updates. For a `ParallelEnv`, put the transform outside it.

    Args:
        make: From the policy to the attack; called once per policy.
    """

    make: Callable[[Any], Attack]
