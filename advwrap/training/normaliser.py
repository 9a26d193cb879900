"""Observations in units of their standard deviation, with statistics that never change afterwards."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import gymnasium as gym
import numpy as np
import torch
from torch import Tensor

from advwrap.victims import Context, Policy


@dataclass(frozen=True, eq=False)
class Normaliser:
    """z = (o - mean) / std, so that one radius means the same for every feature.

    Args:
        mean: One per feature.
        std: One per feature, all > 0.

    Example:
        >>> z = Normaliser.fit(lambda: gym.make("CartPole-v1"), steps=500, seed=0)
        >>> z(np.zeros(4)).dtype
        dtype('float32')
    """

    mean: np.ndarray
    std: np.ndarray

    @classmethod
    def fit(cls, make: Callable[[], gym.Env[Any, Any]], *, steps: int, seed: int) -> Normaliser:
        """The statistics of random actions; a feature that they never move keeps its unit."""
        env = make()
        env.action_space.seed(seed)
        observation, _ = env.reset(seed=seed)
        seen = [observation]
        for _ in range(steps):
            observation, _, terminated, truncated, _ = env.step(env.action_space.sample())
            seen.append(observation)
            if terminated or truncated:
                seen.append(env.reset()[0])
        env.close()
        std = np.std(seen, axis=0)
        return cls(np.mean(seen, axis=0), np.where(std < 1e-3, 1.0, std))

    def __call__(self, observation: np.ndarray) -> np.ndarray:
        """What the agent reads, float32."""
        normalised: np.ndarray = ((observation - self.mean) / self.std).astype(np.float32)
        return normalised

    def wrap(self, env: gym.Env[Any, Any]) -> gym.Env[Any, Any]:
        """The environment with normalised observations; put the attack around it."""
        space = gym.spaces.Box(-np.inf, np.inf, self.mean.shape, np.float32)
        return gym.wrappers.TransformObservation(env, self, space)

    def before(self, policy: Policy) -> Policy:
        """The policy of normalised observations as one of the task's own."""

        def output(observation: Tensor, context: Context | None) -> Any:
            mean, std = (torch.as_tensor(x, device=observation.device) for x in (self.mean, self.std))
            return policy.output(((observation - mean) / std).float(), context)

        return Policy(output, policy.head)
