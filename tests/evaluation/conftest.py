"""Tiny environments, agents and channels with known returns."""

from __future__ import annotations

from typing import Any

import gymnasium as gym
import numpy as np
import pytest
import torch
from gymnasium.vector import VectorWrapper

from advwrap.evaluation import Cell, Provenance, Results


class Countdown(gym.Env[np.ndarray, np.ndarray]):
    """Its seed fixes the start state and the length (1 to 9 steps); a reward is state + action."""

    observation_space = gym.spaces.Box(-100.0, 100.0, (2,), np.float64)
    action_space = gym.spaces.Box(-100.0, 100.0, (1,), np.float64)

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[np.ndarray, dict]:
        super().reset(seed=seed)
        self.left = int(self.np_random.integers(1, 10))
        self.state = self.np_random.uniform(-1, 1, 2)
        return self.state.copy(), {}

    def step(self, action: np.ndarray) -> tuple[np.ndarray, float, bool, bool, dict]:
        self.left -= 1
        reward = float(self.state[0] + action[0])
        self.state = self.state + self.np_random.uniform(-0.1, 0.1, 2)
        return self.state.copy(), reward, self.left == 0, False, {"cost": abs(reward)}


class StandIn(VectorWrapper):
    """A channel whose attack is a function of the clean observations; info as the real one."""

    def __init__(self, env: Any, *, attack: Any) -> None:
        super().__init__(env)
        self.attack = attack

    def reset(self, *, seed: Any = None, options: Any = None) -> tuple[Any, dict]:
        observation, info = self.env.reset(seed=seed, options=options)
        return self.attack(observation), info | {"clean_observation": observation}

    def step(self, actions: Any) -> tuple:
        observation, *rest, info = self.env.step(actions)
        return self.attack(observation), *rest, info | {"clean_observation": observation}


def second_feature(observation: torch.Tensor) -> torch.Tensor:
    """An agent whose rows are independent to the bit."""
    return observation[:, 1:] * 2


@pytest.fixture
def countdown() -> type[Countdown]:
    return Countdown


@pytest.fixture
def stand_in() -> type[StandIn]:
    return StandIn


@pytest.fixture
def agent() -> Any:
    return second_feature


@pytest.fixture
def results() -> Results:
    """Two agents, two attacks, two epsilons, made by hand."""

    def cell(agent: str, attack: str, epsilon: float, *returns: float) -> Cell:
        return Cell(agent, attack, epsilon, (7, 8), returns, (10, 20), (epsilon, epsilon))

    cells = (
        cell("plain", "natural", 0.0, 100.0, 104.0),
        cell("plain", "noise", 0.1, 90.0, 92.0),
        cell("plain", "pgd", 0.1, 40.0, 48.0),
        cell("plain", "noise", 0.2, 80.0, 84.0),
        cell("plain", "pgd", 0.2, 10.0, 12.0),
        cell("robust", "natural", 0.0, 99.0, 101.0),
        cell("robust", "noise", 0.1, 97.0, 97.0),
        cell("robust", "pgd", 0.1, 95.0, 99.0),
        cell("robust", "noise", 0.2, 94.0, 95.0),
        cell("robust", "pgd", 0.2, 96.0, 96.0),
    )
    return Results(
        cells,
        Provenance("Task-v0", seed=7, command="advwrap demo", commit="c0ffee", versions={"torch": "2"}),
    )
