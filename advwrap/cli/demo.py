"""`advwrap demo`: train an agent, attack it, train it under attack, compare, show the report."""

from __future__ import annotations

import multiprocessing
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from pathlib import Path

from rich.console import Console

from advwrap.algorithms import SAC, OffPolicy, TrainingAttack
from advwrap.cli.train import run, smaller
from advwrap.evaluation import GradientSuite, Provenance, Results, evaluate_suite, table, write_report
from advwrap.evaluation.measure import quiet_worker
from advwrap.training import TrainedAgent, load_agent

ENV = "InvertedDoublePendulum-v5"
EPSILONS = (0.03, 0.04, 0.045)
PLAIN = SAC(ENV, steps=15_000)
UNDER_ATTACK = SAC(ENV, TrainingAttack(0.065, ramp=(0.0, 0.3)), steps=12_000, evaluate_every=1_000)


def demo(out: Path = Path("runs/demo"), seed: int = 0, episodes: int = 20, steps: int | None = None) -> None:
    """Train SAC on a MuJoCo task, train it on under attack, attack both agents; write report.md and curve.png.

    Args:
        out: Folder for the agents and the report.
        seed: Of the trainings; evaluations always start from the same states.
        episodes: Episodes per agent, attack and radius.
        steps: Environment steps of the first training; fewer are for trying the command, not for results.
    """
    console = Console()
    configs: list[OffPolicy] = [replace(config, seed=seed) for config in (PLAIN, UNDER_ATTACK)]
    if steps is not None:
        configs = [smaller(config, steps=max(steps * config.steps // PLAIN.steps, 1)) for config in configs]
    plain, robust = configs
    command = f"advwrap demo --seed {seed}" + ("" if steps is None else f" --steps {steps}")
    names = ("SAC", "SAC under attack")
    folders = [out / name.replace(" ", "-").lower() for name in names]
    with ProcessPoolExecutor(2, multiprocessing.get_context("spawn"), initializer=quiet_worker) as pool:
        agent: TrainedAgent | None = None
        measuring = []
        for name, folder, config in zip(names, folders, (plain, robust), strict=True):
            what, more = ("plain SAC", "") if config is plain else ("the same agent, now under attack,", " more")
            console.print(f"Training {what} on {ENV} for {config.steps}{more} steps.")
            agent = run(config, folder, start=agent, best=True)
            measuring.append(pool.submit(_attack, name, folder, episodes, command))
        console.print(f"Attacking both agents, {episodes} episodes for each attack and radius.")
        parts: Sequence[Results] = [future.result() for future in measuring]
    results = Results(
        tuple(cell for part in parts for cell in part.cells), Provenance.here(ENV, seed=0, command=command)
    )
    report = write_report(results, out)
    console.print(table(results))
    console.print(f"{names[1]} has learned for {plain.steps + robust.steps} steps, {names[0]} for {plain.steps}.")
    console.print(f"report   {report}\npicture  {out / 'curve.png'}\nresults  {out / 'results.json'}")


def _attack(name: str, folder: Path, episodes: int, command: str) -> Results:
    agents = {name: load_agent(folder)}
    return evaluate_suite(agents, GradientSuite(), EPSILONS, episodes=episodes, command=command)
