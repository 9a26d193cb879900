"""`advwrap evaluate`: trained agents under a suite of attacks."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Annotated, Literal

import tyro
from rich.console import Console

from advwrap.errors import check
from advwrap.evaluation import (
    ActionSuite,
    FaultSuite,
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
    suite: Literal["gradient", "observation", "action", "faults"] = "gradient",
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
    adversary that move the executed actions. "faults": delays, lost commands, weak or biased actuators. Called again
    with the same arguments, an evaluation that was stopped measures only what is missing.

    Args:
        agents: Folders written by `advwrap train`, all of one task. Folders seed-0, seed-1, ... of one folder are
            seeds of one method.
        suite: gradient, observation, action or faults.
        epsilons: Radii, in units of the normalised observation, or of half the range of each action.
        episodes: Episodes per agent, attack and radius, from the same start states.
        seed: Reset seed of the first episode.
        learned: Learned attackers of the observation or the action suite; by default all, or the one in the ball.
        attacker_steps: Environment steps of the learned attackers; beside PPO attackers, those of SAC take a sixth.
        attackers: Trainings of each learned attacker, with other seeds; the strongest on episodes of its own counts.
        workers: Processes.
        out: Folder for report.md, curve.png and results.json.
    """
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


def _suite(name: str, learned: tuple[str, ...] | None, attacker_steps: int | None, attackers: int) -> Suite:
    if name in ("gradient", "faults"):
        unused = learned is None and attacker_steps is None and attackers == 1
        check(unused, f"`learned`, `attacker_steps` and `attackers` must be left out: {name} trains no attacker.")
        return GradientSuite() if name == "gradient" else FaultSuite()
    suite = ObservationSuite() if name == "observation" else ActionSuite()
    if learned is not None:
        suite = replace(suite, learned=learned)
    share = 6 if name == "observation" else 1
    sac = suite.sac[0] if attacker_steps is None else replace(suite.sac[0], steps=max(attacker_steps // share, 1))
    suite = replace(suite, sac=grid(sac, seed=range(attackers)))
    if isinstance(suite, ActionSuite):
        return suite
    ppo = suite.ppo[0] if attacker_steps is None else replace(suite.ppo[0], steps=attacker_steps)
    return replace(suite, ppo=grid(ppo, seed=range(attackers)))


def _name(folder: Path) -> str:
    """The name of the folder; of a seed, behind that of its method."""
    folder = folder.resolve()
    return f"{folder.parent.name}/{folder.name}" if folder.name.startswith(SEED[1:]) else folder.name
