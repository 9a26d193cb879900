"""Algorithms: named assemblies of the parts, one paper per file."""

from advwrap.algorithms.sac import SAC, TrainingAttack

__all__ = ["SAC", "TrainingAttack"]
