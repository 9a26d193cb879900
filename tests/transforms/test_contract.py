"""The public contract of transforms, kept by ours."""

from advwrap.testing.contracts.transforms import ActionTransformContract, ObservationTransformContract
from advwrap.testing.environments import SignalTorchRLEnv
from advwrap.transforms import AdversarialAction, AdversarialObs


class TestAdversarialObs(ObservationTransformContract):
    def make_transform(self, attack):
        return AdversarialObs(attack)


class TestAdversarialObsAlone(TestAdversarialObs):
    """Without a batch axis."""

    def make_env(self):
        return SignalTorchRLEnv()


class TestAdversarialAction(ActionTransformContract):
    def make_transform(self, attack):
        return AdversarialAction(attack)


class TestAdversarialActionAlone(TestAdversarialAction):
    """Without a batch axis."""

    def make_env(self):
        return SignalTorchRLEnv()
