"""`advwrap list`: every block with what it does and where it comes from."""

from __future__ import annotations

import inspect
import re
from types import ModuleType
from typing import Annotated, Literal

import tyro
from rich.console import Console
from rich.markup import escape
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

MAKERS = {"epsilon_worst", "policy_direction", "sticky", "worst_action"}
"""Functions that put a block together; what the others return is no block."""

PARTS = {
    "Budget",
    "Falling",
    "LossTemperature",
    "LowestOverScan",
    "PPOTraining",
    "RobustCriticTraining",
    "SarsaTraining",
}
"""Classes that are no blocks: a base, and what functions take or return."""


def catalogue(kind: Annotated[Kind, tyro.conf.Positional] = "attacks") -> None:
    """List the blocks of one kind, with one line and the paper of each.

    Args:
        kind: attacks, objectives, sets, budgets, strategies, targets, losses or algorithms.
    """
    shown = Table("name", "what it does", "source", title=kind, show_lines=True)
    for name, what, source in blocks(kind):
        shown.add_row(name, escape(what), escape(source))
    Console().print(shown)


def blocks(kind: Kind) -> list[tuple[str, str, str]]:
    """Name, first line and source of every block: read from the docstrings, so nothing has to be kept in step."""
    home = HOMES[kind]
    found = []
    for name in sorted(home.__all__):
        block = getattr(home, name)
        if _kind(name, block, home) == kind:
            described = _plain(inspect.getdoc(block) or "")
            found.append((name, described.split("\n", 1)[0], _source(described)))
    return found


def _kind(name: str, block: object, home: ModuleType) -> str | None:
    """By the file that defines it; None for protocols, abstract classes and all else that nobody composes."""
    composed = inspect.isclass(block) or name in MAKERS
    if not composed or name in PARTS or getattr(block, "_is_protocol", False) or inspect.isabstract(block):
        return None
    file = block.__module__.rpartition(".")[2]
    if file in ("protocol", "bounds", "defence"):
        return None
    if file == "budgets":
        return "budgets"
    if file == "search" and block is not attacks.Search:
        return "strategies"
    return home.__name__.rpartition(".")[2]


def _plain(docstring: str) -> str:
    """As a terminal shows it: code in single backticks, as in our messages, and no stars of emphasis."""
    code = re.sub(r"``([^`]+)``", r"`\1`", docstring)
    return re.sub(r"(?<![\w*])\*([^*`\n]+)\*(?![\w*])", r"\1", code)


def _source(described: str) -> str:
    """The text after "Source:", up to the next paragraph."""
    match = re.search(r"^Source:\s*(.+?)(?=\n\s*\n|\Z)", described, re.DOTALL | re.MULTILINE)
    return " ".join(match.group(1).split()) if match else ""
