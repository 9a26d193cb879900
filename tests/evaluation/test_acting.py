"""Functions play as they are, everything else plays its mean or best action."""

from __future__ import annotations

from typing import Any

import gymnasium as gym
import pytest
import torch
from torch import nn

from advwrap.evaluation import Agent, acting, evaluate, evaluate_grid
from advwrap.victims import Categorical, Deterministic

BOX = gym.spaces.Box(-1.0, 1.0, (2,))
OBSERVATION = torch.linspace(-1, 1, 12).reshape(3, 4)


def test_a_function_is_called_as_it_is() -> None:
    assert acting(torch.sin, BOX) is torch.sin


def test_a_network_plays_in_eval_mode_and_stays_in_training_mode() -> None:
    net = nn.Sequential(nn.Linear(4, 2), nn.Dropout(0.5))
    actions = acting(net, BOX)(OBSERVATION)
    assert torch.allclose(actions, net[0](OBSERVATION))
    assert net.training


@pytest.mark.parametrize("start", [0, 5])
@pytest.mark.parametrize("wrap", [lambda net: net, Deterministic, Categorical])
def test_discrete_actions_are_the_best_ones(wrap: Any, start: int) -> None:
    net = nn.Linear(4, 3)
    actions = acting(wrap(net), gym.spaces.Discrete(3, start=start))(OBSERVATION)
    assert actions.tolist() == (net(OBSERVATION).argmax(-1) + start).tolist()


def test_a_torchrl_actor_plays_its_mean() -> None:
    tensordict_nn = pytest.importorskip("tensordict.nn")
    modules = pytest.importorskip("torchrl.modules")
    net = nn.Sequential(nn.Linear(4, 4), tensordict_nn.NormalParamExtractor())
    actor = modules.ProbabilisticActor(
        tensordict_nn.TensorDictModule(net, in_keys=["observation"], out_keys=["loc", "scale"]),
        in_keys=["loc", "scale"],
        distribution_class=modules.TanhNormal,
    )
    actions = acting(actor, BOX)(OBSERVATION)
    assert torch.allclose(actions, torch.tanh(net(OBSERVATION)[0]), atol=1e-6)


def test_what_cannot_play() -> None:
    with pytest.raises(TypeError, match="`policy` must be a module, a callable"):
        acting(3, BOX)


def test_the_grid_plays_the_policy_and_attacks_the_agent(countdown: Any, stand_in: Any) -> None:
    net = nn.Linear(2, 1)
    agent = Agent(net, critic="its critic")
    seen: list[Agent] = []

    def attack(agent: Agent, epsilon: float) -> Any:
        seen.append(agent)
        return lambda x: x

    results = evaluate_grid({"a": agent}, countdown, {"none": attack}, [0.1], episodes=2, channel=stand_in)
    assert seen == [agent]
    assert results.cells[0].returns == evaluate(net, countdown, episodes=2).returns
