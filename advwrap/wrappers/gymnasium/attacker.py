"""A Gymnasium environment whose agent is the attacker of a frozen victim."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import gymnasium
import torch
from gymnasium import spaces
from gymnasium.utils import RecordConstructorArgs
from torch import Tensor

from advwrap.attacks import Attack
from advwrap.clock import EpisodeClock
from advwrap.sets import Bounds
from advwrap.victims import AnyPolicy
from advwrap.wrappers.commands import Channel, commanded, salt
from advwrap.wrappers.stack import LiveArguments


class AttackerEnv(gymnasium.Wrapper[Any, Any, Any, Any], RecordConstructorArgs):
    """The task as its attacker meets it: the agent commands the perturbation, the victim acts, the reward is negated.

    ```text
    the agent sees    s                      the true observation
    it acts           a in `commands`
    the victim sees   x = attack(s) with a as the command
    and acts          u ~ pi(.|x), or its mean
    the agent gets    -reward_scale * r(s, u)
    ```

    The perturbation and the victim's samples come from the seed of ``reset(seed=...)``, the former with the very
    numbers that `AdversarialObs` draws, so that an adversary meets in evaluation what it was trained in.

    Writes: ``info["victim_observation"]`` (what the victim saw) and ``info["victim_action"]`` (what was executed) at
        every step.

    Args:
        env: The task, with the normalised observations that the victim reads.
        victim: Who is attacked; never changed.
        attack: What is commanded; it reads ``context["adversary_action"]``.
        commands: The space of the agent's actions; what is outside is clipped to it.
        stochastic: Whether the victim samples its actions, as in the papers' training, or plays its mean.
        reward_scale: Factor on the negated reward.
        bounds: The valid range of what is perturbed, by default the bounds of the space.
        device: Where attack and victim compute.
        channel: What the commands perturb: the "observation" that the victim sees, or the "action" that it does.

    Raises:
        TypeError: If the observation is no Box of numbers.
        ValueError: If (at a step) a command is not finite or of another shape.

    Example:
        >>> from advwrap import LinfBall
        >>> from advwrap.attacks import Push
        >>> task = gymnasium.make("CartPole-v1")
        >>> commands = spaces.Box(-1, 1, (4,))
        >>> env = AttackerEnv(task, torch.nn.Linear(4, 2), attack=Push(within=LinfBall(0.1)), commands=commands)
        >>> observation, info = env.reset(seed=0)
        >>> env.step(env.action_space.sample())[1]
        -1.0
    """

    def __init__(
        self,
        env: gymnasium.Env[Any, Any],
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
        arguments = {
            "victim": victim,
            "attack": attack,
            "commands": commands,
            "stochastic": stochastic,
            "reward_scale": reward_scale,
            "bounds": bounds,
            "device": device,
            "channel": channel,
        }
        RecordConstructorArgs.__init__(self, _disable_deepcopy=True, **arguments)
        self._saved_kwargs = LiveArguments(self._saved_kwargs)
        gymnasium.Wrapper.__init__(self, env)
        self.action_space = commands
        self.reward_scale = reward_scale
        self._clock = EpisodeClock(1, salt=salt(env, channel))
        self._inside = commanded(channel)(
            victim,
            attack,
            commands,
            observations=env.observation_space,
            actions=env.action_space,
            clock=self._clock,
            stochastic=stochastic,
            bounds=bounds,
            device=device,
        )

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        """Reset; the agent sees the truth."""
        observation, info = self.env.reset(seed=seed, options=options)
        if seed is None:
            self._clock.start()
        else:
            self._clock.seed([seed])
        self._clean = self._inside.rows(observation)
        return observation, info

    def step(self, action: Any) -> tuple[Any, Any, bool, bool, dict[str, Any]]:
        """Perturb as commanded, let the victim act."""
        command = torch.as_tensor(action).unsqueeze(0) if isinstance(action, Tensor) else [action]
        seen, played = self._inside(self._clean[None], command)
        observation, reward, terminated, truncated, info = self.env.step(played[0])
        self._clean = self._inside.rows(observation)
        info = {**info, "victim_observation": seen[0], "victim_action": played[0]}
        return observation, -self.reward_scale * float(reward), terminated, truncated, info

    def state_dict(self) -> dict[str, Tensor]:
        """Seed, episode, counts and the present observation: with the state of the task, enough to continue."""
        return {**self._clock.state_dict(), "clean": torch.tensor(self._clean)}

    def load_state_dict(self, state: Mapping[str, Tensor]) -> None:
        """Continue from `state_dict`."""
        self._clock.load_state_dict(state)
        self._clean = state["clean"].numpy().copy()
