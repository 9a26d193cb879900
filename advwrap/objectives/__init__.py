"""Objectives: what does the adversary maximise?"""

from advwrap.objectives.direction import TowardsDirection
from advwrap.objectives.policy import ActionShift, AvoidAction, CrossEntropy, PolicyKL, SeekAction
from advwrap.objectives.protocol import Objective, Score
from advwrap.objectives.value import HighCost, HighReward, LowValue
from advwrap.objectives.weighted_sum import WeightedSum

__all__ = [
    "ActionShift",
    "AvoidAction",
    "CrossEntropy",
    "HighCost",
    "HighReward",
    "LowValue",
    "Objective",
    "PolicyKL",
    "Score",
    "SeekAction",
    "TowardsDirection",
    "WeightedSum",
]
