"""A training as JSON and back."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import gymnasium as gym
import pytest
import torch

from advwrap.algorithms import PPO, SAC, Alternating, OffPolicy, ValtSoft, preset
from advwrap.algorithms.presets import NAMES
from advwrap.algorithms.recipe import from_json, to_json, with_options
from advwrap.cli.train import train
from advwrap.training import load_agent
from advwrap.wrappers import PAAD, SARL


@pytest.mark.parametrize("name", NAMES)
def test_there_and_back(name: str) -> None:
    env = "CartPole-v1" if "discrete" in name else "HalfCheetah-v5"
    config = preset(name, env, seed=3, checkpoint_every=7)
    assert from_json(to_json(config)) == config


def test_kinds_without_fields_differ() -> None:
    saboteurs: list[OffPolicy] = [SAC("Ant-v5", Alternating(0.1, kind=kind)) for kind in (SARL(), PAAD())]
    assert to_json(saboteurs[0]) != to_json(saboteurs[1])
    pair = SAC("Ant-v5", ValtSoft(0.1, temperature=(9.0, 1.0)))
    assert from_json(to_json(pair)) == pair


def test_an_agents_file_trains_it_again(tmp_path: Path) -> None:
    config = preset("valt-eps", "Pendulum-v1", steps=80, random_steps=40, hidden=(8,), batch_size=8, seed=5)
    first = tmp_path / "first.json"
    first.write_text(to_json(config))
    train(like=first, out=tmp_path / "a")
    train(like=tmp_path / "a" / "agent.json", out=tmp_path / "b")
    one, two = (load_agent(tmp_path / name) for name in "ab")
    assert one.digest() == two.digest()
    assert one.card["kept"] == 80
    train(like=tmp_path / "a" / "agent.json", seed=(6,), out=tmp_path / "c")
    assert load_agent(tmp_path / "c").digest() != one.digest()
    parts = one.policy.mean(torch.zeros(1, 3)), load_agent(tmp_path / "c").policy.mean(torch.zeros(1, 3))
    assert not torch.equal(*parts)


def test_a_function_cannot_be_written() -> None:
    """Its name is, and says so when it is read; it is not taken for the id of a task."""

    def make() -> gym.Env[Any, Any]:
        return gym.make("Pendulum-v1")

    with pytest.raises(ValueError, match="make is a function of its author's"):
        from_json(to_json(PPO(make)))


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('{"type": "Sac"}', "`type` must be one of SAC"),
        ('{"type": "ValtEps", "epsilon": 0.1}', "must describe a training"),
        ('{"type": "SAC", "env": "Ant-v5", "speed": 3}', "`SAC` has no speed"),
        ('{"type": "SAC", "env": "Ant-v5", "tau": 3}', "`tau` must be in"),
        ("[1]", "must describe a training"),
        ('{"type": "PPO", "env": {"function": "make"}}', "make is a function of its author's"),
    ],
)
def test_what_is_none_of_ours(text: str, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        from_json(text)
    json.loads(text)


def test_options_change_what_they_name() -> None:
    config = SAC("Ant-v5", Alternating(0.1, kind=PAAD()))
    options = ["batch_size=64", "defence.epsilon=0.2", "defence.adversary.minibatches=2", "huber=true", "device=cuda"]
    changed = with_options(config, options)
    assert changed == SAC(
        "Ant-v5",
        Alternating(0.2, replace(Alternating(0.1).adversary, minibatches=2), PAAD()),
        batch_size=64,
        huber=True,
        device="cuda",
    )
    assert with_options(config, []) == config


@pytest.mark.parametrize(
    ("option", "said"),
    [
        ("steps", "`set` must be NAME=VALUE, got 'steps'"),
        ("warp=3", "must name a field of the training, got 'warp'. Fix: env, defence.epsilon, "),
        ("batchsize=3", "must name a field of the training, got 'batchsize'. Fix: batch_size."),
        ("defence.speed=3", "must name a field of the training, got 'defence.speed'"),
        ("steps.type=3", "must name a field of the training, got 'steps.type'"),
        ("defence.type=SAC", "must name a field of the training, got 'defence.type'"),
        ("tau=3", "`tau` must be in"),
        ("defence.epsilon=-1", "`epsilon` must be > 0"),
    ],
)
def test_options_that_mean_nothing(option: str, said: str) -> None:
    with pytest.raises(ValueError, match=re.escape(said)):
        with_options(SAC("Ant-v5", ValtSoft(0.1, temperature=1.0)), [option])
