"""Through the real channels: the same numbers as one environment at a time, sizes as allowed."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from advwrap import (
    PGD,
    ActionShift,
    AdversarialAction,
    AdversarialObs,
    AtMost,
    Gated,
    Identity,
    LinfBall,
    Noise,
    RandomVertex,
)
from advwrap.evaluation import Agent, evaluate, evaluate_grid

NOISE = Noise(LinfBall(0.3))


def alone(channel: Any, make: Any, agent: Any, attack: Any, seed: int) -> float:
    """The return of one episode in a single attacked environment."""
    env = channel(make(), attack=attack)
    observation, _ = env.reset(seed=seed)
    total, done = 0.0, False
    while not done:
        action = agent(torch.as_tensor(observation, dtype=torch.float32)[None])[0].numpy()
        observation, reward, terminated, truncated, _ = env.step(action)
        total, done = total + reward, terminated or truncated
    return float(total)


@pytest.mark.parametrize("channel", [AdversarialObs, AdversarialAction])
class TestChannels:
    def test_identity_gives_the_natural_returns(self, countdown: Any, agent: Any, channel: Any) -> None:
        natural = evaluate(agent, countdown, episodes=9, num_envs=4)
        attacked = evaluate(agent, countdown, Identity(), episodes=9, num_envs=4, channel=channel)
        assert attacked.returns == natural.returns
        assert set(attacked.sizes) == {0.0}

    @pytest.mark.parametrize("num_envs", [1, 4, 9])
    def test_episode_i_is_that_of_a_single_environment_with_its_seed(
        self, countdown: Any, agent: Any, channel: Any, num_envs: int
    ) -> None:
        cell = evaluate(agent, countdown, NOISE, episodes=9, seed=3, num_envs=num_envs, channel=channel)
        expected = [alone(channel, countdown, agent, NOISE, seed) for seed in range(3, 12)]
        assert cell.returns == pytest.approx(expected, abs=1e-9)
        assert cell.returns != evaluate(agent, countdown, episodes=9, seed=3).returns

    def test_the_size_is_what_was_executed(self, countdown: Any, agent: Any, channel: Any) -> None:
        vertex = evaluate(agent, countdown, RandomVertex(LinfBall(0.3)), episodes=6, channel=channel)
        noise = evaluate(agent, countdown, NOISE, episodes=6, channel=channel)
        assert vertex.sizes == pytest.approx((0.3,) * 6, abs=1e-6)
        assert all(0 < size <= 0.3 for size in noise.sizes)

    def test_steps_without_an_attack_count_as_zero(self, countdown: Any, agent: Any, channel: Any) -> None:
        once = Gated(RandomVertex(LinfBall(0.3)), AtMost(1))
        cell = evaluate(agent, countdown, once, episodes=6, num_envs=2, channel=channel)
        assert np.multiply(cell.sizes, cell.lengths) == pytest.approx([0.3] * 6, abs=1e-6)


def test_a_grid_of_gradient_attacks_on_a_network(countdown: Any) -> None:
    net = nn.Sequential(nn.Linear(2, 16), nn.Tanh(), nn.Linear(16, 1))
    before = [parameter.clone() for parameter in net.parameters()]
    attacks = {"MAD": lambda agent, eps: PGD(ActionShift(agent.policy), within=LinfBall(eps))}
    results = evaluate_grid({"net": Agent(net)}, countdown, attacks, [0.1, 1.0], episodes=8)
    natural, weak, strong = results.cells

    def moved(cell: Any) -> float:
        return float(np.abs(np.subtract(cell.returns, natural.returns)).mean())

    assert 0 < moved(weak) < moved(strong)
    assert max(weak.sizes) <= 0.1
    assert all(torch.equal(a, b) for a, b in zip(before, net.parameters(), strict=True))
