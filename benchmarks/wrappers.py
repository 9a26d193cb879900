"""What a wrapper costs beside the attack that it carries: Hopper-v5, PGD-10 on a 2x256 actor.

    python benchmarks/wrappers.py [--out docs/results/benchmark_wrappers.json]

One process, one thread. In every round each contestant makes the same number of steps; the overhead of a wrapper is its
CPU time per step less that of the bare environment, and is divided by the CPU time of the bare attack call on as many
rows. 64 simulators take three times as long as the attack and vary by more than what is to be seen, so for the vector
wrapper the time inside them is measured and subtracted; and because they empty the caches, its bare attack call is made
after a step of theirs too; the ratio to a call that finds its data in the caches is printed beside it. The last line is
a whole step with a Noise wrapper over a bare step. Medians over the rounds.
"""

from __future__ import annotations

import json
import platform
import statistics
import time
import warnings
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import gymnasium as gym
import torch
import tyro
from rich.console import Console
from rich.table import Table
from torch import nn

from advwrap import PGD, ActionShift, AdversarialObs, LinfBall, Noise
from advwrap.attacks import Attack

TASK, ENVS = "Hopper-v5", 64
_VECTOR = "vector + PGD, outside the simulators"
Step = Callable[[], Any]


def actor() -> nn.Module:
    """A 2x256 policy for Hopper's 11 features and 3 actions."""
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(11, 256), nn.Tanh(), nn.Linear(256, 256), nn.Tanh(), nn.Linear(256, 3), nn.Tanh())


def single(env: gym.Env[Any, Any]) -> Step:
    """Steps of one Gymnasium environment, with resets."""
    env.reset(seed=0)
    env.action_space.seed(0)
    action = env.action_space.sample() * 0

    def step() -> None:
        *_, terminated, truncated, _ = env.step(action)
        if terminated or truncated:
            env.reset()

    return step


def vector(env: gym.vector.VectorEnv[Any, Any, Any]) -> Step:
    """Steps of a vector environment, which resets by itself."""
    env.reset(seed=0)
    action = env.action_space.sample() * 0
    return lambda: env.step(action)


class Watched(gym.vector.VectorWrapper):  # type: ignore[type-arg]
    """A vector environment that adds up the CPU time spent inside it."""

    seconds = 0.0

    def step(self, actions: Any) -> Any:
        """Step, and look at the clock before and after."""
        started = time.process_time()
        result = self.env.step(actions)
        self.seconds += time.process_time() - started
        return result


def after(first: Step, second: Step) -> Step:
    """Two steps, one after the other."""

    def step() -> None:
        first()
        second()

    return step


def torchrl(attack: Attack | None) -> Step:
    """Steps of a TorchRL environment, with resets."""
    from torchrl.envs import Compose, DoubleToFloat, GymEnv, TransformedEnv

    from advwrap import transforms

    parts = [DoubleToFloat()] if attack is None else [DoubleToFloat(), transforms.AdversarialObs(attack)]
    env = TransformedEnv(GymEnv(TASK), Compose(*parts))
    env.set_seed(0)
    data = env.reset()
    action = torch.zeros(3)

    def step() -> None:
        nonlocal data
        data["action"] = action
        _, data = env.step_and_maybe_reset(data)

    return step


def bare(attack: Attack, rows: int) -> Step:
    """The attack call itself."""
    clean = torch.randn(rows, 11)
    generator = torch.Generator().manual_seed(0)
    return lambda: attack(clean, generator=generator)


def cpu_microseconds(
    steps: dict[str, Step], counts: dict[str, int], rounds: int, inside: dict[str, Watched]
) -> dict[str, float]:
    """Median over the rounds of the CPU time per step of every contestant, in turn, without what was spent inside."""
    times: dict[str, list[float]] = {name: [] for name in steps}
    for round_ in range(rounds + 1):
        for name, step in steps.items():
            before = inside[name].seconds if name in inside else 0.0
            started = time.process_time()
            for _ in range(counts[name]):
                step()
            spent = time.process_time() - started
            if name in inside:
                spent -= inside[name].seconds - before
            if round_:  # the first round warms up
                times[name].append(spent / counts[name])
    return {name: 1e6 * statistics.median(values) for name, values in times.items()}


@dataclass(frozen=True)
class Row:
    """One comparison."""

    what: str
    measured: float
    target: float | None


def main(out: Path | None = None, rounds: int = 21) -> None:
    """Print the table.

    Args:
        out: Also write the figures here, as JSON.
        rounds: Rounds over all contestants.
    """
    torch.set_num_threads(1)
    warnings.filterwarnings("ignore")
    attack, noise = PGD(ActionShift(actor()), within=LinfBall(0.075), steps=10), Noise(LinfBall(0.075))
    simulators, others = (Watched(gym.make_vec(TASK, num_envs=ENVS, vectorization_mode="sync")) for _ in range(2))
    steps = {
        "attack on 1 row": bare(attack, 1),
        "Gymnasium": single(gym.make(TASK)),
        "Gymnasium + PGD": single(AdversarialObs(gym.make(TASK), attack=attack)),
        "Gymnasium + noise": single(AdversarialObs(gym.make(TASK), attack=noise)),
        "TorchRL": torchrl(None),
        "TorchRL + PGD": torchrl(attack),
        "attack on 64 rows": bare(attack, ENVS),
        "attack on 64 rows after simulators": after(vector(others), bare(attack, ENVS)),
        _VECTOR: vector(AdversarialObs(simulators, attack=attack)),
    }
    slow = {_VECTOR, "attack on 64 rows", "attack on 64 rows after simulators"}
    counts = {name: 8 if name in slow else 60 for name in steps}
    inside = {_VECTOR: simulators, "attack on 64 rows after simulators": others}
    us = cpu_microseconds(steps, counts, rounds, inside)
    vector_ratio = us[_VECTOR] / us["attack on 64 rows after simulators"]
    rows = [
        Row("Gymnasium: added / attack", (us["Gymnasium + PGD"] - us["Gymnasium"]) / us["attack on 1 row"], 1.25),
        Row("TorchRL: added / attack", (us["TorchRL + PGD"] - us["TorchRL"]) / us["attack on 1 row"], 1.5),
        Row("vector of 64: added / attack after simulators", vector_ratio, 1.1),
        Row("vector of 64: added / attack by itself", us[_VECTOR] / us["attack on 64 rows"], None),
        Row("noise: whole step / bare step", us["Gymnasium + noise"] / us["Gymnasium"], 1.4),
    ]
    console = Console()
    table = Table("contestant", "CPU us per step", title=TASK)
    for name, value in us.items():
        table.add_row(name, f"{value:.0f}")
    console.print(table)
    table = Table("ratio", "measured", "target")
    for row in rows:
        table.add_row(row.what, f"{row.measured:.2f}", "" if row.target is None else f"<= {row.target}")
    console.print(table)
    if out is not None:
        report = {
            "command": "python benchmarks/wrappers.py",
            "machine": platform.processor() or platform.machine(),
            "torch": torch.__version__,
            "cpu_us_per_step": us,
            "rows": [asdict(row) for row in rows],
        }
        out.write_text(json.dumps(report, indent=1) + "\n")


if __name__ == "__main__":
    tyro.cli(main)
