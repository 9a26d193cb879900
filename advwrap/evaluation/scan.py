"""Many attackers of one victim, and the strongest of them: what the tables of the papers report."""

from __future__ import annotations

import itertools
import pickle
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Executor, Future, ProcessPoolExecutor, as_completed
from dataclasses import dataclass, fields, replace
from functools import partial
from typing import Any, TypeVar

import torch

from advwrap.errors import check
from advwrap.evaluation.attackers import Learns, TrainedAttacker, train_attacker
from advwrap.evaluation.results import Cell
from advwrap.evaluation.rollouts import EnvSource, evaluate
from advwrap.evaluation.threads import in_threads
from advwrap.progress import progress
from advwrap.sets import PerturbationSet
from advwrap.victims import AnyPolicy, as_policy
from advwrap.wrappers import SARL, AdversarialObs, AttackerKind

A = TypeVar("A")


def grid(algorithm: A, **values: Sequence[Any]) -> list[A]:
    """Copies of a configuration with every combination of these values.

    Source: the grid of Zhang et al., ICLR 2021, for HalfCheetah is ``grid(PPO(initial_std=0.5), learning_rate=[3e-4,
        1e-3, 3e-3], value_learning_rate=[1e-5, 3e-5, 1e-4], clip=[0.2, 0.4], anneal=[True, False], entropy=[0, 1e-5,
        3e-5, 1e-4, 3e-4, 1e-3])``, 216 runs.

    Args:
        algorithm: A dataclass.
        values: Name of a field to its values.

    Example:
        >>> from advwrap.algorithms import PPO
        >>> [(p.clip, p.seed) for p in grid(PPO(), clip=[0.2, 0.4], seed=[0, 1])]
        [(0.2, 0), (0.2, 1), (0.4, 0), (0.4, 1)]
    """
    combinations = itertools.product(*values.values())
    return [replace(algorithm, **dict(zip(values, chosen, strict=True))) for chosen in combinations]  # type: ignore[type-var]


@dataclass(frozen=True, eq=False)
class Trial:
    """One trained attacker and how it did.

    Args:
        attacker: What was trained.
        algorithm: With which configuration.
        cell: The victim's returns under it, on the selection episodes.

    Example:
        >>> from advwrap import Identity
        >>> from advwrap.algorithms import PPO
        >>> from advwrap.evaluation import Cell
        >>> cell = Cell("agent", "SARL", 0.1, (0,), (250.0,), (200,), (0.1,))
        >>> Trial(TrainedAttacker(Identity(), SARL(), None), PPO(), cell).cell.mean_return
        250.0
    """

    attacker: TrainedAttacker
    algorithm: Learns
    cell: Cell


@dataclass(frozen=True, eq=False)
class Scan:
    """All attackers that were trained, in the order of their configurations.

    The best is chosen for its low mean, so its own mean is slightly too low, the more so the more attackers there are:
    papers report it all the same. For an unbiased figure evaluate ``scan.best.attacker.attack`` on other seeds.

    Args:
        trials: At least one.

    Example:
        >>> from advwrap import Identity
        >>> from advwrap.algorithms import PPO
        >>> from advwrap.evaluation import Cell
        >>> cells = (Cell("agent", "SARL", 0.1, (0,), (score,), (200,), (0.1,)) for score in (250.0, 90.0))
        >>> scan = Scan(tuple(Trial(TrainedAttacker(Identity(), SARL(), None), PPO(), cell) for cell in cells))
        >>> scan.best.cell.mean_return
        90.0
    """

    trials: tuple[Trial, ...]

    @property
    def best(self) -> Trial:
        """The strongest: the lowest mean return of the victim, the minimum over the scan."""
        return min(self.trials, key=lambda trial: trial.cell.mean_return)

    @property
    def cells(self) -> tuple[Cell, ...]:
        """One cell per trial, for `Results`."""
        return tuple(trial.cell for trial in self.trials)


