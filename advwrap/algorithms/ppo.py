"""Proximal policy optimisation: TorchRL's loss, advantages and trainer around any Gymnasium task.

Source: Schulman et al., *Proximal policy optimization algorithms*, 2017, with the details that MuJoCo needs (Engstrom
et al., *Implementation matters in deep policy gradients*, ICLR 2020): orthogonal weights, a standard deviation that
does not depend on the state, clipped values, rewards in units of the return's standard deviation, annealed steps.
"""

from __future__ import annotations

import copy
import json
import math
import random
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import torch
from gymnasium.vector import AutoresetMode, SyncVectorEnv, VectorEnv
from tensordict import TensorDict, TensorDictBase
from tensordict.nn import AddStateIndependentNormalScale, TensorDictModule
from torch import Tensor, nn
from torchrl.collectors import Collector
from torchrl.modules import IndependentNormal, ProbabilisticActor, ValueOperator
from torchrl.objectives import ClipPPOLoss
from torchrl.objectives.value import GAE
from torchrl.trainers import OptimizationStepper, Trainer

from advwrap.algorithms.description import described, named
from advwrap.algorithms.oa_ppo import RobustAdvantage, RobustAdvantages
from advwrap.errors import check
from advwrap.progress import progress
from advwrap.sets import Bounds
from advwrap.training.agent_file import TrainedAgent
from advwrap.training.agent_networks import tanh_mlp
from advwrap.training.checkpoint import Checkpoint, GlobalRandomness, SameTraining, Stateful
from advwrap.training.collector_state import CollectorState
from advwrap.training.logbook import LogBook, passed
from advwrap.training.minibatches import Minibatches
from advwrap.training.normaliser import Normaliser
from advwrap.training.replayable import Replayable
from advwrap.training.returns import EpisodeReturns, ReturnScale
from advwrap.training.running_rows import Running, RunningRows
from advwrap.training.update import Update
from advwrap.training.vector_env import VectorGymEnv
from advwrap.wrappers.vector.attacker import AttackerEnv

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
            check(getattr(self, name) >= 1, f"`{name}` must be >= 1, got {getattr(self, name)}.")
        check(
            (self.envs * self.horizon) % self.minibatches == 0,
            f"`minibatches` must divide envs * horizon ({self.envs * self.horizon}), got {self.minibatches}.",
        )
        for name in ("learning_rate", "clip", "initial_std"):
            check(getattr(self, name) > 0, f"`{name}` must be > 0, got {getattr(self, name)}.")
        check(0 < self.gamma <= 1, f"`gamma` must be in (0, 1], got {self.gamma}.")
        check(0 <= self.gae_lambda <= 1, f"`gae_lambda` must be in [0, 1], got {self.gae_lambda}.")
        check(self.entropy >= 0, f"`entropy` must be >= 0, got {self.entropy}.")
        check(self.seed >= 0, f"`seed` must be >= 0, got {self.seed}.")
        if not (self.normaliser is None or isinstance(self.normaliser, (Normaliser, Running))):
            raise TypeError(f"`normaliser` must be Running(), a Normaliser or None, got {self.normaliser!r}.")
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


