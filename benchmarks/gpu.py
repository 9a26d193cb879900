"""Environment steps per second of whole trainings on a GPU, the update one CUDA graph: for one seed and for eight.

    python benchmarks/gpu.py [--device cuda] [--seeds 1 8] [--steps 2000] [--out docs/results/benchmark_gpu.json]

Hopper-v5, 2 x 256 units, batches of 256, one update per step, as in benchmarks/training.py. Seeds are processes that
share the card, each with its own simulator; steps count over all of them. ``--device cpu`` runs it without a card.
"""

from __future__ import annotations

import contextlib
import json
import logging
import multiprocessing
import time
import warnings
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from pathlib import Path

import torch
import tyro
from rich.console import Console
from rich.table import Table
from training import TASK, VALT_EPS, VALT_SOFT, EnoughError, Stopwatch, ours

from advwrap.algorithms import Undefended

DEFENCES = {"SAC": Undefended(), "VALT-EPS": VALT_EPS, "VALT-SOFT": VALT_SOFT}


def main(device: str = "cuda", seeds: tuple[int, ...] = (1, 8), steps: int = 2_000, out: Path | None = None) -> None:
    """Train everybody for a while.

    Args:
        device: Of networks and replay buffer.
        seeds: How many trainings at once; one figure for each.
        steps: Environment steps that are timed, per seed.
        out: Where to write the figures.
    """
    card = torch.cuda.get_device_name() if device.startswith("cuda") else device
    table = Table(title=f"{TASK} on {card}, environment steps per second of all seeds")
    for column in ("", "seeds", "eager", "compiled"):
        table.add_column(column, justify="left" if not column else "right")
    rows = []
    for name in DEFENCES:
        for count in seeds:
            eager, compiled = (rate(name, count, steps, device, compiled=compiled) for compiled in (False, True))
            table.add_row(name, str(count), f"{eager:.0f}", f"{compiled:.0f}")
            rows.append({"defence": name, "seeds": count, "eager": eager, "compiled": compiled})
    Console().print(table)
    if out is not None:
        found = {"task": TASK, "steps": steps, "device": card, "torch": torch.__version__, "steps_per_second": rows}
        out.write_text(json.dumps(found, indent=1) + "\n")


def rate(name: str, seeds: int, steps: int, device: str, *, compiled: bool) -> float:
    """Environment steps per second of so many trainings together."""
    one = partial(seconds_per_step, name, steps, device, compiled)
    with ProcessPoolExecutor(seeds, multiprocessing.get_context("spawn")) as pool:
        return sum(1 / seconds for seconds in pool.map(one, range(seeds)))


def seconds_per_step(name: str, steps: int, device: str, compiled: bool, seed: int) -> float:
    """Of one training, after its graphs are compiled."""
    warnings.simplefilter("ignore")
    logging.getLogger("torchrl").setLevel(logging.WARNING)
    torch.set_num_threads(1)
    watch = Stopwatch(steps, partial(_now, device))
    with contextlib.suppress(EnoughError):
        ours(DEFENCES[name], compiled=compiled, device=device, seed=seed)(watch)
    return watch.seconds


def _now(device: str) -> float:
    """The time when everything that was asked of the device is done."""
    if device.startswith("cuda"):
        torch.cuda.synchronize()
    return time.perf_counter()


if __name__ == "__main__":
    tyro.cli(main)
