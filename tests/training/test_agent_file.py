"""Agents on disk: what is written is what is read, and nothing else is accepted."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from advwrap import PGD, LinfBall, LowValue, Streams
from advwrap.training import KINDS, AgentFileError, Normaliser, TrainedAgent, load_agent, save_agent
from advwrap.training.agent_networks import actor_network, critic_network
from advwrap.victims.sampling import sampled_action

SCALED = Normaliser(np.arange(4.0), np.full(4, 2.0))


def made(kind: str, normaliser: Normaliser | None = SCALED) -> TrainedAgent:
    """An agent with random weights; of three discrete actions, or of two continuous ones."""
    torch.manual_seed(0)
    low, high = (torch.zeros(3), torch.ones(3)) if kind == "categorical" else (torch.tensor([-3.0, 0.0]), torch.ones(2))
    members = 2 if KINDS[kind].values_actions else 1
    actor = KINDS[kind].actor(4, len(low), (8, 5))
    critics = tuple(KINDS[kind].critic(4, len(low), (8, 5)) for _ in range(members))
    for parameter in actor.parameters():  # biases and deviations that are not those of a new network
        parameter.data += 0.1 * torch.randn_like(parameter)
    card = {"algorithm": "mine", "policy": kind, "config": {"hidden": [8, 5]}, "history": [[10, 1.5]]}
    return TrainedAgent("InvertedPendulum-v5", actor, critics, normaliser, low, high, card)


@pytest.fixture
def agent() -> TrainedAgent:
    return made("gaussian")


@pytest.mark.parametrize("normaliser", [None, SCALED], ids=["task normalises", "normaliser"])
@pytest.mark.parametrize("kind", KINDS)
def test_round_trip(kind: str, normaliser: Normaliser | None, tmp_path: Path) -> None:
    agent = made(kind, normaliser)
    save_agent(tmp_path, agent)
    read = load_agent(tmp_path)
    assert (read.env, read.kind) == (agent.env, KINDS[kind])
    here = dict(read.card)
    assert set(here.pop("made")) == {"commit", "versions"}  # of the code that saved it first
    assert here == agent.card
    z = torch.randn(5, 4)
    assert torch.equal(read.act(z), agent.act(z))
    streams = [Streams.seeded(range(5)) for _ in "12"]
    assert torch.equal(sampled_action(read.policy, z, streams[0]), sampled_action(agent.policy, z, streams[1]))
    action = agent.policy.mean(z) if agent.kind.values_actions else None
    assert torch.equal(read.critic(z, action), agent.critic(z, action))
    assert read.critic(z, action).shape == (len(agent.critics), 5)
    assert torch.equal(read.low, agent.low)
    assert torch.equal(read.high, agent.high)
    assert not any(p.requires_grad for net in (read.actor, *read.critics) for p in net.parameters())
    if normaliser is None:
        assert read.normaliser is None
    else:
        assert read.normaliser is not None
        np.testing.assert_array_equal(read.normaliser.mean, normaliser.mean)
        np.testing.assert_array_equal(read.normaliser.std, normaliser.std)
    save_agent(tmp_path / "again", read)
    for file in ("agent.json", "agent.safetensors"):
        assert (tmp_path / "again" / file).read_bytes() == (tmp_path / file).read_bytes()


@pytest.mark.parametrize("kind", KINDS)
def test_robust_critics_are_kept(kind: str, tmp_path: Path) -> None:
    """They value actions, also of an agent whose own critics do not."""
    plain = made(kind)
    networks = tuple(KINDS[kind].of_actions.critic(4, len(plain.low), (8, 5)) for _ in "12")
    agent = replace(plain, robust_critics=networks)
    assert agent.digest() != plain.digest()
    save_agent(tmp_path, agent)
    read, z = load_agent(tmp_path), torch.randn(5, 4)
    assert read.digest() == agent.digest()
    action = agent.act(z)
    assert torch.equal(read.robust_critic(z, action), agent.robust_critic(z, action))
    assert read.robust_critic(z, action).shape == (2, 5)
    assert not torch.equal(read.robust_critic(z, action)[0], read.robust_critic(z, action)[1])
    assert len(read.critics) == len(plain.critics)
    with pytest.raises(ValueError, match=r"`robust_critic` needs robust critics, .*Fix: fit_robust_critic"):
        plain.robust_critic(z, action)


def test_files_of_the_first_version_are_read(tmp_path: Path) -> None:
    """Before there were kinds: two critics, a normaliser, no word on the policy."""
    actor, critics = actor_network(4, 1, (8,)), [critic_network(4, 1, (8,)) for _ in "12"]
    tensors = {f"actor.0.{layer}.{name}": p for layer in (0, 2) for name, p in actor[0][layer].named_parameters()}
    for i, critic in enumerate(critics):
        tensors |= {f"critic.{i}.{name}": p for name, p in critic.named_parameters()}
    tensors |= {"low": -torch.ones(1), "high": torch.ones(1)}
    tensors |= {"mean": torch.arange(4.0).double(), "std": 2 * torch.ones(4).double()}
    save_file({name: value.detach() for name, value in tensors.items()}, tmp_path / "agent.safetensors")
    card = {"format": 1, "env": "Pendulum-v1", "config": {"hidden": [8]}, "temperature": 0.1}
    (tmp_path / "agent.json").write_text(json.dumps(card))
    read, z = load_agent(tmp_path), torch.randn(5, 4)
    assert torch.equal(read.act(z), actor(z)[0].tanh())
    joined = torch.cat([z, read.act(z)], 1)
    assert torch.equal(read.critic(z, read.act(z)), torch.stack([critic(joined)[:, 0] for critic in critics]))
    assert read.normaliser is not None
    assert read.normaliser.std.tolist() == [2.0] * 4


@pytest.mark.parametrize("kind", ["gaussian", "deterministic", "free-scale"])
def test_actions_stay_within_their_limits(kind: str) -> None:
    agent = made(kind)
    actions = agent.act(1e3 * torch.randn(100, 4))
    assert bool(((actions >= agent.low) & (actions <= agent.high)).all())
    assert torch.equal(actions.amin(0).round(decimals=1), agent.low) or kind == "free-scale"


def test_a_discrete_agent_takes_the_index_of_the_likeliest_action() -> None:
    z = torch.randn(50, 3)
    actor = torch.nn.Linear(3, 3, bias=False).requires_grad_(False)
    actor.weight.copy_(torch.eye(3))
    agent = replace(made("categorical"), actor=actor)
    assert torch.equal(agent.act(z), z.argmax(-1))


def test_a_free_scale_is_that_of_its_parameter_and_its_mean_is_clipped() -> None:
    agent = made("free-scale")
    loc, scale = agent.actor  # type: ignore[misc]
    loc[-1].bias.data[:] = torch.tensor([-4.0, 0.5])
    scale.state_independent_scale.data[:] = torch.tensor([-0.5, -100.0])
    z = torch.randn(2_000, 4)
    assert agent.policy.mean(z)[:, 0].max() < -3
    assert torch.equal(agent.act(z), torch.maximum(torch.minimum(loc(z), agent.high), agent.low))
    drawn = sampled_action(agent.policy, z, Streams.seeded(range(2_000))) - loc(z)
    assert drawn.std(0)[0].item() == pytest.approx(np.exp(-0.5), rel=0.1)
    # As while it was trained, the deviation is never less than TorchRL's least.
    assert drawn.std(0)[1].item() == pytest.approx(1e-4, rel=0.1)


def test_pgd_lowers_the_value_that_a_state_critic_gives_what_is_seen() -> None:
    agent, ball, z = made("free-scale"), LinfBall(0.2), torch.randn(64, 4)
    attacked = PGD(agent.low_value, within=ball, steps=5)(z)
    before, after = agent.critic(z)[0], agent.critic(attacked)[0]
    assert (after < before).all()
    # One step to the vertex against the gradient is the first-order drop eps |dV/ds|_1; PGD is about that good.
    x = z.clone().requires_grad_()
    (slope,) = torch.autograd.grad(agent.critic(x).sum(), x)
    assert ((before - after) > 0.8 * 0.2 * slope.abs().sum(1)).float().mean() > 0.8


def test_low_value_of_action_critics_is_that_of_the_policys_action() -> None:
    agent, z = made("gaussian"), torch.randn(5, 4)
    x = z + 0.1
    q = agent.critic(z, agent.policy.mean(x)).mean(0)
    torch.testing.assert_close(agent.low_value(z)(x), -q)


def test_a_state_critic_does_not_value_actions() -> None:
    agent, z = made("free-scale"), torch.zeros(1, 4)
    with pytest.raises(ValueError, match=r"Q\(s, a\).*agent\.low_value"):
        LowValue(agent.policy, agent.critic)(z)(z)


def test_the_environment_shows_normalised_observations(agent: TrainedAgent) -> None:
    raw, _ = agent.make_env().unwrapped.reset(seed=3)
    seen, _ = agent.make_env().reset(seed=3)
    np.testing.assert_allclose(seen, (raw - np.arange(4.0)) / 2, rtol=1e-6, atol=1e-7)
    assert seen.dtype == np.float32
    plain, _ = replace(agent, normaliser=None).make_env().reset(seed=3)
    np.testing.assert_array_equal(plain, raw)


def test_a_policy_of_normalised_observations_as_one_of_the_tasks_own() -> None:
    agent, raw = made("free-scale"), torch.randn(5, 4, dtype=torch.float64)
    own = SCALED.before(agent.policy)
    z = torch.from_numpy(SCALED(raw.numpy()))
    assert torch.equal(own.mean(raw), agent.policy.mean(z))
    assert torch.equal(own.law(raw).scale, agent.policy.law(z).scale)  # type: ignore[attr-defined]
    streams = [Streams.seeded(range(5)) for _ in "12"]
    assert torch.equal(sampled_action(own, raw, streams[0]), sampled_action(agent.policy, z, streams[1]))


@pytest.mark.parametrize("env", ["Match (no id)", "no/such-v0", "NoSuch-v0"])
def test_without_an_id_only_the_task_cannot_be_made(env: str, tmp_path: Path) -> None:
    agent = replace(made("free-scale", None), env=env)
    save_agent(tmp_path, agent)
    read = load_agent(tmp_path)
    assert torch.equal(read.act(torch.ones(2, 4)), agent.act(torch.ones(2, 4)))
    with pytest.raises(ValueError, match="`env` must be the id of a task"):
        read.make_env()


def test_a_card_without_sizes_is_not_written(agent: TrainedAgent, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="hidden"):
        save_agent(tmp_path, replace(agent, card={}))
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("file", ["agent.safetensors", "agent.json"])
def test_a_missing_file(agent: TrainedAgent, tmp_path: Path, file: str) -> None:
    save_agent(tmp_path, agent)
    (tmp_path / file).unlink()
    with pytest.raises(
        AgentFileError, match=rf"must hold agent\.safetensors and agent\.json .*: {file} is missing\. Fix"
    ):
        load_agent(tmp_path)


def test_a_missing_folder(tmp_path: Path) -> None:
    with pytest.raises(AgentFileError, match=r"of a trained agent: agent\.json is missing\. Fix: advwrap train"):
        load_agent(tmp_path / "nothing")


@pytest.mark.parametrize(
    ("damage", "said"),
    [
        ("", "Expecting value"),
        ("{", "Expecting property name"),
        ("[]", "'str' object"),
        ('"agent"', "'str' object"),
        ('{"env": "x"}', "there is no 'format'"),
        ('{"format": 2, "env": "x"}', "`format` must be 1, got 2"),
        ('{"format": 1, "config": {"hidden": [8, 5]}}', "there is no 'env'"),
        ('{"format": 1, "env": "x", "config": {}}', "there is no 'hidden'"),
        ('{"format": 1, "env": "x", "config": {"hidden": [8, 5]}, "policy": "x"}', "must be one of gaussian, "),
        ('{"format": 1, "env": "x", "config": {"hidden": [16, 5]}}', "size mismatch"),
        ('{"format": 1, "env": "x", "config": {"hidden": [8, 5]}, "policy": "free-scale"}', "Missing key"),
    ],
)
def test_a_damaged_card(agent: TrainedAgent, tmp_path: Path, damage: str, said: str) -> None:
    save_agent(tmp_path, agent)
    (tmp_path / "agent.json").write_text(damage)
    with pytest.raises(AgentFileError, match=said):
        load_agent(tmp_path)


@pytest.mark.parametrize("kind", KINDS)
def test_truncated_weights(kind: str, tmp_path: Path) -> None:
    save_agent(tmp_path, made(kind))
    weights = tmp_path / "agent.safetensors"
    weights.write_bytes(weights.read_bytes()[:-100])
    with pytest.raises(AgentFileError):
        load_agent(tmp_path)


@pytest.mark.parametrize("prefix", ["actor", "critic.0", "low", "high", "std"])
@pytest.mark.parametrize("kind", ["gaussian", "free-scale"])
def test_weights_that_lack_a_part(kind: str, prefix: str, tmp_path: Path) -> None:
    save_agent(tmp_path, made(kind))
    weights = tmp_path / "agent.safetensors"
    left = {name: value for name, value in load_file(weights).items() if not name.startswith(prefix)}
    save_file(left, weights)
    if (kind, prefix) == ("free-scale", "critic.0"):  # its only one: an agent without critics is one, too
        assert load_agent(tmp_path).critics == ()
    else:
        with pytest.raises(AgentFileError, match=r"there is no|Missing key"):
            load_agent(tmp_path)
