"""Agents with a Gaussian policy: their files, their limits, their task."""

import json

import gymnasium as gym
import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from advwrap.training.agent_file import AgentFileError
from advwrap.training.gaussian_agent import GaussianAgent, tanh_mlp
from advwrap.training.normaliser import Normaliser
from advwrap.victims.sampling import sampled_action


def agent(normaliser=None, env="Pendulum-v1"):
    torch.manual_seed(0)
    return GaussianAgent.copied(
        tanh_mlp(3, 1, (8, 5)),
        torch.tensor([-0.5]),
        tanh_mlp(3, 1, (4,)),
        low=np.array([-0.1], np.float32),
        high=np.array([0.2], np.float32),
        normaliser=normaliser,
        card={"algorithm": "PPO", "config": {"env": env}, "history": [(10, 1.5)]},
    )


@pytest.mark.parametrize("normaliser", [None, Normaliser(np.arange(3.0), np.ones(3) / 3)])
def test_what_was_saved_is_read_back_bit_for_bit(tmp_path, normaliser):
    one = agent(normaliser)
    one.save(tmp_path)
    other = GaussianAgent.load(tmp_path)
    x = torch.randn(5, 3)
    assert torch.equal(one.act(x), other.act(x))
    assert torch.equal(one.value(x), other.value(x))
    assert torch.equal(one.log_std, other.log_std)
    assert other.card == one.card
    observation = one.make_env().reset(seed=0)[0]
    np.testing.assert_array_equal(observation, other.make_env().reset(seed=0)[0])
    assert (normaliser is None) == np.array_equal(observation, gym.make("Pendulum-v1").reset(seed=0)[0])


def test_the_action_is_the_mean_within_the_limits():
    one, x = agent(), 100 * torch.randn(200, 3)
    mean = one.mean(x)
    assert (mean.abs() > 0.2).any()
    assert torch.equal(one.act(x), mean.clamp(-0.1, 0.2))
    from advwrap import Streams

    sample = sampled_action(one.policy, x, Streams.seeded(range(200)))
    assert (sample - mean).std().item() == pytest.approx(np.exp(-0.5), rel=0.2)


def test_it_is_a_frozen_copy():
    net = tanh_mlp(3, 1, (4,))
    copied = GaussianAgent.copied(net, torch.zeros(1), net, low=[-1.0], high=[1.0], card={"config": {}})
    before = copied.act(torch.ones(1, 3))
    with torch.no_grad():
        net[0].weight += 1
    assert torch.equal(copied.act(torch.ones(1, 3)), before)
    assert not any(p.requires_grad for p in copied.mean.parameters())


def test_orthogonal_weights():
    net = tanh_mlp(6, 2, (6,), last=0.01)
    torch.testing.assert_close(net[0].weight @ net[0].weight.T, 2 * torch.eye(6), atol=1e-5, rtol=0)
    torch.testing.assert_close(net[2].weight @ net[2].weight.T, 1e-4 * torch.eye(2), atol=1e-9, rtol=0)


@pytest.mark.parametrize("damage", ["missing", "text", "kind", "tensors"])
def test_a_damaged_folder_is_an_error_that_says_so(tmp_path, damage):
    agent().save(tmp_path)
    card = tmp_path / "agent.json"
    if damage == "missing":
        (tmp_path / "agent.safetensors").unlink()
    elif damage == "text":
        card.write_text("{")
    elif damage == "kind":
        card.write_text(json.dumps({**json.loads(card.read_text()), "kind": "other"}))
    else:
        save_file({"log_std": torch.zeros(1)}, tmp_path / "agent.safetensors")
    with pytest.raises(AgentFileError, match="must hold"):
        GaussianAgent.load(tmp_path)


def test_a_task_without_an_id_cannot_be_made_again():
    for env in (None, "no/such-v0"):
        with pytest.raises(ValueError, match="registered"):
            agent(env=env).make_env()
