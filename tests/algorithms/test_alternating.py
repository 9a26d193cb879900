"""An agent and its adversary learn in turns: in the right proportion, and without a trace in each other."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from types import SimpleNamespace
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
import torch
from gymnasium import spaces
from hypothesis import given
from hypothesis import strategies as st
from tensordict import TensorDict

from advwrap import PGD, Attack, LinfBall, LowValue, Noise
from advwrap.algorithms import PPO, SAC, TD3, Alternating, preset
from advwrap.algorithms.alternating import Turns
from advwrap.algorithms.learned_agent import network
from advwrap.algorithms.off_policy import OffPolicy
from advwrap.algorithms.off_policy_training import OffPolicyTraining
from advwrap.evaluation import evaluate
from advwrap.testing.contracts.rules import assert_untouched, snapshot
from advwrap.victims import as_policy
from advwrap.wrappers import PAAD, SARL

TASK = "InvertedDoublePendulum-v5"
SHORT = PPO(envs=2, horizon=16, epochs=2, minibatches=2)
TINY: dict[str, Any] = {"steps": 200, "random_steps": 40, "hidden": (8, 8), "batch_size": 8, "frames_per_batch": 20}


@dataclass
class Counting:
    """A training that only counts."""

    batch: int
    frames: int = 0

    @property
    def config(self) -> Any:
        return SimpleNamespace(batch=self.batch)

    def round(self) -> None:
        self.frames += self.batch


@given(
    ratio=st.floats(0.01, 20),
    batch=st.integers(1, 5_000),
    chunks=st.lists(st.integers(1, 5_000), min_size=1, max_size=20),
)
def test_the_adversary_is_never_a_batch_behind_nor_ahead(ratio: float, batch: int, chunks: list[int]) -> None:
    training, frames = Counting(batch), 0
    turns = Turns(training, ratio)  # type: ignore[arg-type]
    for chunk in chunks:
        frames += chunk
        turns(frames, TensorDict)
        assert ratio * frames - batch < training.frames <= ratio * frames


@pytest.mark.parametrize(
    ("env", "rounds", "numbers"),
    [  # Table 4: rounds of 2048 steps in the whole training; kappa_reg, learning rates, entropy
        ("HalfCheetah-v5", 2441, (30.0, 3e-5, 1e-5, 1e-3)),
        ("Hopper-v5", 2441, (300.0, 3e-5, 3e-6, 1e-3)),
        ("Walker2d-v5", 2441, (10.0, 3e-3, 1e-3, 3e-3)),
        ("Ant-v5", 4882, (30.0, 1e-4, 1e-5, 1e-3)),
    ],
)
@pytest.mark.parametrize(("name", "kind"), [("alternating", SARL()), ("pa-alternating", PAAD())])
def test_the_numbers_of_table_4(
    name: str, kind: object, env: str, rounds: int, numbers: tuple[float, float, float, float]
) -> None:
    config = preset(f"{name}-sac", env)
    defence = config.defence
    assert isinstance(defence, Alternating)
    ppo = defence.adversary
    assert (defence.regulariser, ppo.learning_rate, ppo.value_learning_rate, ppo.entropy) == numbers
    assert (defence.kind, defence.adversarial_ratio) == (kind, 0.5)
    assert defence.epsilon == preset("robust", env).defence.epsilon  # type: ignore[attr-defined]
    counting = Counting(ppo.batch)
    Turns(counting, defence.adversary_steps)(config.steps, TensorDict)  # type: ignore[arg-type]
    assert (ppo.batch, counting.frames // ppo.batch) == (2048, rounds)
    assert preset({"alternating": "sac-ppo", "pa-alternating": "pa-sac-ppo"}[name], env) == config


class Bandit(gym.Env[Any, Any]):
    """The reward is s_0 (u_0 - u_1): the best perturbation turns the sign of what the agent sees of s_0."""

    observation_space = spaces.Box(-np.inf, np.inf, (2,), np.float32)
    action_space = spaces.Box(-1.0, 1.0, (2,), np.float32)

    def reset(self, *, seed: int | None = None, options: Any = None) -> tuple[Any, dict[str, Any]]:
        super().reset(seed=seed)
        self.t = 0
        return self._look(), {}

    def step(self, action: Any) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        self.t += 1
        reward = float(self.seen[0] * (action[0] - action[1]))
        return self._look(), reward, False, self.t >= 8, {}

    def _look(self) -> Any:
        self.seen = self.np_random.uniform(-1, 1, 2).astype(np.float32)
        return self.seen.copy()


@pytest.fixture
def bandit() -> Iterator[str]:
    """Its id."""
    name = "advwrap/Bandit-v0"
    gym.register(name, entry_point=Bandit)
    yield name
    gym.registry.pop(name)


def set_up(config: OffPolicy) -> tuple[OffPolicyTraining, Any]:
    """A training that has not begun, and the adversary's."""
    training = OffPolicyTraining(config)
    return training, training.hardening.parts["adversary"]


