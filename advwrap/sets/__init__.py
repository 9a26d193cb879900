"""Sets: where may the perturbation live?"""

from advwrap.sets.actions import ActionSet, where_allowed
from advwrap.sets.bounds import UNBOUNDED, Bounds
from advwrap.sets.epsilon import Epsilon, InStd, Linear
from advwrap.sets.horizon import OverHorizon
from advwrap.sets.l0 import L0Ball
from advwrap.sets.l1 import L1Ball
from advwrap.sets.l2 import L2Ball
from advwrap.sets.linf import LinfBall
from advwrap.sets.masked import Masked
from advwrap.sets.protocol import ContextualSet, FiniteSet, PerturbationSet
from advwrap.sets.varying import Varying

__all__ = [
    "UNBOUNDED",
    "ActionSet",
    "Bounds",
    "ContextualSet",
    "Epsilon",
    "FiniteSet",
    "InStd",
    "L0Ball",
    "L1Ball",
    "L2Ball",
    "Linear",
    "LinfBall",
    "Masked",
    "OverHorizon",
    "PerturbationSet",
    "Varying",
    "where_allowed",
]
