"""`advwrap evaluate`: trained agents under the suite of attacks."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import tyro
from rich.console import Console

from advwrap.attacks import Attack
from advwrap.cli.suite import SUITE
from advwrap.errors import check
from advwrap.evaluation import Cell, Provenance, Results, evaluate_grid, table, write_report
from advwrap.training import TrainedAgent, load_agent


def evaluate(
    agents: Annotated[tuple[Path, ...], tyro.conf.Positional],
    epsilons: tuple[float, ...] = (0.01, 0.02),
    episodes: int = 20,
    seed: int = 0,
    out: Path = Path("runs/evaluation"),
) -> None:
    """Evaluate agents under noise, MAD, PGD on Q and a black-box search; write the report.

    Args:
        agents: Folders written by `advwrap train`, all of one task.
        epsilons: Radii, in units of the normalised observation.
        episodes: Episodes per agent, attack and radius, from the same start states.
        seed: Reset seed of the first episode.
        out: Folder for report.md, curve.png and results.json.
    """
    check(len(agents) > 0, "`agents` must name at least one folder, got none.", fix="advwrap evaluate runs/agent.")
    loaded = {folder.name: load_agent(folder) for folder in agents}
    check(len(loaded) == len(agents), f"`agents` must have different folder names, got {[a.name for a in agents]}.")
    results = measure(loaded, epsilons, episodes=episodes, seed=seed)
    written = write_report(results, out)
    console = Console()
    console.print(table(results))
    console.print(f"{written}, {out / 'curve.png'}, {out / 'results.json'}")


def measure(
    agents: Mapping[str, TrainedAgent],
    epsilons: Sequence[float],
    *,
    episodes: int,
    seed: int,
    command: str | None = None,
) -> Results:
    """Every agent under every attack of the suite at every radius.

    Raises:
        ValueError: If the agents are for different tasks.
    """
    tasks = {agent.env for agent in agents.values()}
    check(len(tasks) == 1, f"`agents` must be trained on one task, got {sorted(tasks)}.")
    env = tasks.pop()
    cells: list[Cell] = []
    for name, agent in agents.items():
        # Every agent normalises the task in its own way, so each plays in its own environment.
        part = evaluate_grid(
            {name: agent.act},
            agent.make_env,
            {attack: partial(_against, make, agent) for attack, make in SUITE.items()},
            epsilons,
            episodes=episodes,
            seed=seed,
            command=command,
        )
        cells += part.cells
    return Results(tuple(cells), Provenance.here(env, seed=seed, command=command))


def _against(make: Callable[[TrainedAgent, float], Attack], agent: TrainedAgent, _: Any, epsilon: float) -> Attack:
    """The attack on this agent; what plays in the grid is only its `act`."""
    return make(agent, epsilon)
