"""Faults that look back, in every framework: against lists of what was commanded and executed."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import pytest
import torch
from gymnasium import spaces
from gymnasium.vector import AutoresetMode, SyncVectorEnv
from pettingzoo.utils import parallel_to_aec

from advwrap import (
    PGD,
    AdversarialAction,
    AdversarialObs,
    After,
    Delay,
    Gain,
    Gated,
    L2Ball,
    LinfBall,
    LowValue,
    Noise,
    OverHorizon,
    RandomVertex,
    Stuck,
)
from advwrap.evaluation.fault_makers import FAULTS as FAULTS_BY_RADIUS
from advwrap.targets import worst_action
from tests.wrappers.environments import Discrete, Still, StillTogether, Walk

EPISODES, STEPS = 3, 3
FAULTS = {
    "delay": Delay(1, initial=-1.0),
    "long delay": Delay(2),
    "stuck": Gated(Stuck(), After(1)),
    "stuck on what was executed": Gated(Stuck(features=[0, 2]), After(1)),
}


Command = Callable[[int, int], np.ndarray]


def command(episode: int, step: int) -> np.ndarray:
    return (np.array([1.0, 2.0, 3.0, 4.0]) * (episode + 1) + 10 * step) / 64


def allowed(episode: int, step: int) -> np.ndarray:
    return np.array([0.1, -0.5, 0.9, 0.0]) / (1 + episode) - 0.1 * step


def expected(name: str) -> list[list[np.ndarray]]:
    """By lists, without any of our machinery."""
    episodes = []
    for episode in range(EPISODES):
        commands = [command(episode, step) for step in range(STEPS)]
        executed: list[np.ndarray] = []
        for step, now in enumerate(commands):
            if name == "delay":
                x = commands[step - 1] if step >= 1 else np.full(4, -1.0)
            elif name == "long delay":
                x = commands[step - 2] if step >= 2 else np.zeros(4)
            elif name == "stuck":
                x = executed[-1] if step >= 1 else now
            else:
                x = np.where([True, False, True, False], executed[-1], now) if step >= 1 else now
            executed.append(x)
        episodes.append(executed)
    return episodes


def single(attack: Any, command: Command = command) -> list[list[Any]]:
    env, played = AdversarialAction(Still(), attack), []
    for episode in range(EPISODES):
        env.reset(seed=0 if episode == 0 else None)
        played.append([env.step(command(episode, step))[-1]["executed_action"] for step in range(STEPS)])
    return played


def vector(attack: Any, command: Command = command, *, mode: AutoresetMode) -> list[list[Any]]:
    envs, played = AdversarialAction(SyncVectorEnv([Still] * 2, autoreset_mode=mode), attack), []
    envs.reset(seed=[1, 0])
    for episode in range(EPISODES):
        both = [np.stack([command(episode, step)] * 2) for step in range(STEPS)]
        played.append([envs.step(actions)[-1]["executed_action"][1] for actions in both])
        if mode is AutoresetMode.NEXT_STEP:
            envs.step(both[0])
        if mode is AutoresetMode.DISABLED:
            envs.reset(options={"reset_mask": np.ones(2, np.bool_)})
    return played


def together(attack: Any, command: Command = command) -> list[list[Any]]:
    env, played = AdversarialAction(StillTogether(2), attack), []
    for episode in range(EPISODES):
        env.reset(seed=0 if episode == 0 else None)
        played.append([])
        for step in range(STEPS):
            actions = {"agent_0": command(episode, step), "agent_1": -command(episode, step)}
            *_, infos = env.step(actions)
            played[-1].append(infos["agent_0"]["executed_action"])
    return played


def in_turns(attack: Any, command: Command = command) -> list[list[Any]]:
    env, played = AdversarialAction(parallel_to_aec(StillTogether(2)), attack), []
    for episode in range(EPISODES):
        env.reset(seed=0 if episode == 0 else None)
        played.append([])
        for step in range(STEPS):
            for agent in ("agent_0", "agent_1"):
                env.step(command(episode, step) * (1 if agent == "agent_0" else -1))
                if agent == "agent_0":
                    played[-1].append(env.infos["agent_0"]["executed_action"])
    return played


def torchrl(attack: Any, command: Command = command) -> list[list[Any]]:
    envs = pytest.importorskip("torchrl.envs")
    env, played = AdversarialAction(envs.GymWrapper(Still()), attack), []
    env.set_seed(0)
    for episode in range(EPISODES):
        data = env.reset()
        played.append([])
        for step in range(STEPS):
            data["action"] = torch.from_numpy(command(episode, step))
            data = env.step(data)
            played[-1].append(data["executed_action"].numpy())
            data = data["next"]
    return played


PLAYERS = {
    "gymnasium": single,
    **{f"vector {mode.name}": partial(vector, mode=mode) for mode in AutoresetMode},
    "parallel": together,
    "AEC": in_turns,
    "TorchRL": torchrl,
}


@pytest.mark.parametrize("player", PLAYERS)
@pytest.mark.parametrize("name", FAULTS)
def test_against_lists(name: str, player: str) -> None:
    np.testing.assert_array_equal(PLAYERS[player](FAULTS[name]), expected(name))


def lowest(observation: torch.Tensor, action: torch.Tensor) -> torch.Tensor:
    """Its minimum in a ball is a vertex, its gradient depends on the action."""
    return (action * torch.tensor([1.0, -2.0, 3.0, 0.5]).to(action) + 0.1 * action**2).sum(-1) + observation.sum(-1)


SUITE = {name: make(0.25) for name, make in FAULTS_BY_RADIUS.items()}
SEARCHES = {
    "random": Noise(LinfBall(0.3)),
    "vertex": RandomVertex(LinfBall(0.3)),
    "worst action": worst_action(lowest, within=LinfBall(0.3)),
    "myopic (MAS)": PGD(LowValue(critic=lowest), within=L2Ball(0.3)),
    "over a horizon (LAS)": PGD(LowValue(critic=lowest), within=OverHorizon(L2Ball(0.3), 2)),
}


@pytest.mark.parametrize("player", PLAYERS)
@pytest.mark.parametrize("name", [*SUITE, *SEARCHES])
def test_the_same_in_every_framework(name: str, player: str) -> None:
    """What the suites of evaluation play; inside the box, and not what was commanded."""
    attack = {**SUITE, **SEARCHES}[name]
    executed = np.array(PLAYERS[player](attack, allowed))
    np.testing.assert_allclose(executed, np.array(single(attack, allowed)), atol=1e-12)
    intended = np.array([[allowed(episode, step) for step in range(STEPS)] for episode in range(EPISODES)])
    assert np.abs(executed).max() <= 1
    assert name == "stuck" or not np.array_equal(executed, intended)  # it is stuck after a hundred steps


def test_late_sensors() -> None:
    """On observations the same faults are those of sensors; the truth stays in the info."""
    env = AdversarialObs(Walk(length=5, reuse=False), Delay(1, initial=0.0))
    first, info = env.reset(seed=0)
    assert not first.any()
    for _ in range(4):
        truth = info["clean_observation"]
        seen, *_, info = env.step(np.zeros(2, np.float32))
        np.testing.assert_array_equal(seen, truth)


def test_late_sensors_in_turns() -> None:
    env = AdversarialObs(parallel_to_aec(StillTogether(2)), Gated(Gain(0.0), After(1)))
    late = AdversarialObs(parallel_to_aec(StillTogether(2)), Delay(1, initial=7.0))
    env.reset(seed=0), late.reset(seed=0)
    assert late.last()[0].tolist() == [7.0] * 4
    assert late.last()[0].tolist() == [7.0] * 4  # asking again is no step
    for _ in range(2):
        late.step(np.zeros(4))
    assert not late.last()[0].any()


def test_late_indices() -> None:
    env = AdversarialAction(Discrete(spaces.Discrete(4)), Delay(1))
    env.reset(seed=0)
    assert [int(env.step(a)[-1]["executed_action"]) for a in (3, 1, 2)] == [0, 3, 1]


@pytest.mark.parametrize("name", FAULTS)
def test_a_saved_environment_remembers(name: str) -> None:
    env, twin = (AdversarialAction(Still(), FAULTS[name]) for _ in "12")
    env.reset(seed=0), twin.reset(seed=5)
    env.step(command(0, 0)), twin.unwrapped.step(command(0, 0))
    twin.load_state_dict(env.state_dict())
    for step in (1, 2):
        told = [e.step(command(0, step))[-1]["executed_action"] for e in (env, twin)]
        np.testing.assert_array_equal(*told)
        np.testing.assert_array_equal(told[0], expected(name)[0][step])


def test_a_saved_torchrl_environment_remembers() -> None:
    envs = pytest.importorskip("torchrl.envs")
    env, twin = (AdversarialAction(envs.GymWrapper(Still()), FAULTS["long delay"]) for _ in "12")
    data = [e.reset() for e in (env, twin)]
    for step in range(STEPS):
        if step == 1:
            twin.load_state_dict(env.state_dict())
        for d in data:
            d["action"] = torch.from_numpy(command(0, step))
        done = [e.step(d) for e, d in zip((env, twin), data, strict=True)]
        np.testing.assert_array_equal(*(d["executed_action"].numpy() for d in done))
        data = [d["next"] for d in done]


def test_rows_that_end_forget_alone() -> None:
    envs = AdversarialAction(
        SyncVectorEnv([lambda: Walk(length=2), lambda: Walk(length=9)], autoreset_mode=AutoresetMode.SAME_STEP),
        Delay(1, initial=0.5),
    )
    envs.reset(seed=0)
    told = [envs.step(np.full((2, 2), a, np.float32))[-1]["executed_action"][:, 0].tolist() for a in (0.1, 0.2, 0.3)]
    np.testing.assert_allclose(told, [[0.5, 0.5], [0.1, 0.1], [0.5, 0.2]], rtol=1e-6)
