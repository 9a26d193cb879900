"""SA-RL with our PPO against a released HalfCheetah agent: how far does a learned adversary bring it down?

    ADVWRAP_GROUND_TRUTH=/path/to/data python benchmarks/sarl_halfcheetah.py [--out docs/results/sarl_halfcheetah.json]

The victim (Zhang et al., ICLR 2021: about 7060 without an attack, -660 under the adversary released with it) is not
part of the project: the variable names the folder that holds it, as for `make test-reference`. The protocol is the
published one: observations normalised with the victim's frozen statistics and clipped to +-10, a perturbation of at
most 0.15 in those units, the victim stochastic while the adversary learns and deterministic where it is judged, 50
episodes.
"""

from __future__ import annotations

import json
import os
import statistics
import sys
import time
from dataclasses import asdict
from pathlib import Path

import gymnasium as gym
import numpy as np
import torch
import tyro
from rich.console import Console
from rich.table import Table

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))  # the tests' reader of the released data

from advwrap import Learned, LinfBall  # noqa: E402
from advwrap.algorithms import PPO  # noqa: E402
from advwrap.evaluation import SARL, Cell, Provenance, evaluate, train_attacker  # noqa: E402
from advwrap.training import save_agent  # noqa: E402
from advwrap.victims import Gaussian  # noqa: E402
from tests.reference.released import EPS, victim  # noqa: E402

TASK = "HalfCheetah-v5"


def main(
    *,
    steps: int = 1_000_000,
    seed: int = 0,
    episodes: int = 50,
    compile: bool = True,  # noqa: A002 - the field's word
    out: Path = ROOT / "docs/results/sarl_halfcheetah.json",
    weights: Path | None = None,
) -> None:
    """Train one adversary and judge it.

    Args:
        steps: Environment steps.
        seed: Of the training; the episodes that judge begin at reset seed 7000.
        episodes: Episodes that judge.
        compile: Whether the update is one compiled graph.
        out: The JSON file.
        weights: Folder for the adversary, written every 50 000 steps.
    """
    if not os.environ.get("ADVWRAP_GROUND_TRUTH"):
        sys.exit("ADVWRAP_GROUND_TRUTH must name the folder with the released agents.")
    torch.set_num_threads(1)
    released = victim("ppo")
    agent, ball = Gaussian(released.policy, released.std), LinfBall(EPS)

    def task() -> gym.Env:
        env = gym.make(TASK, disable_env_checker=True)
        space = gym.spaces.Box(-np.inf, np.inf, released.obs_mean.shape, np.float32)
        return gym.wrappers.TransformObservation(env, released.normalise, space)

    def judged(attack: Learned | None, name: str) -> Cell:
        return evaluate(agent, task, attack, name=name, epsilon=EPS, episodes=episodes, seed=7000, num_envs=episodes)

    learner = PPO(
        steps=steps, learning_rate=1e-3, value_learning_rate=1e-4, initial_std=0.5, compile=compile, seed=seed
    )
    keep = (
        {} if weights is None else {"watch": lambda _, adversary: save_agent(weights, adversary), "watch_every": 50_000}
    )
    wall, cpu = time.perf_counter(), time.process_time()
    attacker = train_attacker(agent, task, within=ball, kind=SARL(), algorithm=learner, **keep)
    wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
    if weights is not None:
        save_agent(weights, attacker.agent)
    cells = [
        judged(None, "natural"),
        judged(attacker.attack, "SA-RL, trained here"),
        judged(Learned(released.adversary, within=ball), "SA-RL, released"),
    ]
    card = attacker.agent.card
    result = {
        "what": "Return of the released HalfCheetah PPO agent under an SA-RL adversary trained with advwrap's PPO",
        "provenance": asdict(Provenance.here(TASK, seed=seed)),
        "configuration": card["config"],
        "epsilon": EPS,
        "seconds": {"wall": round(wall), "cpu": round(cpu)},
        # While learning, both act stochastically; the adversary's return is minus the victim's.
        "curve": [[frames, round(-score, 1)] for frames, score in card["history"]],
        "evaluation": {cell.attack: summary(cell) for cell in cells},
    }
    out.write_text(json.dumps(result, indent=1) + "\n")
    show(cells)


def summary(cell: Cell) -> dict:
    """The numbers of a cell."""
    return {
        "episodes": len(cell.returns),
        "first_seed": cell.seeds[0],
        "mean": round(cell.mean_return, 1),
        "std": round(statistics.pstdev(cell.returns), 1),
        "median": round(statistics.median(cell.returns), 1),
        "returns": [round(r, 1) for r in cell.returns],
    }


def show(cells: list[Cell]) -> None:
    table = Table("attack", "mean", "std", "median")
    for cell in cells:
        numbers = summary(cell)
        table.add_row(cell.attack, *(f"{numbers[name]:.0f}" for name in ("mean", "std", "median")))
    Console().print(table)


if __name__ == "__main__":
    tyro.cli(main)
