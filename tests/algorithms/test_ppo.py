"""PPO: the same seed gives the same agent, every update happens, and it learns what is known to be best."""

import random
from functools import partial

import gymnasium as gym
import numpy as np
import pytest
import torch
from gymnasium import spaces

from advwrap import AdversarialObs, LinfBall, Noise, RandomVertex
from advwrap.algorithms.oa_ppo import RobustAdvantage
from advwrap.algorithms.ppo import PPO
from advwrap.algorithms.ppo_training import PPOTraining
from advwrap.testing.contracts.rules import global_randomness_untouched
from advwrap.training.agent_file import load_agent, save_agent
from advwrap.training.normaliser import Normaliser
from advwrap.training.running_rows import Running
from advwrap.training.update import Update
from advwrap.wrappers import SARLAttacker


class Match(gym.Env):
    """The best action is twice the observation: the reward is minus the squared distance from it."""

    observation_space = spaces.Box(-np.inf, np.inf, (2,), np.float32)
    action_space = spaces.Box(-3.0, 3.0, (2,), np.float32)

    def __init__(self, length=8, terminates=False, reward=None):
        self.length, self.terminates, self.reward = length, terminates, reward

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.t = 0
        return self._look(), {}

    def step(self, action):
        self.t += 1
        reward = -float(((action - 2 * self.seen) ** 2).sum()) if self.reward is None else self.reward
        over = self.t >= self.length
        return self._look(), reward, over and self.terminates, over and not self.terminates, {}

    def _look(self):
        self.seen = self.np_random.uniform(-1, 1, 2).astype(np.float32)
        return self.seen.copy()


SHORT = {"steps": 256, "envs": 2, "horizon": 32, "epochs": 2, "minibatches": 4}


def weights(agent):
    return torch.cat([p.flatten() for net in (agent.actor, *agent.critics) for p in net.parameters()])


def test_the_seed_decides_and_nothing_else():
    torch.manual_seed(1)
    random.seed(1)
    with global_randomness_untouched():
        one = PPO(Match, **SHORT).train()
    torch.manual_seed(2)
    np.random.seed(3)  # noqa: NPY002
    other, another = PPO(Match, **SHORT).train(), PPO(Match, **SHORT, seed=1).train()
    assert torch.equal(weights(one), weights(other))
    assert one.card["history"] == other.card["history"]
    assert not torch.equal(weights(one), weights(another))


def test_it_learns_the_best_action():
    config = PPO(Match, steps=12_000, envs=8, horizon=64, epochs=6, minibatches=8, learning_rate=3e-3, gamma=0.5)
    agent = config.train()
    x = torch.rand(500, 2, generator=torch.Generator().manual_seed(0)) * 2 - 1
    assert (agent.act(x) - 2 * x).square().mean() < 0.05  # the mean square of 2 x is 4 / 3
    assert agent.policy.law(x).scale.max() < 0.7
    history = agent.card["history"]
    assert history[-1][1] > 0.3 * history[0][1]
    assert [frames for frames, _ in history] == list(range(512, 12_289, 512))


@pytest.mark.parametrize(("terminates", "value"), [(False, 2.0), (True, 1.25)])
def test_a_time_limit_is_no_end(terminates, value):
    """Reward 1 for ever is worth 2 at gamma = 1/2; with a real end after two steps, 3/2 and 1, so 5/4 on average."""
    agent = PPO(
        lambda: Match(length=2, terminates=terminates, reward=1.0),
        steps=6_000,
        envs=4,
        horizon=32,
        epochs=4,
        minibatches=4,
        learning_rate=1e-3,
        gamma=0.5,
        anneal=False,
        scale_rewards=False,
    ).train()
    assert agent.critics[0](torch.zeros(1, 2)).item() == pytest.approx(value, abs=0.1)


def test_every_minibatch_of_every_epoch_is_an_update(monkeypatch):
    seen = []
    step = Update.step
    monkeypatch.setattr(Update, "step", lambda self, t, b: (seen.append(len(b)), step(self, t, b))[1])
    PPO(Match, **SHORT).train()
    assert seen == [16] * (4 * 2 * 4)


def test_steps_are_rounded_up_to_whole_rounds_and_reported():
    units, watched = [], []
    agent = PPO(Match, **{**SHORT, "steps": 200}).train(
        advance=units.append, watch=lambda frames, agent: watched.append((frames, weights(agent))), watch_every=128
    )
    assert units == [64] * 4
    assert [frames for frames, _ in watched] == [128, 256]
    assert torch.equal(watched[-1][1], weights(agent))
    assert not torch.equal(watched[0][1], weights(agent))


