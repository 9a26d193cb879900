"""Wrappers: attacks in Gymnasium, vector and PettingZoo environments; NumPy in, NumPy out."""

from advwrap.wrappers.dispatch import AdversarialAction, AdversarialObs

__all__ = ["AdversarialAction", "AdversarialObs"]
