"""Algorithms: learners (SAC, ...) and defences (VALT-EPS, ...), named assemblies of the parts, one paper per file."""

from advwrap.algorithms.action_robust import ActionRobustTD3
from advwrap.algorithms.alternating import Alternating
from advwrap.algorithms.attack_training import TrainingAttack
from advwrap.algorithms.defence import Defence, Hardening, Learner, Undefended
from advwrap.algorithms.discrete_sac import DiscreteSAC
from advwrap.algorithms.oa_ppo import RobustAdvantage
from advwrap.algorithms.oapi import OAPI
from advwrap.algorithms.off_policy import OffPolicy
from advwrap.algorithms.ppo import PPO
from advwrap.algorithms.ppo_training import PPOTraining
from advwrap.algorithms.presets import preset
from advwrap.algorithms.robust_regulariser import RobustRegulariser
from advwrap.algorithms.sac import SAC
from advwrap.algorithms.td3 import TD3
from advwrap.algorithms.valt_eps import ValtEps
from advwrap.algorithms.valt_sampled import ValtSampled
from advwrap.algorithms.valt_soft import ValtSoft
from advwrap.algorithms.wocar import Wocar

__all__ = [
    "OAPI",
    "PPO",
    "SAC",
    "TD3",
    "ActionRobustTD3",
    "Alternating",
    "Defence",
    "DiscreteSAC",
    "Hardening",
    "Learner",
    "OffPolicy",
    "PPOTraining",
    "RobustAdvantage",
    "RobustRegulariser",
    "TrainingAttack",
    "Undefended",
    "ValtEps",
    "ValtSampled",
    "ValtSoft",
    "Wocar",
    "preset",
]
