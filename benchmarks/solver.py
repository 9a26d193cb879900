"""How well is the worst action found? Searches against a fine grid, on critics of trained agents.

    python benchmarks/solver.py [--out docs/results/benchmark_solver.json]

A TD3 agent each for Pendulum-v1 (one action) and Hopper-v5 (three); its own twin critics, and robust critics fitted to
it at every radius; 512 states of its own play. The reference is the least of the grid (401 or 17^3 points), all corners
and 40 steps from 8 starts of each critic. Figures per search: the excess over the reference in units of its size |w|,
and in units of the range over the ball, U(intended) - w. CPU time of one batch is relative to the first search.
"Least" follows the least of the two critics, "apart" every critic on its own (`worst_action`).
"""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
import tyro
from rich.console import Console
from rich.table import Table
from torch import Tensor

from advwrap import PGD, Attack, Bounds, Corners, CrossEntropyMethod, LinfBall, LowValue, Search
from advwrap.algorithms import TD3
from advwrap.evaluation.action_makers import action_ball, played_in_ball
from advwrap.losses import fit_robust_critic
from advwrap.provenance import Provenance
from advwrap.targets import Falling, worst_action
from advwrap.training import TrainedAgent, load_agent, save_agent

TASKS = {"Pendulum-v1": 15_000, "Hopper-v5": 60_000}
EPSILONS = (0.1, 0.3, 0.6)
STATES = 512


def searches(objective: LowValue, critic: Any, within: LinfBall) -> dict[str, Attack]:
    """By name. A gradient of the least of two critics costs as much as one of each for half of the rows."""

    def least(steps: int, restarts: int = 1, **options: Any) -> Attack:
        """PGD on min_i Q_i, what the paper does."""
        options = {"step_size": Falling(steps), **options}
        return PGD(objective, within=within, steps=steps, restarts=restarts, best=True, **options)

    def apart(steps: int, restarts: int) -> Attack:
        return worst_action(critic, within=within, steps=steps, restarts=restarts)

    return {
        "least: 20 steps of eps / 4, from the action": least(20, step_size=0.25, random_start=0.0),
        "least: 20 falling steps, from the action": least(20, random_start=0.0),
        "least: 20 falling steps, random start": least(20),
        "least: 5 falling steps, 4 starts": least(5, 4),
        "apart: 1 full step": apart(1, 1),
        "apart: 2 full steps": apart(2, 1),
        "apart: 3 falling steps (trainings' default)": apart(3, 1),
        "apart: 5 falling steps": apart(5, 1),
        "apart: 20 falling steps": apart(20, 1),
        "apart: 3 falling steps, 6 starts (default)": apart(3, 6),
        "apart: 5 falling steps, 4 starts": apart(5, 4),
        "apart: 20 falling steps, 4 starts": apart(20, 4),
        "corners": Search(objective, within=within, strategy=Corners()),
        "cross-entropy method": Search(objective, within=within, strategy=CrossEntropyMethod()),
    }


def agent_for(task: str, folder: Path) -> TrainedAgent:
    """Trained once."""
    if not (folder / "agent.json").exists():
        config = TD3(task, steps=TASKS[task], hidden=(256, 256), learning_rate=3e-4, compile=True)
        save_agent(folder, config.train(out=folder))
    return load_agent(folder)


def measure(critic: Any, state: Tensor, action: Tensor, within: LinfBall, bounds: Bounds) -> list[dict[str, Any]]:
    """Every search on these states."""
    objective = LowValue(critic=critic, reduce=torch.amin)

    def value(executed: Tensor) -> Tensor:
        with torch.no_grad():
            return critic(state, executed).amin(0)

    def run(attack: Attack) -> tuple[Tensor, float]:
        generator, context = torch.Generator().manual_seed(0), {"observation": state}
        began = time.process_time()
        executed = attack(action, context=context, bounds=bounds, generator=generator)
        return value(executed), time.process_time() - began

    strong = worst_action(critic, within=within, steps=40, restarts=8)
    corners = Search(objective, within=within, strategy=Corners())
    least = torch.minimum(grid_minimum(value, action, within, bounds), torch.minimum(run(strong)[0], run(corners)[0]))
    room = value(action) - least
    rows = []
    for name, attack in searches(objective, critic, within).items():
        run(attack)  # warm
        found, seconds = run(attack)
        excess = found - torch.minimum(found, least)
        of_size, of_range = excess / least.abs().clamp_min(1e-6), excess / room.clamp_min(1e-6)
        rows.append(
            {
                "search": name,
                "within 1 % of the minimum": float((of_size <= 0.01).float().mean()),
                "p95 of the excess / |minimum|": float(of_size.quantile(0.95)),
                "within 1 % of the range": float((of_range <= 0.01).float().mean()),
                "p95 of the excess / range": float(of_range.quantile(0.95)),
                "mean excess / mean range": float(excess.mean() / room.mean().clamp_min(1e-6)),
                "seconds": seconds,
            }
        )
    for row in rows:
        row["cost"] = row["seconds"] / rows[0]["seconds"]
    return rows


def grid_minimum(value: Callable[[Tensor], Tensor], action: Tensor, within: LinfBall, bounds: Bounds) -> Tensor:
    """The least value on a grid of the ball, cut to the box."""
    size = action.shape[1]
    axis = torch.linspace(-1, 1, 401 if size == 1 else 17)
    least = torch.full((len(action),), float("inf"))
    for point in torch.cartesian_prod(*[axis] * size).reshape(-1, size):
        executed = (action + point * within.radius).clamp(torch.as_tensor(bounds.low), torch.as_tensor(bounds.high))
        least = torch.minimum(least, value(executed))
    return least


def main(runs: Path = Path("runs/solver"), out: Path = Path("docs/results/benchmark_solver.json")) -> None:
    """Train where needed, measure, report.

    Args:
        runs: Where agents are kept.
        out: Where the raw figures go.
    """
    torch.set_num_threads(1)
    logging.getLogger("torchrl").setLevel(logging.WARNING)
    rows = []
    for task in TASKS:
        agent = agent_for(task, runs / task)
        bounds = Bounds(agent.low, agent.high)
        for epsilon in EPSILONS:
            within = action_ball(agent, epsilon)
            played = played_in_ball(agent, epsilon)
            state = next(played_in_ball(agent, epsilon, seed=7))["observation"][:: 2048 // STATES]
            robust = fit_robust_critic(played, agent.policy, within=within, bounds=bounds)
            for name, critic in (("nominal", agent.critic), ("robust", robust)):
                found = measure(critic, state, agent.act(state), within, bounds)
                rows += [{"task": task, "epsilon": epsilon, "critic": name, **row} for row in found]
    provenance = Provenance.here(", ".join(TASKS), seed=0, command="python benchmarks/solver.py")
    rows = [{k: float(f"{v:.4g}") if isinstance(v, float) else v for k, v in row.items()} for row in rows]
    lines = ",\n".join(f"  {json.dumps(row)}" for row in rows)
    out.write_text(f'{{\n "provenance": {json.dumps(vars(provenance))},\n "rows": [\n{lines}\n ]\n}}\n')
    show(rows)


def show(rows: list[dict[str, Any]]) -> None:
    """All columns but the seconds."""
    names = [name for name in rows[0] if name != "seconds"]
    table = Table(*names)
    for row in rows:
        table.add_row(*(f"{row[name]:.3g}" if isinstance(row[name], float) else str(row[name]) for name in names))
    Console(width=180).print(table)


if __name__ == "__main__":
    tyro.cli(main)
