"""Environment steps per second of a whole training, one update per step: SAC, TD3, their defences, and the peers.

    python benchmarks/training.py [--threads 1] [--steps 800] [--out docs/results/benchmark_training.json]

Hopper-v5, 2 x 256 units, batches of 256, one process. Everybody trains for `--steps` steps (after random steps and a
warm-up, in which graphs are compiled) `--passes` times, every second time in the opposite order, so that a drift of the
machine cancels. With one thread CPU time counts, and the mean of the passes; with more the wall clock, and the least of
them, because whatever else runs on the machine can only add to it. A peer that is not installed is left out.
"""

from __future__ import annotations

import contextlib
import importlib.util
import json
import logging
import platform
import statistics
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import gymnasium as gym
import torch
import tyro
from experiment import begin_with_threads
from rich.console import Console
from rich.table import Table
from torch import nn
from torch.nn import functional as F

from advwrap.algorithms import (
    OAPI,
    SAC,
    TD3,
    Defence,
    OffPolicy,
    RobustRegulariser,
    Undefended,
    ValtEps,
    ValtSampled,
    ValtSoft,
)
from advwrap.algorithms.off_policy_training import OffPolicyTraining
from advwrap.provenance import Provenance
from advwrap.training.agent_networks import mlp

TASK, HIDDEN, BATCH, RANDOM, WARM = "Hopper-v5", (256, 256), 256, 1_000, 300
Advance = Callable[[int], object]


class EnoughError(Exception):
    """Raised by the stopwatch when it has seen all that it wants to."""


class Stopwatch:
    """Seconds for the steps after the warm-up."""

    def __init__(self, steps: int, clock: Callable[[], float]) -> None:
        self.steps, self.clock = steps, clock
        self.seen, self.began, self.first, self.seconds = 0, 0.0, 0, 0.0

    def __call__(self, frames: int) -> None:
        """So many more environment steps are done."""
        self.seen += frames
        now = self.clock()
        if not self.began and self.seen >= RANDOM + WARM:
            self.began, self.first = now, self.seen
        elif self.began and self.seen - self.first >= self.steps:
            self.seconds = (now - self.began) / (self.seen - self.first)
            raise EnoughError


def ours(
    defence: Defence, *, compiled: bool, learner: type[OffPolicy] = SAC, device: str = "cpu", seed: int = 0
) -> Callable[[Advance], None]:
    """advwrap, on TorchRL's trainer."""

    def train(advance: Advance) -> None:
        learner(
            TASK,
            defence,
            steps=10**6,
            hidden=HIDDEN,
            learning_rate=3e-4,
            frames_per_batch=100,
            random_steps=RANDOM,
            compile=compiled,
            device=device,
            seed=seed,
        ).train(advance=advance)

    return train


def collecting(advance: Advance) -> None:
    """Only what our trainings collect with: simulator, normaliser, policy, and TorchRL's collector around them."""
    training = OffPolicyTraining(SAC(TASK, steps=10**6, hidden=HIDDEN, frames_per_batch=100, random_steps=RANDOM))
    for batch in training.trainer.collector:
        advance(batch.numel())


def torchrl(advance: Advance) -> None:
    """TorchRL's own `SACTrainer`."""
    from tensordict.nn import NormalParamExtractor, TensorDictModule
    from torchrl.collectors import Collector
    from torchrl.data import LazyTensorStorage, TensorDictReplayBuffer
    from torchrl.envs import Compose, DoubleToFloat, GymEnv, TransformedEnv
    from torchrl.modules import MLP, ProbabilisticActor, TanhNormal, ValueOperator
    from torchrl.objectives import SACLoss, SoftUpdate
    from torchrl.trainers.algorithms import SACTrainer

    env = TransformedEnv(GymEnv(TASK), Compose(DoubleToFloat()))
    features, size = env.observation_spec["observation"].shape[0], env.action_spec.shape[0]
    network = nn.Sequential(mlp(features, 2 * size, HIDDEN), NormalParamExtractor())
    actor = ProbabilisticActor(
        TensorDictModule(network, ["observation"], ["loc", "scale"]),
        in_keys=["loc", "scale"],
        distribution_class=TanhNormal,
        return_log_prob=False,
    )
    critic = ValueOperator(
        MLP(features + size, 1, num_cells=HIDDEN, activation_class=nn.ReLU), ["observation", "action"]
    )
    loss = SACLoss(actor, critic, num_qvalue_nets=2, target_entropy=-float(size))
    loss.make_value_estimator(gamma=0.99)
    trainer = SACTrainer(
        collector=Collector(env, actor, frames_per_batch=100, total_frames=10**6, init_random_frames=RANDOM),
        total_frames=10**6,
        frame_skip=1,
        optim_steps_per_batch=100,
        loss_module=loss,
        optimizer=torch.optim.Adam(loss.parameters(), lr=3e-4),
        replay_buffer=TensorDictReplayBuffer(storage=LazyTensorStorage(10**5), batch_size=BATCH),
        target_net_updater=SoftUpdate(loss, tau=0.005),
        progress_bar=False,
        enable_logging=False,
        auto_log_optim_steps=False,
    )
    trainer.register_op("post_steps", lambda: advance(100))
    trainer.train()


