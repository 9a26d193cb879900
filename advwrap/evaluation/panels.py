"""Panels that look alike: what every picture of results shares."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
"""Okabe and Ito's palette, for any colour vision."""


def make_panels(
    count: int, *, columns: int, size: tuple[float, float], margin: tuple[float, float]
) -> tuple[Figure, list[list[Axes]]]:
    """So many panels with common axes, in rows of at most so many.

    Args:
        count: Of panels, at least one.
        columns: At most.
        size: Width and height of a panel, in inches.
        margin: Width and height that the figure has beside its panels, in inches.

    Returns:
        The figure, and the rows of its panels; the last row may be shorter.

    Example:
        >>> figure, rows = make_panels(4, columns=3, size=(2, 2), margin=(1, 0))
        >>> [len(row) for row in rows], figure.get_size_inches().tolist()
        ([3, 1], [7.0, 4.0])
    """
    # Imported here: drawing needs matplotlib, evaluating does not. Not pyplot, which opens windows.
    from matplotlib.figure import Figure

    columns = min(count, columns)
    full, rest = divmod(count, columns)
    rows = full + bool(rest)
    figure = Figure(figsize=(margin[0] + size[0] * columns, margin[1] + size[1] * rows), layout="constrained", dpi=120)
    grid = figure.subplots(rows, columns, sharex=True, sharey=True, squeeze=False).tolist()
    if rest:
        for unused in grid[-1][rest:]:
            unused.remove()
        del grid[-1][rest:]
    return figure, grid


def finish(panel: Axes, title: str, *, grid: Literal["both", "x", "y"] = "both") -> None:
    """Title, a light grid, and no frame."""
    panel.set_title(title, fontsize="medium")
    panel.grid(axis=grid, alpha=0.3)
    panel.spines[["top", "right"]].set_visible(False)


def label_below(rows: list[list[Axes]], text: str) -> None:
    """Name the x axis, with its numbers, below the last panel of every column."""
    for column in range(len(rows[0])):
        panel = [row[column] for row in rows if column < len(row)][-1]
        panel.set_xlabel(text)
        panel.tick_params(labelbottom=True)  # also where the panel below is missing
