"""Trained agents under a suite of attacks: in several processes, and going on where it was stopped."""

from __future__ import annotations

import hashlib
import multiprocessing
import os
import sys
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import Future, ProcessPoolExecutor, as_completed
from dataclasses import asdict, dataclass, replace
from functools import cache, partial
from pathlib import Path

import torch

from advwrap.errors import check
from advwrap.evaluation.attack_makers import AttackMaker
from advwrap.evaluation.results import NATURAL, Cell, Results
from advwrap.evaluation.results_file import read_results, save_results
from advwrap.evaluation.rollouts import Channel, evaluate
from advwrap.evaluation.suites import Suite
from advwrap.evaluation.threads import in_threads
from advwrap.progress import Advance, progress
from advwrap.provenance import Provenance
from advwrap.training import TrainedAgent
from advwrap.wrappers import AdversarialObs


def evaluate_suite(
    agents: Mapping[str, TrainedAgent],
    suite: Suite,
    epsilons: Sequence[float],
    *,
    episodes: int = 20,
    seed: int = 0,
    keep: Path | None = None,
    workers: int = 1,
    command: str | None = None,
) -> Results:
    """Every agent without an attack, and under every attack of the suite at every radius.

    Every agent plays in its own normalised environment; episode i of every cell starts from ``reset(seed=seed + i)``.
    A process computes in one thread, whatever torch was told: small networks are slower with more, and sums differ.

    Args:
        agents: Trained on one task, by name.
        suite: What attacks them: `GradientSuite()`, `ObservationSuite()`, your own.
        epsilons: Radii, in units of the normalised observation, or of what the suite says.
        episodes: Episodes per cell.
        seed: Reset seed of the first episode of every cell.
        keep: A folder for the cells that are done: called again with the same agents, attacks, seeds, versions and code
            of this package, only the others are measured.
        workers: Processes; each cell is measured by one of them, with the same result.
        command: What to type to measure this again; by default the command line of this process.

    Raises:
        ValueError: If there is no agent, the agents are for different tasks, or a radius is repeated or not > 0.

    Example:
        >>> from advwrap.algorithms import SAC
        >>> from advwrap.evaluation import GradientSuite
        >>> agent = SAC("Pendulum-v1", steps=40, random_steps=40, hidden=(8,), batch_size=8).train()
        >>> results = evaluate_suite({"sac": agent}, GradientSuite(), [0.1], episodes=1)
        >>> [cell.attack for cell in results.cells]
        ['natural', 'noise', 'MAD', 'PGD on Q', 'black box']
    """
    check(len(agents) > 0, "`agents` must hold at least one agent, got none.")
    tasks = sorted({agent.env for agent in agents.values()})
    check(len(tasks) == 1, f"`agents` must be trained on one task, got {tasks}.")
    check(all(radius > 0 for radius in epsilons), f"`epsilons` must be > 0, got {list(epsilons)}.")
    check(len(set(epsilons)) == len(epsilons), f"`epsilons` must all differ, got {list(epsilons)}.")
    check(workers >= 1, f"`workers` must be >= 1, got {workers}.")
    provenance = Provenance.here(tasks[0], seed=seed, command=command)
    channel = channel_of(suite)
    jobs = [
        _Job(name, agent, attack, make, float(radius), episodes, seed, channel)
        for name, agent in agents.items()
        for attack, make, radius in _rows(suite, agent, epsilons)
    ]
    store = _Store(keep, provenance)
    done = {job: cell for job in jobs if (cell := store.find(job)) is not None}
    with in_threads(1), progress("evaluating", total=len(jobs) * episodes) as advance:
        advance(len(done) * episodes)
        for job, cell in _measured([job for job in jobs if job not in done], workers, advance):
            store.put(job, cell)
            done[job] = cell
    return Results(tuple(done[job] for job in jobs), provenance)


