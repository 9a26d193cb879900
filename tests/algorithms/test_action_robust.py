"""NR-MDP and PR-MDP: what is executed, who is trained which way, and what comes out."""

from __future__ import annotations

from typing import Any

import gymnasium as gym
import pytest
import torch
from tensordict import TensorDict
from tensordict.nn import TensorDictSequential

from advwrap.algorithms import ActionRobustTD3
from advwrap.algorithms.action_robust import Shared
from advwrap.algorithms.defence import Learner
from advwrap.algorithms.off_policy_training import OffPolicyTraining
from advwrap.training.update import Update
from advwrap.victims.tensordict_critic import LossCritic

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


def test_who_steers_has_every_actuator() -> None:
    """Of three a row has all of the adversary's or none, in a quarter of the rows."""
    mixed = Shared("probabilistic", 0.25)(torch.zeros(4000, 3), torch.ones(4000, 3))
    assert torch.equal(mixed, mixed[:, :1].expand(-1, 3))
    assert float(mixed[:, 0].mean()) == pytest.approx(0.25, abs=0.03)


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


WITHOUT_CHANCE = pytest.mark.parametrize(
    ("game", "alpha"), [("noisy", 0.25), ("probabilistic", 0.0), ("probabilistic", 1.0)]
)
"""(1 - alpha) a + alpha a~ is executed in each of them."""


def attacked_steps(rows: int = 32) -> TensorDict:
    """States that nobody has seen as they are, and others that follow; some steps end their episode."""
    generator = torch.Generator().manual_seed(3)

    def drawn(size: int) -> torch.Tensor:
        return torch.randn(rows, size, generator=generator)

    now, after = ({"observation": drawn(3), "clean_observation": drawn(3)} for _ in "12")
    ended = torch.arange(rows).unsqueeze(1) % 4 == 0
    after |= {"reward": drawn(1), "terminated": ended, "done": ended}
    return TensorDict({**now, "action": 2 * drawn(1).tanh(), "next": TensorDict(after, [rows])}, [rows])


def executed(players: TensorDictSequential, part: TensorDict, alpha: float) -> torch.Tensor:
    """The agent sees what the batch shows, the adversary the truth."""
    network, to_box, adversary, _ = players
    own = to_box.module(network.module(part["observation"]))
    return (1 - alpha) * own + alpha * adversary.module(part["clean_observation"])


@WITHOUT_CHANCE
def test_the_target_is_of_what_both_target_players_execute_next(game: str, alpha: float) -> None:
    """r + gamma (1 - terminated) min_j Q_j'(s', mix(mu'(s'), nu'(s')))."""
    found, batch = learner(game=game, alpha=alpha, gamma=0.9, target_noise=0.0), attacked_steps()
    loss = found.loss
    for params in (loss.target_actor_network_params, loss.target_qvalue_network_params):
        for name, value in params.data.flatten_keys().items():
            if name.endswith(("weight", "bias")):  # the limits of the actions are here too
                value.add_(0.5 * torch.randn_like(value))
    following = batch["next"]
    with torch.no_grad(), loss.target_actor_network_params.to_module(loss.actor_network):
        action = executed(loss.actor_network, following, alpha)
    assert not torch.allclose(action, executed(found.explore[0], following, alpha))  # of the live players
    value = LossCritic(loss, target=True)(following["clean_observation"], action).amin(0)
    target = following["reward"][:, 0] + 0.9 * (~following["terminated"][:, 0]) * value
    error = LossCritic(loss)(batch["clean_observation"], batch["action"]) - target
    torch.testing.assert_close(loss(batch)["loss_qvalue"].detach(), error.square().sum(0).mean())


@WITHOUT_CHANCE
def test_both_players_gradients_are_of_the_present_state(game: str, alpha: float) -> None:
    """The agent's is that of -Q_1(s, mix(mu(s), nu(s))), the adversary's its opposite. Tessler et al.'s code takes the
    actions of the next state.
    """
    found, batch = learner(game=game, alpha=alpha), attacked_steps()
    players = found.explore[0]
    own, adversary = list(found.actor.parameters()), list(players[2].parameters())
    action = executed(players, batch, alpha)
    lost = -LossCritic(found.loss, member=0)(batch["clean_observation"], action).mean()
    expected = torch.autograd.grad(lost, [*own, *adversary])
    gradients = torch.autograd.grad(found.loss(batch)["loss_actor"], [*own, *adversary])
    for i, (gradient, hand) in enumerate(zip(gradients, expected, strict=True)):
        torch.testing.assert_close(gradient, hand if i < len(own) else -hand)
    assert any(gradient.abs().max() > 1e-3 for gradient in gradients)


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