class PPOTraining:
    """PPO round by round: whoever calls decides what happens between two rounds.

    Its `actor` is always the present one. It draws from the global generators of torch and NumPy; with those, its
    `state_dict` is all that it needs to go on bit for bit.

    Source: Schulman et al. 2017, as `PPO`, which trains this to the end.

    Args:
        config: What to train. Its `steps` only say over how many rounds the learning rates fall.

    Example:
        >>> training = PPOTraining(PPO("Pendulum-v1", steps=128, envs=2, horizon=32, epochs=1, minibatches=4))
        >>> training.round()
        >>> training.frames
        64
        >>> training.close()
    """

    def __init__(self, config: PPO) -> None:
        self.config = config
        self.frames = 0
        """Environment steps so far."""
        self.history: list[tuple[int, float]] = []
        """After how many steps which mean return of the episodes that ended in a round."""
        self.tasks, tasks = _tasks(config)
        self.running = RunningRows(tasks) if isinstance(config.normaliser, Running) else None
        self.env = VectorGymEnv(_wrapped(config, tasks if self.running is None else self.running))
        self.env.set_seed(config.seed)
        features, actions = self.env.observation_spec["observation"].shape[-1], self.env.action_spec.shape[-1]
        self.policy = tanh_mlp(features, actions, config.hidden, last=0.01)
        self.scale = AddStateIndependentNormalScale(actions, scale_mapping="exp")
        self.scale.state_independent_scale.data.fill_(math.log(config.initial_std))
        self.value = tanh_mlp(features, 1, config.hidden, last=1.0)
        self.actor = ProbabilisticActor(
            TensorDictModule(nn.Sequential(self.policy, self.scale), ["observation"], ["loc", "scale"]),
            in_keys=["loc", "scale"],
            distribution_class=IndependentNormal,
            return_log_prob=True,
        )
        critic = ValueOperator(self.value, in_keys=["clean_observation"])
        self.loss = ClipPPOLoss(
            self.actor,
            critic,
            clip_epsilon=config.clip,
            entropy_bonus=config.entropy > 0,
            entropy_coeff=config.entropy,
            critic_coeff=0.5,
            loss_critic_type="l2",
            normalize_advantage=True,
            clip_value=True,
        )
        # The loss branches on its value, which a compiled graph could not do on a buffer.
        del self.loss.clip_value
        self.loss.clip_value = config.clip
        self.gae = GAE(gamma=config.gamma, lmbda=config.gae_lambda, value_network=critic)
        space = self.env.envs.single_action_space
        self.robust: RobustAdvantages | None = None
        if config.advantage is not None:
            self.robust = config.advantage.estimator(
                self.actor,
                box=Bounds(torch.from_numpy(space.low), torch.from_numpy(space.high)),
                sizes=(features, actions, *config.hidden),
                gamma=config.gamma,
                compile=config.compile,
                seed=config.seed,
            )
        self.optimizer = self._optimizer()
        self.update = Update([self.loss], self.optimizer, compile=config.compile)
        self.schedule = torch.optim.lr_scheduler.LambdaLR(
            self.optimizer, lambda done: max(0.0, 1 - done / config.rounds) if config.anneal else 1.0
        )
        self.episodes = EpisodeReturns(config.envs)
        self.rewards = ReturnScale(config.envs, gamma=config.gamma) if config.scale_rewards else None
        self.stepper = _Silent(self.update)
        self.trainer = self._trainer()
        self._batches = iter(self.trainer.collector)

    def _optimizer(self) -> torch.optim.Optimizer:
        config = self.config
        value_rate = config.learning_rate if config.value_learning_rate is None else config.value_learning_rate
        policy = [p for name, p in self.loss.named_parameters() if name.startswith("actor")]
        value = [p for name, p in self.loss.named_parameters() if name.startswith("critic")]
        groups = [{"params": policy, "lr": config.learning_rate}, {"params": value, "lr": value_rate}]
        optimizer = torch.optim.Adam(groups, eps=1e-5, fused=True)
        if (longest := config.max_grad_norm) is not None:
            # Each network on its own: a large value loss must not slow the policy down.
            def shorten(*_: Any) -> None:
                for group in optimizer.param_groups:
                    nn.utils.clip_grad_norm_(group["params"], longest)

            optimizer.register_step_pre_hook(shorten)
        return optimizer

    def round(self) -> None:
        """Collect one batch with the present policy, and learn from it."""
        batch = self._prepare(next(self._batches))
        self.frames += batch.numel()
        self.trainer.optim_steps(batch)
        self.schedule.step()
        if self.episodes.ended:
            self.history.append((self.frames, self.episodes.take()))

    def logged(self) -> dict[str, float | Tensor]:
        """The numbers of the last round: its last losses, the spread of the policy, the return of ended episodes."""
        values = {name: value for name, value in self.stepper.values.items() if value.numel() == 1}
        spread = self.scale.state_independent_scale.detach().exp().mean()
        ended = bool(self.history) and self.history[-1][0] == self.frames
        returns = {"return_while_learning": self.history[-1][1]} if ended else {}
        return {**values, "policy_std": spread, **returns}

    def close(self) -> None:
        """Close the environments."""
        self.trainer.collector.shutdown()

    def state_dict(self) -> dict[str, Any]:
        """Networks, optimiser, statistics of the rewards, and where the environments stand."""
        parts = {name: part.state_dict() for name, part in self._parts().items()}
        return {"frames": self.frames, "history": [list(pair) for pair in self.history], **parts}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Continue from a `state_dict`."""
        self.frames = int(state["frames"])
        self.history = [(int(frames), float(mean)) for frames, mean in state["history"]]
        for name, part in self._parts().items():
            part.load_state_dict(state[name])

    def _parts(self) -> dict[str, Stateful]:
        return {
            "loss": self.loss,
            "update": self.update,
            "schedule": self.schedule,
            "episodes": self.episodes,
            **({} if self.rewards is None else {"rewards": self.rewards}),
            **({} if self.robust is None else {"robust advantage": self.robust}),
            "collector": CollectorState(self.trainer.collector, self.tasks),
        }

    def _prepare(self, batch: TensorDictBase) -> TensorDictBase:
        """Count the episodes, scale the rewards, estimate the advantages: once per batch."""
        reward, done = batch["next", "reward"], batch["next", "done"]
        self.episodes.add(reward, done)
        if self.rewards is not None:
            batch["next", "reward"] = self.rewards(reward, done)
        with torch.no_grad():
            self.gae(batch)
        if self.robust is not None:
            self.robust(batch, 1.0 if self.rewards is None else float(self.rewards.std))
        return batch.select(
            "observation", "clean_observation", "action", "action_log_prob", "advantage", "value_target", "state_value",
            ("next", "reward"), ("next", "done"), ("next", "terminated"),
        )  # fmt: skip

    def _trainer(self) -> Trainer:
        """TorchRL's trainer, for its epochs of minibatches."""
        config = self.config
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # TorchRL calls its trainers a prototype
            trainer = Trainer(
                collector=Collector(self.env, self.actor, frames_per_batch=config.batch, total_frames=-1),
                total_frames=config.rounds * config.batch,
                frame_skip=1,
                optim_steps_per_batch=config.minibatches,
                num_epochs=config.epochs,
                loss_module=self.loss,
                optimization_stepper=self.stepper,
                progress_bar=False,
                auto_log_optim_steps=False,
                clip_grad_norm=False,
            )
        Minibatches(config.minibatches).register(trainer)
        return trainer

    def agent(self) -> TrainedAgent:
        """The present networks, copied."""
        config, space = self.config, self.env.envs.single_action_space
        networks = nn.Sequential(self.policy, self.scale), self.value
        actor, value = (copy.deepcopy(network).requires_grad_(False) for network in networks)
        known = config.normaliser
        frozen = known if self.running is None else self.running.frozen()
        assert not isinstance(frozen, Running)  # noqa: S101 - then `running` is there
        low, high = (torch.tensor(limit, dtype=torch.float32) for limit in (space.low, space.high))
        card = {**config.card(), "history": [list(pair) for pair in self.history], "kept": self.frames}
        # The actions of an attacker are none of the task's, whatever the task is.
        task = config.env if isinstance(config.env, str) else named(config.env)["function"]
        same = isinstance(config.env, str) and not isinstance(self.env.envs, AttackerEnv)
        env = task if same else f"{task} (no id)"
        return TrainedAgent(env, actor, (value,), frozen, low, high, card)