def channel_of(suite: Suite) -> Channel:
    """What a suite's attacks perturb: observations, where it does not say.

    Example:
        >>> from advwrap.evaluation import FaultSuite, GradientSuite
        >>> [channel_of(suite).__name__ for suite in (GradientSuite(), FaultSuite())]
        ['AdversarialObs', 'AdversarialAction']
    """
    channel: Channel = getattr(suite, "channel", AdversarialObs)
    return channel


def _rows(
    suite: Suite, agent: TrainedAgent, epsilons: Sequence[float]
) -> Iterator[tuple[str, AttackMaker | None, float]]:
    yield NATURAL, None, 0.0
    for attack, make in suite.attacks(agent).items():
        for radius in epsilons:
            yield attack, make, radius


@dataclass(frozen=True, eq=False)
class _Job:
    """One cell to measure."""

    name: str
    agent: TrainedAgent
    attack: str
    make: AttackMaker | None
    epsilon: float
    episodes: int
    seed: int
    channel: Channel

    def measure(self, advance: Advance) -> Cell:
        """Make the attack, and play."""
        return evaluate(
            self.agent.act,
            self.agent.make_env,
            None if self.make is None else self.make(self.agent, self.epsilon),
            agent=self.name,
            name=self.attack,
            epsilon=self.epsilon,
            episodes=self.episodes,
            seed=self.seed,
            channel=self.channel,
            advance=advance,
        )


def _measured(jobs: Sequence[_Job], workers: int, advance: Advance) -> Iterator[tuple[_Job, Cell]]:
    """The cells, in the order in which they are ready."""
    if workers == 1 or len(jobs) < 2:
        for job in jobs:
            yield job, job.measure(advance)
        return
    # Forked children would inherit the threads of torch.
    with ProcessPoolExecutor(workers, multiprocessing.get_context("spawn"), initializer=quiet_worker) as pool:
        futures: dict[Future[Cell], _Job] = {pool.submit(_silently, job): job for job in jobs}
        try:
            for future in as_completed(futures):
                job = futures[future]
                cell = future.result()
                advance(job.episodes)
                yield job, cell
        finally:
            pool.shutdown(cancel_futures=True)


def _silently(job: _Job) -> Cell:
    return job.measure(lambda episodes: None)


def quiet_worker() -> None:
    """Of several processes, only the first draws progress bars; each computes in one thread."""
    torch.set_num_threads(1)
    sys.stderr = Path(os.devnull).open("w")  # noqa: SIM115 - for the life of the process


@cache
def code_digest() -> str:
    """What tells the code of this package from that of another version."""
    state = hashlib.sha256()
    for file in sorted(Path(__file__).parents[1].rglob("*.py")):
        state.update(file.read_bytes())
    return state.hexdigest()[:16]


def _name(channel: object) -> str:
    """What tells a channel from another, with its options."""
    if isinstance(channel, partial):
        return f"{_name(channel.func)} {channel.args} {sorted(channel.keywords.items())}"
    return f"{getattr(channel, '__module__', '')}.{getattr(channel, '__qualname__', repr(channel))}"


class _Store:
    """One file per cell, named by everything that decides its numbers."""

    def __init__(self, folder: Path | None, provenance: Provenance) -> None:
        self.folder, self.provenance = folder, provenance

    def find(self, job: _Job) -> Cell | None:
        """The cell, if it was measured before."""
        path = self._path(job)
        if path is None or not path.exists():
            return None
        return replace(read_results(path).cells[0], agent=job.name, attack=job.attack)

    def put(self, job: _Job, cell: Cell) -> None:
        """Keep it."""
        path = self._path(job)
        if path is not None:
            save_results(Results((cell,), self.provenance), path)

    def _path(self, job: _Job) -> Path | None:
        if self.folder is None:
            return None
        # Not the commit: a word in the documentation changes no number, a change that is not committed may.
        origin = asdict(self.provenance) | {"command": None, "commit": None, "code": code_digest()}
        where = None if job.make is None else _name(job.channel)
        words = [job.agent.digest(), repr(job.make), job.epsilon, job.episodes, job.seed, origin, where]
        return self.folder / f"{hashlib.sha256(repr(words).encode()).hexdigest()[:24]}.json"
