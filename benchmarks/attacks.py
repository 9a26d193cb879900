"""PGD-10 in the L-infinity ball on one MLP: ours against a hand-written loop, torchattacks, foolbox and ART.

    python benchmarks/attacks.py [--out docs/results/benchmark_attacks.json]

One process, one thread, the contestants in turn: CPU time per call (median), its ratio to the hand-written loop (median
of the ratios round by round, so a drift of the machine cancels), and the objective reached. Everybody gets the same
observations and returns perturbed ones; who needs the label of the clean action computes it. The observations lie in
[0, 1] because two of the peers accept nothing else. A peer that is not installed is left out.
"""

from __future__ import annotations

import json
import platform
import statistics
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch
import tyro
from rich.console import Console
from rich.table import Table
from torch import Tensor, nn
from torch.nn import functional as F

from advwrap import PGD, AvoidAction, LinfBall
from advwrap.victims import Categorical

EPS, STEPS, FEATURES, ACTIONS = 0.05, 10, 17, 6
STEP = 2.5 * EPS / STEPS
ROUNDS = {1: 301, 256: 41, 4096: 9}

Contestant = Callable[[Tensor], Tensor]


def hand_written(net: nn.Module) -> Contestant:
    """What a careful user writes: a random start, `autograd.grad` on the input, frozen parameters."""

    def attack(clean: Tensor) -> Tensor:
        with torch.no_grad():
            label = net(clean).argmax(1)
        x = clean + (2 * torch.rand_like(clean) - 1) * EPS
        for _ in range(STEPS):
            x.requires_grad_()
            loss = F.cross_entropy(net(x), label, reduction="sum")
            (grad,) = torch.autograd.grad(loss, x)
            x = x.detach() + STEP * grad.sign()
            x = clean + (x - clean).clamp(-EPS, EPS)
        return x

    return attack


def ours(net: nn.Module, *, best: bool) -> Contestant:
    """advwrap, the last or the best iterate."""
    attack = PGD(AvoidAction(Categorical(net)), within=LinfBall(EPS), steps=STEPS, best=best)
    generator = torch.Generator().manual_seed(0)
    return lambda clean: attack(clean, generator=generator)


def with_torchattacks(net: nn.Module) -> Contestant:
    """torchattacks.PGD."""
    import torchattacks

    attack = torchattacks.PGD(net, eps=EPS, alpha=STEP, steps=STEPS, random_start=True)
    return lambda clean: attack(clean, net(clean).argmax(1))


def with_foolbox(net: nn.Module) -> Contestant:
    """foolbox.attacks.LinfPGD."""
    import foolbox

    model = foolbox.PyTorchModel(net, bounds=(0, 1))
    attack = foolbox.attacks.LinfPGD(abs_stepsize=STEP, steps=STEPS, random_start=True)
    return lambda clean: attack(model, clean, net(clean).argmax(1), epsilons=EPS)[1]


def with_art(net: nn.Module) -> Contestant:
    """art.attacks.evasion.ProjectedGradientDescentPyTorch at its best batch size."""
    from art.attacks.evasion import ProjectedGradientDescentPyTorch
    from art.estimators.classification import PyTorchClassifier

    model = PyTorchClassifier(
        net, loss=nn.CrossEntropyLoss(), input_shape=(FEATURES,), nb_classes=ACTIONS, clip_values=(0.0, 1.0)
    )
    attack = ProjectedGradientDescentPyTorch(
        model, eps=EPS, eps_step=STEP, max_iter=STEPS, num_random_init=1, batch_size=4096, verbose=False
    )
    return lambda clean: torch.from_numpy(attack.generate(clean.numpy()))


@dataclass(frozen=True)
class Row:
    """One contestant at one batch size."""

    batch: int
    name: str
    milliseconds: float
    ratio: float
    objective: float


def measure(contestants: dict[str, Contestant], net: nn.Module, batch: int, rounds: int) -> list[Row]:
    """Run all contestants in turn, `rounds` times."""
    clean = 0.2 + 0.6 * torch.rand(batch, FEATURES, generator=torch.Generator().manual_seed(batch))
    with torch.no_grad():
        label = net(clean).argmax(1)
    seconds: dict[str, list[float]] = {name: [] for name in contestants}
    reached: dict[str, list[float]] = {name: [] for name in contestants}
    for round_ in range(rounds + 1):
        for name, attack in contestants.items():
            started = time.process_time()
            perturbed = attack(clean)
            elapsed = time.process_time() - started
            if round_:  # the first round warms up
                seconds[name].append(elapsed)
                with torch.no_grad():
                    reached[name].append(F.cross_entropy(net(perturbed), label).item())
    base = np.array(seconds["hand-written loop"])
    return [
        Row(
            batch,
            name,
            1e3 * statistics.median(times),
            float(np.median(np.array(times) / base)),
            float(np.mean(reached[name])),
        )
        for name, times in seconds.items()
    ]


def main(out: Path | None = None) -> None:
    """Print the table.

    Args:
        out: Also write the figures here, as JSON.
    """
    torch.set_num_threads(1)
    torch.manual_seed(0)
    net = nn.Sequential(
        nn.Linear(FEATURES, 256), nn.Tanh(), nn.Linear(256, 256), nn.Tanh(), nn.Linear(256, ACTIONS)
    ).requires_grad_(False)
    contestants = {"hand-written loop": hand_written(net), "advwrap": ours(net, best=False)}
    contestants["advwrap, best iterate"] = ours(net, best=True)
    peers = {"torchattacks": with_torchattacks, "foolbox": with_foolbox, "ART": with_art}
    for name, build in peers.items():
        try:
            contestants[name] = build(net)
        except ImportError as missing:
            print(f"{name} left out: {missing}")
    rows = [row for batch, rounds in ROUNDS.items() for row in measure(contestants, net, batch, rounds)]
    table = Table("batch", "attack", "CPU ms", "ratio", "objective", title="PGD-10, L-infinity, 2x256 tanh MLP")
    for row in rows:
        table.add_row(str(row.batch), row.name, f"{row.milliseconds:.2f}", f"{row.ratio:.2f}", f"{row.objective:.4f}")
    Console().print(table)
    if out is not None:
        report = {
            "command": "python benchmarks/attacks.py",
            "machine": platform.processor() or platform.machine(),
            "torch": torch.__version__,
            "rows": [asdict(row) for row in rows],
        }
        out.write_text(json.dumps(report, indent=1) + "\n")


if __name__ == "__main__":
    tyro.cli(main)
