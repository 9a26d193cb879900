"""What an environment of an attacker is made of: the frozen victim, and the attack that is commanded."""

from __future__ import annotations

from typing import Any, Literal

import numpy as np
import torch
from gymnasium import spaces
from numpy.typing import NDArray
from torch import Tensor

from advwrap.attacks import Attack, Identity
from advwrap.clock import ACTIONS, EpisodeClock
from advwrap.errors import check
from advwrap.objectives.direction import COMMAND
from advwrap.randomness import Streams, fold
from advwrap.sets import Bounds
from advwrap.victims import AnyPolicy, as_policy
from advwrap.victims.sampling import best_action, sampled_action
from advwrap.wrappers.actions import action_injection
from advwrap.wrappers.injection import Array, Injection
from advwrap.wrappers.limits import bounds_of, box_of
from advwrap.wrappers.stack import beneath

Channel = Literal["observation", "action"]
"""What is perturbed."""

VICTIM = 1 << 33
"""Folded into the keys where the victim samples, so that it never repeats the noise of an attack."""


class Commanded:
    """From the adversary's commands to the victim's actions, row by row.

    Args:
        victim: Who acts; nothing in it changes.
        attack: What is commanded; it reads ``context["adversary_action"]``.
        commands: The space of one command.
        observations: The space of one observation.
        actions: The space of one action of the victim.
        clock: Whose rows these are.
        stochastic: Whether the victim samples its actions.
        bounds: The valid range of what the victim sees.
        device: Where attack and victim compute.

    Raises:
        TypeError: If the observations are no Box, or the actions neither a vector nor discrete.
    """

    def __init__(
        self,
        victim: AnyPolicy,
        attack: Attack,
        commands: spaces.Box,
        *,
        observations: spaces.Space[Any],
        actions: spaces.Space[Any],
        clock: EpisodeClock,
        stochastic: bool,
        bounds: Bounds | None,
        device: torch.device | str,
    ) -> None:
        if not isinstance(actions, spaces.Box | spaces.Discrete):
            raise TypeError(f"the victim's actions must be Box or Discrete, got {actions}.")
        box = box_of(observations, what="observation")
        self.victim = as_policy(victim)
        self.commands = commands
        self.actions = actions
        self.clock = clock
        self.stochastic = stochastic
        self.device = torch.device(device)
        self.injection = Injection(attack, space=box, clock=clock, bounds=bounds_of(box, bounds), device=device)

    def __call__(self, clean: Array, commands: Any) -> tuple[Array, NDArray[Any]]:
        """What the victim sees of the rows [B, ...], and what it then does."""
        given = self._checked(commands, len(clean))
        streams = self.clock.streams()
        seen = self.injection(clean, {COMMAND: torch.from_numpy(given)})
        return seen, self._act(torch.from_numpy(seen), streams)

    def rows(self, observation: Any) -> Array:
        """Our own copy of an observation, or of a batch of them."""
        return self.injection.rows(observation)

    def _checked(self, commands: Any, rows: int) -> Array:
        given = np.array(commands, dtype=np.float32)
        shape = (rows, *self.commands.shape)
        check(given.shape == shape, f"`action` must have shape {shape[1:]} per environment, got {given.shape}.")
        check(bool(np.isfinite(given).all()), f"`action` must be finite, got {given.tolist()}.")
        return given.clip(self.commands.low, self.commands.high)

    def _act(self, seen: Tensor, streams: Streams) -> NDArray[Any]:
        seen = seen.to(self.device)
        if self.stochastic:
            action = sampled_action(self.victim, seen, Streams(fold(streams.keys, VICTIM)))
        else:
            action = best_action(self.victim, seen)
        played: NDArray[Any] = action.numpy(force=True)
        if isinstance(self.actions, spaces.Discrete):
            # Action values of a network that is not known to be categorical.
            played = played.argmax(-1) if played.dtype.kind == "f" else played
            indices: NDArray[Any] = played + self.actions.start
            return indices
        shape = (len(seen), *self.actions.shape)
        check(played.shape == shape, f"`victim` must return actions of shape {shape}, got {played.shape}.")
        return played


class CommandedAction(Commanded):
    """The commands perturb what the victim does instead of what it sees.

    Args: See `Commanded`.

    Raises:
        TypeError: If the observations or the actions are no Box.
    """

    def __init__(
        self,
        victim: AnyPolicy,
        attack: Attack,
        commands: spaces.Box,
        *,
        observations: spaces.Space[Any],
        actions: spaces.Space[Any],
        clock: EpisodeClock,
        bounds: Bounds | None,
        device: torch.device | str,
        **options: Any,
    ) -> None:
        shared: dict[str, Any] = {"clock": clock, "device": device}
        super().__init__(
            victim, Identity(), commands, observations=observations, actions=actions, bounds=None, **shared, **options
        )
        self.execution = action_injection(attack, box_of(actions, what="action"), bounds=bounds, **shared)

    def __call__(self, clean: Array, commands: Any) -> tuple[Array, NDArray[Any]]:
        """What the victim sees of the rows [B, ...], the truth, and what is executed of what it then does."""
        given = self._checked(commands, len(clean))
        seen = torch.from_numpy(clean)
        intended = self.execution.rows(self._act(seen, self.clock.streams()), len(clean))
        known = {COMMAND: torch.from_numpy(given), "observation": seen, "clean_observation": seen}
        return clean, self.execution(intended, known)


def commanded(channel: str) -> type[Commanded]:
    """By what the commands perturb.

    Raises:
        ValueError: If it is neither "observation" nor "action".
    """
    kinds = {"observation": Commanded, "action": CommandedAction}
    check(channel in kinds, f"`channel` must be one of {', '.join(kinds)}, got {channel!r}.")
    return kinds[channel]


def salt(env: Any, channel: Channel) -> int:
    """So that the attack draws the numbers that the wrapper of this channel would draw."""
    return beneath(env, "AdversarialObs") if channel == "observation" else ACTIONS + beneath(env, "AdversarialAction")


def command_size(actions: spaces.Space[Any]) -> int:
    """The dimension of the victim's policy space: actions of a Box, probabilities of a Discrete.

    Raises:
        TypeError: If it is neither.

    Example:
        >>> command_size(spaces.Discrete(3)), command_size(spaces.Box(-1, 1, (2,)))
        (3, 2)
    """
    if isinstance(actions, spaces.Discrete):
        return int(actions.n)
    if isinstance(actions, spaces.Box) and len(actions.shape) == 1:
        return int(actions.shape[0])
    raise TypeError(f"the victim's actions must be a vector or discrete, got {actions}.")
