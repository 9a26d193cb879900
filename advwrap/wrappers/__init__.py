"""Wrappers: attacks in Gymnasium, vector and PettingZoo environments; NumPy in, NumPy out."""

from advwrap.wrappers.attacker_kinds import (
    PAAD,
    SARL,
    ActionAdversary,
    AttackerKind,
    NoisyAdversary,
    ProbabilisticAdversary,
)
from advwrap.wrappers.attackers import ActionAttacker, PAADAttacker, SARLAttacker
from advwrap.wrappers.dispatch import AdversarialAction, AdversarialObs
from advwrap.wrappers.workers import FrozenCopyWarning

__all__ = [
    "PAAD",
    "SARL",
    "ActionAdversary",
    "ActionAttacker",
    "AdversarialAction",
    "AdversarialObs",
    "AttackerKind",
    "FrozenCopyWarning",
    "NoisyAdversary",
    "PAADAttacker",
    "ProbabilisticAdversary",
    "SARLAttacker",
]
