"""A bar for long work on a terminal, silence everywhere else."""

from __future__ import annotations

import contextlib
import io

import pytest
from rich.console import Console

from advwrap import progress as module
from advwrap.progress import progress, watched


def terminal() -> Console:
    return Console(file=io.StringIO(), force_terminal=True, width=100)


def drawn(console: Console) -> str:
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


def test_nothing_is_printed_where_nobody_watches(
    capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "PATIENCE", 0.0)
    with progress("work", total=2) as advance:
        advance(1)
        advance(1)
    assert capfd.readouterr() == ("", "")


def test_short_work_shows_nothing() -> None:
    console = terminal()
    with progress("work", total=2, console=console) as advance:
        advance(2)
    assert drawn(console) == ""


def test_long_work_shows_what_is_done(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "PATIENCE", 0.0)
    console = terminal()
    with progress("work", total=2, console=console) as advance:
        advance(1)
    assert "work" in drawn(console)
    assert "1/2" in drawn(console)


def test_the_bar_goes_away_after_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "PATIENCE", 0.0)
    console = terminal()
    with contextlib.suppress(KeyError), progress("work", total=2, console=console) as advance:
        advance(1)
        raise KeyError
    assert drawn(console).endswith("\x1b[?25h\r\x1b[1A\x1b[2K"), "the cursor is back and the line is empty"


@pytest.mark.parametrize(("tty", "ci", "expected"), [(True, "", True), (True, "true", False), (False, "", False)])
def test_who_watches(monkeypatch: pytest.MonkeyPatch, tty: bool, ci: str, expected: bool) -> None:
    monkeypatch.setattr("sys.stderr", io.StringIO())
    monkeypatch.setattr("sys.stderr.isatty", lambda: tty, raising=False)
    monkeypatch.setenv("CI", ci)
    assert watched() is expected
