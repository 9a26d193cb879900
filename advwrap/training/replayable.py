"""Environments that can be put back where they stood, whatever simulates them."""

from __future__ import annotations

from typing import Any, SupportsFloat

import gymnasium as gym
import numpy as np
import torch

from advwrap.randomness import derived_seed, entropy


class Replayable(gym.Wrapper[Any, Any, Any, Any]):
    """An environment that remembers how its episode began and what was done since.

    Few simulators can save their state, but all of them are functions of a seed and of actions. Every episode here
    begins with a seed of its own, a hash of the environment's seed and the number of the episode; a `state_dict` is
    that number and the actions, and loading it plays them again: a tenth of a second at most for a MuJoCo task.

    Args:
        env: A deterministic environment: its randomness comes from its seed alone.

    Example:
        >>> env, copy = (Replayable(gym.make("Pendulum-v1")) for _ in range(2))
        >>> _ = env.reset(seed=7), env.step(np.ones(1, np.float32))
        >>> copy.load_state_dict(env.state_dict())
        >>> push = np.zeros(1, np.float32)
        >>> bool((env.step(push)[0] == copy.step(push)[0]).all())
        True
    """

    def __init__(self, env: gym.Env[Any, Any]) -> None:
        super().__init__(env)
        self._seed = entropy()
        self._episode = 0
        self._actions: list[np.ndarray] = []

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        """Begin the next episode; a seed begins the sequence of episodes anew."""
        if seed is not None:
            self._seed, self._episode = int(seed), 0
        self._episode += 1
        return self._begin(options)

    def _begin(self, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        self._actions = []
        # A single seed is used as it is, so that this is the environment that `env.reset(seed=seed)` would be.
        seed = self._seed if self._episode == 1 else derived_seed(self._seed, self._episode)
        return self.env.reset(seed=seed % 2**31, options=options)

    def step(self, action: Any) -> tuple[Any, SupportsFloat, bool, bool, dict[str, Any]]:
        """Step, and remember the action."""
        self._actions.append(np.array(action))
        return self.env.step(action)

    def state_dict(self) -> dict[str, Any]:
        """The seed, the number of the episode and the actions since it began."""
        actions = torch.from_numpy(np.stack(self._actions)) if self._actions else None
        return {"seed": self._seed, "episode": self._episode, "actions": actions}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Play the episode again up to where it stood."""
        self._seed, self._episode = int(state["seed"]), int(state["episode"])
        self._begin()
        actions = state["actions"]
        for action in () if actions is None else actions.numpy():
            self.step(action)
