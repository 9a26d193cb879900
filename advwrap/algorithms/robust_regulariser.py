"""Robust-SAC, Robust-TD3, ...: a policy that changes little within the ball.

Source: Zhang et al., *Robust deep reinforcement learning against adversarial perturbations on state observations*,
NeurIPS 2020 (SA-PPO, SA-DDPG); for SAC: VALT, appendix D.2, eq. 58 and Table 3.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from advwrap.algorithms.defence import Hardening, Learner, between, check_radius, check_ramp
from advwrap.errors import check_integer
from advwrap.losses import SmoothPolicy
from advwrap.sets import LinfBall
from advwrap.sets.coefficient import check_coefficient


@dataclass(frozen=True)
class RobustRegulariser:
    """The state-adversarial regulariser alone: the critics and the environment stay clean.

    L_reg = coefficient mean_s max over s~ in the ball of KL(pi(. | s) || pi(. | s~))

    Source: VALT, eq. 58, Table 3: `coefficient` 300, 300, 10, 30 for HalfCheetah, Hopper, Walker2d, Ant.

    Args:
        epsilon: The final radius, in units of the normalised observation.
        coefficient: kappa_reg.
        steps: Gradient steps of the inner maximum (SGLD).
        ramp: The radius grows from 0 between these fractions of the training.

    Example:
        >>> RobustRegulariser(0.15, 300.0).steps
        5
    """

    epsilon: float
    coefficient: float
    steps: int = 5
    ramp: tuple[float, float] = (0.1, 0.8)

    def __post_init__(self) -> None:
        check_radius(self.epsilon)
        check_coefficient("coefficient", self.coefficient)
        check_ramp("ramp", self.ramp)
        check_integer("steps", self.steps, least=1)

    def harden(self, learner: Learner, *, steps: int, seed: int) -> Hardening:
        """One more loss."""
        radius = between(self.ramp, 0.0, self.epsilon, steps=steps)
        loss = SmoothPolicy.sgld(
            learner.actor, within=LinfBall(radius), steps=self.steps, coefficient=self.coefficient, seed=seed
        )
        return Hardening(losses=(loss,), actor_terms=("loss_smooth", "smooth_divergence"), schedules=(radius,))


class Regularised(Protocol):
    """A defence with the regulariser besides."""

    @property
    def epsilon(self) -> float:
        """The radius."""
        ...

    @property
    def regulariser(self) -> float:
        """The coefficient; 0 for none."""
        ...

    @property
    def regulariser_ramp(self) -> tuple[float, float]:
        """Between which fractions of the training the radius grows."""
        ...


def check_regulariser(defence: Regularised) -> None:
    """Refuse numbers of the regulariser that are out of range, by the names they have in the defence."""
    check_coefficient("regulariser", defence.regulariser)
    check_ramp("regulariser_ramp", defence.regulariser_ramp)


def regularised(hardening: Hardening, learner: Learner, defence: Regularised, *, steps: int, seed: int) -> Hardening:
    """The same with the regulariser besides, as VALT adds it: two gradient steps; nothing if the coefficient is 0."""
    if defence.regulariser == 0:
        return hardening
    extra = RobustRegulariser(defence.epsilon, defence.regulariser, steps=2, ramp=defence.regulariser_ramp)
    return hardening.with_losses(extra.harden(learner, steps=steps, seed=seed))
