"""Gymnasium environments under attack."""

from advwrap.wrappers.gymnasium.action import AdversarialAction
from advwrap.wrappers.gymnasium.attacker import AttackerEnv
from advwrap.wrappers.gymnasium.observation import AdversarialObs

__all__ = ["AdversarialAction", "AdversarialObs", "AttackerEnv"]
