"""What an evaluation found: one cell per agent, attack and epsilon, and where it came from."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, fields

from advwrap.errors import check
from advwrap.evaluation.statistics import (
    Interval,
    Statistic,
    interval,
    mean,
    paired_difference,
)
from advwrap.provenance import Provenance

NATURAL = "natural"
"""The name of the attack that does nothing: the row at epsilon 0."""


@dataclass(frozen=True)
class Cell:
    """The episodes of one agent under one attack at one epsilon; tuples have one entry per episode.

    Args:
        agent: Name of the agent.
        attack: Name of the attack; `NATURAL` for none.
        epsilon: Radius of the set, in the units of what is perturbed; 0 for no attack.
        seeds: Reset seed of the episode, all different: cells with equal seeds are paired.
        returns: Undiscounted sum of rewards.
        lengths: Number of steps.
        sizes: Mean over the steps of the size of the perturbation that was really executed: its
            largest coordinate, or for discrete values the share of changed ones.
        costs: Sum of ``info["cost"]`` where the environment reports one, else None.

    Example:
        >>> cell = Cell("sac", "natural", 0.0, (0, 1), (9.0, 11.0), (5, 5), (0.0, 0.0))
        >>> print(cell.mean_return, cell.interval())
        10.0 10.00 [9.000, 11.00]
    """

    agent: str
    attack: str
    epsilon: float
    seeds: tuple[int, ...]
    returns: tuple[float, ...]
    lengths: tuple[int, ...]
    sizes: tuple[float, ...]
    costs: tuple[float, ...] | None = None

    def __post_init__(self) -> None:
        check(
            self.epsilon >= 0 and math.isfinite(self.epsilon),
            f"`epsilon` must be >= 0, got {self.epsilon}.",
        )
        check(len(self.seeds) > 0, "`seeds` must hold at least one episode, got none.")
        check(len(set(self.seeds)) == len(self.seeds), f"`seeds` must all differ, got {self.seeds}.")
        for field in fields(self)[4:]:
            values = getattr(self, field.name)
            if values is None:
                continue
            check(
                len(values) == len(self.seeds),
                f"`{field.name}` must have one entry per episode ({len(self.seeds)}), got {len(values)}.",
            )
            check(all(map(math.isfinite, values)), f"`{field.name}` must be finite, got {values}.")

    @property
    def mean_return(self) -> float:
        """The mean of the returns."""
        return float(mean(self.returns))

    def interval(self, *, statistic: Statistic = mean, confidence: float = 0.95, seed: int = 0) -> Interval:
        """The bootstrap interval of a statistic of the returns; (-inf, inf) of a single episode."""
        return interval(self.returns, statistic=statistic, confidence=confidence, seed=seed)

    def change(self, reference: Cell, *, confidence: float = 0.95, seed: int = 0) -> Interval:
        """The interval of the mean change of the return against `reference`, paired by seed.

        Raises:
            ValueError: If the two cells do not hold the same seeds.

        Example:
            >>> natural = Cell("sac", "natural", 0.0, (0, 1), (9.0, 11.0), (5, 5), (0.0, 0.0))
            >>> attacked = Cell("sac", "pgd", 0.1, (1, 0), (6.0, 4.0), (5, 5), (0.1, 0.1))
            >>> print(attacked.change(natural))
            -5.000 [-5.000, -5.000]
        """
        unpaired = sorted(set(self.seeds) ^ set(reference.seeds))
        check(
            not unpaired,
            f"The cells must hold the same seeds, got {unpaired} in one only.",
            fix="evaluate both with the same `seed` and `episodes`.",
        )
        other = dict(zip(reference.seeds, reference.returns, strict=True))
        control = [other[episode] for episode in self.seeds]
        if len(control) < 2:
            return Interval(self.returns[0] - control[0], -math.inf, math.inf, confidence)
        return paired_difference(self.returns, control, confidence=confidence, seed=seed)


@dataclass(frozen=True)
class Results:
    """All cells of an evaluation, in the order in which they were measured.

    Args:
        cells: At most one cell per agent, attack and epsilon.
        provenance: Environment, versions, commit, command and seed.

    Example:
        >>> cells = (
        ...     Cell("sac", "natural", 0.0, (0, 1), (9.0, 11.0), (5, 5), (0.0, 0.0)),
        ...     Cell("sac", "pgd", 0.1, (0, 1), (3.0, 4.0), (5, 5), (0.1, 0.1)),
        ... )
        >>> results = Results(cells, Provenance("Task-v0"))
        >>> results.agents, results.attacks, results.epsilons
        (('sac',), ('pgd',), (0.1,))
        >>> print(results.find("sac", "pgd", 0.1).change(results.natural("sac")))
        -6.500 [-7.000, -6.000]
    """

    cells: tuple[Cell, ...]
    provenance: Provenance

    def __post_init__(self) -> None:
        keys = [(cell.agent, cell.attack, cell.epsilon) for cell in self.cells]
        repeated = sorted({key for key in keys if keys.count(key) > 1})
        check(
            not repeated,
            f"`cells` must hold each agent, attack and epsilon once, got {repeated} again.",
        )

    @property
    def agents(self) -> tuple[str, ...]:
        """Names of the agents."""
        return _distinct(cell.agent for cell in self.cells)

    @property
    def attacks(self) -> tuple[str, ...]:
        """Names of the attacks, without the natural row."""
        return _distinct(cell.attack for cell in self.cells if cell.attack != NATURAL)

    @property
    def epsilons(self) -> tuple[float, ...]:
        """The radii that were attacked with, ascending."""
        return tuple(sorted({cell.epsilon for cell in self.cells if cell.attack != NATURAL}))

    def find(self, agent: str, attack: str, epsilon: float) -> Cell | None:
        """The cell with these three names, if it was measured."""
        key = (agent, attack, epsilon)
        return next((cell for cell in self.cells if (cell.agent, cell.attack, cell.epsilon) == key), None)

    def natural(self, agent: str) -> Cell | None:
        """The agent without an attack, if it was measured."""
        return self.find(agent, NATURAL, 0.0)

    def worst(self, agent: str, epsilon: float) -> Cell | None:
        """The cell with the lowest mean return over all attacks of this epsilon, if there is one.

        The minimum over attacks of the mean, as the papers report it. Being chosen for its low
        mean, its own interval is slightly too low; evaluate the chosen attack again on fresh seeds
        for an unbiased figure.

        Example:
            >>> def cell(attack, epsilon, *returns):
            ...     return Cell("sac", attack, epsilon, (0, 1), returns, (5, 5), (epsilon, epsilon))
            >>> cells = cell("fgsm", 0.1, 8.0, 9.0), cell("pgd", 0.1, 3.0, 4.0)
            >>> results = Results(cells, Provenance("Task-v0"))
            >>> results.worst("sac", 0.1).attack
            'pgd'
        """
        found = [cell for cell in self._attacked(agent) if cell.epsilon == epsilon]
        return min(found, key=lambda cell: cell.mean_return, default=None)

    def _attacked(self, agent: str) -> Sequence[Cell]:
        return [cell for cell in self.cells if cell.agent == agent and cell.attack != NATURAL]


def _distinct(names: Iterable[str]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(names))
