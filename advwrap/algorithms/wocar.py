"""WocaR: raise the value under the worst attack, estimated without attacking.

Source: Liang et al., *Efficient adversarial training without attacking: worst-case-aware robust reinforcement
learning*, NeurIPS 2022; for SAC: VALT, appendix D.2.
"""

from __future__ import annotations

from dataclasses import dataclass

from torch import nn
from torchrl.modules import MLP, ValueOperator

from advwrap.algorithms.defence import Hardening, Learner, between, check_radius, check_ramp
from advwrap.algorithms.robust_regulariser import check_regulariser, regularised
from advwrap.errors import check_fraction, check_integer
from advwrap.losses import WorstCaseCritic
from advwrap.sets import LinfBall
from advwrap.training.soft_update import FusedSoftUpdate


@dataclass(frozen=True)
class Wocar:
    """A second critic learns the worst case over the box of reachable actions; the actor raises both.

    Source: VALT, eq. 59 to 61, which reports that training collapses as the radius grows, with both forms. For
        continuous actions (interval bounds of the policy's mean action).

    Args:
        epsilon: The final radius, in units of the normalised observation.
        kappa: The final weight of the worst-case value; the paper tries 0.2, 0.4 and 0.6.
        mean_action: Whether the actor raises the worst-case value of its mean action (eq. 61) instead of the mixture of
            both values at a random action (eq. 60).
        ramp: Radius and weight grow from 0 between these fractions of the training.
        steps: Gradient steps of the search for the worst action.
        regulariser: Coefficient of the regulariser of `RobustRegulariser`; 0 for none.
        regulariser_ramp: Its radius grows from 0 between these fractions of the training.

    Example:
        >>> Wocar(0.15).kappa
        0.4
    """

    epsilon: float
    kappa: float = 0.4
    mean_action: bool = False
    ramp: tuple[float, float] = (0.0, 0.8)
    steps: int = 5
    regulariser: float = 0.0
    regulariser_ramp: tuple[float, float] = (0.1, 0.8)

    def __post_init__(self) -> None:
        check_radius(self.epsilon)
        check_fraction("kappa", self.kappa)
        check_ramp("ramp", self.ramp)
        check_integer("steps", self.steps, least=1)
        check_regulariser(self)

    def harden(self, learner: Learner, *, steps: int, seed: int) -> Hardening:
        """One more critic, and its term in the actor's loss.

        Raises:
            TypeError: If the actions are discrete.
        """
        if learner.policy == "categorical":
            raise TypeError("`Wocar` bounds continuous actions, got a discrete learner. Fix: ValtEps.")
        radius = between(self.ramp, 0.0, self.epsilon, steps=steps)
        kappa = between(self.ramp, 0.0, self.kappa, steps=steps)
        network = MLP(learner.features + learner.actions, 1, num_cells=learner.hidden, activation_class=nn.ReLU)
        worst = WorstCaseCritic(
            learner.actor,
            ValueOperator(network, in_keys=["clean_observation", "action"]),
            within=LinfBall(radius),
            kappa=kappa,
            critic=None if self.mean_action else learner.loss,
            gamma=learner.gamma,
            loss_function=learner.loss_function,
            steps=self.steps,
            num_qvalue_nets=2,
        )
        hardening = Hardening(
            losses=(worst,),
            actor_terms=("loss_worst_actor",),
            weights={"loss_actor": lambda: 1 - kappa()} if self.mean_action else {},
            schedules=(radius, kappa),
            updaters=(FusedSoftUpdate(worst, tau=learner.tau),),
        )
        return regularised(hardening, learner, self, steps=steps, seed=seed)
