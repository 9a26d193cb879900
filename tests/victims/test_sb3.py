"""Stable-Baselines3 models: their own numbers, on both paths, in the units of the environment."""

import gymnasium as gym
import numpy as np
import pytest
import torch
from gymnasium import spaces
from torch import nn

from advwrap import PGD, ActionShift, CrossEntropy, LinfBall, LowValue
from advwrap.victims import as_critic, as_policy

sb3 = pytest.importorskip("stable_baselines3")

FEATURES = 4


class Space(gym.Env):
    """An environment that only has spaces."""

    def __init__(self, actions, observations=None):
        self.action_space = actions
        self.observation_space = observations or spaces.Box(-np.inf, np.inf, (FEATURES,), np.float32)

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        return self.observation_space.sample(), {}


UNIT = spaces.Box(-1.0, 1.0, (2,), np.float32)
WIDE = spaces.Box(np.array([-2.0, 0.0], np.float32), np.array([2.0, 1.0], np.float32))
DISCRETE = spaces.Discrete(3)

MODELS = {
    "PPO": (sb3.PPO, UNIT),
    "PPO, discrete": (sb3.PPO, DISCRETE),
    "A2C": (sb3.A2C, UNIT),
    "SAC": (sb3.SAC, UNIT),
    "SAC in limits": (sb3.SAC, WIDE),
    "TD3": (sb3.TD3, UNIT),
    "TD3 in limits": (sb3.TD3, WIDE),
    "DDPG": (sb3.DDPG, UNIT),
    "DQN": (sb3.DQN, DISCRETE),
}
every_model = pytest.mark.parametrize("name", MODELS)
SMALL = {"buffer_size": 10}


def made(name, **policy):
    algorithm, actions = MODELS[name]
    options = SMALL if hasattr(algorithm, "load_replay_buffer") else {}
    return algorithm("MlpPolicy", Space(actions), seed=0, policy_kwargs=policy, device="cpu", **options)


def observations(rows=5):
    return torch.randn(rows, FEATURES, generator=torch.Generator().manual_seed(1))


def both(adapter, model):
    from advwrap.victims import sb3 as ours

    return [getattr(ours, adapter)(model, fast=fast) for fast in (True, False)]


@every_model
def test_both_paths_give_the_bits_of_one_policy(name):
    x, model = observations(), made(name)
    fast, slow = (policy.mean(x) for policy in both("policy_of", model))
    assert torch.equal(fast, slow)


@every_model
def test_the_action_is_what_the_model_predicts(name):
    x, model = observations(), made(name)
    mean = as_policy(model).mean(x).detach()
    action, _ = model.predict(x.numpy(), deterministic=True)
    if isinstance(model.action_space, spaces.Discrete):
        assert mean.argmax(-1).tolist() == action.tolist()
    else:
        low, high = model.action_space.low, model.action_space.high
        np.testing.assert_allclose(mean.numpy().clip(low, high), action, rtol=1e-5, atol=1e-6)


@every_model
def test_both_paths_give_the_bits_of_one_critic(name):
    x, model = observations(), made(name)
    args = (x,)
    if name[:3] in ("SAC", "TD3", "DDP"):
        args = (x, torch.as_tensor(np.stack([model.action_space.sample() for _ in x])))
    fast, slow = (critic(*args) for critic in both("critic_of", model))
    assert fast.shape[1:] == (5,)
    assert torch.equal(fast, slow)


@pytest.mark.parametrize("name", ["SAC", "TD3", "SAC in limits", "TD3 in limits"])
def test_the_critic_is_asked_for_actions_of_the_environment(name):
    x, model = observations(), made(name)
    action = torch.as_tensor(np.stack([model.action_space.sample() for _ in x]))
    scaled = torch.as_tensor(model.policy.scale_action(action.numpy()))
    critic = as_critic(model)
    torch.testing.assert_close(critic(x, action), torch.cat(model.critic(x, scaled), 1).T)
    halves = critic.apart(torch.cat([x, x + 1]), torch.cat([action, action]))
    torch.testing.assert_close(halves, torch.cat([critic(x, action)[0], critic(x + 1, action)[1]]))
    assert critic.members == 2


@pytest.mark.parametrize("name", ["PPO", "A2C", "SAC"])
def test_the_distribution_is_the_model_s(name):
    x, model = observations(), made(name)
    with torch.no_grad():
        law = as_policy(model).law(x)
        if name == "SAC":
            loc, log_std, _ = model.actor.get_action_dist_params(x)
            scale = log_std.exp()
        else:
            inner = model.policy.get_distribution(x).distribution
            loc, scale = inner.mean, inner.stddev
    assert torch.equal(law.loc, loc)
    assert torch.equal(law.scale, scale)


@every_model
def test_attacks(name):
    x, model = observations(), made(name)
    objective = CrossEntropy(model) if "D" in name[0] + name[4:] else ActionShift(model)
    seen = PGD(objective, within=LinfBall(0.3))(x)
    assert (seen != x).any(1).all()
    if name[:3] in ("SAC", "TD3", "DDP"):
        objective = LowValue(model, model)
        seen = PGD(objective, within=LinfBall(0.3), best=True)(x)
        score = objective(x)
        assert (score(seen) >= score(x)).all()


@every_model
def test_training_mode_and_gradients_stay(name):
    model = made(name)
    model.policy.set_training_mode(True)

    def trace():
        parameters = [(p.grad, p.requires_grad) for p in model.policy.parameters()]
        return [module.training for module in model.policy.modules()], parameters

    before = trace()
    PGD(ActionShift(model), within=LinfBall(0.3), steps=2)(observations())
    assert trace() == before


@pytest.mark.parametrize("name", ["PPO", "SAC", "TD3", "DQN"])
def test_dropout_makes_no_noise(name):
    class Dropping(sb3.common.torch_layers.FlattenExtractor):
        def __init__(self, space):
            super().__init__(space)
            self.dropout = nn.Dropout(0.5)

        def forward(self, x):
            return self.dropout(super().forward(x))

    model = made(name, features_extractor_class=Dropping)
    model.policy.set_training_mode(True)
    for adapted in both("policy_of", model):
        assert torch.equal(adapted.mean(observations()), adapted.mean(observations()))
    assert model.policy.training


@pytest.mark.parametrize("name", ["SAC", "TD3", "PPO", "DQN"])
def test_float64_observations(name):
    model, x = made(name), observations()
    for policy in both("policy_of", model):
        assert torch.equal(policy.mean(x.double()), policy.mean(x))


def test_other_actions_are_an_error():
    model = sb3.PPO("MlpPolicy", Space(spaces.MultiDiscrete([2, 3])), device="cpu")
    with pytest.raises(TypeError, match="Box or Discrete"):
        as_policy(model)


def test_a_q_function_without_action_is_an_error():
    with pytest.raises(ValueError, match=r"reads the action. Fix: LowValue\(policy, critic\)"):
        LowValue(value=made("SAC"))(observations())(observations())
