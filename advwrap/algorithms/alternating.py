"""SAC-PPO, PA-SAC-PPO, ...: an off-policy agent and a PPO adversary that learn in turns.

Source: Nakanishi, Kubo, Yasui, Ishii, *Off-policy actor-critic for adversarial observation robustness: virtual
alternative training via symmetric policy evaluation*, ICML 2025, appendices C.3 and D.2, Table 4; after Zhang et al.,
*Robust reinforcement learning on state observations with learned optimal adversary*, ICLR 2021 (ATLA), and Sun et al.,
*Who is the strongest enemy?*, ICLR 2022 (PA-ATLA).
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any

from advwrap.algorithms.defence import Batches, Hardening, Learner, check_radius
from advwrap.algorithms.ppo import PPO
from advwrap.algorithms.ppo_training import PPOTraining
from advwrap.algorithms.robust_regulariser import check_regulariser, regularised
from advwrap.attacks import Gated, WithProbability
from advwrap.errors import check, check_fraction
from advwrap.modules import Perturb
from advwrap.randomness import derived_seed
from advwrap.sets import LinfBall
from advwrap.training.running_rows import RunningRows
from advwrap.victims import as_policy
from advwrap.wrappers import SARL, AdversarialObs, AttackerKind


@dataclass(frozen=True)
class Alternating:
    """The agent learns against an adversary that learns by PPO, in steps of its own, against the agent as it is.

    A round of PPO is due whenever the adversary has fallen a whole batch behind its share of the steps. The adversary
    perturbs, at random as it learns, a share of the agent's own steps and every batch of the losses, at root and next:
    the critics bootstrap, and the actor improves, at what it lets the victim see. In its environments the victim
    samples its actions and the observations are in units of the agent's running statistics, which do not count them.

    Source: VALT, appendix C.3 and Table 4: SAC-PPO (`SARL`) and, on Ant, PA-SAC-PPO (`PAAD`). There the adversary
        collects 2048 steps in one environment; here in as many as `adversary` says, without a break between rounds.

    Args:
        epsilon: The radius, in units of the normalised observation.
        adversary: The numbers of the adversary; its task and its `steps` follow from the agent's training.
        kind: What it learns: perturbations, `SARL()`, or directions of the agent's action, `PAAD()`.
        adversary_steps: Environment steps of the adversary per environment step of the agent.
        adversarial_ratio: Share of the agent's own steps that the adversary perturbs.
        regulariser: Coefficient of the regulariser of `RobustRegulariser`; 0 for none.
        regulariser_ramp: Its radius grows from 0 between these fractions of the training.

    Example:
        >>> Alternating(0.15, PPO(learning_rate=3e-5, value_learning_rate=1e-5, entropy=1e-3)).adversary.batch
        2048
    """

    epsilon: float
    adversary: PPO = field(default_factory=PPO)
    kind: AttackerKind = field(default_factory=SARL)
    adversary_steps: float = 5.0
    adversarial_ratio: float = 0.5
    regulariser: float = 0.0
    regulariser_ramp: tuple[float, float] = (0.1, 0.8)

    def __post_init__(self) -> None:
        check_radius(self.epsilon)
        check(self.adversary_steps > 0, f"`adversary_steps` must be > 0, got {self.adversary_steps}.")
        check_fraction("adversarial_ratio", self.adversarial_ratio)
        check_regulariser(self)
        if isinstance(self.kind, type) or not hasattr(self.kind, "around"):
            raise TypeError(f"`kind` must be SARL() or PAAD(), got {self.kind!r}.")
        check(
            getattr(self.kind, "channel", AdversarialObs) is AdversarialObs,
            f"`kind` must perturb observations, got {self.kind!r}.",
            fix="SARL() or PAAD(); against adversaries of actions ActionRobustTD3.",
        )
        for name in ("env", "wrap", "normaliser"):
            given = getattr(self.adversary, name)
            check(given is None, f"`adversary` must leave `{name}` to the agent's training, got {given!r}.")

    def harden(self, learner: Learner, *, steps: int, seed: int) -> Hardening:
        """The adversary in the environment and in the losses, and its own training.

        Raises:
            ValueError: If the learner is not on the CPU, where the adversary collects.
        """
        device = learner.normaliser.mean.device.type
        check(device == "cpu", f"`device` must be cpu where a PPO adversary collects, got {device}.")
        ball, victim = LinfBall(self.epsilon), as_policy(learner.actor)

        def around(envs: Any) -> Any:
            return self.kind.around(RunningRows(envs, learner.normaliser), victim, within=ball, stochastic=True)

        training = PPOTraining(
            replace(
                self.adversary,
                env=learner.env,
                wrap=around,
                steps=max(int(steps * self.adversary_steps), 1),
                compile=learner.compile,
                seed=derived_seed(seed, 0),  # not the agent's own episodes
            )
        )
        attack = self.kind.attack(training.actor, victim, within=ball, sample=True)
        hardening = Hardening(
            behaviour=Gated(attack, WithProbability(self.adversarial_ratio)),
            perturb=Perturb(attack, seed=seed),
            after=Turns(training, self.adversary_steps),
            parts={"adversary": training},
        )
        return regularised(hardening, learner, self, steps=steps, seed=seed)


class Turns:
    """Rounds of a training whenever they are due.

    Args:
        training: The adversary's.
        ratio: Its environment steps per step of the agent.
    """

    def __init__(self, training: PPOTraining, ratio: float) -> None:
        self.training, self.ratio = training, ratio

    def __call__(self, frames: int, batches: Batches) -> None:
        """Catch up with the agent."""
        while self.training.frames + self.training.config.batch <= self.ratio * frames:
            self.training.round()
