"""A Gymnasium environment that executes perturbed actions."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import gymnasium
import torch
from torch import Tensor

from advwrap.attacks import Attack
from advwrap.clock import ACTIONS, EpisodeClock
from advwrap.sets import Bounds
from advwrap.wrappers.actions import action_injection, state_of
from advwrap.wrappers.beside import Beside
from advwrap.wrappers.entry import Key
from advwrap.wrappers.gymnasium.attacked import Attacked
from advwrap.wrappers.stack import beneath


class AdversarialAction(Attacked):
    """The environment executes a perturbed action instead of the one that the agent chose.

    The radius of a ball is in the units of the action: 0.1 of a torque in [-1, 1] is 0.1. Discrete
    actions are replaced by another of an `ActionSet`, never by one that an ``"action_mask"`` in the
    observation or in the info forbids.

    Reads: the true observation, as ``context["observation"]`` of the attack (what
    ``LowValue(critic=q)`` asks for), and the entries of a Dict observation.
    Writes: ``info["action"]``, what the agent intended, and ``info["executed_action"]``, what the
    environment received, at every step.

    Args:
        env: The environment.
        attack: What perturbs; `Identity()` for nothing.
        key: Which entry of a Dict observation is ``context["observation"]``.
        bounds: The valid range of executed actions, by default that of the action space. An intended
            action that is outside is attacked at the limit; where nothing is done to it, it stays.
        device: Where the attack computes.

    Raises:
        TypeError: If the actions are neither numbers nor discrete.
        ValueError: If the attack chooses an action that is not in the space, or the action is NaN.

    Example:
        >>> from advwrap import ActionSet, Noise
        >>> env = AdversarialAction(gymnasium.make("CartPole-v1"), Noise(ActionSet(2)))
        >>> observation, info = env.reset(seed=0)
        >>> *_, info = env.step(1)
        >>> int(info["action"]), int(info["executed_action"])
        (1, 0)
    """

    def __init__(
        self,
        env: gymnasium.Env[Any, Any],
        attack: Attack,
        *,
        key: Key = None,
        bounds: Bounds | None = None,
        device: torch.device | str = "cpu",
    ) -> None:
        Attacked.__init__(self, env, attack=attack, key=key, bounds=bounds, device=device)
        self._clock = EpisodeClock(1, salt=ACTIONS + beneath(env, "AdversarialAction"))
        self._injection = action_injection(attack, env.action_space, clock=self._clock, bounds=bounds, device=device)
        space = env.observation_space
        self._beside = Beside(space, state=state_of(space, key))
        self._known: dict[Any, Tensor] = {}

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        """Reset; nothing is attacked."""
        observation, info = self.env.reset(seed=seed, options=options)
        self._begin(seed)
        self._remember(observation, info)
        return observation, info

    def step(self, action: Any) -> tuple[Any, Any, bool, bool, dict[str, Any]]:
        """Step with the perturbed action; the k-th action of an episode is attacked as step k."""
        intended = self._injection.rows(action)
        executed = self._injection(intended[None], self._known)[0]
        observation, reward, terminated, truncated, info = self.env.step(executed.copy())
        self._remember(observation, info)
        # What is beneath may attack as well: its executed action is what the environment got.
        info = {"executed_action": executed, **info, "action": intended[()]}
        return observation, reward, terminated, truncated, info

    def state_dict(self) -> dict[str, Tensor]:
        """Seeds, episodes, counts, and the observation that the coming attack reads."""
        return {**super().state_dict(), **self._beside.saved(self._known)}

    def load_state_dict(self, state: Mapping[str, Tensor]) -> None:
        """Continue from `state_dict`."""
        super().load_state_dict(state)
        self._known = self._beside.restored(state)

    def _remember(self, observation: Any, info: Mapping[str, Any]) -> None:
        self._known = self._beside(info.get("clean_observation", observation), info)
