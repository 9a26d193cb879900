"""The configuration of every off-policy training: what learns says the rest.

`SAC`, `TD3` and `DiscreteSAC` are this with their networks and their loss.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar

import gymnasium as gym
from tensordict.nn import TensorDictModuleBase
from torchrl.objectives import LossModule

from advwrap.algorithms.defence import Defence, Learner, Undefended
from advwrap.algorithms.off_policy_training import OffPolicyTraining
from advwrap.errors import check, check_integer
from advwrap.training import TrainedAgent
from advwrap.training.agent_file import Score
from advwrap.training.soft_update import FusedSoftUpdate


@dataclass(frozen=True)
class OffPolicy(ABC):
    """What all off-policy trainings share.

    Args:
        env: Id of a Gymnasium task with vector observations.
        defence: What makes the agent robust: `ValtEps`, `ValtSoft`, `RobustRegulariser`, ...; by default nothing.
        steps: Environment steps, one update each.
        envs: Environments that collect together.
        frames_per_batch: Environment steps between two rounds of updates.
        random_steps: First steps with random actions.
        hidden: Units of the hidden layers of all networks.
        learning_rate: Of all networks.
        batch_size: Transitions per update.
        capacity: Of the replay buffer; a shorter training keeps every transition.
        gamma: Discount.
        tau: Share of the new weights in the target critics per update.
        reward_scale: Factor on the rewards that the critics learn.
        prioritised: Prioritised replay, with the exponents alpha = 0.6 and beta from 0.4 to 1 at the end.
        huber: Whether the critics minimise the Huber loss instead of the squared error.
        device: Where networks and replay buffer live, ``"cuda"`` say; the simulators stay on the CPU.
        compile: Whether the update is one compiled graph: 20 s to one minute at first, then about twice as fast.
        evaluate_every: Steps between two measurements of the agent, for keeping the best weights.
        evaluate_from: Steps before the first one; by default `evaluate_every`. Of a defence whose radius grows, earlier
            weights would be those of an agent that has not met all of it.
        checkpoint_every: Steps between two checkpoints, where the training writes into a folder.
        log_every: Steps between two lines of the log.
        seed: Of everything random.
    """

    env: str
    defence: Defence = field(default_factory=Undefended)
    steps: int = field(default=20_000, kw_only=True)
    envs: int = field(default=4, kw_only=True)
    frames_per_batch: int = field(default=40, kw_only=True)
    random_steps: int = field(default=1_000, kw_only=True)
    hidden: tuple[int, ...] = field(default=(64, 64), kw_only=True)
    learning_rate: float = field(default=1e-3, kw_only=True)
    batch_size: int = field(default=256, kw_only=True)
    capacity: int = field(default=1_000_000, kw_only=True)
    gamma: float = field(default=0.99, kw_only=True)
    tau: float = field(default=0.005, kw_only=True)
    reward_scale: float = field(default=0.1, kw_only=True)
    prioritised: bool = field(default=False, kw_only=True)
    huber: bool = field(default=False, kw_only=True)
    device: str = field(default="cpu", kw_only=True)
    compile: bool = field(default=False, kw_only=True)
    evaluate_every: int = field(default=2_500, kw_only=True)
    evaluate_from: int = field(default=0, kw_only=True)
    checkpoint_every: int = field(default=5_000, kw_only=True)
    log_every: int = field(default=1_000, kw_only=True)
    seed: int = field(default=0, kw_only=True)

    kind: ClassVar[str]
    """The kind of policy, a name of `KINDS`."""

    def __post_init__(self) -> None:
        for name in (
            "steps",
            "envs",
            "frames_per_batch",
            "batch_size",
            "capacity",
            "evaluate_every",
            "checkpoint_every",
            "log_every",
        ):
            check_integer(name, getattr(self, name), least=1)
        check(
            self.frames_per_batch % self.envs == 0,
            f"`frames_per_batch` must be a multiple of `envs` ({self.envs}), got {self.frames_per_batch}.",
        )
        check(0 < self.gamma < 1, f"`gamma` must be in (0, 1), got {self.gamma}.")
        check(0 < self.tau <= 1, f"`tau` must be in (0, 1], got {self.tau}.")
        check(self.learning_rate > 0, f"`learning_rate` must be > 0, got {self.learning_rate}.")
        check(self.reward_scale > 0, f"`reward_scale` must be > 0, got {self.reward_scale}.")
        check(self.random_steps >= 0, f"`random_steps` must be >= 0, got {self.random_steps}.")
        check(
            0 <= self.evaluate_from <= self.steps,
            f"`evaluate_from` must be in [0, {self.steps}], from nothing to `steps`, got {self.evaluate_from}.",
        )
        check(
            self.random_steps <= self.steps,
            f"`random_steps` must be <= `steps` ({self.steps}), got {self.random_steps}: nothing would be learned.",
            fix=f"random_steps={self.steps // 10}.",
        )
        if not hasattr(self.defence, "harden"):
            raise TypeError(f"`defence` must be a defence, got {self.defence!r}. Fix: ValtEps(0.1), ...")
        check(all(units >= 1 for units in self.hidden), f"`hidden` must hold sizes >= 1, got {self.hidden}.")
        check(0 <= self.seed < 2**32, f"`seed` must be in [0, 2**32), got {self.seed}.")

    @property
    def loss_function(self) -> str:
        """What the critics minimise, in TorchRL's words."""
        return "smooth_l1" if self.huber else "l2"

    @abstractmethod
    def learner(self, observations: gym.spaces.Box, actions: gym.Space[Any]) -> Learner:
        """The networks and the loss for a task with these spaces."""

    def assembled(
        self, actor: TensorDictModuleBase, loss: LossModule, explore: TensorDictModuleBase | None = None, **parts: Any
    ) -> Learner:
        """A learner with this configuration's numbers; it explores as it acts where nothing else is said."""
        loss.make_value_estimator(gamma=self.gamma)
        return Learner(
            env=self.env,
            actor=actor,
            explore=actor if explore is None else explore,
            loss=loss,
            updater=FusedSoftUpdate(loss, tau=self.tau),
            policy=self.kind,
            hidden=self.hidden,
            learning_rate=self.learning_rate,
            gamma=self.gamma,
            tau=self.tau,
            compile=self.compile,
            loss_function=self.loss_function,
            **parts,
        )

    def train(
        self,
        start: TrainedAgent | None = None,
        *,
        out: Path | None = None,
        score: Score | None = None,
        advance: Callable[[int], object] = lambda frames: None,
    ) -> TrainedAgent:
        """Train to the end.

        Args:
            start: An agent of the same task and sizes to go on from: its networks, temperature and normaliser. The
                replay buffer and the optimiser begin anew.
            out: Folder for the log and the checkpoint. Where it holds a checkpoint of this very training, the training
                goes on from there, bit for bit as if it had never stopped.
            score: Measures the agent every `evaluate_every` steps; the best weights are returned. Without it, the last.
            advance: Called with the number of new environment steps.

        Raises:
            TypeError: If the task has other spaces than the learner needs.
            ValueError: If `start` or the checkpoint belongs to another training, or torch cannot use the device.
        """
        return OffPolicyTraining(self, start, out=out, score=score, advance=advance).run()