@pytest.mark.parametrize(("kind", "share"), [(SARL(), 0.8), (PAAD(steps=3), 0.4)], ids=["SA-RL", "PA-AD"])
def test_the_adversary_takes_most_of_what_can_be_taken(kind: Any, share: float, bandit: str) -> None:
    """Against an agent that stands still and does what is best: u = tanh(s_1 +- 2 s_0)."""
    ppo = PPO(envs=32, horizon=16, epochs=4, minibatches=4, learning_rate=1e-2, gamma=0.1)
    config = SAC(bandit, Alternating(0.5, ppo, kind, adversary_steps=1.0), **{**TINY, "hidden": (4,), "steps": 6_144})
    training, adversary = set_up(config)
    first, last = network(training.learner)[0][0], network(training.learner)[0][2]  # type: ignore[index]
    with torch.no_grad():
        # relu(x) - relu(-x) = x
        first.weight.copy_(torch.tensor([[1.0, 0.0], [-1.0, 0.0], [0.0, 1.0], [0.0, -1.0]]))
        last.weight[:2] = torch.tensor([[2.0, -2.0, 1.0, -1.0], [-2.0, 2.0, 1.0, -1.0]])
        last.weight[2:] = 0.0
        first.bias.zero_()
        last.bias.copy_(torch.tensor([0.0, 0.0, -3.0, -3.0]))
    training.normaliser.update(torch.tensor([[-1.0, -1.0], [1.0, 1.0]]))
    assert training.hardening.after is not None
    training.hardening.after(config.steps, TensorDict)
    agent = training.agent()
    ball = LinfBall(0.5)
    found = kind.attack(adversary.actor, agent.policy, within=ball)
    # The reward depends on this step alone: the worst attack lowers it as much as possible.
    worst = PGD(LowValue(agent.policy, lambda obs, act: obs[:, 0] * (act[:, 0] - act[:, 1])), within=ball, steps=10)

    def mean(attack: Attack | None) -> float:
        return evaluate(agent.act, agent.make_env, attack, episodes=40, seed=3, advance=lambda n: None).mean_return

    natural, noisy, learned, best = (mean(attack) for attack in (None, Noise(ball), found, worst))
    assert natural - learned > share * (natural - best)
    assert natural - noisy < 0.3 * (natural - best)


@pytest.mark.parametrize("kind", [SARL(), PAAD()], ids=["SA-RL", "PA-AD"])
@pytest.mark.parametrize("learner", [SAC, TD3])
def test_a_round_leaves_the_agent_as_it_is_and_an_update_the_adversary(learner: type[OffPolicy], kind: Any) -> None:
    training, adversary = set_up(learner(TASK, Alternating(0.1, SHORT, kind, regulariser=1.0), **TINY))
    training.normaliser.update(torch.randn(50, 9))
    agent = [training.learner.loss, training.learner.actor, training.normaliser, *training.hardening.losses]
    before, own = snapshot(agent), [p.clone() for p in adversary.loss.parameters()]
    adversary.round()
    assert_untouched(agent, before)
    assert all(p.grad is None for module in agent for p in module.parameters())
    assert all(not torch.equal(p, old) for p, old in zip(adversary.loss.parameters(), own, strict=True))

    def raw() -> torch.Tensor:
        return torch.randn(8, 9)

    flags = {name: torch.zeros(8, 1, dtype=torch.bool) for name in ("done", "terminated")}
    following = TensorDict({"raw_observation": raw(), "reward": torch.randn(8, 1), **flags}, [8])
    batch = TensorDict({"raw_observation": raw(), "action": torch.rand(8, 1) * 2 - 1, "next": following}, [8])
    for p in adversary.loss.parameters():
        p.grad = None
    before = snapshot([adversary.loss])
    own = [p.clone() for p in training.update.params]
    training.update(batch)
    assert_untouched([adversary.loss], before)
    assert all(p.grad is None for p in adversary.loss.parameters())
    assert any(not torch.equal(p, old) for p, old in zip(training.update.params, own, strict=True))


def test_the_victim_and_its_statistics_are_the_present_ones() -> None:
    """The victim that acts in the adversary's environments: after its weights and its normaliser have changed."""
    training, adversary = set_up(TD3(TASK, Alternating(0.1, SHORT), **TINY))
    envs = adversary.env.envs
    rows = np.zeros((2, 9), np.float32)
    for bias, shift in ((0.3, 5.0), (-0.7, 50.0)):
        with torch.no_grad():
            last = network(training.learner)[-1]  # type: ignore[index]
            last.weight.zero_()
            last.bias.fill_(bias)
        training.normaliser.update(torch.randn(100, 9) + shift)
        seen, _, _, _, infos = envs.step(rows)
        torch.testing.assert_close(torch.tensor(infos["victim_action"]), torch.full((2, 1), np.tanh(bias)))
        truth = np.stack([task.unwrapped._get_obs() for task in adversary.tasks])
        expected = training.normaliser(torch.tensor(truth)).numpy()
        np.testing.assert_allclose(seen, expected, rtol=1e-5)


