"""`advwrap report`: the report of results that were measured before."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import tyro
from rich.console import Console

from advwrap.evaluation import read_results, table, write_report


def report(results: Annotated[Path, tyro.conf.Positional], out: Path | None = None) -> None:
    """Write report.md and curve.png from results.json, and print the table.

    Args:
        results: A results.json, or the folder that holds it.
        out: Folder for the report; by default beside the results.
    """
    read = read_results(results)
    folder = out or (results if results.is_dir() else results.parent)
    console = Console()
    console.print(table(read))
    console.print(str(write_report(read, folder)))
