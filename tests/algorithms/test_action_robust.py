"""NR-MDP and PR-MDP: what is executed, who is trained which way, and what comes out."""

from __future__ import annotations

from typing import Any

import gymnasium as gym
import pytest
import torch
from tensordict import TensorDict

from advwrap.algorithms import ActionRobustTD3
from advwrap.algorithms.defence import Learner
from advwrap.algorithms.off_policy_training import OffPolicyTraining
from advwrap.training.update import Update

TASK = "Pendulum-v1"  # torques in [-2, 2]
TINY: dict[str, Any] = {"steps": 120, "random_steps": 20, "hidden": (8, 8), "batch_size": 8}


def learner(**options: Any) -> Learner:
    torch.manual_seed(0)
    task = gym.make(TASK)
    return ActionRobustTD3(TASK, **{**TINY, **options}).learner(task.observation_space, task.action_space)  # type: ignore[arg-type]


def states(rows: int = 256) -> TensorDict:
    observation = torch.randn(rows, 3, generator=torch.Generator().manual_seed(1))
    return TensorDict({"observation": observation, "clean_observation": observation}, [rows])


def played(found: Learner, batch: TensorDict) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """The agent's action, the adversary's, and what is executed of both before the exploration noise."""
    own = found.actor(batch.copy())["action"]
    both = found.explore[0](batch.copy())
    return own, both["adversary_action"], both["action"]


def test_noisy_actions_are_mixtures() -> None:
    own, adversary, executed = played(learner(alpha=0.25), states())
    torch.testing.assert_close(executed, 0.75 * own + 0.25 * adversary)
    assert not torch.allclose(own, adversary)


def test_probabilistic_actions_are_of_one_or_the_other() -> None:
    own, adversary, executed = played(learner(alpha=0.25, game="probabilistic"), states(4000))
    taken = executed == adversary
    assert bool((taken | (executed == own)).all())
    assert float(taken.float().mean()) == pytest.approx(0.25, abs=0.03)


@pytest.mark.parametrize("game", ["noisy", "probabilistic"])
def test_the_agent_raises_and_the_adversary_lowers_what_is_executed(game: str) -> None:
    """One step, reward = the executed torque: the agent pushes up, the adversary down, whatever the other does."""
    found = learner(game=game, hidden=(16,), learning_rate=1e-2)
    loss = found.loss
    optimizer = torch.optim.Adam([p for p in loss.parameters() if p.requires_grad], lr=1e-2)
    update, batch = Update([loss], optimizer), states()
    torque = torch.rand(256, 1, generator=torch.Generator().manual_seed(2)) * 4 - 2
    over = {name: torch.ones(256, 1, dtype=torch.bool) for name in ("done", "terminated")}
    batch["action"], batch["next"] = torque, TensorDict({**states(), "reward": torque, **over}, [256])
    for _ in range(250):
        update(batch)
    own, adversary, _ = (action.detach() for action in played(found, states()))
    assert float(own.mean()) > 1.8
    assert float(adversary.mean()) < -1.8


def test_what_is_kept_of_a_step_is_what_was_executed() -> None:
    """The critics value executed actions: replaying them gives the same rewards."""
    config = ActionRobustTD3(TASK, alpha=1.0, exploration=0.0, **{**TINY, "random_steps": 0})
    training = OffPolicyTraining(config)
    training.run()
    stored = training.buffer[:]
    assert stored["action"].shape == (120, 1)
    task = gym.make(TASK).unwrapped
    for step in stored[:5]:
        cos, sin, speed = step["raw_observation"].tolist()
        task.reset()
        task.state = torch.tensor([torch.atan2(torch.tensor(sin), torch.tensor(cos)), speed]).double().numpy()  # type: ignore[attr-defined]
        observation, reward, *_ = task.step(step["action"].numpy())
        torch.testing.assert_close(torch.from_numpy(observation), step["next", "raw_observation"], atol=1e-4, rtol=1e-4)
        assert float(reward) * config.reward_scale == pytest.approx(float(step["next", "reward"]), abs=1e-4)


@pytest.mark.parametrize("game", ["noisy", "probabilistic"])
def test_the_agent_alone_comes_out(game: str) -> None:
    agent = ActionRobustTD3(TASK, game=game, **TINY).train()
    assert len(list(agent.actor.parameters())) == 6
    assert agent.act(torch.zeros(2, 3)).shape == (2, 1)


@pytest.mark.parametrize(
    ("options", "said"), [({"alpha": 1.5}, "`alpha`"), ({"game": "chess"}, "`game` must be one of")]
)
def test_arguments_are_checked(options: dict[str, Any], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        ActionRobustTD3(TASK, **options)