def test_the_agent_is_a_frozen_copy():
    watched = []
    last = PPO(Match, **SHORT).train(
        watch=lambda _, agent: watched.append((agent, weights(agent).clone())), watch_every=128
    )
    for agent, then in watched:
        assert torch.equal(weights(agent), then)
        assert not any(p.requires_grad for net in (agent.actor, *agent.critics) for p in net.parameters())
    assert not torch.equal(watched[0][1], weights(last))


@pytest.mark.parametrize(
    ("env", "wrap", "made_again"),
    [
        ("Pendulum-v1", None, True),
        ("Pendulum-v1", partial(AdversarialObs, attack=Noise(LinfBall(0.1))), True),
        ("Pendulum-v1", partial(SARLAttacker, victim=torch.nn.Linear(3, 1), within=LinfBall(0.1)), False),
        (Match, None, False),
        (partial(Match, length=2), None, False),
    ],
)
def test_an_agent_is_saved_and_its_task_is_made_again_where_it_has_an_id(env, wrap, made_again, tmp_path):
    agent = PPO(env, wrap=wrap, **{**SHORT, "steps": 64}).train()
    save_agent(tmp_path, agent)
    read = load_agent(tmp_path)
    assert {name: value for name, value in read.card.items() if name != "made"} == agent.card
    assert torch.equal(weights(read), weights(agent))
    if made_again:
        space = read.make_env().action_space
        np.testing.assert_array_equal(read.high, space.high)
    else:
        with pytest.raises(ValueError, match="no id"):
            read.make_env()
        assert read.act(torch.zeros(4, read.actor[0][0].in_features)).shape == (4, len(read.low))


def test_the_steps_shrink_to_nothing():
    """Annealed, the last rounds hardly move the weights; constant, they do."""

    def last_move(anneal):
        seen = []
        config = PPO(Match, **{**SHORT, "steps": 64 * 20}, anneal=anneal)
        config.train(watch=lambda _, agent: seen.append(weights(agent)), watch_every=64)
        return ((seen[-1] - seen[-2]).norm() / (seen[1] - seen[0]).norm()).item()

    assert last_move(True) < 0.2
    assert last_move(False) > 0.3


def test_the_two_networks_have_their_own_learning_rates():
    """A rate that is next to nothing leaves the value network where it began."""
    first = PPO(Match, **{**SHORT, "steps": 1, "horizon": 2, "envs": 2}, learning_rate=1e-12).train()
    slow = PPO(Match, **SHORT, value_learning_rate=1e-12).train()
    for net, other, moved in ((slow.critics[0], first.critics[0], False), (slow.actor[0], first.actor[0], True)):
        same = torch.allclose(net[0].weight, other[0].weight, atol=1e-7)
        assert same is not moved


def test_long_gradients_are_shortened():
    free, held = (PPO(Match, **SHORT, max_grad_norm=limit, learning_rate=1e-3).train() for limit in (None, 1e-9))
    assert not torch.equal(weights(free), weights(held))


def test_under_attack_the_policy_sees_the_perturbed_and_the_value_the_truth():
    """With a vertex of full size as noise the sign of x is lost on the actor, but not on the critic."""

    class Sign(Match):
        def step(self, action):
            self.t += 1
            reward, over = float(self.seen[0]), self.t >= self.length
            return self._look(), reward, False, over, {}

    agent = PPO(
        Sign,
        wrap=lambda envs: AdversarialObs(envs, RandomVertex(LinfBall(5.0))),
        steps=8_000,
        envs=8,
        horizon=32,
        epochs=6,
        minibatches=4,
        learning_rate=3e-3,
        gamma=0.01,
        scale_rewards=False,
    ).train()
    x = torch.zeros(2, 2)
    x[:, 0] = torch.tensor([0.8, -0.8])
    assert agent.critics[0](x).squeeze(1).tolist() == pytest.approx([0.8, -0.8], abs=0.25)


def test_observations_are_normalised_beneath_the_attack():
    z = Normaliser(np.array([10.0, -10.0]), np.array([0.01, 0.01]))
    seen = []

    def spy(clean, *, context=None, bounds=None, generator=None):
        seen.append(clean)
        return clean.clone()

    agent = PPO(Match, wrap=lambda envs: AdversarialObs(envs, spy), normaliser=z, **SHORT).train()
    assert all((rows[:, 0] < -800).all() and (rows[:, 1] > 800).all() for rows in seen)
    assert agent.normaliser is z


