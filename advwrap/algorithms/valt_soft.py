"""VALT-SOFT: virtual alternative training against a learned soft-worst adversary.

Source: Nakanishi, Kubo, Yasui, Ishii, *Off-policy actor-critic for adversarial observation robustness: virtual
alternative training via symmetric policy evaluation*, ICML 2025, Algorithms 1 and 3, Table 6.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from torch import Tensor

from advwrap.algorithms.defence import Batches, Hardening, Learner, adam, check_radius
from advwrap.algorithms.robust_regulariser import check_regulariser, regularised
from advwrap.algorithms.virtual import check_soft, temperature_of, virtual
from advwrap.attacks import Gated, Learned, WithProbability
from advwrap.errors import check_fraction, check_integer
from advwrap.losses.adversary import AdversaryLoss
from advwrap.modules import GaussianAdversary
from advwrap.sets import LinfBall
from advwrap.sets.coefficient import check_coefficient
from advwrap.training.update import Update


@dataclass(frozen=True)
class ValtSoft:
    """The critics bootstrap, and the actor improves, at what a learned adversary lets the victim see.

    The adversary is fitted to the soft-worst distribution p exp(-V / alpha) / Z of the present critics, on batches of
    the replay buffer: no interaction of its own. It is forgotten and learned anew every `reset_every` steps.

    Source: VALT, Algorithms 1 and 3, eq. 9, 10 and 57; numbers of Table 6.

    Args:
        epsilon: The radius, in units of the normalised observation.
        temperature: alpha_attk, in the units of the critics' values; a pair moves from the first to the second within
            the first nine tenths of the training (the paper's 1000 to 4).
        adversarial_ratio: Share of the environment steps in which the behaviour policy sees the adversary.
        reset_every: Environment steps between two resets, and gradient steps after each.
        learning_rate: Of the adversary.
        regulariser: Coefficient of the regulariser of `RobustRegulariser`; 0 for none.
        regulariser_ramp: Its radius grows from 0 between these fractions of the training.
        evaluation: Whether the critics' targets see the adversary; False is the paper's ablation "w/o PE".
        improvement: Whether the actor's loss sees the adversary; False is "w/o PI".
        exact: Whether the critics learn the whole soft-worst value (eq. 26), with the price of the adversary's choice,
            by `SoftBackup`; the paper's appendix C, and the default, leave the price out (eq. 54).

    Example:
        >>> ValtSoft(0.15, temperature=8.0, regulariser=1.0).reset_every
        2000
    """

    epsilon: float
    temperature: float | tuple[float, float]
    adversarial_ratio: float = 0.5
    reset_every: int = 2_000
    learning_rate: float = 3e-4
    regulariser: float = 0.0
    regulariser_ramp: tuple[float, float] = (0.1, 0.8)
    evaluation: bool = True
    improvement: bool = True
    exact: bool = False

    def __post_init__(self) -> None:
        check_radius(self.epsilon)
        check_fraction("adversarial_ratio", self.adversarial_ratio)
        check_regulariser(self)
        check_coefficient("learning_rate", self.learning_rate, positive=True)
        check_integer("reset_every", self.reset_every, least=1)
        check_soft(self)

    def harden(self, learner: Learner, *, steps: int, seed: int) -> Hardening:
        """The adversary in the environment and in the losses, and its own learning."""
        ball = LinfBall(self.epsilon)
        adversary = GaussianAdversary(learner.features, hidden=learner.hidden)
        attack = Learned(adversary, within=ball, sample=True)
        temperature = temperature_of(self, steps=steps)
        loss = AdversaryLoss(adversary, learner.actor, learner.loss, within=ball, temperature=temperature, seed=seed)
        relearning = Relearning(adversary, loss, self, compile=learner.compile)
        hardening = Hardening(
            behaviour=Gated(attack, WithProbability(self.adversarial_ratio)),
            perturb=virtual(self, attack, gamma=learner.gamma, temperature=temperature, seed=seed),
            schedules=(temperature,),
            after=relearning,
            parts={"adversary": relearning},
        )
        return regularised(hardening, learner, self, steps=steps, seed=seed)


class Relearning:
    """Forget the adversary and learn it again, every so many environment steps (Algorithm 3)."""

    def __init__(
        self,
        adversary: GaussianAdversary,
        loss: AdversaryLoss,
        config: ValtSoft,
        *,
        compile: bool,  # noqa: A002
    ) -> None:
        self.adversary, self.loss, self.every = adversary, loss, config.reset_every
        self.update = Update([loss], adam([adversary], config.learning_rate), compile=compile)
        self.rounds = 0

    def __call__(self, frames: int, batches: Batches) -> Mapping[str, float] | None:
        """Learn if it is time to; for the log, what the last batch said about the adversary (`AdversaryLoss`)."""
        if frames // self.every <= self.rounds:
            return None
        self.rounds = frames // self.every
        self.adversary.reset_parameters()
        # A new optimiser, without a new compiled graph.
        for state in self.update.optimizer.state.values():
            for value in state.values():
                if isinstance(value, Tensor):
                    value.zero_()
        for batch in batches(self.every):
            last = self.update(batch)
        return {name: float(last[name]) for name in ("adversary_value", "adversary_kl", "adversary_soft_value")}

    def state_dict(self) -> dict[str, Any]:
        """The network, its optimiser, its random streams and the number of resets."""
        return {
            "adversary": self.adversary.state_dict(),
            "loss": self.loss.state_dict(),
            "update": self.update.state_dict(),
            "rounds": self.rounds,
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Continue from a `state_dict`."""
        self.adversary.load_state_dict(state["adversary"])
        self.loss.load_state_dict(state["loss"])
        self.update.load_state_dict(state["update"])
        self.rounds = int(state["rounds"])
