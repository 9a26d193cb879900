"""`advwrap list`: every block with what it does and where it comes from."""

from __future__ import annotations

import inspect
import re
from types import ModuleType
from typing import Annotated, Literal

import tyro
from rich.console import Console
from rich.table import Table

from advwrap import algorithms, attacks, losses, objectives, sets, targets

Kind = Literal["attacks", "objectives", "sets", "budgets", "strategies", "targets", "losses", "algorithms"]

HOMES: dict[str, ModuleType] = {
    "attacks": attacks,
    "objectives": objectives,
    "sets": sets,
    "budgets": attacks,
    "strategies": attacks,
    "targets": targets,
    "losses": losses,
    "algorithms": algorithms,
}


def catalogue(kind: Annotated[Kind, tyro.conf.Positional] = "attacks") -> None:
    """List the blocks of one kind, with one line and the paper of each.

    Args:
        kind: attacks, objectives, sets, budgets, strategies, targets, losses or algorithms.
    """
    shown = Table("name", "what it does", "source", title=kind, show_lines=True)
    for name, what, source in blocks(kind):
        shown.add_row(name, what, source)
    Console().print(shown)


def blocks(kind: Kind) -> list[tuple[str, str, str]]:
    """Name, first line and source of every block: read from the docstrings, so nothing has to be kept in step."""
    home = HOMES[kind]
    found = []
    for name in sorted(home.__all__):
        block = getattr(home, name)
        if inspect.isclass(block) and _kind(block, home) == kind:
            described = inspect.getdoc(block) or ""
            found.append((name, described.split("\n", 1)[0], _source(described)))
    return found


def _kind(block: type, home: ModuleType) -> str | None:
    """By the file that defines it; what files with these names define is no block."""
    file = block.__module__.rpartition(".")[2]
    if file in ("protocol", "bounds", "defence", "off_policy") or block.__name__ == "Budget":
        return None
    if file == "budgets":
        return "budgets"
    if file == "search" and block is not attacks.Search:
        return "strategies"
    return home.__name__.rpartition(".")[2]


def _source(docstring: str) -> str:
    """The text after "Source:", up to the next paragraph."""
    match = re.search(r"^Source:\s*(.+?)(?=\n\s*\n|\Z)", docstring, re.DOTALL | re.MULTILINE)
    return " ".join(match.group(1).replace("*", "").split()) if match else ""
