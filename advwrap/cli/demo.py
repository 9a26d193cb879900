"""`advwrap demo`: train an agent, attack it, train one under attack, compare, show the report."""

from __future__ import annotations

import multiprocessing
import os
from collections.abc import Mapping
from dataclasses import replace
from multiprocessing.queues import Queue
from pathlib import Path

import torch
from rich.console import Console

from advwrap.algorithms import SAC, TrainingAttack
from advwrap.cli.evaluate import measure
from advwrap.cli.train import run, smaller
from advwrap.evaluation import table, write_report
from advwrap.progress import progress
from advwrap.training import load_agent

ENV = "InvertedDoublePendulum-v5"
EPSILONS = (0.005, 0.01, 0.015, 0.02)
TRAININGS = {
    "SAC": SAC(ENV, steps=15_000),
    "SAC under attack": SAC(ENV, attack=TrainingAttack(0.03), steps=20_000),
}


def demo(out: Path = Path("runs/demo"), seed: int = 0, episodes: int = 20, steps: int | None = None) -> None:
    """Train SAC plainly and under attack on a MuJoCo task, attack both, and write report.md and curve.png.

    Args:
        out: Folder for the agents and the report.
        seed: Of the trainings; evaluations always start from the same states.
        episodes: Episodes per agent, attack and radius.
        steps: Environment steps of the longer training; fewer are for trying the command, not for results.
    """
    console = Console()
    configs = {name: _configured(config, seed, steps) for name, config in TRAININGS.items()}
    console.print(f"Training two agents on {ENV}, one of them under attack; both at once, a few minutes.")
    folders = {name: out / name.replace(" ", "-").lower() for name in configs}
    train_together(configs, folders)
    console.print(f"Attacking both: {episodes} episodes for each attack and radius, from the same start states.")
    agents = {name: load_agent(folder) for name, folder in folders.items()}
    results = measure(agents, EPSILONS, episodes=episodes, seed=0, command=f"advwrap demo --seed {seed}")
    report = write_report(results, out)
    console.print(table(results))
    console.print(f"report   {report}\npicture  {out / 'curve.png'}\nresults  {out / 'results.json'}")


def train_together(configs: Mapping[str, SAC], folders: Mapping[str, Path]) -> None:
    """Train every configuration in a process of its own, as many at once as there are processors.

    Raises:
        RuntimeError: If one of them fails.
    """
    context = multiprocessing.get_context("spawn")
    reports: Queue[int] = context.Queue()
    waiting = [
        context.Process(target=_train, args=(config, folders[name], reports), name=name)
        for name, config in configs.items()
    ]
    running: list[multiprocessing.process.BaseProcess] = []
    at_once = max(os.cpu_count() or 1, 1)
    with progress("training", total=sum(config.steps for config in configs.values())) as advance:
        while waiting or running:
            while waiting and len(running) < at_once:
                running.append(waiting.pop(0))
                running[-1].start()
            running[0].join(timeout=0.2)
            while not reports.empty():
                advance(reports.get())
            for process in [p for p in running if p.exitcode is not None]:
                running.remove(process)
                if process.exitcode != 0:
                    for other in running:
                        other.terminate()
                    raise RuntimeError(f"the training of {process.name} failed with exit status {process.exitcode}.")


def _train(config: SAC, folder: Path, reports: Queue[int]) -> None:
    torch.set_num_threads(1)  # small networks are slower with more
    run(config, folder, reports.put)


def _configured(config: SAC, seed: int, steps: int | None) -> SAC:
    seeded = replace(config, seed=seed)
    if steps is None:
        return seeded
    longest = max(training.steps for training in TRAININGS.values())
    return smaller(seeded, steps=max(steps * config.steps // longest, 2 * config.frames_per_batch))
