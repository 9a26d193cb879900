"""Tiny deterministic environments for every framework, with the same observations for one seed.

The observation at step t is a known function of the seed, t and the actions (`Signal`), so a test
can compare what an attack did in Gymnasium, in a vector environment, in PettingZoo and in TorchRL.

PettingZoo and TorchRL are imported when their environment is first used::

    from advwrap.testing.environments import SignalEnv, SignalParallelEnv, SignalTorchRLEnv
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from advwrap.testing.environments.signal import Signal
from advwrap.testing.environments.single import SIGNAL, SignalEnv, signal_vector

if TYPE_CHECKING:
    from advwrap.testing.environments.parallel import SignalParallelEnv, signal_aec
    from advwrap.testing.environments.torchrl_env import SignalTorchRLEnv

__all__ = [
    "SIGNAL",
    "Signal",
    "SignalEnv",
    "SignalParallelEnv",
    "SignalTorchRLEnv",
    "signal_aec",
    "signal_vector",
]

_LATER = {
    "SignalParallelEnv": "advwrap.testing.environments.parallel",
    "signal_aec": "advwrap.testing.environments.parallel",
    "SignalTorchRLEnv": "advwrap.testing.environments.torchrl_env",
}


def __getattr__(name: str) -> Any:
    if name not in _LATER:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_LATER[name]), name)
