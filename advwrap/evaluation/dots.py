"""The picture of an evaluation with several seeds at one radius: what a line over epsilon has nothing to say about."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from advwrap.evaluation.results import NATURAL, Cell, Results
from advwrap.evaluation.seeds import methods

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

COLUMNS = 3
DOT, MEAN = "#0072B2", "#000000"


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
    from matplotlib.figure import Figure  # imported here: drawing needs matplotlib, evaluating does not

    grouped = methods(results)
    panels = (NATURAL, *results.attacks, "worst")
    columns = min(len(panels), COLUMNS)
    rows = math.ceil(len(panels) / columns)
    size = 1.5 + 2.2 * columns, 0.5 + rows * (0.7 + 0.2 * len(grouped))
    figure = Figure(figsize=size, layout="constrained", dpi=120)
    axes = list(figure.subplots(rows, columns, sharex=True, sharey=True, squeeze=False).flat)
    for unused in axes[len(panels) :]:
        unused.remove()
    for panel, name in zip(axes, panels, strict=False):
        _draw(panel, name, {method: _scores(results, agents, name, epsilon) for method, agents in grouped.items()})
    for panel in axes[max(0, len(panels) - columns) : len(panels)]:
        panel.set_xlabel("return")
        panel.tick_params(labelbottom=True)  # also where the panel below is missing
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
    panel.set_title(title, fontsize="medium")
    panel.set_yticks(range(len(scores)), list(scores))
    panel.set_ylim(len(scores) - 0.5, -0.5)  # the first method on top, as in the tables
    panel.grid(axis="x", alpha=0.3)
    panel.spines[["top", "right"]].set_visible(False)