def test_a_whole_training_keeps_the_proportion_and_counts_its_own_steps_only() -> None:
    training, adversary = set_up(SAC(TASK, Alternating(0.1, SHORT, adversary_steps=3.1), **{**TINY, "steps": 100}))
    turns, seen = training.hardening.after, []

    def watched(new: int) -> None:
        seen.append((training.trainer.collected_frames, adversary.frames))

    training.advance = watched
    training.run()
    assert isinstance(turns, Turns)
    assert seen == [(t, int(3.1 * t) // 32 * 32) for t in range(20, 101, 20)]
    resets = sum(task._episode for task in training.tasks)
    assert 100 < training.normaliser.count <= 100 + resets < adversary.frames
    assert sum(task._episode for task in adversary.tasks) > 2


def test_the_batches_and_the_behaviour_suffer_samples_of_the_adversary() -> None:
    """Its mean and its spread, in units of the radius, at root and next."""
    training, adversary = set_up(SAC(TASK, Alternating(0.2, SHORT), **TINY))
    with torch.no_grad():
        adversary.policy[-1].weight.zero_()
        adversary.policy[-1].bias.copy_(torch.linspace(-0.4, 0.4, 9))
        adversary.scale.state_independent_scale.fill_(np.log(0.1))
    batch = TensorDict({"observation": torch.randn(4_000, 9)}, [4_000])
    batch["next"] = batch.clone()
    out = training.hardening.perturb(batch)  # type: ignore[misc]
    for part in (out, out["next"]):
        push = (part["observation"] - part["clean_observation"]) / 0.2
        torch.testing.assert_close(push.mean(0), torch.linspace(-0.4, 0.4, 9), atol=0.01, rtol=0)
        torch.testing.assert_close(push.std(0), torch.full((9,), 0.1), atol=0.01, rtol=0)
    assert not torch.equal(out["observation"], out["next", "observation"])


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda: Alternating(0.0), "`epsilon` must be > 0"),
        (lambda: Alternating(0.1, adversary_steps=0.0), "`adversary_steps` must be > 0"),
        (lambda: Alternating(0.1, adversarial_ratio=1.5), "`adversarial_ratio`"),
        (lambda: Alternating(0.1, PPO("Pendulum-v1")), "`adversary` must leave `env`"),
        (lambda: Alternating(0.1, PPO(wrap=lambda envs: envs)), "`adversary` must leave `wrap`"),
    ],
)
def test_bad_numbers(make: Any, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        make()


@pytest.mark.slow
@pytest.mark.parametrize("kind", [SARL(), PAAD()], ids=["SA-RL", "PA-AD"])
def test_the_compiled_update_is_the_eager_one(kind: Any) -> None:
    """Also after a round: the graph reads the present adversary."""
    config = SAC(TASK, Alternating(0.1, SHORT, kind), **TINY)
    (eager, ours), (compiled, theirs) = (set_up(replace(config, compile=c)) for c in (False, True))
    generator = torch.Generator().manual_seed(0)

    def normal(*shape: int) -> torch.Tensor:
        return torch.randn(*shape, generator=generator)

    flags = {name: torch.zeros(8, 1, dtype=torch.bool) for name in ("done", "terminated")}
    following = TensorDict({"raw_observation": normal(8, 9), "reward": normal(8, 1), **flags}, [8])
    batch = TensorDict({"raw_observation": normal(8, 9), "action": normal(8, 1).tanh(), "next": following}, [8])
    for _ in range(2):
        found = []
        for training in (eager, compiled):
            torch.manual_seed(1)
            found.append(training.update(batch))
        torch.testing.assert_close(found[0].to_dict(), found[1].to_dict(), rtol=1e-4, atol=1e-5)
        for training in (ours, theirs):
            with torch.no_grad():
                training.policy[-1].bias.fill_(0.9)
                training.scale.state_independent_scale.fill_(-3.0)


def test_the_policy_of_the_attack_is_the_live_one() -> None:
    _, adversary = set_up(SAC(TASK, Alternating(0.2, SHORT), **TINY))
    policy = as_policy(adversary.actor)
    x = torch.randn(3, 9)
    before = policy.mean(x)
    adversary.round()
    assert not torch.equal(policy.mean(x), before)
    torch.testing.assert_close(policy.mean(x), adversary.policy(x))