def test_running_statistics_are_frozen_in_the_agent_and_the_radius_is_in_their_units():
    class Far(Match):
        def _look(self):
            return super()._look() * 5 + 100

    seen = []

    def spy(clean, *, context=None, bounds=None, generator=None):
        seen.append(clean.clone())
        return clean.clone()

    agent = PPO(Far, wrap=lambda envs: AdversarialObs(envs, spy), normaliser=Running(), **SHORT).train()
    # Uniform in [-5, 5] around 100: standard deviation 10 / sqrt(12).
    np.testing.assert_allclose(agent.normaliser.mean, [100, 100], atol=1)
    np.testing.assert_allclose(agent.normaliser.std, [10 / 12**0.5] * 2, rtol=0.1)
    late = torch.cat(seen[-50:])
    assert (late.mean(0).abs() < 0.3).all()
    assert ((late.std(0) - 1).abs() < 0.2).all()


def test_an_attacker_of_a_discrete_victim_has_box_actions():
    wrap = partial(SARLAttacker, victim=torch.nn.Linear(4, 2), within=LinfBall(0.1))
    agent = PPO("CartPole-v1", wrap=wrap, **SHORT).train()
    assert agent.act(torch.zeros(1, 4)).shape == (1, 4)


@pytest.mark.parametrize(
    "options",
    [
        {"anneal": True},
        {"anneal": False},
        {"advantage": RobustAdvantage(0.2, updates=4, batch_size=16, ramp=(0.0, 0.5), adversarial_ratio=0.5)},
    ],
)
def test_a_training_goes_on_from_its_state_bit_for_bit(options, tmp_path):
    """Poles fall at different times: the state is taken in the middle of episodes."""

    def training():
        torch.manual_seed(0)
        wrap = partial(AdversarialObs, attack=Noise(LinfBall(0.1)))
        task = "InvertedDoublePendulum-v5"
        return PPOTraining(PPO(task, wrap=wrap, normaliser=Running(), **options, **{**SHORT, "envs": 3, "horizon": 20}))

    def rounds(training, number):
        torch.manual_seed(7)
        for _ in range(number):
            training.round()
        return training

    whole = rounds(training(), 3)
    torch.save(whole.state_dict(), tmp_path / "state.pt")
    rounds(whole, 2)
    other = training()
    for part in (other.loss, other.running.normaliser):
        for value in part.state_dict().values():
            value.fill_(3.0)
    other.load_state_dict(torch.load(tmp_path / "state.pt", weights_only=True))
    rounds(other, 2)
    assert len(whole.history) == 5
    assert other.history == whole.history
    assert other.frames == whole.frames == 300
    for ours, theirs in ((other.loss, whole.loss), (other.running.normaliser, whole.running.normaliser)):
        for name, value in ours.state_dict().items():
            assert torch.equal(value, theirs.state_dict()[name]), name


@pytest.mark.slow
def test_compiled_updates_are_the_same():
    # One round: afterwards rounding has changed the actions.
    config = {**SHORT, "steps": 64, "learning_rate": 1e-3}
    eager, compiled = (PPO(Match, **config, compile=compiled).train() for compiled in (False, True))
    torch.testing.assert_close(weights(eager), weights(compiled), rtol=0, atol=2e-5)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"steps": 0}, "`steps`"),
        ({"minibatches": 3}, "`minibatches` must divide"),
        ({"gamma": 1.5}, "`gamma`"),
        ({"clip": 0.0}, "`clip`"),
        ({"entropy": -1.0}, "`entropy`"),
        ({"seed": -1}, "`seed`"),
    ],
)
def test_bad_numbers(options, message):
    with pytest.raises(ValueError, match=message):
        PPO(Match, **{**SHORT, **options})


def test_bad_tasks():
    with pytest.raises(ValueError, match="`env`"):
        PPO(**SHORT).train()
    with pytest.raises(TypeError, match="box actions"):
        PPO("CartPole-v1", **SHORT).train()
    with pytest.raises(TypeError, match="vector observations"):
        PPO("FrozenLake-v1", **SHORT).train()


def test_noise_changes_the_training():
    plain = PPO(Match, **SHORT).train()
    noisy = PPO(Match, wrap=lambda envs: AdversarialObs(envs, Noise(LinfBall(0.5))), **SHORT).train()
    assert not torch.equal(weights(plain), weights(noisy))