def sb3(advance: Advance) -> None:
    """Stable-Baselines3."""
    import stable_baselines3
    from stable_baselines3.common.callbacks import BaseCallback

    class Count(BaseCallback):
        def _on_step(self) -> bool:
            advance(1)
            return True

    model = stable_baselines3.SAC(
        "MlpPolicy", gym.make(TASK), learning_starts=RANDOM, batch_size=BATCH, policy_kwargs={"net_arch": list(HIDDEN)}
    )
    model.learn(10**6, callback=Count())


def hand_written(advance: Advance) -> None:
    """A single-file loop in the manner of CleanRL: modules, three optimisers, no framework."""

    class Actor(nn.Module):
        def __init__(self, features: int, size: int) -> None:
            super().__init__()
            self.body = mlp(features, 256, (256,))
            self.mean, self.log_std = nn.Linear(256, size), nn.Linear(256, size)

        def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
            h = self.body(x).relu()
            log_std = -5 + 3.5 * (self.log_std(h).tanh() + 1)
            normal = torch.distributions.Normal(self.mean(h), log_std.exp())
            z = normal.rsample()
            action = z.tanh()
            log_prob = normal.log_prob(z) - torch.log(1 - action.square() + 1e-6)
            return action, log_prob.sum(1, keepdim=True)

    env = gym.make(TASK)
    features, size = env.observation_space.shape[0], env.action_space.shape[0]  # type: ignore[index]
    actor = Actor(features, size)
    critics, targets = ([mlp(features + size, 1, HIDDEN) for _ in range(2)] for _ in range(2))
    for critic, target in zip(critics, targets, strict=True):
        target.load_state_dict(critic.state_dict())
    log_alpha = torch.zeros(1, requires_grad=True)
    critic_parameters = [p for critic in critics for p in critic.parameters()]
    optimisers = [torch.optim.Adam(ps, lr=3e-4) for ps in (critic_parameters, list(actor.parameters()), [log_alpha])]
    data = {"s": features, "a": size, "r": 1, "t": features, "d": 1}
    memory = {key: torch.zeros(10**5, width) for key, width in data.items()}
    s, _ = env.reset(seed=0)
    env.action_space.seed(0)
    step = 0
    while True:
        if step < RANDOM:
            a = env.action_space.sample()
        else:
            with torch.no_grad():
                a = actor(torch.as_tensor(s, dtype=torch.float32).unsqueeze(0))[0][0].numpy()
        t, r, terminated, truncated, _ = env.step(a)
        for key, value in zip(data, (s, a, r, t, terminated), strict=True):
            memory[key][step] = torch.as_tensor(value)
        s = env.reset()[0] if terminated or truncated else t
        step += 1
        if step > RANDOM:
            rows = torch.randint(step, (BATCH,))
            b = {key: value[rows] for key, value in memory.items()}
            alpha = log_alpha.exp().detach()
            with torch.no_grad():
                action, log_prob = actor(b["t"])
                joined = torch.cat([b["t"], action], 1)
                least = torch.min(*(target(joined) for target in targets))
                goal = b["r"] + 0.99 * (1 - b["d"]) * (least - alpha * log_prob)
            joined = torch.cat([b["s"], b["a"]], 1)
            loss = sum(F.mse_loss(critic(joined), goal) for critic in critics)
            _minimise(optimisers[0], loss)
            action, log_prob = actor(b["s"])
            joined = torch.cat([b["s"], action], 1)
            _minimise(optimisers[1], (alpha * log_prob - torch.min(*(critic(joined) for critic in critics))).mean())
            _minimise(optimisers[2], (-log_alpha.exp() * (log_prob.detach() - size)).mean())
            with torch.no_grad():
                for critic, target in zip(critics, targets, strict=True):
                    for p, q in zip(critic.parameters(), target.parameters(), strict=True):
                        q.lerp_(p, 0.005)
        advance(1)


def _minimise(optimiser: torch.optim.Optimizer, loss: Any) -> None:
    optimiser.zero_grad()
    loss.backward()
    optimiser.step()


