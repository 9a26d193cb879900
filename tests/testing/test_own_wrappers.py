"""The wrappers of advwrap keep the contracts that are shipped for others; so do the transforms, in tests/transforms."""

from advwrap import AdversarialAction, AdversarialObs
from advwrap.testing import (
    ActionAECContract,
    ActionParallelContract,
    ActionVectorContract,
    ActionWrapperContract,
    ObservationAECContract,
    ObservationParallelContract,
    ObservationVectorContract,
    ObservationWrapperContract,
)


class Seen:
    def wrap(self, env, attack):
        return AdversarialObs(env, attack=attack)


class Acted:
    def wrap(self, env, attack):
        return AdversarialAction(env, attack=attack)


class TestAdversarialObs(Seen, ObservationWrapperContract):
    """In Gymnasium."""


class TestAdversarialAction(Acted, ActionWrapperContract):
    """In Gymnasium."""


class TestVectorObs(Seen, ObservationVectorContract):
    """In a vector environment."""


class TestVectorAction(Acted, ActionVectorContract):
    """In a vector environment."""


class TestParallelObs(Seen, ObservationParallelContract):
    """In a PettingZoo parallel environment."""


class TestParallelAction(Acted, ActionParallelContract):
    """In a PettingZoo parallel environment."""


class TestAECObs(Seen, ObservationAECContract):
    """In a PettingZoo AEC environment."""


class TestAECAction(Acted, ActionAECContract):
    """In a PettingZoo AEC environment."""
