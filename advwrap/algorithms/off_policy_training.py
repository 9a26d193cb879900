"""Off-policy training on TorchRL's trainer: collect, sample, one update per step; it survives being killed.

Whatever learns (SAC, TD3, discrete SAC) and however it is defended, the loop is this one.
"""

from __future__ import annotations

import json
import warnings
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import gymnasium as gym
import numpy as np
import torch
from tensordict import TensorDictBase
from torch import nn
from torchrl.collectors import Collector
from torchrl.data import LazyTensorStorage, TensorDictReplayBuffer
from torchrl.data.replay_buffers.samplers import RandomSampler
from torchrl.envs import Compose, EnvBase, RewardScaling, RewardSum, TransformedEnv
from torchrl.trainers import Trainer
from torchrl.trainers.trainers import ReplayBufferTrainer

from advwrap.algorithms.defence import Hardening, adam
from advwrap.algorithms.description import described
from advwrap.algorithms.learned_agent import begin_with, trained_agent
from advwrap.attacks import Identity
from advwrap.randomness import derived_seed
from advwrap.sets import Linear
from advwrap.training import KeepBest, TrainedAgent, advance_schedule
from advwrap.training.agent_file import Score
from advwrap.training.checkpoint import Checkpoint, GlobalRandomness, SameTraining
from advwrap.training.collector_state import CollectorState
from advwrap.training.logbook import LogBook, passed
from advwrap.training.prioritised import ProportionalSampler
from advwrap.training.replayable import Replayable
from advwrap.training.running_normaliser import RAW, NormaliseRunning, normalise_batch
from advwrap.training.update import Update
from advwrap.training.vector_env import VectorGymEnv, side_by_side
from advwrap.transforms import AdversarialAction, AdversarialObs

if TYPE_CHECKING:
    from advwrap.algorithms.off_policy import OffPolicy

KEPT = [RAW, "action", ("next", RAW), ("next", "reward"), ("next", "done"), ("next", "terminated")]
"""What the replay buffer keeps of a transition: the truth; attacks are made anew from every sample."""

TOGETHER = 10
"""Batches that are drawn from the replay buffer in one call, where more than one is asked for."""


def kept(transitions: TensorDictBase) -> TensorDictBase:
    """What the replay buffer keeps: "action" is what was executed."""
    replayed = transitions.select(*KEPT)
    executed = transitions.get("executed_action", None)
    return replayed if executed is None else replayed.set("action", executed)