EPSILON = 0.075
AT_ONCE = (0.0, 1e-6)
"""Schedules that are at their end from the first step on."""
VALT_EPS = ValtEps(EPSILON, ramp=AT_ONCE, regulariser=3.0, regulariser_ramp=AT_ONCE)
VALT_SOFT = ValtSoft(EPSILON, temperature=2.0, reset_every=100, regulariser=3.0, regulariser_ramp=AT_ONCE)
VALT_SAMPLED = ValtSampled(EPSILON, temperature=2.0, regulariser=3.0, regulariser_ramp=AT_ONCE)
CONTESTANTS: dict[str, Callable[[Advance], None]] = {
    "SAC, eager": ours(Undefended(), compiled=False),
    "SAC, compiled": ours(Undefended(), compiled=True),
    "VALT-EPS, eager": ours(VALT_EPS, compiled=False),
    "VALT-EPS, compiled": ours(VALT_EPS, compiled=True),
    "VALT-SOFT, eager": ours(VALT_SOFT, compiled=False),
    "VALT-SOFT, compiled": ours(VALT_SOFT, compiled=True),
    "VALT-sampled, compiled": ours(VALT_SAMPLED, compiled=True),
    "Robust-SAC, compiled": ours(RobustRegulariser(EPSILON, 300.0, ramp=AT_ONCE), compiled=True),
    "TD3, compiled": ours(Undefended(), compiled=True, learner=TD3),
    "OA-TD3, compiled": ours(OAPI(0.2, ramp=AT_ONCE), compiled=True, learner=TD3),
    "collecting alone": collecting,
    "TorchRL SACTrainer": torchrl,
    "Stable-Baselines3": sb3,
    "hand-written loop": hand_written,
}


def main(
    threads: int = 1, steps: int = 800, passes: int = 2, only: tuple[str, ...] = (), out: Path | None = None
) -> None:
    """Train everybody for a while, several times.

    Args:
        threads: Of torch.
        steps: Environment steps that are timed.
        passes: How often; every second time in the opposite order.
        only: Names of contestants; all by default.
        out: Where to write the figures.
    """
    begin_with_threads(threads)
    warnings.simplefilter("ignore")
    logging.getLogger("torchrl").setLevel(logging.WARNING)
    clock, of_passes = (time.process_time, statistics.mean) if threads == 1 else (time.perf_counter, min)
    names = [name for name in CONTESTANTS if not only or name in only]
    if importlib.util.find_spec("stable_baselines3") is None and "Stable-Baselines3" in names:
        names.remove("Stable-Baselines3")
    seconds: dict[str, list[float]] = {name: [] for name in names}
    for name in [name for turn in range(passes) for name in (reversed(names) if turn % 2 else names)]:
        torch.manual_seed(0)
        watch = Stopwatch(steps, clock)
        with contextlib.suppress(EnoughError):
            CONTESTANTS[name](watch)
        seconds[name].append(watch.seconds)
        Console(stderr=True).print(f"{name}: {1e3 * watch.seconds:.1f} ms per step")
    report({name: of_passes(values) for name, values in seconds.items()}, seconds, threads, out)


def report(each: dict[str, float], passes: dict[str, list[float]], threads: int, out: Path | None) -> None:
    """Print the table, and write it."""
    table = Table(title=f"{TASK}, {threads} thread(s), milliseconds per environment step")
    peer = each.get("Stable-Baselines3")
    for column in (
        "",
        "ms",
        "steps/s",
        "x speed of Stable-Baselines3",
        "x time of the undefended learner",
    ):
        table.add_column(column, justify="left" if not column else "right")
    rows = {}
    for name, value in each.items():
        mode = "eager" if name.endswith("eager") else "compiled"
        learner = "TD3" if "TD3" in name else "SAC"
        plain = each.get(f"{learner}, {mode}") if "," in name else None
        rows[name] = {
            "ms": 1e3 * value,
            "passes_ms": [1e3 * x for x in passes[name]],
            "speed_to_sb3": None if peer is None else peer / value,
            "time_to_plain": None if plain is None else value / plain,
        }
        shown = [rows[name]["speed_to_sb3"], rows[name]["time_to_plain"]]
        table.add_row(name, f"{1e3 * value:.1f}", f"{1 / value:.0f}", *("" if x is None else f"{x:.2f}" for x in shown))
    Console().print(table)
    if out is not None:
        provenance = vars(Provenance.here(TASK))
        machine = {"cpu": platform.processor() or platform.machine(), "torch": torch.__version__, "threads": threads}
        out.parent.mkdir(parents=True, exist_ok=True)
        out.write_text(json.dumps({"provenance": provenance, "machine": machine, "contestants": rows}, indent=1) + "\n")


if __name__ == "__main__":
    tyro.cli(main)
