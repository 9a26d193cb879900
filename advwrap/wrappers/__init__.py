"""Wrappers: attacks in Gymnasium, vector and PettingZoo environments; NumPy in, NumPy out."""

from advwrap.wrappers.attacker_kinds import PAAD, SARL, AttackerKind
from advwrap.wrappers.attackers import PAADAttacker, SARLAttacker
from advwrap.wrappers.dispatch import AdversarialAction, AdversarialObs
from advwrap.wrappers.workers import FrozenCopyWarning

__all__ = [
    "PAAD",
    "SARL",
    "AdversarialAction",
    "AdversarialObs",
    "AttackerKind",
    "FrozenCopyWarning",
    "PAADAttacker",
    "SARLAttacker",
]
