"""The configuration of proximal policy optimisation, around any Gymnasium task.

Source: Schulman et al., *Proximal policy optimization algorithms*, 2017, with the details that MuJoCo needs (Engstrom
et al., *Implementation matters in deep policy gradients*, ICLR 2020): orthogonal weights, a standard deviation that
does not depend on the state, clipped values, rewards in units of the return's standard deviation, annealed steps.
"""

from __future__ import annotations

import json
import random
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import torch
from gymnasium.vector import VectorEnv

from advwrap.algorithms.description import described, named
from advwrap.algorithms.oa_ppo import RobustAdvantage
from advwrap.algorithms.ppo_training import PPOTraining
from advwrap.errors import check, check_fraction, check_integer
from advwrap.progress import progress
from advwrap.training.agent_file import TrainedAgent
from advwrap.training.checkpoint import Checkpoint, GlobalRandomness, SameTraining, Stateful
from advwrap.training.logbook import LogBook, passed
from advwrap.training.normaliser import Normaliser
from advwrap.training.running_rows import Running

AnyVectorEnv = VectorEnv[Any, Any, Any]


@dataclass(frozen=True)
class PPO:
    """Proximal policy optimisation with TorchRL's `ClipPPOLoss`, `GAE` and `PPOTrainer`.

    A Gaussian policy and a value network, each an MLP with tanh; the standard deviation is a parameter that does not
    depend on the state. The same seed gives the same weights.

    Source: Schulman et al. 2017. The defaults are those that trained the adversaries of Zhang et al., ICLR 2021
        (2048 steps per iteration, 10 epochs of 32 minibatches), but for time limits, after which the value is
        bootstrapped here and was not there.

    Args:
        env: Id of a Gymnasium task, or a function that makes one, with vector observations and box actions.
        wrap: Put around the vector environment of all copies: ``lambda envs: AdversarialObs(envs, attack)`` trains
            under attack, ``lambda envs: SARLAttacker(envs, victim, within=...)`` trains an attacker.
        normaliser: From the task's observations to what is read, beneath `wrap`: frozen statistics, or `Running()` ones
            that the agent keeps at the end; None where the task normalises.
        steps: Environment steps.
        envs: Copies of the task that run together.
        horizon: Steps of every copy between two rounds of updates.
        epochs: Passes over the collected steps.
        minibatches: Updates per pass.
        hidden: Units of the hidden layers of both networks.
        learning_rate: Of the policy.
        value_learning_rate: Of the value network; by default the same.
        anneal: Whether both fall linearly to 0.
        clip: How far the probability ratio may leave 1 before its gradient is cut; also how far a value may leave the
            one at collection.
        entropy: Weight of the entropy bonus.
        gamma: Discount.
        gae_lambda: Decay of the advantage estimator.
        initial_std: Standard deviation of the first policy.
        max_grad_norm: Longer gradients are shortened to this; None for no limit.
        scale_rewards: Whether to divide rewards by the running standard deviation of the discounted return.
        advantage: How the advantage under the worst executed action is learned and mixed in (OA-PPO); None for plain
            PPO.
        compile: Whether to compile the update into one graph.
        checkpoint_every: Environment steps between two checkpoints, where the training writes into a folder.
        seed: Of everything random.

    Example:
        >>> agent = PPO("Pendulum-v1", steps=256, envs=2, horizon=64, epochs=1, minibatches=4).train()
        >>> agent.act(torch.zeros(1, 3)).shape
        torch.Size([1, 1])
    """

    env: str | Callable[[], gym.Env[Any, Any]] | None = None
    wrap: Callable[[AnyVectorEnv], AnyVectorEnv] | None = field(default=None, kw_only=True)
    normaliser: Normaliser | Running | None = field(default=None, kw_only=True)
    steps: int = field(default=1_000_000, kw_only=True)
    envs: int = field(default=8, kw_only=True)
    horizon: int = field(default=256, kw_only=True)
    epochs: int = field(default=10, kw_only=True)
    minibatches: int = field(default=32, kw_only=True)
    hidden: tuple[int, ...] = field(default=(64, 64), kw_only=True)
    learning_rate: float = field(default=3e-4, kw_only=True)
    value_learning_rate: float | None = field(default=None, kw_only=True)
    anneal: bool = field(default=True, kw_only=True)
    clip: float = field(default=0.2, kw_only=True)
    entropy: float = field(default=0.0, kw_only=True)
    gamma: float = field(default=0.99, kw_only=True)
    gae_lambda: float = field(default=0.95, kw_only=True)
    initial_std: float = field(default=1.0, kw_only=True)
    max_grad_norm: float | None = field(default=None, kw_only=True)
    scale_rewards: bool = field(default=True, kw_only=True)
    advantage: RobustAdvantage | None = field(default=None, kw_only=True)
    compile: bool = field(default=False, kw_only=True)
    checkpoint_every: int = field(default=50_000, kw_only=True)
    seed: int = field(default=0, kw_only=True)

    def __post_init__(self) -> None:
        for name in ("steps", "envs", "horizon", "epochs", "minibatches", "checkpoint_every"):
            check_integer(name, getattr(self, name), least=1)
        check(
            (self.envs * self.horizon) % self.minibatches == 0,
            f"`minibatches` must divide envs * horizon ({self.envs * self.horizon}), got {self.minibatches}.",
        )
        for name in ("learning_rate", "clip", "initial_std"):
            check(getattr(self, name) > 0, f"`{name}` must be > 0, got {getattr(self, name)}.")
        check(0 < self.gamma <= 1, f"`gamma` must be in (0, 1], got {self.gamma}.")
        check_fraction("gae_lambda", self.gae_lambda)
        check(self.entropy >= 0, f"`entropy` must be >= 0, got {self.entropy}.")
        check(self.seed >= 0, f"`seed` must be >= 0, got {self.seed}.")
        if not (self.normaliser is None or isinstance(self.normaliser, (Normaliser, Running))):
            raise TypeError(f"`normaliser` must be Running(), a Normaliser or None, got {self.normaliser!r}.")
        if not (self.advantage is None or isinstance(self.advantage, RobustAdvantage)):
            raise TypeError(
                f"`advantage` must be a RobustAdvantage, got {self.advantage!r}. Fix: RobustAdvantage(0.1)."
            )
        if not (self.wrap is None or callable(self.wrap)):
            raise TypeError(f"`wrap` must be a function of the vector environment, got {self.wrap!r}.")

    def train(
        self,
        *,
        out: Path | None = None,
        advance: Callable[[int], object] | None = None,
        watch: Callable[[int, TrainedAgent], object] | None = None,
        watch_every: int = 100_000,
    ) -> TrainedAgent:
        """Train to the end. The global generators are put back where they were.

        Args:
            out: Folder for the log and the checkpoint. Where it holds a checkpoint of this very training, the training
                goes on from there, bit for bit as if it had never stopped.
            advance: Called with the number of new environment steps; by default a progress bar.
            watch: Called with the number of steps and a copy of the present agent, every `watch_every` steps: to save
                or to measure it.
            watch_every: How often.

        Returns:
            The last agent. ``agent.card["history"]`` holds the mean return of the episodes that ended in each round
            of updates, in the units of the environment as it was wrapped.

        Raises:
            TypeError: If the task has no vector observations or no box actions.
            ValueError: If there is no task, or the checkpoint belongs to another training.
        """
        bar = progress("PPO", total=self.rounds * self.batch)
        randomness = GlobalRandomness()
        before = randomness.state_dict()
        with bar as counting:
            try:
                torch.manual_seed(self.seed)
                np.random.seed(self.seed)  # noqa: NPY002 - tasks and TorchRL's samplers may draw from it
                random.seed(self.seed)
                training, count = PPOTraining(self), advance or counting
                log = LogBook(out)
                checkpoint = None if out is None else self._checkpoint(out, training, log)
                if checkpoint is not None and checkpoint.load():
                    count(training.frames)
                else:
                    log.forget()
                while training.frames < self.rounds * self.batch:
                    training.round()
                    log.write(training.logged(), training.frames)
                    count(self.batch)
                    if watch is not None and passed(watch_every, training.frames, self.batch):
                        watch(training.frames, training.agent())
                    done = training.frames == self.rounds * self.batch
                    due = done or passed(self.checkpoint_every, training.frames, self.batch)
                    if checkpoint is not None and due:
                        checkpoint.save()
                training.close()
                return training.agent()
            finally:
                randomness.load_state_dict(before)

    def _checkpoint(self, out: Path, training: PPOTraining, log: LogBook) -> Checkpoint:
        """The global generators last: loading the others may draw from them."""
        parts: dict[str, Stateful] = {
            "config": SameTraining(self.card()),
            "training": training,
            "log": log,
            "randomness": GlobalRandomness(),
        }
        return Checkpoint(out / "last.pt", parts)

    def card(self) -> dict[str, Any]:
        """The configuration as JSON can hold it; of functions only the names."""
        config = json.loads(json.dumps(described(replace(self, env=None, wrap=None))))
        for name in ("env", "wrap"):  # by their names even where they are dataclasses, which may hold anything
            value = getattr(self, name)
            config[name] = named(value) if callable(value) else value
        return {"policy": "free-scale", "config": config}

    @property
    def batch(self) -> int:
        """Environment steps between two rounds of updates."""
        return self.envs * self.horizon

    @property
    def rounds(self) -> int:
        """Rounds of updates in all."""
        return -(-self.steps // self.batch)
