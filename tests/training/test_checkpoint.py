"""Checkpoints: whole or not at all, of this training or refused, without executing anything."""

from __future__ import annotations

import pickle
import random
from pathlib import Path

import numpy as np
import pytest
import torch
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from torch import nn
from torchrl.record.loggers import TensorboardLogger

from advwrap.training.checkpoint import Checkpoint, CheckpointError, GlobalRandomness
from advwrap.training.logbook import LogBook


def test_parts_come_back(tmp_path: Path) -> None:
    first, second = nn.Linear(2, 2), nn.Linear(2, 2)
    Checkpoint(tmp_path / "a" / "last.pt", {"net": first}).save()
    assert Checkpoint(tmp_path / "a" / "last.pt", {"net": second}).load()
    assert torch.equal(first.weight, second.weight)


def test_a_failure_while_saving_keeps_the_old_file(tmp_path: Path) -> None:
    class Fails(nn.Linear):
        def state_dict(self, *args: object, **kwargs: object) -> dict[str, object]:
            raise OSError("disk full")

    path = tmp_path / "last.pt"
    Checkpoint(path, {"net": nn.Linear(1, 1)}).save()
    before = path.read_bytes()
    with pytest.raises(OSError, match="disk full"):
        Checkpoint(path, {"net": Fails(1, 1)}).save()
    assert path.read_bytes() == before


def test_other_parts_and_damage_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "last.pt"
    Checkpoint(path, {"net": nn.Linear(1, 1)}).save()
    with pytest.raises(CheckpointError, match=r"last\.pt` must be a checkpoint of this training: it has no 'other'"):
        Checkpoint(path, {"other": nn.Linear(1, 1)}).load()
    path.write_bytes(path.read_bytes()[:100])
    with pytest.raises(CheckpointError, match="Fix: train into another folder"):
        Checkpoint(path, {"net": nn.Linear(1, 1)}).load()


def test_nothing_is_executed(tmp_path: Path) -> None:
    class Bomb:
        def __reduce__(self) -> tuple[object, tuple[str]]:
            return (Path.touch, (tmp_path / "executed",))  # type: ignore[return-value]

    path = tmp_path / "last.pt"
    torch.save({"net": Bomb()}, path)
    with pytest.raises(CheckpointError):
        Checkpoint(path, {"net": nn.Linear(1, 1)}).load()
    path.write_bytes(pickle.dumps(Bomb()))
    with pytest.raises(CheckpointError):
        Checkpoint(path, {"net": nn.Linear(1, 1)}).load()
    assert not (tmp_path / "executed").exists()


def draws() -> list[float]:
    legacy = np.random.normal()  # noqa: NPY002
    return [float(torch.rand(())), float(torch.randn(())), legacy, np.random.rand(), random.random()]  # noqa: NPY002, S311


def test_the_global_generators_go_on(tmp_path: Path) -> None:
    draws()
    checkpoint = Checkpoint(tmp_path / "last.pt", {"randomness": GlobalRandomness()})
    checkpoint.save()
    expected = draws()
    assert draws() != expected
    checkpoint.load()
    assert draws() == expected


def test_the_log_forgets_what_came_after(tmp_path: Path) -> None:
    log = LogBook(tmp_path, tensorboard=False)
    log.write({"loss": 1.0, "entropy": 2.0}, 10)
    state = log.state_dict()
    log.write({"loss": 3.0}, 20)
    file = tmp_path / "log" / "scalars" / "loss.csv"
    file.write_text(file.read_text() + "30,")  # killed in the middle of a line
    again = LogBook(tmp_path, tensorboard=False)
    again.load_state_dict(state)
    again.write({"loss": 4.0}, 20)
    assert file.read_text() == "10,1.0\n20,4.0\n"


def test_tensorboard_reads_what_is_logged(tmp_path: Path) -> None:
    log = LogBook(tmp_path)
    for step, value in ((10, 1.0), (20, 0.5)):
        log.write({"loss": value}, step)
    for logger in log._loggers or ():
        if isinstance(logger, TensorboardLogger):
            logger.experiment.flush()
    events = EventAccumulator(str(tmp_path / "tensorboard")).Reload()
    assert [(event.step, event.value) for event in events.Scalars("loss")] == [(10, 1.0), (20, 0.5)]
