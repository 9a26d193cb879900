"""Train every method with every seed, attack every agent, write tables and curves: what the experiments share."""

from __future__ import annotations

import csv
import json
import logging
import multiprocessing
import os
import sys
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, replace
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
import torch
import tyro
from rich.console import Console

from advwrap.algorithms import OffPolicy
from advwrap.algorithms.recipe import Training, from_json
from advwrap.evaluation import AttackMaker, Suite, evaluate_suite, write_report
from advwrap.evaluation.measure import channel_of
from advwrap.evaluation.panels import COLOURS, finish, make_panels
from advwrap.evaluation.rollouts import Channel
from advwrap.evaluation.seeds import SEED, over_seeds
from advwrap.progress import progress
from advwrap.training import TrainedAgent, load_agent, save_agent
from advwrap.training.agent_file import Score


@dataclass(frozen=True)
class Attacks:
    """A table of its own: these attacks at these radii, on the agents of these methods, or of all."""

    suite: Suite
    epsilons: Sequence[float]
    methods: Sequence[str] | None = None


@dataclass(frozen=True)
class Without:
    """A suite without one of its columns: one that trains something, say, for the others to be cheap.

    Args:
        suite: The whole one.
        column: Its name.
    """

    suite: Suite
    column: str

    @property
    def channel(self) -> Channel:
        """That of the suite."""
        return channel_of(self.suite)

    def attacks(self, agent: TrainedAgent, /) -> Mapping[str, AttackMaker]:
        """The others."""
        return {name: make for name, make in self.suite.attacks(agent).items() if name != self.column}


@dataclass(frozen=True)
class Experiment:
    """What is trained, and how it is attacked.

    Args:
        methods: By name, without a seed.
        seeds: Of the trainings.
        attacks: By the folder below the results.
        episodes: Per cell.
        score: What chooses the weights that are kept; without it the last ones are, as in the papers.
    """

    methods: Mapping[str, Training]
    seeds: Sequence[int]
    attacks: Mapping[str, Attacks]
    episodes: int = 20
    score: Score | None = None


SHORT_TD3 = {"delay": 1, "target_noise": 0.05, "target_noise_clip": 0.1, "compile": True}
"""For InvertedPendulum-v5: with its usual delay and noise TD3 returns 37 after 10 000 steps."""


def begin_with_threads(threads: int) -> None:
    """So many in every library. OMP_NUM_THREADS is read once, when torch is imported: the script begins anew."""
    if os.environ.get("OMP_NUM_THREADS") != str(threads):
        os.execve(sys.executable, [sys.executable, *sys.argv], {**os.environ, "OMP_NUM_THREADS": str(threads)})  # noqa: S606
    torch.set_num_threads(threads)


def with_defence(config: OffPolicy, **changes: Any) -> OffPolicy:
    """The same with other numbers of its defence."""
    return replace(config, defence=replace(config.defence, **changes))  # type: ignore[type-var]


def run(experiment: Experiment, runs: Path, out: Path, *, workers: int, command: str) -> None:
    """Train, attack, report.

    Agents go to RUNS/METHOD/seed-N, with their checkpoints; those that are finished are not trained again, and cells
    that were measured are not measured again, so that it may be stopped and repeated. It leaves results.json,
    report.md, curve.png, agents.json (the configuration of every agent and the
    commit that made it), learning.csv and learning.png (return while learning, over environment steps).
    """
    quiet()
    folders = {
        f"{method}{SEED}{seed}": runs / method / f"seed-{seed}"
        for method in experiment.methods
        for seed in experiment.seeds
    }
    train_all(experiment, folders, workers=workers)
    for name, attacks in experiment.attacks.items():
        agents = {
            agent: load_agent(folder)
            for agent, folder in folders.items()
            if attacks.methods is None or agent.partition(SEED)[0] in attacks.methods
        }
        if not agents:  # `--only` left none of them
            continue
        results = evaluate_suite(
            agents,
            attacks.suite,
            attacks.epsilons,
            episodes=experiment.episodes,
            keep=runs / "cells",
            workers=workers,
            command=command,
        )
        write_report(results, out / name)
        for epsilon in attacks.epsilons:
            Console().print(over_seeds(results, epsilon).rich())
    cards = {agent: read_card(folder) for agent, folder in folders.items()}
    known = {agent: {"made": card["made"], "config": card["config"]} for agent, card in cards.items()}
    lines = ",\n".join(f"{json.dumps(agent)}: {json.dumps(what)}" for agent, what in known.items())
    (out / "agents.json").write_text(f"{{\n{lines}\n}}\n")
    draw_learning(write_learning(folders, out / "learning.csv"), out / "learning.png")


