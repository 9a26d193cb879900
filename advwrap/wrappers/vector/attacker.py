"""A vector environment whose agents are attackers of one frozen victim, which acts for all rows in one call."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from gymnasium import spaces
from gymnasium.vector import VectorEnv
from gymnasium.vector.utils import batch_space
from torch import Tensor

from advwrap.attacks import Attack
from advwrap.clock import EpisodeClock
from advwrap.sets import Bounds
from advwrap.victims import AnyPolicy
from advwrap.wrappers.commands import Channel, commanded, salt
from advwrap.wrappers.injection import Array
from advwrap.wrappers.limits import box_of
from advwrap.wrappers.vector.attacked import Attacked, Seeds, mask_of


class AttackerEnv(Attacked):
    """`advwrap.wrappers.gymnasium.AttackerEnv` for all rows at once: the same numbers row by row, one forward pass.

    Writes: ``infos["victim_observation"]`` (what the victims saw) and ``infos["victim_action"]`` (what was executed),
        [N, ...], at every step.

    Args:
        env: The vector environment, in any autoreset mode.
        victim: Who is attacked; never changed.
        attack: What is commanded; it reads ``context["adversary_action"]``.
        commands: The space of one agent's actions.
        stochastic: Whether the victim samples its actions.
        reward_scale: Factor on the negated rewards.
        bounds: The valid range of what is perturbed, by default the bounds of the space.
        device: Where attack and victim compute.
        channel: What the commands perturb: the "observation" that the victim sees, or the "action" that it does.

    Raises:
        TypeError: If the observation is no Box of numbers.
        ValueError: If (at a step) a command is not finite or of another shape.

    Example:
        >>> import gymnasium
        >>> from advwrap import LinfBall
        >>> from advwrap.attacks import Push
        >>> envs = gymnasium.make_vec("CartPole-v1", num_envs=2, vectorization_mode="sync")
        >>> commands = spaces.Box(-1, 1, (4,))
        >>> envs = AttackerEnv(envs, torch.nn.Linear(4, 2), attack=Push(within=LinfBall(0.1)), commands=commands)
        >>> observations, infos = envs.reset(seed=0)
        >>> envs.step(envs.action_space.sample())[1]
        array([-1., -1.])
    """

    def __init__(
        self,
        env: VectorEnv[Any, Any, Any],
        victim: AnyPolicy,
        *,
        attack: Attack,
        commands: spaces.Box,
        stochastic: bool = True,
        reward_scale: float = 1.0,
        bounds: Bounds | None = None,
        device: torch.device | str = "cpu",
        channel: Channel = "observation",
    ) -> None:
        super().__init__(env)
        self.single_action_space = commands
        self.action_space = batch_space(commands, env.num_envs)
        self.reward_scale = reward_scale
        self._clock = EpisodeClock(env.num_envs, salt=salt(env, channel))
        self._inside = commanded(channel)(
            victim,
            attack,
            commands,
            observations=env.single_observation_space,
            actions=env.single_action_space,
            clock=self._clock,
            stochastic=stochastic,
            bounds=bounds,
            device=device,
        )
        self._injection = self._inside.injection
        self._clean: Array = np.zeros((env.num_envs, *box_of(env.single_observation_space, what="observation").shape))

    def reset(self, *, seed: Seeds = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        """Reset all rows, or those of ``options["reset_mask"]``; the agents see the truth."""
        mask, options = mask_of(options)
        observations, infos = self.env.reset(seed=seed, options=options)  # type: ignore[arg-type]
        self._begin(seed, mask)
        clean = self._inside.rows(observations)
        if mask is not None:
            # Environments may show anything in the rows that they did not reset.
            clean = np.where(mask.reshape(-1, *[1] * (clean.ndim - 1)), clean, self._clean)
        self._clean = clean
        return observations, infos

    def step(self, actions: Any) -> tuple[Any, Any, Any, Any, dict[str, Any]]:
        """Perturb as commanded, let the victim act in every row."""
        seen, played = self._inside(self._clean, actions)
        observations, rewards, terminations, truncations, infos = self.env.step(played)
        self._follow(terminations, truncations)
        self._clean = self._inside.rows(observations)
        infos = self._everyone(infos, victim_observation=seen, victim_action=played)
        return observations, -self.reward_scale * rewards, terminations, truncations, infos

    def state_dict(self) -> dict[str, Tensor]:
        """The seeds, episodes, counts and present observations."""
        return {**super().state_dict(), "clean": torch.tensor(self._clean)}

    def load_state_dict(self, state: Mapping[str, Tensor]) -> None:
        """Continue from `state_dict`."""
        super().load_state_dict(state)
        self._clean = state["clean"].numpy().copy()
