"""How robust are VALT and its baselines? Trains every method, attacks every agent, writes tables and curves.

    python benchmarks/observation.py halfcheetah|pendulum|cartpole [--workers 2] [--out docs/results/halfcheetah]

Agents go to runs/NAME/METHOD/seed-N, with their checkpoints; those that are finished are not trained again, and cells
that were measured are not measured again, so that the command may be stopped and repeated. It leaves results.json,
report.md, curve.png (one row per agent), learning.csv and learning.png (return while learning, over environment steps).
"""

from __future__ import annotations

import csv
import logging
import multiprocessing
from collections.abc import Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
import tyro
from matplotlib.figure import Figure
from rich.console import Console

from advwrap.algorithms import (
    PPO,
    SAC,
    TD3,
    Alternating,
    Defence,
    DiscreteSAC,
    OffPolicy,
    RobustRegulariser,
    Undefended,
    ValtEps,
    ValtSoft,
    Wocar,
    preset,
)
from advwrap.evaluation import ObservationSuite, evaluate_suite, write_report
from advwrap.evaluation.attack_makers import RobustSarsaScan
from advwrap.evaluation.seeds import SEED, over_seeds
from advwrap.progress import progress
from advwrap.training import load_agent, save_agent
from advwrap.wrappers import PAAD


@dataclass(frozen=True)
class Experiment:
    """What is trained, and how it is attacked.

    Args:
        env: The task.
        epsilon: Radius of the attacks and of the defences.
        methods: By name, without a seed.
        seeds: Of the trainings.
        suite: The attacks.
        episodes: Per cell.
    """

    env: str
    epsilon: float
    methods: Mapping[str, OffPolicy]
    seeds: Sequence[int]
    suite: ObservationSuite
    episodes: int = 20


def with_defence(config: OffPolicy, **changes: Any) -> OffPolicy:
    """The same with other numbers of its defence."""
    return replace(config, defence=replace(config.defence, **changes))  # type: ignore[type-var]


def halfcheetah() -> Experiment:
    """A tenth of the paper's steps, which its schedules are shortened to.

    With a tenth of the steps the critics' values are a small part of what they become, so what is weighed against them
    is smaller too: the regularisers of Robust-SAC and VALT-EPS are a thirtieth of the paper's (with a tenth, Robust-SAC
    returned 885 after 68 000 steps; with all of it, VALT-EPS -138 after 72 000), the temperature of VALT-SOFT is a
    quarter. kappa of VALT-EPS grows later. SA-RL learns by SAC: by PPO, in 500 000 steps, it brought SAC to 2053 (seed
    0), where PGD brings it to 1253.
    """

    def short(name: str) -> OffPolicy:
        return preset(name, "HalfCheetah-v5", steps=100_000)

    methods = {
        "sac": short("sac"),
        "robust-sac": with_defence(short("robust"), coefficient=10.0),
        "valt-eps-sac": with_defence(short("valt-eps"), regulariser=1.0, ramp=(0.2, 1.0)),
        "valt-soft-sac": with_defence(short("valt-soft"), temperature=2.0),
    }
    return Experiment("HalfCheetah-v5", 0.15, methods, (0, 1), ObservationSuite(learned=("SA-RL (SAC)",)))


def pendulum() -> Experiment:
    """Minutes per agent, so that every learner and every defence has its five seeds."""

    def small(defence: Defence | None = None, learner: type[OffPolicy] = SAC) -> OffPolicy:
        return learner("InvertedDoublePendulum-v5", defence or Undefended(), steps=30_000, compile=True)

    eps = ValtEps(0.05, kappa=0.5, ramp=(0.3, 0.8))
    adversary = PPO(horizon=64, minibatches=8, learning_rate=1e-3)
    methods = {
        "sac": small(),
        "robust-sac": small(RobustRegulariser(0.05, 0.1)),
        "wocar-sac": small(Wocar(0.05)),
        "sac-ppo": small(Alternating(0.05, adversary)),
        "pa-sac-ppo": small(Alternating(0.05, adversary, PAAD())),
        "valt-eps-sac": small(eps),
        "valt-soft-sac": small(ValtSoft(0.05, temperature=2.0)),
        "td3": small(learner=TD3),
        "valt-eps-td3": small(eps, TD3),
    }
    return Experiment("InvertedDoublePendulum-v5", 0.045, methods, range(5), light())


