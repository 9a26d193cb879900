"""Robust Sarsa: the two losses by hand, what each critic learns, the schedule and the scan."""

import gymnasium as gym
import numpy as np
import pytest
import torch
from tensordict import TensorDict
from torch import nn
from torch.nn import functional as F
from torchrl.modules import MLP, ValueOperator

from advwrap import PGD, LinfBall, LowValue
from advwrap.bounds import Box, ValueBounds
from advwrap.losses import (
    RobustSarsa,
    SarsaTraining,
    ShuffledSarsa,
    fit_robust_sarsa,
    lowest_over_scan,
    sarsa_batches,
    scan_robust_sarsa,
    with_next_action,
)
from advwrap.losses.fit_sarsa import _network
from advwrap.sets import Linear
from advwrap.testing.contracts import LossContract
from advwrap.testing.contracts.rules import global_randomness_untouched
from advwrap.victims import Gaussian, as_critic

FEATURES, ACTIONS, ROWS, GAMMA = 3, 2, 9, 0.9
KINDS = [RobustSarsa, ShuffledSarsa]


def draw(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def batch():
    ended = torch.zeros(ROWS, 1, dtype=torch.bool)
    ended[::4] = True
    after = {"observation": draw(ROWS, FEATURES, seed=1), "action": draw(ROWS, ACTIONS, seed=2)}
    after |= {"reward": draw(ROWS, 1, seed=3), "terminated": ended, "done": ended | (draw(ROWS, 1, seed=4) > 0.5)}
    now = {"observation": draw(ROWS, FEATURES, seed=5), "action": draw(ROWS, ACTIONS, seed=6)}
    return TensorDict({**now, "next": TensorDict(after, [ROWS])}, [ROWS])


def mlp(seed=0, cells=(8,)):
    net = MLP(FEATURES + ACTIONS, 1, num_cells=list(cells), activation_class=nn.Tanh)
    for i, p in enumerate(net.parameters()):
        p.data.copy_(0.5 * draw(*p.shape, seed=100 * seed + i))
    return net


def q(net):
    return ValueOperator(net, in_keys=["observation", "action"])


def test_the_temporal_difference():
    """Huber of Q(s, a) - (r + gamma (1 - terminated) Q(s', a')): the pair that followed, and no other end."""
    net, data = mlp(), batch()
    out = RobustSarsa(q(net), eps=0.1, coefficient=0.0, gamma=GAMMA)(data)
    after = data["next"]
    value, following = (net(part["observation"], part["action"]).squeeze(-1) for part in (data, after))
    target = after["reward"][:, 0] + GAMMA * (~after["terminated"][:, 0]) * following
    torch.testing.assert_close(out["loss_sarsa"], F.smooth_l1_loss(value, target))
    by_hand = torch.autograd.grad(F.smooth_l1_loss(value, target.detach()), list(net.parameters()))
    for ours, theirs in zip(torch.autograd.grad(out["loss_sarsa"], list(net.parameters())), by_hand, strict=True):
        torch.testing.assert_close(ours, theirs)
    torch.testing.assert_close(out["sarsa_value"], value.detach().mean())
    torch.testing.assert_close(out["sarsa_spread"], value.detach().std())
    assert out["loss_interval"] == 0


def test_the_shuffled_variant():
    """The reference: row i is bootstrapped with row i + 1, and "done" ends it."""
    net, data = mlp(), batch()
    out = ShuffledSarsa(q(net), eps=0.1, coefficient=0.0, gamma=GAMMA)(data)
    value = net(data["observation"], data["action"]).squeeze(-1)
    reward, going = data["next", "reward"][:, 0], ~data["next", "done"][:, 0]
    target = torch.stack([reward[i] + GAMMA * going[i] * value[i + 1] for i in range(ROWS - 1)])
    torch.testing.assert_close(out["loss_sarsa"], F.smooth_l1_loss(value[:-1], target))
    by_hand = torch.autograd.grad(F.smooth_l1_loss(value[:-1], target.detach()), list(net.parameters()))
    for ours, theirs in zip(torch.autograd.grad(out["loss_sarsa"], list(net.parameters())), by_hand, strict=True):
        torch.testing.assert_close(ours, theirs)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("eps", [0.0, 0.3])
def test_the_interval_term_of_a_linear_critic(kind, eps):
    """lambda (eps ||v||_1)^2, v the weights of the actions; of the states too in the reference's variant."""
    net = mlp(cells=())
    out = kind(q(net), eps=eps, coefficient=2.0)(batch())
    weights = net[0].weight[0] if kind is ShuffledSarsa else net[0].weight[0, FEATURES:]
    torch.testing.assert_close(out["loss_interval"], 2.0 * (eps * weights.abs().sum()).square(), rtol=1e-4, atol=1e-10)


@pytest.mark.parametrize("kind", KINDS)
def test_the_interval_term_of_a_network(kind):
    net, data = mlp(), batch()
    s, a = data["observation"], data["action"]
    out = kind(q(net), eps=0.2, coefficient=3.0)(data)
    states = Box(s - 0.2, s + 0.2) if kind is ShuffledSarsa else s
    low, high = (end[0] for end in ValueBounds(net)(states, Box(a - 0.2, a + 0.2)))
    value = net(s, a).squeeze(-1)
    by_hand = 3.0 * torch.maximum(high - value, value - low).square().mean()
    torch.testing.assert_close(out["loss_interval"], by_hand)
    for ours, theirs in zip(
        torch.autograd.grad(out["loss_interval"], list(net.parameters())[:-1]),
        torch.autograd.grad(by_hand, list(net.parameters())[:-1]),
        strict=True,
    ):
        torch.testing.assert_close(ours, theirs)
        assert ours.abs().sum() > 0


@pytest.mark.parametrize("kind", KINDS)
def test_a_stack_is_its_members(kind):
    nets = [mlp(seed) for seed in range(3)]
    eps, reg = torch.tensor([0.0, 0.1, 0.4]), torch.tensor([1.0, 2.0, 0.5])
    stacked = kind([q(net) for net in nets], eps=eps, coefficient=reg, gamma=GAMMA)
    out = stacked(batch())
    alone = [
        kind(q(net), eps=float(e), coefficient=float(c), gamma=GAMMA)(batch())
        for net, e, c in zip(nets, eps, reg, strict=True)
    ]
    for name in ("loss_sarsa", "loss_interval"):
        torch.testing.assert_close(out[name], sum(one[name] for one in alone))
    for name in ("sarsa_value", "sarsa_spread"):
        torch.testing.assert_close(out[name], sum(one[name] for one in alone) / 3)
    torch.autograd.backward(out["loss_sarsa"] + out["loss_interval"])
    torch.autograd.backward(sum(one["loss_sarsa"] + one["loss_interval"] for one in alone))
    grads = TensorDict.from_dict({name: p.grad for name, p in stacked.qvalue_network_params.flatten_keys(".").items()})
    for i, net in enumerate(nets):
        for name, p in net.named_parameters():
            torch.testing.assert_close(grads[f"module.{name}"][i], p.grad)


def test_schedules():
    eps, reg = Linear(0.0, 0.4, steps=4), Linear(0.0, 2.0, steps=4)
    loss = RobustSarsa(q(mlp()), eps=eps, coefficient=reg)
    assert loss(batch())["loss_interval"] == 0
    eps.advance(2), reg.advance(2)
    fixed = RobustSarsa(q(mlp()), eps=0.2, coefficient=1.0)
    torch.testing.assert_close(loss(batch())["loss_interval"], fixed(batch())["loss_interval"])


class TestContract(LossContract):
    kind = RobustSarsa

    def make_loss(self):
        return self.kind(q(mlp()), eps=0.1, coefficient=1.0)

    def make_batch(self):
        return batch()


class TestContractOfTheShuffledVariant(TestContract):
    kind = ShuffledSarsa


# What the critics learn ----------------------------------------------------------------------------------------------


def chain(count=2048, seed=0):
    """A line: s' = 0.9 s + 0.3 a + noise, r = s, a ~ N(-s / 2, 0.5^2); Q is linear and known."""
    generator = np.random.default_rng(seed)
    s = np.zeros(count + 1)
    a = np.zeros(count + 1)
    a[0] = generator.normal(0, 0.5)
    for t in range(count):
        s[t + 1] = 0.9 * s[t] + 0.3 * a[t] + generator.normal(0, 0.2)
        a[t + 1] = -s[t + 1] / 2 + generator.normal(0, 0.5)
    s, a = (torch.as_tensor(x, dtype=torch.float32).unsqueeze(1) for x in (s, a))
    never = torch.zeros(count, 1, dtype=torch.bool)
    after = {"observation": s[1:], "action": a[1:], "reward": s[:-1], "terminated": never, "done": never}
    return TensorDict({"observation": s[:-1], "action": a[:-1], "next": TensorDict(after, [count])}, [count])


def known(gamma):
    """Q = p s + q a:  p = 1 + gamma 0.9 w, q = gamma 0.3 w with the value w s of a state, w = p - q / 2."""
    w = 1 / (1 - gamma * (0.9 - 0.15))
    return 1 + gamma * 0.9 * w, gamma * 0.3 * w


SHORT = SarsaTraining(iterations=6, epochs=3, minibatches=16, learning_rate=3e-3, gamma=0.8, hidden=(32,))


def slopes(critic):
    """The derivatives of Q with respect to state and action, near 0."""
    x = torch.zeros(1, 1, requires_grad=True), torch.zeros(1, 1, requires_grad=True)
    return torch.autograd.grad(critic(*x).sum(), x)


def test_sarsa_learns_the_value_and_the_variant_does_not():
    batches = [chain(seed=seed) for seed in range(6)]
    true = slopes(fit_robust_sarsa(batches, eps=0.0, reg=0.0, training=SHORT))
    p, q_ = known(0.8)
    torch.testing.assert_close(torch.stack(true).flatten(), torch.tensor([p, q_]), rtol=0.1, atol=0.05)
    # The reward of one step is s, whatever is done.
    shuffled = slopes(fit_robust_sarsa(batches, eps=0.0, reg=0.0, kind=ShuffledSarsa, training=SHORT))
    torch.testing.assert_close(torch.stack(shuffled).flatten(), torch.tensor([1.0, 0.0]), rtol=0.1, atol=0.1)


def test_the_regulariser_flattens_the_critic():
    batches = [chain(seed=seed) for seed in range(6)]
    critics = scan_robust_sarsa(batches, eps=[0.5], reg=[0.0, 0.3, 10.0], training=SHORT)
    free, some, flat = (float(slopes(critics[0.5, reg])[1].abs()) for reg in (0.0, 0.3, 10.0))
    assert free > 1.2 * some > 1.5 * flat


def test_a_scan_is_its_runs():
    """Each critic learns what it would learn alone: Adam works number by number."""
    batches = [chain(256, seed=seed) for seed in range(3)]
    short = SarsaTraining(iterations=3, epochs=2, minibatches=4, hidden=(8,))
    both = scan_robust_sarsa(batches, eps=[0.1, 0.3], reg=[1.0], training=short, seed=4)
    first = scan_robust_sarsa(batches, eps=[0.1], reg=[1.0], training=short, seed=4)
    # The order of the minibatches is drawn after the weights of all networks, so draws differ: compare with one network
    # whose neighbour changes nothing.
    again = scan_robust_sarsa(batches, eps=[0.1, 0.7], reg=[1.0], training=short, seed=4)
    x = draw(5, 1, seed=1), draw(5, 1, seed=2)
    torch.testing.assert_close(both[0.1, 1.0](*x), again[0.1, 1.0](*x))
    assert not torch.equal(both[0.3, 1.0](*x), again[0.7, 1.0](*x))
    assert list(first) == [(0.1, 1.0)]


def test_the_same_seed_gives_the_same_critic():
    batches = [chain(128, seed=seed) for seed in range(2)]
    short = SarsaTraining(iterations=2, epochs=1, minibatches=4, hidden=(8,))
    with global_randomness_untouched():
        a, b, c = (fit_robust_sarsa(batches, training=short, seed=seed) for seed in (1, 1, 2))
    x = draw(5, 1, seed=1), draw(5, 1, seed=2)
    assert torch.equal(a(*x), b(*x))
    assert not torch.equal(a(*x), c(*x))
    assert not any(p.requires_grad for p in a.parameters())


def test_the_schedule():
    plan = SarsaTraining()
    assert [plan.learning_rate_factor(i) for i in (0, 20, 25, 29)] == [1.0, 1.0, 0.5, 0.1]
    growth, seen = plan.growth(), []
    for _ in range(30):
        seen.append(growth())
        growth.advance(320)
    assert seen[:11] == [0.0] * 11
    assert seen[15] == pytest.approx(0.5)
    assert seen[20:] == [1.0] * 10


def test_the_radius_of_every_update():
    """0 in the first third, growing in the second, full in the last, for each member its own."""
    seen = []

    class Recording(RobustSarsa):
        def forward(self, tensordict):
            seen.append(self.eps().tolist())
            return super().forward(tensordict)

    plan = SarsaTraining(iterations=3, epochs=2, minibatches=4, hidden=(4,))
    scan_robust_sarsa([chain(16)] * 3, eps=[0.1, 0.2], reg=[1.0], kind=Recording, training=plan)
    first, second = (torch.tensor(x) for x in zip(*seen, strict=True))
    torch.testing.assert_close(second, 2 * first)
    assert (first[:8] == 0).all()
    assert (first[8:15].diff() > 0).all()
    assert first[15:].tolist() == pytest.approx([0.1] * 9)


def test_the_rate_of_every_update(monkeypatch):
    seen, step = [], torch.optim.Adam.step

    def spied(self, *arguments):
        seen.append(self.param_groups[0]["lr"])
        return step(self, *arguments)

    monkeypatch.setattr(torch.optim.Adam, "step", spied)
    plan = SarsaTraining(iterations=6, epochs=1, minibatches=2, learning_rate=1e-3, hidden=(4,))
    fit_robust_sarsa([chain(16)] * 6, training=plan)
    assert seen == pytest.approx([1e-3] * 10 + [5e-4] * 2)


def test_the_initial_weights_of_the_reference():
    """Orthogonal: columns of length sqrt(2), and one of length 1 at the end; no bias."""
    network = _network(23, (64, 64), torch.Generator().manual_seed(0))
    first, second, last = (layer for layer in network if isinstance(layer, nn.Linear))
    torch.testing.assert_close(first.weight.T @ first.weight, 2 * torch.eye(23), rtol=0, atol=1e-5)
    torch.testing.assert_close(second.weight.T @ second.weight, 2 * torch.eye(64), rtol=0, atol=1e-5)
    torch.testing.assert_close(last.weight @ last.weight.T, torch.ones(1, 1))
    assert all(layer.bias.eq(0).all() for layer in (first, second, last))


def test_the_attack_lowers_the_value():
    """The critic is what `LowValue` takes, and its attack finds the action that it dislikes."""
    policy = nn.Linear(1, 1)
    batches = [chain(seed=seed) for seed in range(6)]
    critic = fit_robust_sarsa(batches, training=SHORT)
    s = draw(20, 1)
    seen = PGD(LowValue(policy, critic), within=LinfBall(0.1), steps=10, step_size=0.1, random_start=0.1)(s)
    value = as_critic(critic)
    assert (value(s, policy(seen)) < value(s, policy(s))).all()


def test_the_lowest_over_the_scan():
    critics = {(0.1, 1.0): nn.Linear(1, 1), (0.2, 1.0): nn.Linear(2, 1), (0.3, 1.0): nn.Linear(3, 1)}
    found = lowest_over_scan(critics, lambda critic: float((critic.in_features - 2) ** 2))
    assert found.settings == (0.2, 1.0)
    assert found.value == 0
    assert found.values == {(0.1, 1.0): 1.0, (0.2, 1.0): 0.0, (0.3, 1.0): 1.0}
    with pytest.raises(ValueError, match="`critics` must hold at least one critic"):
        lowest_over_scan({}, lambda critic: 0.0)


def test_mistakes():
    short = SarsaTraining(iterations=3, epochs=1, minibatches=2)
    with pytest.raises(ValueError, match="one batch for each of 3 iterations, got 2"):
        fit_robust_sarsa([chain(8), chain(8)], training=short)
    with pytest.raises(ValueError, match="`epochs` must be >= 1, got 0"):
        SarsaTraining(epochs=0)
    with pytest.raises(ValueError, match="`eps` and `reg` must each hold a number"):
        scan_robust_sarsa([chain(8)], eps=[], training=short)
    with pytest.raises(ValueError, match="`gamma` must be in"):
        RobustSarsa(q(mlp()), eps=0.1, coefficient=1.0, gamma=2.0)
    with pytest.raises(ValueError, match="`frames` must be a multiple of `num_envs`, got 7 and 2"):
        next(sarsa_batches(Counting, lambda s: s, frames=7, num_envs=2))


# The transitions -----------------------------------------------------------------------------------------------------


class Counting(gym.Env):
    """Observation: (start, steps so far); reward: the action; ends after 3 steps, by a time limit on odd starts."""

    observation_space = gym.spaces.Box(-np.inf, np.inf, (2,), np.float32)
    action_space = gym.spaces.Box(-10, 10, (1,), np.float32)
    starts = 0

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        type(self).starts += 1
        self.start, self.steps = type(self).starts, 0
        return self.see(), {}

    def see(self):
        return np.array([self.start, self.steps], np.float32)

    def step(self, action):
        self.steps += 1
        over = self.steps == 3
        return self.see(), float(action[0]), over and self.start % 2 == 0, over and self.start % 2 == 1, {}


def tenth(observation):
    """A deterministic policy: start + steps / 10."""
    return observation[:, :1] + observation[:, 1:] / 10


def test_transitions_of_gymnasium():
    Counting.starts = 0
    data = next(sarsa_batches(Counting, tenth, frames=8, reward_scale=0.5, reward_limit=1.0))
    start, steps = data["observation"].T
    assert start.tolist() == [1, 1, 1, 2, 2, 2, 3, 3]
    assert steps.tolist() == [0, 1, 2] * 2 + [0, 1]
    after = data["next"]
    assert after["observation"][:, 0].tolist() == start.tolist()  # the true end, not the next start
    assert after["observation"][:, 1].tolist() == [1, 2, 3] * 2 + [1, 2]
    torch.testing.assert_close(data["action"], tenth(data["observation"]))
    torch.testing.assert_close(after["action"], tenth(after["observation"]))
    torch.testing.assert_close(after["reward"], (0.5 * data["action"]).clamp(-1, 1))
    assert after["terminated"][:, 0].tolist() == [False] * 5 + [True] + [False] * 2
    assert after["done"][:, 0].tolist() == [False, False, True] * 2 + [False] * 2


def test_a_batch_goes_on_where_the_last_one_ended():
    Counting.starts = 0
    batches = sarsa_batches(Counting, Gaussian(tenth, 0.1), frames=4, seed=3)
    first, second = next(batches), next(batches)
    assert torch.equal(first["next", "observation"][-1], second["observation"][0])
    assert torch.equal(first["next", "action"][-1], second["action"][0])  # the action that was announced is taken


def test_sampled_actions_are_taken():
    Counting.starts = 0
    with global_randomness_untouched():
        data = next(sarsa_batches(Counting, Gaussian(tenth, 0.1), frames=900, num_envs=3, seed=3))
    noise = (data["action"] - tenth(data["observation"])) / 0.1
    assert abs(noise.mean()) < 0.15
    assert abs(noise.std() - 1) < 0.1
    torch.testing.assert_close(data["next", "reward"], data["action"])  # what was stored is what was done
    going = ~data["next", "done"][:-3, 0]
    assert torch.equal(data["next", "action"][:-3][going], data["action"][3:][going])


def test_transitions_of_a_rollout():
    """[environments, time]: the action after each step; none after the last, or after a time limit."""
    a = torch.arange(10.0).reshape(2, 5, 1)
    truncated = torch.zeros(2, 5, 1, dtype=torch.bool)
    truncated[1, 2] = True
    rollout = TensorDict({"action": a, "next": TensorDict({"truncated": truncated}, [2, 5])}, [2, 5])
    data = with_next_action(rollout)
    assert data["action"][:, 0].tolist() == [0, 1, 2, 3, 5, 6, 8]
    assert data["next", "action"][:, 0].tolist() == [1, 2, 3, 4, 6, 7, 9]
    assert ("next", "action") not in rollout.keys(True)
