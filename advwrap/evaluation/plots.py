"""The picture of an evaluation: return against epsilon."""

from __future__ import annotations

import math
import os
from collections.abc import Mapping, Sequence
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING

from advwrap.evaluation.dots import draw_dots
from advwrap.evaluation.panels import COLOURS, finish, make_panels
from advwrap.evaluation.results import Cell, Results
from advwrap.evaluation.seeds import has_seeds, methods
from advwrap.evaluation.statistics import Interval, interval

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

MARKERS = "osD^vPX"
"""A second way to tell the lines apart, also in grey print; as of the colours, attacks from the front, agents from the
back."""

COLUMNS = 3


def draw_curve(results: Results) -> Figure:
    """A panel with every agent under its worst attack, then a panel per agent with every attack.

    Lines are mean returns, shades their 95 % bootstrap intervals; each line begins at the natural return. Of several
    seeds of one method (`METHOD/seed-N`) a line is the mean, its shade the interval over seeds; at a single radius they
    are dots (`draw_dots`).

    Example:
        >>> from advwrap.evaluation import Cell, Provenance
        >>> cells = (
        ...     Cell("sac", "natural", 0.0, (0, 1), (9.0, 11.0), (5, 5), (0.0, 0.0)),
        ...     Cell("sac", "pgd", 0.1, (0, 1), (3.0, 4.0), (5, 5), (0.1, 0.1)),
        ... )
        >>> figure = draw_curve(Results(cells, Provenance("Task-v0")))
        >>> [panel.get_title() for panel in figure.axes]
        ['sac']
    """
    if has_seeds(results) and len(results.epsilons) == 1:
        return draw_dots(results, results.epsilons[0])
    grouped = methods(results) if has_seeds(results) else {agent: [agent] for agent in results.agents}
    count = max(1, len(grouped) + (len(grouped) > 1))
    figure, rows = make_panels(count, columns=COLUMNS, size=(3.6, 3.6), margin=(1.2, 0.0))
    for row in rows:
        row[0].set_ylabel("return")
    axes = list(chain(*rows))
    if len(grouped) > 1:
        _draw_worst(axes.pop(0), results, grouped)
    for panel, (name, agents) in zip(axes, grouped.items(), strict=False):
        _draw_attacks(panel, results, name, agents)
    if grouped:
        axes[0].legend(frameon=False, fontsize="small")  # once: the same attacks look the same in every panel
    figure.suptitle(results.provenance.env, fontweight="bold")
    return figure


def save_curve(results: Results, path: str | os.PathLike[str]) -> Path:
    """Draw `draw_curve` into a PNG file.

    Example:
        >>> import tempfile
        >>> from advwrap.evaluation import Provenance
        >>> natural = Cell("sac", "natural", 0.0, (0, 1), (9.0, 11.0), (5, 5), (0.0, 0.0))
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     path = save_curve(Results((natural,), Provenance("Task-v0")), f"{folder}/curve.png")
        ...     path.read_bytes()[1:4]
        b'PNG'
    """
    draw_curve(results).savefig(path, metadata={"Software": None})  # no version stamp in the file
    return Path(path)


def _draw_worst(panel: Axes, results: Results, grouped: Mapping[str, Sequence[str]]) -> None:
    for style, (name, agents) in enumerate(grouped.items()):
        cells = [[results.worst(agent, epsilon) for agent in agents] for epsilon in results.epsilons]
        _draw_line(panel, [_natural(results, agents), *cells], label=name, style=-1 - style)
    _finish(panel, "worst attack")
    panel.legend(frameon=False, fontsize="small")


def _draw_attacks(panel: Axes, results: Results, name: str, agents: Sequence[str]) -> None:
    for style, attack in enumerate(results.attacks):
        cells = [[results.find(agent, attack, epsilon) for agent in agents] for epsilon in results.epsilons]
        _draw_line(panel, [_natural(results, agents), *cells], label=attack, style=style)
    if not results.attacks:
        _draw_line(panel, [_natural(results, agents)], label="natural", style=0)
    _finish(panel, name)


def _natural(results: Results, agents: Sequence[str]) -> list[Cell | None]:
    return [results.natural(agent) for agent in agents]


def _draw_line(panel: Axes, points: Sequence[Sequence[Cell | None]], *, label: str, style: int) -> None:
    """A line through these points, each of which is a cell per seed."""
    measured = [[cell for cell in cells if cell is not None] for cells in points]
    measured = [cells for cells in measured if cells]
    epsilons = [cells[0].epsilon for cells in measured]
    intervals = [_interval(cells) for cells in measured]
    colour, marker = COLOURS[style % len(COLOURS)], MARKERS[style % len(MARKERS)]
    panel.plot(epsilons, [interval.value for interval in intervals], color=colour, marker=marker, label=label)
    low, high = [interval.low for interval in intervals], [interval.high for interval in intervals]
    if all(map(math.isfinite, low + high)):
        panel.fill_between(epsilons, low, high, color=colour, alpha=0.15, linewidth=0)


def _interval(seeds: Sequence[Cell]) -> Interval:
    """Over the seeds of a method; of a single one, over its episodes."""
    return seeds[0].interval() if len(seeds) == 1 else interval([cell.mean_return for cell in seeds])


def _finish(panel: Axes, title: str) -> None:
    panel.set_xlabel("epsilon")
    panel.tick_params(labelbottom=True)  # in every panel: a radius is read off each
    panel.locator_params(axis="x", nbins=5)
    finish(panel, title)