def scan_attackers(
    victim: AnyPolicy,
    env: EnvSource,
    *,
    within: PerturbationSet,
    algorithms: Sequence[Learns],
    kinds: Sequence[AttackerKind] = (SARL(),),
    stochastic: bool = True,
    agent: str = "agent",
    epsilon: float = 0.0,
    episodes: int = 20,
    seed: int = 0,
    executor: Executor | None = None,
    player: Any | None = None,
) -> Scan:
    """Train an attacker for every kind and configuration, and measure each on the same episodes.

    Args:
        victim: Who is attacked.
        env: The task with the observations that the victim reads.
        within: Where the perturbation may live, in the units of what is perturbed.
        algorithms: Configurations, see `grid`.
        kinds: What is learned: `SARL()`, `PAAD()`, or an adversary of actions.
        stochastic: Whether the victim samples its actions while the attackers learn.
        agent: Name of the victim in the cells.
        epsilon: Radius, only written into the cells.
        episodes: Episodes that measure an attacker, the victim playing its mean.
        seed: Reset seed of the first of them.
        player: What plays where an attacker is measured, by default the mean of the victim: ``agent.act``, say, which
            keeps to the valid actions.
        executor: Where to train, for example ``ProcessPoolExecutor(8)`` or `RayExecutor`; one after the other in this
            process by default. The result is the same.

    Returns:
        The scan; ``scan.best`` is the minimum that papers report.

    Raises:
        TypeError: If victim or task cannot be sent to another process.
        ValueError: If there is nothing to train.

    Example:
        >>> import torch
        >>> from advwrap import LinfBall
        >>> from advwrap.algorithms import PPO
        >>> short = grid(PPO(steps=64, envs=2, horizon=32, epochs=1, minibatches=2), seed=[0, 1])
        >>> task = {"victim": torch.nn.Linear(3, 1), "env": "Pendulum-v1", "within": LinfBall(0.1)}
        >>> scan = scan_attackers(**task, algorithms=short, episodes=1)
        >>> [trial.cell.attack for trial in scan.trials]
        ['SARL, PPO, seed=0', 'SARL, PPO, seed=1']
    """
    pairs = list(itertools.product(kinds, algorithms))
    check(len(pairs) > 0, f"`kinds` and `algorithms` must hold at least one each, got {kinds} and {algorithms}.")
    policy = as_policy(victim)
    judge = partial(evaluate, agent=agent, epsilon=epsilon, episodes=episodes, seed=seed, advance=_silent)
    train = partial(train_attacker, policy, env, within=within, stochastic=stochastic, advance=_silent)
    jobs = [
        partial(
            _trial,
            partial(train, kind=kind, algorithm=algorithm),
            partial(
                judge,
                policy if player is None else player,
                env,
                name=name,
                channel=getattr(kind, "channel", AdversarialObs),
            ),
            algorithm,
            torch.get_num_threads(),
        )
        for (kind, algorithm), name in zip(pairs, _names(pairs), strict=True)
    ]
    if isinstance(executor, ProcessPoolExecutor):
        _check_picklable(jobs)
    with progress("attackers", total=len(jobs)) as advance:
        if executor is None:
            trials = []
            for job in jobs:
                trials.append(job())
                advance(1)
            return Scan(tuple(trials))
        futures: list[Future[Trial]] = [executor.submit(job) for job in jobs]
        for _ in as_completed(futures):
            advance(1)
        return Scan(tuple(future.result() for future in futures))


def _trial(train: Callable[[], TrainedAttacker], judge: Callable[..., Cell], algorithm: Learns, threads: int) -> Trial:
    """Train one and measure it; runs in any process, in as many threads as the one that asked."""
    with in_threads(threads):
        attacker = train()
        return Trial(attacker, algorithm, judge(attacker.attack))


def _silent(units: int) -> None:
    """No progress bar: there may be many processes."""


def _names(pairs: Sequence[tuple[AttackerKind, Learns]]) -> Iterator[str]:
    """Kind and algorithm, and what distinguishes it from the others of its kind."""
    for kind, algorithm in pairs:
        names = [type(kind).__name__, type(algorithm).__name__]
        for one, others in ((kind, [k for k, _ in pairs]), (algorithm, [a for _, a in pairs])):
            alike = [other for other in others if type(other) is type(one)]
            names += [
                f"{field.name}={getattr(one, field.name)}"
                for field in fields(one)  # type: ignore[arg-type]
                if any(getattr(other, field.name) != getattr(one, field.name) for other in alike)
            ]
        yield ", ".join(names)


def _check_picklable(*parts: Any) -> None:
    try:
        pickle.dumps(parts)
    except (pickle.PicklingError, AttributeError, TypeError) as cause:
        raise TypeError(
            f"`victim` and `env` must be picklable to be sent to other processes: {cause}. Fix: functions at the top "
            "of a module instead of lambdas and local ones; or executor=None."
        ) from cause
