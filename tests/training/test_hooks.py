"""The hooks, with a trainer that only counts frames."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable
from typing import Any

import torch
from tensordict import TensorDict
from torch import nn

from advwrap import Linear, LinfBall, RandomVertex
from advwrap.modules import Perturb
from advwrap.training import KeepBest, advance_schedule, perturb_batches


class CountingTrainer:
    """What the hooks use of TorchRL's trainer."""

    def __init__(self) -> None:
        self.collected_frames = 0
        self.ops: dict[str, list[Callable[..., Any]]] = defaultdict(list)

    def register_op(self, place: str, op: Callable[..., Any]) -> None:
        self.ops[place].append(op)

    def collect(self, frames: int) -> None:
        self.collected_frames += frames
        for op in self.ops["post_steps"]:
            op()


def test_the_schedule_follows_the_frames() -> None:
    trainer, radius = CountingTrainer(), Linear(0.0, 1.0, 100, begin=50)
    advance_schedule(trainer, radius)
    seen = []
    for _ in range(4):
        trainer.collect(40)
        seen.append(round(radius(), 6))
    assert seen == [0.0, 0.3, 0.7, 1.0]


def test_batches_are_perturbed_after_sampling() -> None:
    trainer = CountingTrainer()
    perturb_batches(trainer, Perturb(RandomVertex(LinfBall(0.1)), seed=0))
    zeros = {"observation": torch.zeros(3, 2)}
    (op,) = trainer.ops["process_optim_batch"]
    batch = op(TensorDict({**zeros, "next": TensorDict({**zeros}, [3])}, [3]))
    for part in (batch, batch["next"]):
        torch.testing.assert_close(part["observation"].abs(), torch.full((3, 2), 0.1))
        assert torch.equal(part["clean_observation"], torch.zeros(3, 2))


def test_the_best_weights_come_back() -> None:
    net, trainer = nn.Linear(1, 1), CountingTrainer()
    scores = iter([1.0, 5.0, 3.0])
    keep = KeepBest(net, lambda: next(scores), every=10)
    keep.register(trainer)
    weights = []
    for _ in range(3):
        with torch.no_grad():
            net.weight.add_(1.0)
        weights.append(net.weight.item())
        trainer.collect(10)
    keep.restore()
    assert net.weight.item() == weights[1]
    assert (keep.at, keep.best) == (20, 5.0)
    assert keep.history == [(10, 1.0), (20, 5.0), (30, 3.0)]


def test_without_a_measurement_the_weights_stay() -> None:
    net = nn.Linear(1, 1)
    before = net.weight.clone()
    KeepBest(net, lambda: 0.0, every=10).restore()
    assert torch.equal(net.weight, before)