class _Silent(OptimizationStepper):  # type: ignore[misc]
    """An update whose losses the trainer does not see: it would average them all, at a tenth of the update's cost."""

    def __init__(self, update: Update) -> None:
        self.update = update
        self.values = TensorDict()
        """Of the last update."""

    def step(self, trainer: Any, sub_batch: TensorDictBase) -> TensorDict:
        """One update."""
        self.values = self.update.step(trainer, sub_batch)
        return TensorDict()


def _tasks(config: PPO) -> tuple[list[Replayable], AnyVectorEnv]:
    """The copies of the task, and all of them together."""
    env, normaliser = config.env, config.normaliser
    check(env is not None, "`env` must be the id of a task or a function that makes one, got None.")
    tasks = [Replayable(gym.make(env) if isinstance(env, str) else env()) for _ in range(config.envs)]  # type: ignore[misc]

    def seen(task: Replayable) -> gym.Env[Any, Any]:
        return normaliser.wrap(task) if isinstance(normaliser, Normaliser) else task

    envs: AnyVectorEnv = SyncVectorEnv([partial(seen, task) for task in tasks], autoreset_mode=AutoresetMode.DISABLED)
    if not (
        isinstance(envs.single_observation_space, gym.spaces.Box) and len(envs.single_observation_space.shape) == 1
    ):
        raise TypeError(f"`env` must have vector observations, got {envs.single_observation_space}.")
    return tasks, envs


def _wrapped(config: PPO, envs: AnyVectorEnv) -> AnyVectorEnv:
    envs = envs if config.wrap is None else config.wrap(envs)
    actions = envs.single_action_space
    if not (isinstance(actions, gym.spaces.Box) and len(actions.shape) == 1):
        raise TypeError(f"`env` must have box actions, got {actions}.")
    return envs
