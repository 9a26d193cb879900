"""Training under a gradient attack: the simplest defence, with a single step per update.

Source: Pattanaik et al., *Robust deep reinforcement learning with adversarial attacks*, AAMAS 2018.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from advwrap.algorithms.defence import Hardening, Learner, between, check_radius, check_ramp
from advwrap.attacks import PGD, Mixture, Noise
from advwrap.errors import check_fraction
from advwrap.modules import Perturb
from advwrap.objectives import LowValue
from advwrap.sets import LinfBall


@dataclass(frozen=True)
class TrainingAttack:
    """What the agent suffers while it learns and while it collects: one step of the value attack, or uniform noise.

    Each row suffers with probability `kappa` one full step down the mean of the critics from a random start, and
    uniform noise otherwise, in an L-infinity ball (in units of the normalised observation) whose radius grows from 0.

    Source: Pattanaik et al., *Robust deep reinforcement learning with adversarial attacks*, AAMAS 2018; the mixture
        as in VALT-EPS, with a single step.

    Args:
        epsilon: The final radius.
        kappa: The share of value attacks.
        ramp: The radius grows between these fractions of the training.

    Example:
        >>> TrainingAttack(0.03).kappa
        0.75
    """

    epsilon: float
    kappa: float = 0.75
    ramp: tuple[float, float] = field(default=(0.1, 0.5))

    def __post_init__(self) -> None:
        check_radius(self.epsilon)
        check_fraction("kappa", self.kappa)
        check_ramp("ramp", self.ramp)

    def harden(self, learner: Learner, *, steps: int, seed: int) -> Hardening:
        """The same attack in the environment and on the batches, on the live networks."""
        radius = between(self.ramp, 0.0, self.epsilon, steps=steps)
        ball = LinfBall(radius)
        value_attack = PGD(LowValue(learner.actor, learner.loss), within=ball, steps=1, step_size=1.0)
        attack = Mixture((self.kappa, value_attack), (None, Noise(ball)))
        return Hardening(behaviour=attack, perturb=Perturb(attack, seed=seed), schedules=(radius,))
