"""What every wrapper of actions needs: which actions can be attacked, and what the critic reads."""

from __future__ import annotations

import torch
from gymnasium import spaces

from advwrap.attacks import Attack
from advwrap.clock import EpisodeClock
from advwrap.sets import UNBOUNDED, Bounds
from advwrap.wrappers.entry import AnySpace, Key, Path, locate
from advwrap.wrappers.injection import Injection
from advwrap.wrappers.limits import bounds_of

_DISCRETE = (spaces.Discrete, spaces.MultiDiscrete, spaces.MultiBinary)


def action_injection(
    attack: Attack,
    space: AnySpace,
    *,
    clock: EpisodeClock,
    bounds: Bounds | None,
    device: torch.device | str,
    what: str = "action",
) -> Injection:
    """The injection into one action.

    Raises:
        TypeError: If the actions are neither numbers nor discrete.
    """
    if isinstance(space, spaces.Box):
        bounds = bounds_of(space, bounds)
    elif not isinstance(space, _DISCRETE):
        raise TypeError(
            f"the {what} must be Box, Discrete, MultiDiscrete or MultiBinary, got {space}. "
            "Fix: flatten it first (gymnasium.wrappers.TransformAction)."
        )
    return Injection(
        attack,
        space=space,
        clock=clock,
        bounds=bounds or UNBOUNDED,
        device=device,
        what=what,
        acts=True,
    )


def state_of(space: AnySpace, key: Key) -> Path | None:
    """The entry of the observation that a critic reads; None if there are several and no key."""
    if key is None and isinstance(space, spaces.Dict) and "observation" not in space.spaces:
        return None
    if key is None and isinstance(space, spaces.Dict):
        return ("observation",)
    return locate(space, key)
