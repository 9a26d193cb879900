"""The picture of an evaluation with several seeds at one radius: what a line over epsilon has nothing to say about."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import chain
from typing import TYPE_CHECKING

import numpy as np

from advwrap.evaluation.panels import COLOURS, finish, label_below, make_panels
from advwrap.evaluation.results import NATURAL, Cell, Results
from advwrap.evaluation.seeds import methods

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

COLUMNS = 3
DOT, MEAN = COLOURS[0], COLOURS[-1]


def draw_dots(results: Results, epsilon: float) -> Figure:
    """A panel per attack, a row per method, a dot per seed, a bar at their mean.

    The first panel is without an attack, the last one under each seed's own worst.

    Example:
        >>> from advwrap.evaluation import Provenance
        >>> cells = tuple(
        ...     Cell(f"sac/seed-{seed}", attack, radius, (0,), (score,), (5,), (radius,))
        ...     for seed, score in ((0, 3.0), (1, 5.0))
        ...     for attack, radius in ((NATURAL, 0.0), ("pgd", 0.1))
        ... )
        >>> figure = draw_dots(Results(cells, Provenance("Task-v0")), 0.1)
        >>> [panel.get_title() for panel in figure.axes]
        ['natural', 'pgd', 'worst']
    """
    grouped = methods(results)
    names = (NATURAL, *results.attacks, "worst")
    figure, rows = make_panels(len(names), columns=COLUMNS, size=(2.2, 0.7 + 0.2 * len(grouped)), margin=(1.5, 0.5))
    for panel, name in zip(chain(*rows), names, strict=True):
        _draw(panel, name, {method: _scores(results, agents, name, epsilon) for method, agents in grouped.items()})
    label_below(rows, "return")
    figure.suptitle(f"{results.provenance.env}, epsilon {epsilon:g}", fontweight="bold")
    return figure


def _scores(results: Results, agents: Sequence[str], name: str, epsilon: float) -> list[float]:
    def cell(agent: str) -> Cell | None:
        if name == NATURAL:
            return results.natural(agent)
        return results.worst(agent, epsilon) if name == "worst" else results.find(agent, name, epsilon)

    return [found.mean_return for agent in agents if (found := cell(agent)) is not None]


def _draw(panel: Axes, title: str, scores: Mapping[str, Sequence[float]]) -> None:
    for row, found in enumerate(scores.values()):
        panel.scatter(found, [row] * len(found), s=18, color=DOT, alpha=0.6, linewidths=0)
        if found:
            panel.plot([np.mean(found)] * 2, [row - 0.35, row + 0.35], color=MEAN, linewidth=1.5)
    panel.set_yticks(range(len(scores)), list(scores))
    panel.set_ylim(len(scores) - 0.5, -0.5)  # the first method on top, as in the tables
    finish(panel, title, grid="x")
