"""The wrappers and transforms of advwrap keep the contracts that are shipped for others."""

from advwrap import AdversarialAction, AdversarialObs
from advwrap.testing.contracts import (
    ActionTransformContract,
    ActionWrapperContract,
    ObservationTransformContract,
    ObservationWrapperContract,
)
from advwrap.transforms import AdversarialAction as ActionTransform
from advwrap.transforms import AdversarialObs as ObsTransform


class TestAdversarialObs(ObservationWrapperContract):
    def wrap(self, env, attack):
        return AdversarialObs(env, attack=attack)


class TestAdversarialAction(ActionWrapperContract):
    def wrap(self, env, attack):
        return AdversarialAction(env, attack=attack)


class TestObsTransform(ObservationTransformContract):
    def make_transform(self, attack):
        return ObsTransform(attack)


class TestActionTransform(ActionTransformContract):
    def make_transform(self, attack):
        return ActionTransform(attack)
