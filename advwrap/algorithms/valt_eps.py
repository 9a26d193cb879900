"""VALT-EPS: virtual alternative training against the epsilon-worst adversary.

Source: Nakanishi, Kubo, Yasui, Ishii, *Off-policy actor-critic for adversarial observation robustness: virtual
alternative training via symmetric policy evaluation*, ICML 2025, Algorithms 1 and 2, Table 5.
"""

from __future__ import annotations

from dataclasses import dataclass

from advwrap.algorithms.defence import Hardening, Learner, between, check_radius, check_ramp
from advwrap.algorithms.robust_regulariser import check_regulariser, regularised
from advwrap.attacks import Gated, Noise, WithProbability
from advwrap.errors import check_fraction, check_integer
from advwrap.sets import LinfBall
from advwrap.targets import at_places, epsilon_worst


@dataclass(frozen=True)
class ValtEps:
    """The critics bootstrap, and the actor improves, at what the epsilon-worst adversary lets the victim see.

    Behaviour: uniform noise in a share of the steps. Batches: with probability kappa(t) the worst case by PGD on the
    mean of the twin critics, uniform noise otherwise, at root (policy improvement) and next (policy evaluation).

    Source: VALT, Algorithms 1 and 2, eq. 12, 54 and 56; numbers of Table 5.

    Args:
        epsilon: The radius, in units of the normalised observation.
        adversarial_ratio: Share of the environment steps in which the behaviour policy sees noise.
        kappa: The last probability of the worst case; it grows from 0 within `ramp`.
        ramp: Between these fractions of the training.
        steps: Gradient steps of PGD.
        regulariser: Coefficient of the regulariser of `RobustRegulariser`; 0 for none.
        regulariser_ramp: Its radius grows from 0 between these fractions of the training.
        evaluation: Whether the critics' targets see the adversary; False is the paper's ablation "w/o PE".
        improvement: Whether the actor's loss sees the adversary; False is "w/o PI".

    Example:
        >>> ValtEps(0.15, regulariser=30.0).adversarial_ratio
        0.5
    """

    epsilon: float
    adversarial_ratio: float = 0.5
    kappa: float = 1.0
    ramp: tuple[float, float] = (0.0, 0.8)
    steps: int = 2
    regulariser: float = 0.0
    regulariser_ramp: tuple[float, float] = (0.1, 0.8)
    evaluation: bool = True
    improvement: bool = True

    def __post_init__(self) -> None:
        check_radius(self.epsilon)
        check_fraction("adversarial_ratio", self.adversarial_ratio)
        check_fraction("kappa", self.kappa)
        check_ramp("ramp", self.ramp)
        check_integer("steps", self.steps, least=1)
        check_regulariser(self)

    def harden(self, learner: Learner, *, steps: int, seed: int) -> Hardening:
        """Noise while collecting, the epsilon-worst adversary in the losses."""
        ball = LinfBall(self.epsilon)
        kappa = between(self.ramp, 0.0, self.kappa, steps=steps)
        worst = epsilon_worst(learner.actor, learner.loss, within=ball, kappa=kappa, steps=self.steps)
        perturb = at_places(worst, root=self.improvement, next=self.evaluation, seed=seed)
        noise = Gated(Noise(ball), WithProbability(self.adversarial_ratio))
        hardening = Hardening(behaviour=noise, perturb=perturb, schedules=(kappa,))
        return regularised(hardening, learner, self, steps=steps, seed=seed)
