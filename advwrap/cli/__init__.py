"""The command line: `advwrap demo | train | evaluate | report | list`."""

from advwrap.cli.main import main

__all__ = ["main"]
