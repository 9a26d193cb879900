"""What robustness to actions costs per update: TD3 alone, with OA-PI's critics, and with its gradient surgery.

    python benchmarks/updates.py [--rounds 10] [--out docs/results/benchmark_updates.json]

Hopper-v5, 2 x 256 units, batches of 256, one thread, CPU time of the compiled update alone (no simulator, no replay).
Everybody takes turns, `--updates` at a time, so that a drift of the machine falls on all of them alike; the figure is
the median of the rounds, its range the middle half.
"""

from __future__ import annotations

import json
import logging
import time
from functools import partial
from pathlib import Path

import numpy as np
import torch
import tyro
from experiment import begin_with_threads
from rich.console import Console
from rich.table import Table
from tensordict import TensorDict

from advwrap.algorithms import OAPI, TD3, Defence, Undefended
from advwrap.algorithms.off_policy_training import OffPolicyTraining
from advwrap.provenance import Provenance

TASK, FEATURES, ACTIONS, BATCH = "Hopper-v5", 11, 3, 256
ADDED = "added, from two gradients"
"""Both gradients of the actor, taken one by one as surgery does, and then simply added."""
oapi = partial(OAPI, 0.2, ramp=(0.0, 0.0))
CONTESTANTS: dict[str, Defence] = {
    "TD3": Undefended(),
    "OA-TD3": oapi(),
    "OA-TD3, 20 steps from 1 start": oapi(steps=20, restarts=1),
    "OA-TD3, 2 steps from 1 start": oapi(steps=2, restarts=1),
    "OA-TD3, 1 step from 1 start": oapi(steps=1, restarts=1),
    f"OA-TD3, {ADDED}": oapi(surgery=torch.add),
    "OA-TD3, no surgery": oapi(surgery="none"),
}


def training_of(name: str, compiled: bool) -> OffPolicyTraining:
    """Networks, losses and the update; nothing is trained yet."""
    return OffPolicyTraining(TD3(TASK, CONTESTANTS[name], hidden=(256, 256), learning_rate=3e-4, compile=compiled))


def transitions(seed: int) -> TensorDict:
    """Random ones: the time does not depend on them."""
    generator = torch.Generator().manual_seed(seed)

    def numbers(width: int) -> torch.Tensor:
        return torch.randn(BATCH, width, generator=generator)

    ends = {name: torch.zeros(BATCH, 1, dtype=torch.bool) for name in ("done", "terminated")}
    after = TensorDict({"raw_observation": numbers(FEATURES), "reward": numbers(1), **ends}, [BATCH])
    return TensorDict({"raw_observation": numbers(FEATURES), "action": numbers(ACTIONS).tanh(), "next": after}, [BATCH])


def main(
    rounds: int = 10,
    updates: int = 20,
    compiled: bool = True,
    out: Path = Path("docs/results/benchmark_updates.json"),
) -> None:
    """Time everybody in turns.

    Args:
        rounds: Turns of each.
        updates: Per turn; an even number, because TD3's actor learns in every second one.
        compiled: Whether the update is one graph.
        out: Where to write the figures.
    """
    begin_with_threads(1)
    logging.getLogger("torchrl").setLevel(logging.WARNING)
    trainings = {name: training_of(name, compiled) for name in CONTESTANTS}
    batches = [transitions(seed) for seed in range(updates)]
    seconds: dict[str, list[float]] = {name: [] for name in CONTESTANTS}
    for turn in range(-1, rounds):  # the first one compiles, and does not count
        for name, training in trainings.items():
            began = time.process_time()
            for batch in batches:
                training.update(batch)
            if turn >= 0:
                seconds[name].append((time.process_time() - began) / updates)
    table, rows = Table("", "ms per update", "middle half", "x TD3", "x two added gradients"), {}
    two = float(np.median(seconds[f"OA-TD3, {ADDED}"]))
    for name, found in seconds.items():
        low, middle, high = np.quantile(found, (0.25, 0.5, 0.75))
        rows[name] = {
            "ms": 1e3 * middle,
            "middle_half_ms": [1e3 * low, 1e3 * high],
            "to_td3": middle / float(np.median(seconds["TD3"])),
            "to_two_gradients": middle / two,
        }
        half = f"{1e3 * low:.2f} to {1e3 * high:.2f}"
        ratios = f"{rows[name]['to_td3']:.2f}", f"{rows[name]['to_two_gradients']:.2f}"
        table.add_row(name, f"{1e3 * middle:.2f}", half, *ratios)
    Console().print(table)
    provenance = Provenance.here(TASK)
    out.write_text(json.dumps({"provenance": vars(provenance), "rounds": rounds, "contestants": rows}, indent=1) + "\n")


if __name__ == "__main__":
    tyro.cli(main)
