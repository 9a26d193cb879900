"""`advwrap report`: the report of results that were measured before."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import tyro
from rich.console import Console

from advwrap.errors import check
from advwrap.evaluation import read_results, table, write_report


def report(results: Annotated[Path, tyro.conf.Positional], out: Path | None = None) -> None:
    """Write report.md and curve.png from results.json, and print the table.

    Args:
        results: A results.json, or the folder that holds it.
        out: Folder for the report; by default beside the results.
    """
    check(
        results.is_file() or (results / "results.json").is_file(),
        f"`results` must be a results.json or hold one, got {results}.",
        fix="`advwrap evaluate` writes it after its last cell; where it was stopped it goes on.",
    )
    read = read_results(results)
    folder = out or (results if results.is_dir() else results.parent)
    console = Console()
    console.print(table(read))
    console.print(str(write_report(read, folder)))
