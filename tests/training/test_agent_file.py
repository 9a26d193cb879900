"""Agents on disk: what is written is what is read, and nothing else is accepted."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from advwrap.training import AgentFileError, Normaliser, TrainedAgent, load_agent, save_agent
from advwrap.training.agent_networks import actor_network, critic_network


@pytest.fixture
def agent() -> TrainedAgent:
    torch.manual_seed(0)
    return TrainedAgent(
        env="InvertedPendulum-v5",
        actor=actor_network(4, 1, (8, 8)),
        critics=(critic_network(4, 1, (8, 8)), critic_network(4, 1, (8, 8))),
        normaliser=Normaliser(np.arange(4.0), np.full(4, 2.0)),
        low=torch.tensor([-3.0]),
        high=torch.tensor([3.0]),
        card={"config": {"hidden": [8, 8]}},
    )


def test_round_trip(agent: TrainedAgent, tmp_path: Path) -> None:
    save_agent(tmp_path, agent)
    read = load_agent(tmp_path)
    z, action = torch.randn(5, 4), torch.randn(5, 1)
    assert torch.equal(read.act(z), agent.act(z))
    for ours, theirs in zip(read.critics, agent.critics, strict=True):
        joined = torch.cat([z, action], 1)
        assert torch.equal(ours(joined), theirs(joined))
    np.testing.assert_array_equal(read.normaliser.mean, agent.normaliser.mean)
    assert read.env == agent.env


def test_actions_stay_within_their_limits(agent: TrainedAgent) -> None:
    actions = agent.act(1e3 * torch.randn(100, 4))
    assert bool((actions.abs() <= 3).all())
    assert actions.abs().max() > 2.9


def test_the_environment_shows_normalised_observations(agent: TrainedAgent) -> None:
    raw, _ = agent.make_env().unwrapped.reset(seed=3)
    seen, _ = agent.make_env().reset(seed=3)
    np.testing.assert_allclose(seen, (raw - np.arange(4.0)) / 2, rtol=1e-6, atol=1e-7)
    assert seen.dtype == np.float32


@pytest.mark.parametrize("file", ["agent.safetensors", "agent.json"])
def test_a_missing_file(agent: TrainedAgent, tmp_path: Path, file: str) -> None:
    save_agent(tmp_path, agent)
    (tmp_path / file).unlink()
    with pytest.raises(AgentFileError, match=r"must hold agent\.safetensors and agent\.json"):
        load_agent(tmp_path)


@pytest.mark.parametrize("damage", [b"", b"{", b"[]", b'{"env": "x"}'])
def test_a_damaged_card(agent: TrainedAgent, tmp_path: Path, damage: bytes) -> None:
    save_agent(tmp_path, agent)
    (tmp_path / "agent.json").write_bytes(damage)
    with pytest.raises(AgentFileError):
        load_agent(tmp_path)


def test_truncated_weights(agent: TrainedAgent, tmp_path: Path) -> None:
    save_agent(tmp_path, agent)
    weights = tmp_path / "agent.safetensors"
    weights.write_bytes(weights.read_bytes()[:-100])
    with pytest.raises(AgentFileError):
        load_agent(tmp_path)


def test_other_sizes_than_the_card_says(agent: TrainedAgent, tmp_path: Path) -> None:
    save_agent(tmp_path, agent)
    card = json.loads((tmp_path / "agent.json").read_text())
    card["config"]["hidden"] = [16, 16]
    (tmp_path / "agent.json").write_text(json.dumps(card))
    with pytest.raises(AgentFileError, match="size mismatch"):
        load_agent(tmp_path)
