"""`advwrap evaluate`: trained agents under a suite of attacks."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any, Literal

import tyro
from rich.console import Console

from advwrap.errors import check
from advwrap.evaluation import (
    ActionSuite,
    FaultSuite,
    GameSuite,
    GradientSuite,
    ObservationSuite,
    Suite,
    evaluate_suite,
    grid,
    table,
    write_report,
)
from advwrap.evaluation.seeds import SEED, has_seeds, over_seeds
from advwrap.training import load_agent


def evaluate(
    agents: Annotated[tuple[Path, ...], tyro.conf.Positional],
    suite: Literal["gradient", "observation", "action", "games", "faults"] = "gradient",
    epsilons: tuple[float, ...] = (0.01, 0.02),
    episodes: int = 20,
    seed: int = 0,
    learned: tuple[str, ...] | None = None,
    attacker_steps: int | None = None,
    attackers: int = 1,
    workers: int = 1,
    out: Path = Path("runs/evaluation"),
) -> None:
    """Evaluate agents under the attacks of a suite; write the report.

    "gradient": noise, MAD, PGD on Q and a black-box search; seconds. "observation": the columns of VALT's Table 1,
    with robust Sarsa critics and learned attackers, each of them a training. "action": noise, searches and a learned
    adversary that move the executed actions. "games": the adversaries of NR-MDP and PR-MDP, with the radius as their
    share. "faults": delays, lost commands, weak or biased actuators. Called again with the same arguments, an
    evaluation that was stopped measures only the cells that are missing.

    Args:
        agents: Folders written by `advwrap train`, all of one task. Folders seed-0, seed-1, ... of one folder are
            seeds of one method.
        suite: gradient, observation, action, games or faults.
        epsilons: Radii, in units of the normalised observation, or of half the range of each action.
        episodes: Episodes per agent, attack and radius, from the same start states.
        seed: Reset seed of the first episode.
        learned: Learned attackers of the observation or the action suite; by default all.
        attacker_steps: Environment steps of the learned attackers; beside PPO attackers, those of SAC take a sixth.
        attackers: Trainings of each learned attacker, with other seeds; the strongest on episodes of its own counts.
        workers: Processes.
        out: Folder for report.md, curve.png and results.json.
    """
    check(len(epsilons) > 0, "`epsilons` must hold at least one radius, got none.", fix="--epsilons 0.1 0.2.")
    check(len(agents) > 0, "`agents` must name at least one folder, got none.", fix="advwrap evaluate runs/agent.")
    loaded = {_name(folder): load_agent(folder) for folder in agents}
    check(len(loaded) == len(agents), f"`agents` must have different folder names, got {[a.name for a in agents]}.")
    chosen = _suite(suite, learned, attacker_steps, attackers)
    results = evaluate_suite(
        loaded, chosen, epsilons, episodes=episodes, seed=seed, keep=out / "cells", workers=workers
    )
    written = write_report(results, out)
    console = Console()
    if has_seeds(results):
        for epsilon in results.epsilons:
            console.print(over_seeds(results, epsilon).transposed().rich())
    else:
        console.print(table(results))
    console.print(f"{written}, {out / 'curve.png'}, {out / 'results.json'}")


SUITES: Mapping[str, Callable[[], Suite]] = {
    "gradient": GradientSuite,
    "observation": ObservationSuite,
    "action": ActionSuite,
    "games": GameSuite,
    "faults": FaultSuite,
}


def _suite(name: str, learned: tuple[str, ...] | None, attacker_steps: int | None, attackers: int) -> Suite:
    suite: Any = SUITES[name]()
    trains = hasattr(suite, "sac")
    used = {"learned": hasattr(suite, "learned"), "attacker_steps": trains, "attackers": trains}
    given = {"learned": learned is not None, "attacker_steps": attacker_steps is not None, "attackers": attackers != 1}
    unused = [f"`{option}`" for option in given if given[option] and not used[option]]
    check(not unused, f"{', '.join(unused)} must be left out: the suite {name} has no use for it.")
    if learned is not None:
        suite = replace(suite, learned=learned)
    for algorithm, share in (("sac", 6 if name == "observation" else 1), ("ppo", 1)):
        if hasattr(suite, algorithm):
            (config,) = getattr(suite, algorithm)
            config = config if attacker_steps is None else replace(config, steps=max(attacker_steps // share, 1))
            suite = replace(suite, **{algorithm: grid(config, seed=range(attackers))})
    chosen: Suite = suite
    return chosen


def _name(folder: Path) -> str:
    """The name of the folder; of a seed, behind that of its method."""
    folder = folder.resolve()
    return f"{folder.parent.name}/{folder.name}" if folder.name.startswith(SEED[1:]) else folder.name
