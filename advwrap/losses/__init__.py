"""Losses: what a network minimises beside, or instead of, the losses of TorchRL."""

from advwrap.losses.adversary import AdversaryLoss
from advwrap.losses.fit_robust_critic import RobustCriticTraining, fit_robust_critic
from advwrap.losses.fit_sarsa import (
    LowestOverScan,
    SarsaTraining,
    fit_robust_sarsa,
    lowest_over_scan,
    scan_robust_sarsa,
)
from advwrap.losses.robust_critic import RobustCriticLoss
from advwrap.losses.robust_sarsa import RobustSarsa, ShuffledSarsa
from advwrap.losses.robust_table import RobustTableLoss
from advwrap.losses.sarsa_batches import sarsa_batches, with_next_action
from advwrap.losses.smooth_policy import SmoothPolicy, kl_divergence, mean_shift
from advwrap.losses.worst_case_critic import WorstCaseCritic

__all__ = [
    "AdversaryLoss",
    "LowestOverScan",
    "RobustCriticLoss",
    "RobustCriticTraining",
    "RobustSarsa",
    "RobustTableLoss",
    "SarsaTraining",
    "ShuffledSarsa",
    "SmoothPolicy",
    "WorstCaseCritic",
    "fit_robust_critic",
    "fit_robust_sarsa",
    "kl_divergence",
    "lowest_over_scan",
    "mean_shift",
    "sarsa_batches",
    "scan_robust_sarsa",
    "with_next_action",
]
