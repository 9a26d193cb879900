"""The numbers of a training, in CSV files and, where it is installed, in TensorBoard."""

from __future__ import annotations

import importlib.util
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import Tensor
from torchrl.record.loggers import CSVLogger, Logger


class LogBook:
    r"""Scalars by name and step: ``log/scalars/NAME.csv``, lines "step,value".

    A training that goes on from a checkpoint first forgets what was logged after it, so that the CSV files are those of
    a training that never stopped; TensorBoard's, which nobody can shorten, have those steps twice.

    Args:
        folder: Where ``log`` lies; None logs nothing.
        tensorboard: Whether to write TensorBoard's files too; by default if it is installed.

    Example:
        >>> import tempfile
        >>> folder = Path(tempfile.mkdtemp())
        >>> LogBook(folder).write({"loss_actor": 0.5}, step=10)
        >>> (folder / "log" / "scalars" / "loss_actor.csv").read_text()
        '10,0.5\n'
    """

    def __init__(self, folder: Path | None, *, tensorboard: bool | None = None) -> None:
        self.folder = folder
        self.step = 0
        self._wanted = importlib.util.find_spec("tensorboard") is not None if tensorboard is None else tensorboard
        self._loggers: list[Logger] | None = None

    def write(self, values: Mapping[str, float | Tensor], step: int) -> None:
        """Append one line to the file of each value."""
        self.step = step
        if self.folder is None:
            return
        if self._loggers is None:  # opened late: a checkpoint may have to cut the files first
            self._loggers = [CSVLogger("log", log_dir=str(self.folder))]
            if self._wanted:
                from torchrl.record.loggers import TensorboardLogger

                self._loggers.append(TensorboardLogger("tensorboard", log_dir=str(self.folder)))
        for logger in self._loggers:
            for name, value in values.items():
                logger.log_scalar(name, float(value), step)

    def state_dict(self) -> dict[str, Any]:
        """The last step that was logged."""
        return {"step": self.step}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Forget what was logged after that step."""
        self.step = int(state["step"])
        self.forget(after=self.step)

    def forget(self, *, after: int = -1) -> None:
        """What was logged after a step; by default everything: of a training that was killed before its checkpoint."""
        if self.folder is None:
            return
        for file in (self.folder / "log" / "scalars").glob("**/*.csv"):
            kept = [line for line in file.read_text().splitlines() if _step(line) <= after]
            file.write_text("".join(f"{line}\n" for line in kept))


def passed(every: int, steps: int, new: int) -> bool:
    """Whether a multiple of `every` was reached or passed by the last `new` of so many steps.

    Example:
        >>> [passed(100, steps, 40) for steps in (80, 120, 160, 200)]
        [False, True, False, True]
    """
    return steps // every > (steps - new) // every


def _step(line: str) -> float:
    """The step of a line; one that a killed process left half written counts as later than all."""
    step, _, value = line.partition(",")
    return float(step) if value else float("inf")
