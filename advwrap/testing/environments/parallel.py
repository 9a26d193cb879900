"""The signal as a PettingZoo environment."""

from __future__ import annotations

from typing import Any

import numpy as np
from gymnasium.spaces import Box, Discrete
from gymnasium.utils import seeding
from pettingzoo import AECEnv, ParallelEnv
from pettingzoo.utils.conversions import parallel_to_aec

from advwrap.testing.environments.signal import ACTIONS, FEATURES, Array, Signal


class SignalParallelEnv(ParallelEnv[str, Array, Array]):  # type: ignore[misc]
    """Agents that each see `Signal` with their own index; agent 0 sees what `SignalEnv` shows.

    Args:
        agents: How many, named ``agent_0``, ``agent_1``, ...
        horizon: Steps until the episode ends for everybody.
        leaves: Step after which the last agent leaves; it never does by default.
        discrete: Number of discrete actions; 0 for a Box of 2 actions in [-1, 1].

    Example:
        >>> env = SignalParallelEnv(agents=2)
        >>> observations, infos = env.reset(seed=0)
        >>> sorted(observations)
        ['agent_0', 'agent_1']
    """

    metadata = {"name": "signal_v0", "render_modes": [], "is_parallelizable": True}  # noqa: RUF012

    def __init__(self, agents: int = 2, *, horizon: int = 5, leaves: int | None = None, discrete: int = 0) -> None:
        self.possible_agents = [f"agent_{i}" for i in range(agents)]
        self.agents: list[str] = []
        self.horizon, self.leaves = horizon, leaves
        self.render_mode = None
        self.signals = {name: Signal(horizon=horizon, agent=i) for i, name in enumerate(self.possible_agents)}
        self.observation_spaces = {name: Box(-2.0, 2.0, (FEATURES,), np.float32) for name in self.possible_agents}
        self.action_spaces = {
            name: Discrete(discrete) if discrete else Box(-1.0, 1.0, (ACTIONS,), np.float32)
            for name in self.possible_agents
        }
        self.np_random, _ = seeding.np_random()

    def observation_space(self, agent: str) -> Box:
        """The same object in every call."""
        return self.observation_spaces[agent]

    def action_space(self, agent: str) -> Box | Discrete:
        """The same object in every call."""
        return self.action_spaces[agent]

    def reset(
        self, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[dict[str, Array], dict[str, dict[str, Any]]]:
        """Episode 0 of a seed, or the next episode."""
        self.agents = list(self.possible_agents)
        if seed is not None:  # nothing is drawn from it, but wrappers can reach it
            self.np_random, _ = seeding.np_random(seed)
        for signal in self.signals.values():
            if seed is None:
                signal.restart()
            else:
                signal.seed(seed)
        return {a: self.signals[a].observation for a in self.agents}, {a: {} for a in self.agents}

    def step(self, actions: dict[str, Array]) -> tuple[dict[str, Any], ...]:
        """Take a step: observations, rewards, terminations, truncations, infos."""
        present = list(self.agents)
        for agent in present:
            self.signals[agent].advance(actions[agent])
        over = {a: self.signals[a].over for a in present}
        last = self.possible_agents[-1]
        if self.leaves is not None and last in over and self.signals[last].time >= self.leaves:
            over[last] = True
        self.agents = [a for a in present if not over[a]]
        return (
            {a: self.signals[a].observation for a in present},
            {a: self.signals[a].reward for a in present},
            over,
            dict.fromkeys(present, False),
            {a: {} for a in present},
        )

    def render(self) -> None:
        """There is nothing to see."""

    def close(self) -> None:
        """There is nothing to release."""


def signal_aec(agents: int = 2, **options: Any) -> AECEnv[str, Array, Array]:
    """`SignalParallelEnv` as an AEC environment.

    Example:
        >>> env = signal_aec(agents=2)
        >>> env.reset(seed=0)
        >>> env.agent_selection
        'agent_0'
    """
    return parallel_to_aec(SignalParallelEnv(agents, **options))
