"""Attacks: how is the perturbation searched?"""

from advwrap.attacks.budgets import (
    Always,
    AtMost,
    Budget,
    EveryNth,
    GapAbove,
    OnlyAgents,
    WithProbability,
)
from advwrap.attacks.combinators import Gated, Mixture, Worst
from advwrap.attacks.directed import Push, Steered, policy_direction
from advwrap.attacks.gradient import FGSM, PGD, Langevin
from advwrap.attacks.learned import Learned
from advwrap.attacks.plain import GaussianNoise, Identity, Noise, RandomVertex
from advwrap.attacks.protocol import Attack
from advwrap.attacks.search import Corners, CrossEntropyMethod, RandomSearch, Search, Square, Strategy

__all__ = [
    "FGSM",
    "PGD",
    "Always",
    "AtMost",
    "Attack",
    "Budget",
    "Corners",
    "CrossEntropyMethod",
    "EveryNth",
    "GapAbove",
    "Gated",
    "GaussianNoise",
    "Identity",
    "Langevin",
    "Learned",
    "Mixture",
    "Noise",
    "OnlyAgents",
    "Push",
    "RandomSearch",
    "RandomVertex",
    "Search",
    "Square",
    "Steered",
    "Strategy",
    "WithProbability",
    "Worst",
    "policy_direction",
]
