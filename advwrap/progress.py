"""One progress bar for everything that takes long, and silence where nobody watches."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)

Advance = Callable[[int], None]
"""Reports that so many more units are done; 0 keeps the bar alive."""

PATIENCE = 2.0
"""Seconds that may pass before a bar appears."""


def watched() -> bool:
    """Whether somebody looks at standard error: it is a terminal, and `CI` is not set."""
    return sys.stderr.isatty() and not os.environ.get("CI")


@contextmanager
def progress(description: str, *, total: int, console: Console | None = None) -> Iterator[Advance]:
    """A bar on standard error that appears only if the work lasts longer than two seconds.

    Without a terminal, or where the variable `CI` is set, nothing is ever printed.

    Args:
        description: What is being done, shown before the bar.
        total: Number of units of work.
        console: Where to draw, even if nobody watches; by default standard error, if somebody does.

    Returns:
        A context manager that gives the function to call with the number of units just done.

    Example:
        >>> with progress("episodes", total=3) as advance:
        ...     for _ in range(3):
        ...         advance(1)
    """
    if console is None and not watched():
        yield lambda units: None
        return
    bar = Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
        console=console or Console(stderr=True),
        transient=True,
    )
    task = bar.add_task(description, total=total)
    appears = time.monotonic() + PATIENCE

    def advance(units: int) -> None:
        bar.advance(task, units)
        if not bar.live.is_started and time.monotonic() >= appears:
            bar.start()

    try:
        yield advance
    finally:
        if bar.live.is_started:
            bar.stop()