def train_all(experiment: Experiment, folders: Mapping[str, Path], *, workers: int) -> None:
    """Every method with every seed, where it is not there yet."""
    jobs = []
    for agent, folder in folders.items():
        method, _, seed = agent.partition(SEED)
        config = replace(experiment.methods[method], seed=int(seed))
        if not (folder / "agent.json").exists():
            jobs.append((config, folder))
            continue
        known = from_json((folder / "agent.json").read_text())
        if known != config:
            raise SystemExit(f"{folder} holds an agent that was trained with {known}, not {config}. Fix: remove it.")
    with (
        ProcessPoolExecutor(workers, multiprocessing.get_context("spawn"), initializer=quiet) as pool,
        progress("training", total=len(jobs)) as advance,
    ):
        for future in [pool.submit(train, config, folder, experiment.score) for config, folder in jobs]:
            future.result()
            advance(1)


def train(config: Training, folder: Path, score: Score | None = None) -> None:
    """One agent."""
    chosen = {} if score is None else {"score": score}
    save_agent(folder, config.train(out=folder, advance=lambda steps: None, **chosen))


def read_card(folder: Path) -> dict[str, Any]:
    """How the agent in this folder was trained."""
    card: dict[str, Any] = json.loads((folder / "agent.json").read_text())
    return card


def write_learning(folders: Mapping[str, Path], path: Path) -> dict[str, np.ndarray]:
    """The returns while learning, of all agents in one file."""
    curves = {}
    for agent, folder in folders.items():
        log = folder / "log" / "scalars" / "return_while_learning.csv"
        curves[agent] = np.loadtxt(log, delimiter=",", ndmin=2)
    with path.open("w", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(["agent", "step", "return"])
        for agent, curve in curves.items():
            writer.writerows((agent, int(step), round(value, 2)) for step, value in curve)
    return curves


def draw_learning(curves: Mapping[str, np.ndarray], path: Path) -> None:
    """Return over environment steps: a panel per method, a line per seed."""
    methods = list(dict.fromkeys(agent.partition(SEED)[0] for agent in curves))
    figure, rows = make_panels(len(methods), columns=4, size=(2.2, 1.6), margin=(1.0, 0.7))
    for panel, method in zip(chain(*rows), methods, strict=True):
        for agent, curve in curves.items():
            if agent.partition(SEED)[0] == method:
                panel.plot(*curve.T, color=COLOURS[0], linewidth=0.8, alpha=0.8)
        finish(panel, method)
    figure.supxlabel("environment steps", fontsize="medium")
    figure.supylabel("return while learning, under the defence's own attacks", fontsize="medium")
    figure.savefig(path, metadata={"Software": None})


def quiet() -> None:
    """One thread per process, and no chatter."""
    torch.set_num_threads(1)
    logging.getLogger("torchrl").setLevel(logging.WARNING)


def command_line(script: str, experiments: Mapping[str, Callable[[], Experiment]], prefix: str = "") -> None:
    """Run an experiment by its name.

    Args:
        script: In benchmarks/.
        experiments: By name.
        prefix: Before the name, in the names of its folders.
    """

    def main(
        name: tyro.conf.Positional[str],
        workers: int = 1,
        runs: Path = Path("runs"),
        out: Path | None = None,
        only: tuple[str, ...] = (),
    ) -> None:
        """Train, attack, report.

        Args:
            name: Of the experiment.
            workers: Processes.
            runs: Where agents, checkpoints and finished cells are kept.
            out: Where the report goes; docs/results/NAME by default.
            only: Methods; all by default.
        """
        folder, command = prefix + name, f"python benchmarks/{script} {name}"
        experiment = experiments[name]()
        if only:
            command += f" --only {' '.join(only)}"
            experiment = replace(experiment, methods={method: experiment.methods[method] for method in only})
        run(experiment, runs / folder, out or Path("docs/results") / folder, workers=workers, command=command)

    tyro.cli(main)
