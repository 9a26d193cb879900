"""TorchRL transforms: the twins of the wrappers, with the same names."""

from advwrap.transforms.action import AdversarialAction
from advwrap.transforms.collector import OnCollectedPolicy
from advwrap.transforms.observation import AdversarialObs

__all__ = ["AdversarialAction", "AdversarialObs", "OnCollectedPolicy"]
