"""Gymnasium vector environments under attack: one batched attack per step."""

from advwrap.wrappers.vector.action import AdversarialAction
from advwrap.wrappers.vector.attacker import AttackerEnv
from advwrap.wrappers.vector.observation import AdversarialObs

__all__ = ["AdversarialAction", "AdversarialObs", "AttackerEnv"]
