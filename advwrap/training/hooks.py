"""Hooks for TorchRL's `Trainer`: perturb the sampled batches, move a schedule, keep the best weights."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping
from typing import Any

from tensordict import TensorDictBase
from torch import nn
from torchrl.trainers import Trainer

from advwrap.modules import Perturb
from advwrap.sets import Linear


def perturb_batches(trainer: Trainer, perturb: Perturb) -> None:
    """Attack every sampled batch with the present victim, after replay and before the loss.

    The buffer keeps the clean observations; perturbing after sampling means that the attack always climbs the networks
    as they are now.

    Args:
        trainer: Before it trains.
        perturb: With the keys that the loss reads.

    Example: see `advance_schedule`.
    """

    def attacked(batch: TensorDictBase) -> TensorDictBase:
        return perturb(batch)

    trainer.register_op("process_optim_batch", attacked)


def advance_schedule(trainer: Trainer, schedule: Linear) -> None:
    """Move the schedule with the frames collected: its unit is the environment step.

    Args:
        trainer: Before it trains.
        schedule: A radius, a probability or a coefficient.

    Example:
        >>> from tensordict import TensorDict
        >>> from torchrl.collectors import Collector
        >>> from torchrl.envs import GymEnv
        >>> from advwrap import AdversarialObs, Identity, LinfBall, RandomVertex
        >>> radius, radii = Linear(0.0, 0.5, steps=16), []
        >>> def loss(batch):
        ...     moved = (batch["observation"] - batch["clean_observation"]).abs().max()
        ...     radii.append(moved.item())
        ...     return TensorDict({"moved": moved})
        >>> env = AdversarialObs(GymEnv("Pendulum-v1"), attack=Identity())
        >>> trainer = Trainer(
        ...     collector=Collector(env, None, frames_per_batch=8, total_frames=16), total_frames=16, frame_skip=1,
        ...     optim_steps_per_batch=1, loss_module=loss, optimizer=None, progress_bar=False,
        ... )
        >>> perturb_batches(trainer, Perturb(RandomVertex(LinfBall(radius))))
        >>> advance_schedule(trainer, radius)
        >>> trainer.train()
        >>> radii, radius()  # after 0, 8 and 16 frames
        ([0.0, 0.25], 0.5)
    """

    def follow() -> None:
        schedule.t = trainer.collected_frames

    trainer.register_op("post_steps", follow)


class KeepBest:
    """Score the agent now and then, and remember the weights of the best score.

    Off-policy learning is not monotone: the last weights may be those of a bad moment. What is kept is chosen by the
    score alone, measured on episodes of its own.

    Args:
        module: The module whose `state_dict` is kept.
        score: Measures the present agent; higher is better.
        every: Frames between two measurements.
        first: Frames before the first one; by default `every`.

    Example:
        >>> import torch
        >>> net, scores = nn.Linear(1, 1), iter([5.0, 3.0])
        >>> keep = KeepBest(net, lambda: next(scores), every=10)
        >>> best = net.weight.clone()
        >>> for frames in (10, 20):  # `register` does this in a trainer
        ...     keep.see(frames)
        ...     _ = nn.init.zeros_(net.weight)
        >>> keep.restore()
        >>> torch.equal(net.weight, best), keep.at, keep.history
        (True, 10, [(10, 5.0), (20, 3.0)])
    """

    def __init__(self, module: nn.Module, score: Callable[[], float], *, every: int, first: int = 0) -> None:
        self.module = module
        self.score = score
        self.every = every
        self.best: float = float("-inf")
        self.at = 0
        self.history: list[tuple[int, float]] = []
        self._weights: dict[str, Any] = {}
        self._next = first or every

    def register(self, trainer: Trainer) -> None:
        """Measure while this trainer trains."""
        trainer.register_op("post_steps", lambda: self.see(trainer.collected_frames))

    def see(self, frames: int) -> None:
        """Measure if it is time to."""
        if frames < self._next:
            return
        self._next = frames + self.every
        score = self.score()
        self.history.append((frames, score))
        if score >= self.best:
            self.best, self.at = score, frames
            self._weights = copy.deepcopy(self.module.state_dict())

    def restore(self) -> None:
        """Put the best weights back, if there was any measurement."""
        if self._weights:
            self.module.load_state_dict(self._weights)

    def state_dict(self) -> dict[str, Any]:
        """The best weights and what is known about them."""
        history = [list(pair) for pair in self.history]
        known = {"best": self.best, "at": self.at, "next": self._next, "history": history}
        return {**known, "weights": self._weights}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Continue from a `state_dict`."""
        self.best, self.at, self._next = state["best"], state["at"], state["next"]
        self.history = [(int(frames), float(score)) for frames, score in state["history"]]
        self._weights = dict(state["weights"])
