"""The folder that an evaluation leaves behind: numbers, a page to read, and a picture."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

from advwrap.evaluation.plots import save_curve
from advwrap.evaluation.results import Results
from advwrap.evaluation.results_file import save_results
from advwrap.evaluation.seeds import has_seeds, median_seed, over_seeds
from advwrap.evaluation.tables import TextTable, by_attack, by_epsilon, in_detail


def write_report(results: Results, folder: str | os.PathLike[str]) -> Path:
    """Write ``results.json``, ``report.md`` (tables, how to reproduce) and ``curve.png``.

    Args:
        results: What was measured.
        folder: Where to write; made if it does not exist, its three files are replaced.

    Returns:
        The path of ``report.md``.

    Example:
        >>> import tempfile
        >>> from advwrap.evaluation import Cell, Provenance
        >>> cell = Cell("sac", "natural", 0.0, (0, 1), (9.0, 11.0), (5, 5), (0.0, 0.0))
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     report = write_report(Results((cell,), Provenance("Pendulum-v1")), folder)
        ...     sorted(path.name for path in report.parent.iterdir())
        ['curve.png', 'report.md', 'results.json']
    """
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    save_results(results, folder / "results.json")
    save_curve(results, folder / "curve.png")
    report = folder / "report.md"
    report.write_text(markdown(results), encoding="utf-8")
    return report


def markdown(results: Results) -> str:
    """The text of ``report.md``.

    Example:
        >>> from advwrap.evaluation import Cell, Provenance
        >>> cell = Cell("sac", "natural", 0.0, (0, 1), (9.0, 11.0), (5, 5), (0.0, 0.0))
        >>> text = markdown(Results((cell,), Provenance("Pendulum-v1")))
        >>> text.splitlines()[0]
        '# Robustness on Pendulum-v1'
        >>> "| sac | 10.00 [9.000, 11.00] |" in text
        True
    """
    parts = [
        f"# Robustness on {results.provenance.env}",
        _reading(results),
        "![Return under attack](curve.png)",
        *_section(by_epsilon(results)),
    ]
    several = has_seeds(results)
    for epsilon in results.epsilons:
        if several:
            parts += _section(over_seeds(results, epsilon))
        if has_seeds(results, at_least=3):  # of two seeds it would be the weaker one
            median = by_attack(median_seed(results, epsilon), epsilon)
            parts += _section(replace(median, title=f"Median seed at epsilon {epsilon:g}"))
        parts += _section(by_attack(results, epsilon))
    parts += [*_section(in_detail(results)), "## How to reproduce", _reproduce(results)]
    return "\n\n".join(parts) + "\n"


def _section(table: TextTable) -> tuple[str, str]:
    return f"## {table.title}", table.markdown()


def _reading(results: Results) -> str:
    counts = sorted({len(cell.returns) for cell in results.cells})
    episodes = " or ".join(map(str, counts)) or "no"
    return (
        f"{episodes} episodes per cell, undiscounted return: mean [95 % bootstrap interval]. "
        "Episode i of every cell starts from the same state, so `change` compares pairs. "
        "`worst` is the attack with the lowest mean return; being chosen for it, "
        "its interval lies slightly too low. `perturbation` is the largest change of a feature, mean over "
        "the steps, in the unit of the observation or the action; epsilon is in that of the attack (of actions, "
        "half their range), or a share of the steps."
    )


def _reproduce(results: Results) -> str:
    origin = results.provenance
    versions = ", ".join(f"{name} {version}" for name, version in origin.versions.items())
    lines = [
        f"- Seed of episode 0: {origin.seed} (episode i: {origin.seed} + i)",
        f"- Commit: {origin.commit or 'not in a repository'}",
        f"- Versions: {versions or 'unknown'}",
    ]
    command = f"```bash\n{origin.command}\n```\n\n" if origin.command else ""
    return command + "\n".join(lines)
