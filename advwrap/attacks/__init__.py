"""Attacks: how is the perturbation searched?"""

from advwrap.attacks.budgets import (
    After,
    Always,
    AtMost,
    Budget,
    EveryNth,
    GapAbove,
    OnlyAgents,
    WholeEpisodes,
    WithProbability,
)
from advwrap.attacks.combinators import Confined, Gated, Mixture, Worst
from advwrap.attacks.directed import Overrule, Push, Steered, policy_direction
from advwrap.attacks.faults import Bias, Delay, Dropout, Gain, Quantised, Saturated, Stuck, sticky
from advwrap.attacks.gradient import FGSM, PGD, Langevin
from advwrap.attacks.learned import Learned
from advwrap.attacks.plain import GaussianNoise, Identity, Noise, RandomVertex
from advwrap.attacks.protocol import Attack
from advwrap.attacks.search import Corners, CrossEntropyMethod, RandomSearch, Search, Square, Strategy

__all__ = [
    "FGSM",
    "PGD",
    "After",
    "Always",
    "AtMost",
    "Attack",
    "Bias",
    "Budget",
    "Confined",
    "Corners",
    "CrossEntropyMethod",
    "Delay",
    "Dropout",
    "EveryNth",
    "Gain",
    "GapAbove",
    "Gated",
    "GaussianNoise",
    "Identity",
    "Langevin",
    "Learned",
    "Mixture",
    "Noise",
    "OnlyAgents",
    "Overrule",
    "Push",
    "Quantised",
    "RandomSearch",
    "RandomVertex",
    "Saturated",
    "Search",
    "Square",
    "Steered",
    "Strategy",
    "Stuck",
    "WholeEpisodes",
    "WithProbability",
    "Worst",
    "policy_direction",
    "sticky",
]