class OffPolicyTraining:
    """The pieces of one training, put together.

    Args: See `OffPolicy.train`.
    """

    def __init__(
        self,
        config: OffPolicy,
        start: TrainedAgent | None = None,
        *,
        out: Path | None = None,
        score: Score | None = None,
        advance: Callable[[int], object] = lambda frames: None,
    ) -> None:
        check_device(config.device)
        torch.manual_seed(config.seed)
        np.random.seed(config.seed)  # noqa: NPY002 - TorchRL's samplers and gymnasium tasks may read it
        self.config, self.out, self.advance = config, out, advance
        self.start = None if start is None else start.digest()
        self.tasks = [Replayable(gym.make(config.env)) for _ in range(config.envs)]
        observations = self.tasks[0].observation_space
        if not (isinstance(observations, gym.spaces.Box) and len(observations.shape) == 1):
            raise TypeError(f"`env` must have vector observations, got {observations} in {config.env}.")
        with torch.device(config.device):  # where everything is made
            self.learner = config.learner(observations, self.tasks[0].action_space)
            if start is not None:
                begin_with(start, self.learner)
            self.hardening: Hardening = config.defence.harden(self.learner, steps=config.steps, seed=config.seed)
        self.normaliser = self.learner.normaliser
        self.drawn: Iterator[TensorDictBase] = iter(())
        self.beta = Linear(0.4, 1.0, config.steps)
        self.buffer = self._buffer()
        self.update = self._update()
        self.trainer = self._trainer()
        self.best = None
        if score is not None:
            robust = () if self.hardening.robust is None else (self.hardening.robust,)
            agent = nn.ModuleList([self.learner.loss, self.normaliser, *robust])
            every, first = config.evaluate_every, config.evaluate_from
            self.best = KeepBest(agent, lambda: score(self.agent()), every=every, first=first)
        self.log = LogBook(out)
        self._hooks()
        self.checkpoint = None if out is None else Checkpoint(out / "last.pt", self._parts())

    def run(self) -> TrainedAgent:
        """Train to the end, from the checkpoint where there is one."""
        if self.checkpoint is not None and self.checkpoint.load():
            self.advance(self.trainer.collected_frames)
        else:
            self.log.forget()
        if self.trainer.collected_frames < self.config.steps:
            self.trainer.train()
        if self.best is None:
            return self.agent(kept=self.config.steps)
        self.best.restore()
        return self.agent(history=self.best.history, kept=self.best.at)

    def environment(self) -> EnvBase:
        """The tasks, normalised, with the attacks around them."""
        execution = self.hardening.execution
        env = TransformedEnv(
            VectorGymEnv(side_by_side(self.tasks), truth=False, one_hot=True, device=self.config.device),
            Compose(
                RewardSum(),
                RewardScaling(0.0, self.config.reward_scale),
                NormaliseRunning(self.normaliser),
                AdversarialObs(self.hardening.behaviour),
                *([] if isinstance(execution, Identity) else [AdversarialAction(execution)]),
            ),
        )
        env.set_seed(derived_seed(self.config.seed, 1))  # no episode is shared by seeds 0 and 1
        return env

    def _buffer(self) -> TensorDictReplayBuffer:
        config = self.config
        size = min(config.capacity, config.steps)
        sampler = ProportionalSampler(size, beta=self.beta) if config.prioritised else RandomSampler()
        return TensorDictReplayBuffer(storage=LazyTensorStorage(size, device=config.device), sampler=sampler)

    def _update(self) -> Update:
        losses = [self.learner.loss, *self.hardening.losses]
        prepare: list[Any] = [partial(normalise_batch, self.normaliser)]
        if self.hardening.perturb is not None:
            prepare.append(self.hardening.perturb)
        return Update(
            losses,
            adam(losses, self.learner.learning_rate),
            prepare=prepare,
            weights=self.hardening.weights,
            surgery=self.hardening.surgery,
            every=dict.fromkeys(("loss_actor", *self.hardening.actor_terms), self.learner.delay),
            compile=self.config.compile,
        )

    def _trainer(self) -> Trainer:
        """TorchRL's trainer, with one update per environment step."""
        config = self.config
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # TorchRL calls its trainers a prototype
            return Trainer(
                collector=Collector(
                    self.environment(),
                    self.learner.explore,
                    frames_per_batch=config.frames_per_batch,
                    total_frames=config.steps,
                    init_random_frames=config.random_steps,
                ),
                total_frames=config.steps,
                frame_skip=1,
                optim_steps_per_batch=config.frames_per_batch,
                loss_module=self.learner.loss,
                optimization_stepper=self.update,
                progress_bar=False,
                auto_log_optim_steps=False,
                clip_grad_norm=False,
            )

    def _hooks(self) -> None:
        config, trainer = self.config, self.trainer
        replay = ReplayBufferTrainer(self.buffer, config.batch_size, flatten_tensordicts=True)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # the stage of priorities is to be renamed
            trainer.register_op("batch_process", lambda batch: kept(self._log_episodes(batch)))
            trainer.register_op("batch_process", replay.extend)
            trainer.register_op("batch_process", self._draw)
            trainer.register_op("process_optim_batch", lambda _: next(self.drawn))
            trainer.register_op("post_loss", self._prioritise)
            trainer.register_op("post_optim", self._move_targets)
            trainer.register_op("post_optim_complete_log", self._log_losses)
        for schedule in (self.beta, *self.hardening.schedules):
            advance_schedule(trainer, schedule)
        if self.hardening.after is not None:
            trainer.register_op("post_steps", self._after)
        if self.best is not None:
            self.best.register(trainer)
        trainer.register_op("post_steps", lambda: self.advance(config.frames_per_batch))
        trainer.register_op("post_steps", self._save)

    def batches(self, count: int) -> Iterator[TensorDictBase]:
        """So many batches from the replay buffer, normalised and not perturbed; drawn together, which costs less."""
        for several in self._sampled(count, TOGETHER):
            yield from normalise_batch(self.normaliser, several).split(self.config.batch_size)

    def _sampled(self, count: int, together: int) -> Iterator[TensorDictBase]:
        """The rows of so many batches, of some of them at a time."""
        for first in range(0, count, together):
            yield self.buffer.sample(self.config.batch_size * min(together, count - first))

    def _draw(self, batch: TensorDictBase) -> TensorDictBase:
        """The batches of the updates that follow; one by one where every update changes what is drawn next."""
        config = self.config
        several = self._sampled(config.frames_per_batch, 1 if config.prioritised else TOGETHER)
        self.drawn = (one for rows in several for one in rows.split(config.batch_size))
        return batch

    def _move_targets(self) -> None:
        if self.update.steps % self.learner.delay == 0:
            for updater in (self.learner.updater, *self.hardening.updaters):
                updater.step()

    def _after(self) -> None:
        frames = self.trainer.collected_frames
        if found := self.hardening.after(frames, self.batches):  # type: ignore[misc]
            self.log.write(found, frames)

    def _prioritise(self, batch: TensorDictBase) -> None:
        if self.config.prioritised:
            self.buffer.update_priority(batch["index"], batch["td_error"])

    def _log_episodes(self, batch: TensorDictBase) -> TensorDictBase:
        done = batch["next", "done"]
        if bool(done.any()):
            returns = batch["next", "episode_reward"][done]
            frames = self.trainer.collected_frames + batch.numel()
            self.log.write({"return_while_learning": returns.mean()}, frames)
        return batch

    def _log_losses(self, _: int, losses: TensorDictBase | None) -> None:
        frames, config = self.trainer.collected_frames, self.config
        if losses is not None and passed(config.log_every, frames, config.frames_per_batch):
            self.log.write(dict(losses.items()), frames)

    def _save(self) -> None:
        frames, config = self.trainer.collected_frames, self.config
        due = passed(config.checkpoint_every, frames, config.frames_per_batch)
        if self.checkpoint is not None and (due or frames >= config.steps):
            self.checkpoint.save()

    def _parts(self) -> dict[str, Any]:
        """Everything that changes while training; the global generators last, because loading the others may draw."""
        best = {} if self.best is None else {"best": self.best}
        return {
            "config": SameTraining(self.card()),
            "loss": self.learner.loss,
            **{f"loss {i}": loss for i, loss in enumerate(self.hardening.losses)},
            **{f"schedule {i}": schedule for i, schedule in enumerate((self.beta, *self.hardening.schedules))},
            **self.hardening.parts,
            **({} if self.hardening.perturb is None else {"perturb": self.hardening.perturb}),
            "update": self.update,
            "normaliser": self.normaliser,
            "replay": self.buffer,
            "collector": CollectorState(self.trainer.collector, self.tasks),
            **best,
            "log": self.log,
            "progress": self.trainer._checkpoint_state,
            "randomness": GlobalRandomness(),
        }

    def card(self) -> dict[str, Any]:
        """The configuration as JSON can hold it: with the command, one file that reproduces the run."""
        config = json.loads(json.dumps(described(self.config)))
        return {"policy": self.config.kind, "config": config, "start": self.start}

    def agent(self, **scores: Any) -> TrainedAgent:
        """The present networks, copied."""
        return trained_agent(self.learner, {**self.card(), **scores}, self.hardening.robust)


def check_device(name: str) -> None:
    """Refuse a device that torch does not know, or that this machine lacks."""
    try:
        torch.empty(0, device=name)
    except (RuntimeError, AssertionError) as cause:
        raise ValueError(f'`device` must be one that torch can use here, got {name!r}: {cause}. Fix: "cpu".') from cause
