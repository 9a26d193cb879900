"""Targets: what a value is bootstrapped from when the next observation is an adversary's.

`epsilon_worst` and `SoftWorst` are attacks; in a batch for an unmodified TorchRL loss, `Perturb` makes targets of them.
"""

from advwrap.sets.coefficient import Coefficient
from advwrap.targets.epsilon_worst import epsilon_worst
from advwrap.targets.places import PerturbPlaces, at_places
from advwrap.targets.soft_backup import Divergent, SoftBackup
from advwrap.targets.soft_value import LossTemperature, SoftValue
from advwrap.targets.soft_worst import SoftWorst
from advwrap.targets.worst_action import Falling, worst_action

__all__ = [
    "Coefficient",
    "Divergent",
    "Falling",
    "LossTemperature",
    "PerturbPlaces",
    "SoftBackup",
    "SoftValue",
    "SoftWorst",
    "at_places",
    "epsilon_worst",
    "worst_action",
]
