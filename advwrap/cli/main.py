"""The commands of `advwrap`, and how a mistake in their arguments is answered."""

from __future__ import annotations

import logging
import sys
from collections.abc import Callable
from typing import Any

import torch
import tyro
from gymnasium.error import Error as GymnasiumError

from advwrap.cli.catalogue import catalogue
from advwrap.cli.demo import demo
from advwrap.cli.evaluate import evaluate
from advwrap.cli.report import report
from advwrap.cli.simulator import each_deprecation_once
from advwrap.cli.train import train

COMMANDS: dict[str, Callable[..., Any]] = {
    "demo": demo,
    "train": train,
    "evaluate": evaluate,
    "report": report,
    "list": catalogue,
}


def main(arguments: list[str] | None = None) -> None:
    """Run one command; a wrong argument or file ends with one line and exit status 2."""
    logging.getLogger("torchrl").setLevel(logging.WARNING)  # it announces every buffer it makes
    each_deprecation_once()
    torch.set_num_threads(1)  # small networks are slower with more, attacks on them most of all
    try:
        tyro.extras.subcommand_cli_from_dict(COMMANDS, prog="advwrap", args=arguments)
    except (ValueError, TypeError, KeyError, GymnasiumError) as mistake:
        message = mistake.args[0] if mistake.args else mistake
        sys.stderr.write(f"advwrap: {message}\n")
        raise SystemExit(2) from mistake
