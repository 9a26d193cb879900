"""A vector environment that executes perturbed actions, all rows attacked in one call."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from gymnasium.vector import VectorEnv
from torch import Tensor

from advwrap.attacks import Attack
from advwrap.clock import ACTIONS, EpisodeClock
from advwrap.sets import Bounds
from advwrap.wrappers.actions import action_injection, state_of
from advwrap.wrappers.beside import Beside
from advwrap.wrappers.entry import Key
from advwrap.wrappers.injection import Array
from advwrap.wrappers.stack import beneath
from advwrap.wrappers.vector.attacked import Attacked, Seeds, mask_of


class AdversarialAction(Attacked):
    """The environments execute perturbed actions: one batched attack per step for all of them.

    Row by row the same numbers as `advwrap.wrappers.gymnasium.AdversarialAction` in each of them.
    An action that is ignored because its environment only resets (NEXT_STEP) is not attacked, and
    no action is replaced by one that an ``"action_mask"`` forbids.

    Reads: the true observations, as ``context["observation"]`` of the attack.
    Writes: ``infos["action"]`` and ``infos["executed_action"]``, [N, ...], at every step.

    Args:
        env: The vector environment, in any autoreset mode.
        attack: What perturbs; `Identity()` for nothing.
        key: Which entry of a Dict observation is ``context["observation"]``.
        bounds: The valid range of executed actions, by default that of the action space; intended
            actions that are outside are attacked at the limit.
        device: Where the attack computes.

    Raises:
        TypeError: If the actions are neither numbers nor discrete.
        ValueError: If the attack chooses an action that is not in the space, or an action is NaN.

    Example:
        >>> import gymnasium
        >>> import numpy as np
        >>> from advwrap import LinfBall, RandomVertex
        >>> envs = gymnasium.make_vec("Pendulum-v1", num_envs=2, vectorization_mode="sync")
        >>> envs = AdversarialAction(envs, RandomVertex(LinfBall(0.5)))
        >>> observations, infos = envs.reset(seed=0)
        >>> *_, infos = envs.step(np.zeros((2, 1), np.float32))
        >>> abs(infos["executed_action"])
        array([[0.5],
               [0.5]], dtype=float32)
    """

    def __init__(
        self,
        env: VectorEnv[Any, Any, Any],
        attack: Attack,
        *,
        key: Key = None,
        bounds: Bounds | None = None,
        device: torch.device | str = "cpu",
    ) -> None:
        super().__init__(env)
        self._clock = EpisodeClock(env.num_envs, salt=ACTIONS + beneath(env, "AdversarialAction"))
        self._injection = action_injection(
            attack, env.single_action_space, clock=self._clock, bounds=bounds, device=device
        )
        space = env.single_observation_space
        self._beside = Beside(space, state=state_of(space, key))
        self._known: dict[Any, Tensor] = {}

    def reset(self, *, seed: Seeds = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        """Reset all rows, or those of ``options["reset_mask"]``; nothing is attacked."""
        mask, options = mask_of(options)
        observations, infos = self.env.reset(seed=seed, options=options)  # type: ignore[arg-type]
        self._begin(seed, mask)
        before = self._known
        self._remember(observations, infos)
        if mask is not None:
            # Infos hold nothing of the rows that were not reset, and environments may show anything there.
            for name in before.keys() & self._known.keys():
                self._known[name][~mask] = before[name][~mask]
        return observations, infos

    def step(self, actions: Any) -> tuple[Any, Any, Any, Any, dict[str, Any]]:
        """Step with the perturbed actions."""
        intended = self._injection.rows(actions, self.num_envs)
        executed = self._executed(intended)
        result = self.env.step(executed.copy())
        observations, rewards, terminations, truncations, infos = result
        self._follow(terminations, truncations)
        self._remember(observations, infos)
        # What is beneath may attack as well: its executed actions are what the environments got.
        if "executed_action" not in infos:
            infos = self._everyone(infos, executed_action=executed)
        infos = self._everyone(infos, action=intended)
        return observations, rewards, terminations, truncations, infos

    def _executed(self, intended: Array) -> Array:
        if not self._resetting.any():
            return self._injection(intended, self._known)
        executed = intended.copy()
        who = (~self._resetting).nonzero()[0]
        if len(who):
            known = {name: rows[who] for name, rows in self._known.items()}
            executed[who] = self._injection(intended[who], known, who)
        return executed

    def state_dict(self) -> dict[str, Tensor]:
        """Seeds, episodes, counts, and the observation that the coming attack reads."""
        return {**super().state_dict(), **self._beside.saved(self._known)}

    def load_state_dict(self, state: Mapping[str, Tensor]) -> None:
        """Continue from `state_dict`."""
        super().load_state_dict(state)
        self._known = self._beside.restored(state)

    def _remember(self, observations: Any, infos: Mapping[str, Any]) -> None:
        truth = infos.get("clean_observation", observations)
        self._known = self._beside(truth, infos, batched=True)
