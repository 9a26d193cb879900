"""Results as rows of text: the one source of the Markdown report and of the terminal's table."""

from __future__ import annotations

from dataclasses import dataclass

from rich.table import Table

from advwrap.evaluation.results import Cell, Results
from advwrap.evaluation.statistics import iqm, mean, rounded

NOT_MEASURED = "–"


@dataclass(frozen=True)
class TextTable:
    """A heading and rows of text of the same width.

    Example:
        >>> print(TextTable("Scores", ("agent", "return"), (("sac", "9"),)).markdown())
        | agent | return |
        | :-- | --: |
        | sac | 9 |
    """

    title: str
    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]

    def markdown(self) -> str:
        """The table in Markdown, first column to the left, numbers to the right."""
        rule = (":--", *["--:"] * (len(self.columns) - 1))
        lines = [[_escaped(text) for text in line] for line in (self.columns, *self.rows)]
        return "\n".join("| " + " | ".join(line) + " |" for line in (lines[0], rule, *lines[1:]))

    def transposed(self) -> TextTable:
        """Rows and columns exchanged: a terminal has room for few agents, not for many epsilons."""
        columns, *rows = zip(self.columns, *self.rows, strict=True)
        return TextTable(self.title, ("", *columns[1:]), tuple(rows))

    def rich(self) -> Table:
        """The table for a terminal."""
        table = Table(title=self.title, title_justify="left")
        for i, column in enumerate(self.columns):
            table.add_column(column, justify="right" if i else "left", overflow="fold")
        for row in self.rows:
            table.add_row(*row)
        return table


def by_attack(results: Results, epsilon: float) -> TextTable:
    """Agents against attacks at one epsilon: mean return, its interval, and the worst attack."""
    attacks = [name for name in results.attacks if any(results.find(a, name, epsilon) for a in results.agents)]
    return TextTable(
        title=f"Mean return at epsilon {epsilon:g}",
        columns=("agent", "natural", *attacks, "worst"),
        rows=tuple(
            (
                agent,
                _mean(results.natural(agent)),
                *(_mean(results.find(agent, attack, epsilon)) for attack in attacks),
                _worst(results.worst(agent, epsilon)),
            )
            for agent in results.agents
        ),
    )


def by_epsilon(results: Results) -> TextTable:
    """Agents against epsilons: mean return under the worst attack of each epsilon."""
    return TextTable(
        title="Mean return under the worst attack",
        columns=("agent", "natural", *(f"epsilon {epsilon:g}" for epsilon in results.epsilons)),
        rows=tuple(
            (
                agent,
                _mean(results.natural(agent)),
                *(_worst(results.worst(agent, epsilon)) for epsilon in results.epsilons),
            )
            for agent in results.agents
        ),
    )


def in_detail(results: Results) -> TextTable:
    """One line per cell; the change is that against the natural return, paired by seed."""
    costs = any(cell.costs is not None for cell in results.cells)
    columns = ("agent", "attack", "epsilon", "mean", "IQM", "change", "perturbation", "length")
    return TextTable(
        title="Every cell",
        columns=(*columns, "cost") if costs else columns,
        rows=tuple(_details(results, cell, costs=costs) for cell in results.cells),
    )


def table(results: Results) -> Table:
    """What to print: the worst attack of every epsilon, or every attack of a single epsilon.

    Example:
        >>> from rich.console import Console
        >>> from advwrap.evaluation import Provenance
        >>> cells = (
        ...     Cell("sac", "natural", 0.0, (0, 1), (9.0, 11.0), (5, 5), (0.0, 0.0)),
        ...     Cell("sac", "pgd", 0.1, (0, 1), (3.0, 4.0), (5, 5), (0.1, 0.1)),
        ... )
        >>> shown = table(Results(cells, Provenance("Task-v0")))
        >>> [column.header for column in shown.columns], shown.row_count
        (['', 'sac'], 3)
    """
    single = len(results.epsilons) == 1
    return (by_attack(results, results.epsilons[0]) if single else by_epsilon(results)).transposed().rich()


def _details(results: Results, cell: Cell, *, costs: bool) -> tuple[str, ...]:
    natural = results.natural(cell.agent)
    paired = natural is not None and natural is not cell and set(natural.seeds) == set(cell.seeds)
    texts = (
        cell.agent,
        cell.attack,
        f"{cell.epsilon:g}",
        _mean(cell),
        str(cell.interval(statistic=iqm)),
        str(cell.change(natural)) if paired and natural is not None else NOT_MEASURED,
        f"{mean(cell.sizes):.3g}",
        rounded(float(mean(cell.lengths))),
    )
    if not costs:
        return texts
    return (*texts, NOT_MEASURED if cell.costs is None else rounded(float(mean(cell.costs))))


def _mean(cell: Cell | None) -> str:
    return NOT_MEASURED if cell is None else str(cell.interval())


def _worst(cell: Cell | None) -> str:
    return NOT_MEASURED if cell is None else f"{cell.interval()} ({cell.attack})"


def _escaped(text: str) -> str:
    return text.replace("|", "\\|").replace("\n", " ")
