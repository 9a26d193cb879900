"""Where a result came from: what somebody needs to measure it again."""

from __future__ import annotations

import platform
import shlex
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib import metadata
from pathlib import Path

PACKAGES = ("advwrap", "gymnasium", "mujoco", "numpy", "tensordict", "torch", "torchrl")
"""The packages whose versions can change a return."""


@dataclass(frozen=True)
class Provenance:
    """The environment, the versions and the command behind the results.

    Args:
        env: Name of the environment.
        seed: Reset seed of the first episode; episode i starts from seed + i.
        command: What was typed to measure this.
        commit: Commit of the working directory, with ``-dirty`` behind it if files were changed.
        versions: Versions of Python and of the packages that matter.

    Example:
        >>> Provenance.here("Pendulum-v1", seed=3, command="advwrap demo").command
        'advwrap demo'
    """

    env: str
    seed: int = 0
    command: str = ""
    commit: str | None = None
    versions: Mapping[str, str] = field(default_factory=dict)

    @classmethod
    def here(cls, env: str, *, seed: int = 0, command: str | None = None) -> Provenance:
        """What is installed and checked out now; by default the command of this process."""
        return cls(env, seed, _command() if command is None else command, _commit(), _versions())


def _command() -> str:
    """The command line without the folders of this machine, where that leaves it runnable."""
    typed = sys.orig_argv
    script = typed[1] if len(typed) > 1 else "-"
    if script == sys.argv[0] and not script.startswith("-") and Path(script).suffix != ".py":
        # A console script: what runs as `python /somewhere/bin/advwrap demo` was `advwrap demo`.
        typed = typed[1:]
    return shlex.join([Path(typed[0]).name, *typed[1:]])


def _commit() -> str | None:
    describe = ["git", "describe", "--always", "--dirty", "--abbrev=40", "--exclude=*"]
    try:
        answer = subprocess.run(  # noqa: S603 - a fixed command
            describe, capture_output=True, text=True, timeout=10, check=True
        )
    except (OSError, subprocess.SubprocessError):
        return None  # no git, or no repository
    return answer.stdout.strip()


def _versions() -> dict[str, str]:
    versions = {"python": platform.python_version()}
    for package in PACKAGES:
        try:
            versions[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            continue
    return versions
