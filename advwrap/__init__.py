"""advwrap: attacks and adversaries for reinforcement learning, as small parts that compose.

Four words multiply at the call site: a *set* (where), an *objective* (what), an *attack* (how) and a *channel* (where
it is injected)::

    attack = PGD(LowValue(policy, critic), within=LinfBall(0.075), steps=10)
    env = AdversarialObs(gym.make("Hopper-v5"), attack=attack)
"""

from advwrap.attacks import (
    FGSM,
    PGD,
    Always,
    AtMost,
    Attack,
    Corners,
    CrossEntropyMethod,
    EveryNth,
    GapAbove,
    Gated,
    GaussianNoise,
    Identity,
    Langevin,
    Learned,
    Mixture,
    Noise,
    OnlyAgents,
    RandomSearch,
    RandomVertex,
    Search,
    Square,
    WithProbability,
    Worst,
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
    PerturbationSet,
)

__version__ = "0.1.0"
