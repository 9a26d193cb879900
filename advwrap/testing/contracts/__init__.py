"""Contracts: what every block owes to the others, as test classes to inherit.

Subclass one in your test suite, override its factory, and pytest runs every rule on your block::

    class TestMyBall(SetContract):
        def make_set(self, eps):
            return MyBall(eps)

Most rules are properties: Hypothesis draws what they are tried on, in the number of examples that
your profile says. A rule that cannot hold for a block is switched off by name, ``test_... = None``.
"""

from advwrap.testing.contracts.agents import (
    ActionAECContract,
    ActionParallelContract,
    AECContract,
    ObservationAECContract,
    ObservationParallelContract,
    ParallelContract,
)
from advwrap.testing.contracts.attacks import AttackContract
from advwrap.testing.contracts.losses import LossContract
from advwrap.testing.contracts.objectives import ObjectiveContract
from advwrap.testing.contracts.sets import SetContract
from advwrap.testing.contracts.transforms import (
    ActionTransformContract,
    ObservationTransformContract,
    TransformContract,
)
from advwrap.testing.contracts.vectors import ActionVectorContract, ObservationVectorContract, VectorContract
from advwrap.testing.contracts.wrappers import ActionWrapperContract, ObservationWrapperContract, WrapperContract

__all__ = [
    "AECContract",
    "ActionAECContract",
    "ActionParallelContract",
    "ActionTransformContract",
    "ActionVectorContract",
    "ActionWrapperContract",
    "AttackContract",
    "LossContract",
    "ObjectiveContract",
    "ObservationAECContract",
    "ObservationParallelContract",
    "ObservationTransformContract",
    "ObservationVectorContract",
    "ObservationWrapperContract",
    "ParallelContract",
    "SetContract",
    "TransformContract",
    "VectorContract",
    "WrapperContract",
]
