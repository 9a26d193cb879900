"""What MuJoCo says about a task's file, once."""

from __future__ import annotations

import sys


def each_deprecation_once() -> None:
    """Let MuJoCo call an attribute deprecated once in this process, instead of for each environment that is made.

    MuJoCo 4 says so of HalfCheetah's file, in two lines per environment and two more in MUJOCO_LOG.TXT. Its other
    warnings, about a simulation that is unstable, say, are shown as they come.
    """
    try:
        import mujoco
    except ImportError:  # an extra
        return
    shown: set[str] = set()

    def show(message: str) -> None:
        if message not in shown:
            sys.stderr.write(f"WARNING: {message}\n")
        if "deprecated" in message:
            shown.add(message)

    mujoco.set_mju_user_warning(show)
