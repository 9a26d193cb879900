"""advwrap: attacks and adversaries for reinforcement learning, as small parts that compose.

Four words multiply at the call site: a *set* (where), an *objective* (what), an *attack* (how) and a *channel* (where
it is injected)::

    attack = PGD(LowValue(policy, critic), within=LinfBall(0.075), steps=10)
    env = AdversarialObs(gym.make("Hopper-v5"), attack=attack)
"""

from typing import TYPE_CHECKING, Any

from advwrap.attacks import (
    FGSM,
    PGD,
    After,
    Always,
    AtMost,
    Attack,
    Bias,
    Confined,
    Corners,
    CrossEntropyMethod,
    Delay,
    Dropout,
    EveryNth,
    Gain,
    GapAbove,
    Gated,
    GaussianNoise,
    Identity,
    Langevin,
    Learned,
    Mixture,
    Noise,
    OnlyAgents,
    Quantised,
    RandomSearch,
    RandomVertex,
    Saturated,
    Search,
    Square,
    Stuck,
    WholeEpisodes,
    WithProbability,
    Worst,
    sticky,
)
from advwrap.objectives import (
    ActionShift,
    AvoidAction,
    CrossEntropy,
    HighCost,
    HighReward,
    LowValue,
    Objective,
    PolicyKL,
    SeekAction,
    WeightedSum,
)
from advwrap.randomness import Streams
from advwrap.sets import (
    UNBOUNDED,
    ActionSet,
    Bounds,
    InStd,
    L0Ball,
    L1Ball,
    L2Ball,
    Linear,
    LinfBall,
    Masked,
    OverHorizon,
    PerturbationSet,
    Varying,
)
from advwrap.wrappers import AdversarialAction, AdversarialObs

if TYPE_CHECKING:
    from advwrap.modules import Perturb

__version__ = "0.1.0"

__all__ = [
    "FGSM",
    "PGD",
    "UNBOUNDED",
    "ActionSet",
    "ActionShift",
    "AdversarialAction",
    "AdversarialObs",
    "After",
    "Always",
    "AtMost",
    "Attack",
    "AvoidAction",
    "Bias",
    "Bounds",
    "Confined",
    "Corners",
    "CrossEntropy",
    "CrossEntropyMethod",
    "Delay",
    "Dropout",
    "EveryNth",
    "Gain",
    "GapAbove",
    "Gated",
    "GaussianNoise",
    "HighCost",
    "HighReward",
    "Identity",
    "InStd",
    "L0Ball",
    "L1Ball",
    "L2Ball",
    "Langevin",
    "Learned",
    "Linear",
    "LinfBall",
    "LowValue",
    "Masked",
    "Mixture",
    "Noise",
    "Objective",
    "OnlyAgents",
    "OverHorizon",
    "Perturb",
    "PerturbationSet",
    "PolicyKL",
    "Quantised",
    "RandomSearch",
    "RandomVertex",
    "Saturated",
    "Search",
    "SeekAction",
    "Square",
    "Streams",
    "Stuck",
    "Varying",
    "WeightedSum",
    "WholeEpisodes",
    "WithProbability",
    "Worst",
    "sticky",
]


def __getattr__(name: str) -> Any:
    """`Perturb`, looked up when asked for: whoever uses Gymnasium alone never imports TorchRL."""
    if name == "Perturb":
        from advwrap.modules import Perturb

        return Perturb
    raise AttributeError(f"module 'advwrap' has no attribute {name!r}")
