"""VALT with the soft-worst adversary by sampling: no network of its own, nothing to relearn. An extension of ours.

Source: Nakanishi, Kubo, Yasui, Ishii, *Off-policy actor-critic for adversarial observation robustness: virtual
alternative training via symmetric policy evaluation*, ICML 2025, eq. 9 and 10; the sampling is ours.
"""

from __future__ import annotations

from dataclasses import dataclass

from advwrap.algorithms.defence import Hardening, Learner, check_radius
from advwrap.algorithms.robust_regulariser import check_regulariser, regularised
from advwrap.algorithms.virtual import check_soft, temperature_of, virtual
from advwrap.attacks import Gated, WithProbability
from advwrap.errors import check_fraction, check_integer
from advwrap.sets import LinfBall
from advwrap.targets import SoftWorst


@dataclass(frozen=True)
class ValtSampled:
    """The critics bootstrap, and the actor improves, at one of n random candidates, chosen by its badness.

    The same target as `ValtSoft`, drawn by self-normalised importance sampling from the present critics instead of
    from a network that was fitted to them.

    Source: VALT, eq. 9, 10 and 26; see `advwrap.targets.SoftWorst` for what sampling costs and misses.

    Args:
        epsilon: The radius, in units of the normalised observation.
        temperature: alpha_attk, in the units of the critics' values; a pair moves from the first to the second within
            the first nine tenths of the training.
        samples: Candidates per observation.
        adversarial_ratio: Share of the environment steps in which the behaviour policy sees the adversary.
        regulariser: Coefficient of the regulariser of `RobustRegulariser`; 0 for none.
        regulariser_ramp: Its radius grows from 0 between these fractions of the training.
        evaluation: Whether the critics' targets see the adversary.
        improvement: Whether the actor's loss sees the adversary.
        exact: Whether the critics learn the whole soft-worst value (eq. 26), with the price of the adversary's choice,
            by `SoftBackup`; the default leaves the price out, as VALT-SOFT does (eq. 54).

    Example:
        >>> ValtSampled(0.15, temperature=8.0).samples
        4
    """

    epsilon: float
    temperature: float | tuple[float, float]
    samples: int = 4
    adversarial_ratio: float = 0.5
    regulariser: float = 0.0
    regulariser_ramp: tuple[float, float] = (0.1, 0.8)
    evaluation: bool = True
    improvement: bool = True
    exact: bool = False

    def __post_init__(self) -> None:
        check_radius(self.epsilon)
        check_fraction("adversarial_ratio", self.adversarial_ratio)
        check_regulariser(self)
        check_integer("samples", self.samples, least=1)
        check_soft(self)

    def harden(self, learner: Learner, *, steps: int, seed: int) -> Hardening:
        """The adversary in the environment and in the losses, on the live networks."""
        temperature = temperature_of(self, steps=steps)
        worst = SoftWorst(
            learner.actor,
            learner.loss,
            within=LinfBall(self.epsilon),
            temperature=temperature,
            samples=self.samples,
        )
        hardening = Hardening(
            behaviour=Gated(worst, WithProbability(self.adversarial_ratio)),
            perturb=virtual(self, worst, gamma=learner.gamma, temperature=temperature, seed=seed),
            schedules=(temperature,),
        )
        return regularised(hardening, learner, self, steps=steps, seed=seed)