def cartpole() -> Experiment:
    """Discrete actions."""

    def small(defence: Defence | None = None) -> OffPolicy:
        return DiscreteSAC("CartPole-v1", defence or Undefended(), steps=15_000, compile=True)

    methods = {
        "discrete-sac": small(),
        "valt-eps-discrete-sac": small(ValtEps(0.2, kappa=0.5, ramp=(0.3, 0.8))),
        "valt-soft-discrete-sac": small(ValtSoft(0.2, temperature=1.0)),
    }
    return Experiment("CartPole-v1", 0.2, methods, range(5), light())


def light() -> ObservationSuite:
    """Attackers that cost a minute or two each."""
    return ObservationSuite(
        learned=("SA-RL (SAC)",),
        sac=(SAC("", steps=15_000, compile=True),),
        sarsa=RobustSarsaScan(eps=(0.15,), reg=(1.0,)),
    )


EXPERIMENTS = {"halfcheetah": halfcheetah, "pendulum": pendulum, "cartpole": cartpole}


def main(name: tyro.conf.Positional[str], workers: int = 1, runs: Path = Path("runs"), out: Path | None = None) -> None:
    """Train, attack, report.

    Args:
        name: Of the experiment.
        workers: Processes.
        runs: Where agents, checkpoints and finished cells are kept.
        out: Where the report goes; docs/results/NAME by default.
    """
    _quiet()
    experiment, out = EXPERIMENTS[name](), out or Path("docs/results") / name
    folders = {
        f"{method}{SEED}{seed}": runs / name / method / f"seed-{seed}"
        for method in experiment.methods
        for seed in experiment.seeds
    }
    train_all(experiment, folders, workers=workers)
    results = evaluate_suite(
        {name: load_agent(folder) for name, folder in folders.items()},
        experiment.suite,
        [experiment.epsilon],
        episodes=experiment.episodes,
        keep=runs / name / "cells",
        workers=workers,
        command=f"python benchmarks/observation.py {name}",
    )
    write_report(results, out)
    draw_learning(write_learning(folders, out / "learning.csv"), out / "learning.png")
    Console().print(over_seeds(results, experiment.epsilon).rich())


def train_all(experiment: Experiment, folders: Mapping[str, Path], *, workers: int) -> None:
    """Every method with every seed, where it is not there yet."""
    jobs = []
    for agent, folder in folders.items():
        method, _, seed = agent.partition(SEED)
        if not (folder / "agent.json").exists():
            jobs.append((replace(experiment.methods[method], seed=int(seed)), folder))
    with (
        ProcessPoolExecutor(workers, multiprocessing.get_context("spawn"), initializer=_quiet) as pool,
        progress("training", total=len(jobs)) as advance,
    ):
        for future in [pool.submit(train, config, folder) for config, folder in jobs]:
            future.result()
            advance(1)


def train(config: OffPolicy, folder: Path) -> None:
    """One agent: the last weights, not the best ones, as in the papers."""
    save_agent(folder, config.train(out=folder))


def write_learning(folders: Mapping[str, Path], path: Path) -> dict[str, np.ndarray]:
    """The returns while learning, of all agents in one file."""
    curves = {
        agent: np.loadtxt(folder / "log" / "scalars" / "return_while_learning.csv", delimiter=",", ndmin=2)
        for agent, folder in folders.items()
    }
    with path.open("w", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(["agent", "step", "return"])
        for agent, curve in curves.items():
            writer.writerows((agent, int(step), round(value, 2)) for step, value in curve)
    return curves


def draw_learning(curves: Mapping[str, np.ndarray], path: Path) -> None:
    """Return over environment steps: a thin line per seed, a colour per method."""
    figure = Figure(figsize=(7, 4), layout="constrained", dpi=150)
    axes = figure.subplots()
    colours: dict[str, str] = {}
    for agent, curve in curves.items():
        method, _, _ = agent.partition(SEED)
        label = None if method in colours else method
        colour = colours.setdefault(method, f"C{len(colours)}")
        axes.plot(*curve.T, color=colour, linewidth=1, label=label)
    axes.set(xlabel="environment steps", ylabel="return while learning, with the defence's own perturbations")
    axes.grid(alpha=0.3)
    axes.legend(frameon=False)
    figure.savefig(path, metadata={"Software": None})


def _quiet() -> None:
    torch.set_num_threads(1)
    logging.getLogger("torchrl").setLevel(logging.WARNING)


if __name__ == "__main__":
    tyro.cli(main)
