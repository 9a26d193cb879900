"""The picture of an evaluation: return against epsilon."""

from __future__ import annotations

import math
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from advwrap.evaluation.dots import draw_dots
from advwrap.evaluation.results import Cell, Results
from advwrap.evaluation.seeds import has_seeds, methods

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
"""Okabe and Ito's palette, for any colour vision: attacks from the front, agents from the back."""

MARKERS = "osD^vPX"
"""A second way to tell the lines apart, also in grey print."""

COLUMNS = 3


def draw_curve(results: Results) -> Figure:
    """A panel with every agent under its worst attack, then a panel per agent with every attack.

    Lines are mean returns, shades their 95 % bootstrap intervals; each line begins at the natural return. Seeds of one
    method (`METHOD/seed-N`) share a panel and their colours, a line each; at a single radius they are dots
    (`draw_dots`).

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
    # Imported here: drawing needs matplotlib, evaluating does not. Not pyplot, which opens windows.
    from matplotlib.figure import Figure

    grouped = methods(results) if has_seeds(results) else {agent: [agent] for agent in results.agents}
    panels = len(grouped) + (len(grouped) > 1)
    columns = max(1, min(panels, COLUMNS))
    rows = max(1, math.ceil(panels / columns))
    figure = Figure(figsize=(1.2 + 3.6 * columns, 3.6 * rows), layout="constrained", dpi=150)
    grid = figure.subplots(rows, columns, sharex=True, sharey=True, squeeze=False)
    axes = list(grid.flat)
    for unused in axes[panels:]:
        unused.remove()
    for row in grid:
        row[0].set_ylabel("return")
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
        for agent in agents:
            worst = (results.worst(agent, epsilon) for epsilon in results.epsilons)
            label = name if agent == agents[0] else None
            _draw_line(panel, [results.natural(agent), *worst], label=label, style=-1 - style)
    _finish(panel, "worst attack")
    panel.legend(frameon=False, fontsize="small")


def _draw_attacks(panel: Axes, results: Results, name: str, agents: Sequence[str]) -> None:
    for agent in agents:
        first = agent == agents[0]
        for style, attack in enumerate(results.attacks):
            cells = (results.find(agent, attack, epsilon) for epsilon in results.epsilons)
            _draw_line(panel, [results.natural(agent), *cells], label=attack if first else None, style=style)
        if not results.attacks:
            _draw_line(panel, [results.natural(agent)], label="natural" if first else None, style=0)
    _finish(panel, name)


def _draw_line(panel: Axes, cells: Sequence[Cell | None], *, label: str | None, style: int) -> None:
    found = [cell for cell in cells if cell is not None]
    epsilons = [cell.epsilon for cell in found]
    intervals = [cell.interval() for cell in found]
    colour, marker = COLOURS[style % len(COLOURS)], MARKERS[style % len(MARKERS)]
    panel.plot(
        epsilons,
        [interval.value for interval in intervals],
        color=colour,
        marker=marker,
        label=label,
    )
    if all(math.isfinite(interval.high - interval.low) for interval in intervals):
        low, high = (
            [interval.low for interval in intervals],
            [interval.high for interval in intervals],
        )
        panel.fill_between(epsilons, low, high, color=colour, alpha=0.2, linewidth=0)


def _finish(panel: Axes, title: str) -> None:
    panel.set_title(title, fontsize="medium")
    panel.set_xlabel("epsilon")
    panel.tick_params(labelbottom=True)  # also where the panel below is missing
    panel.locator_params(axis="x", nbins=5)
    panel.grid(alpha=0.3)
    panel.spines[["top", "right"]].set_visible(False)
