"""Several training seeds of one method: the median seed, and means over seeds."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from advwrap.evaluation.results import Cell, Results
from advwrap.evaluation.statistics import interval
from advwrap.evaluation.tables import NOT_MEASURED, TextTable

SEED = "/seed-"
"""What separates the name of a method from that of a seed in the name of an agent: "valt-eps/seed-3"."""


def methods(results: Results) -> Mapping[str, Sequence[str]]:
    """The agents of every method, in order; an agent without a seed in its name is a method of its own.

    Example:
        >>> from advwrap.evaluation import Provenance
        >>> names = "sac/seed-0", "sac/seed-1", "td3"
        >>> cells = tuple(Cell(name, "natural", 0.0, (0,), (9.0,), (5,), (0.0,)) for name in names)
        >>> methods(Results(cells, Provenance("Task-v0")))
        {'sac': ['sac/seed-0', 'sac/seed-1'], 'td3': ['td3']}
    """
    found: dict[str, list[str]] = {}
    for agent in results.agents:
        found.setdefault(agent.split(SEED)[0], []).append(agent)
    return found


def has_seeds(results: Results, at_least: int = 2) -> bool:
    """Whether any method was trained so many times."""
    return any(len(agents) >= at_least for agents in methods(results).values())


def median_seed(results: Results, epsilon: float) -> Results:
    """Of every method only the seed with the median return under its worst attack, under the method's name.

    Of an even number of seeds, the lower one in the middle. This is what VALT's tables report.

    Source: VALT, Table 1 and appendix D.3 (the median of eight seeds; by which return, it does not say).

    Example:
        >>> from advwrap.evaluation import Provenance
        >>> scores = {"sac/seed-0": 1.0, "sac/seed-1": 9.0, "sac/seed-2": 4.0}
        >>> cells = tuple(Cell(name, "pgd", 0.1, (0,), (score,), (5,), (0.1,)) for name, score in scores.items())
        >>> found = median_seed(Results(cells, Provenance("Task-v0")), 0.1)
        >>> [(cell.agent, cell.returns) for cell in found.cells]
        [('sac', (4.0,))]
    """
    kept = {}
    for method, agents in methods(results).items():
        ordered = sorted(agents, key=lambda agent: _worst(results, agent, epsilon))
        kept[ordered[(len(ordered) - 1) // 2]] = method
    cells = (replace(cell, agent=kept[cell.agent]) for cell in results.cells if cell.agent in kept)
    return replace(results, cells=tuple(cells))


def over_seeds(results: Results, epsilon: float) -> TextTable:
    """Methods against attacks at one epsilon: the mean over seeds, with the interval that bootstraps the seeds.

    The worst of a seed is its own worst attack, so that the last column is the mean of minima. Seeds differ more than
    episodes do, and there are few of them: these intervals are the honest ones, and wide.
    """
    grouped = methods(results)
    attacks = results.attacks
    return TextTable(
        title=f"Mean over seeds at epsilon {epsilon:g}",
        columns=("method", "seeds", "natural", *attacks, "worst"),
        rows=tuple(
            (
                method,
                str(len(agents)),
                _over([results.natural(agent) for agent in agents]),
                *(_over([results.find(agent, attack, epsilon) for agent in agents]) for attack in attacks),
                _over([results.worst(agent, epsilon) for agent in agents]),
            )
            for method, agents in grouped.items()
        ),
    )


def _worst(results: Results, agent: str, epsilon: float) -> float:
    cell = results.worst(agent, epsilon) or results.natural(agent)
    return float("-inf") if cell is None else cell.mean_return


def _over(cells: Sequence[Cell | None]) -> str:
    found = [cell.mean_return for cell in cells if cell is not None]
    return str(interval(found)) if found else NOT_MEASURED
