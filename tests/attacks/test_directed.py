"""What a learned adversary commands: pushes and directions, and the director in front."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from tensordict import TensorDict
from torch import nn
from torch.nn import functional as F

from advwrap import Bounds, EveryNth, Gated, L2Ball, Learned, LinfBall, Streams
from advwrap.attacks import Overrule, Push, Steered, policy_direction
from advwrap.objectives.direction import COMMAND
from advwrap.testing import strategies
from advwrap.testing.contracts.attacks import AttackContract
from advwrap.testing.victims import ElementwisePolicy
from advwrap.victims import Gaussian
from tests.attacks.unconfined import Limited, UnconfinedContract

WEIGHT = torch.tensor([1.0, -2.0, 0.5])
POLICY = ElementwisePolicy(WEIGHT)


class TestPush(AttackContract):
    random = False
    dtypes = strategies.FLOATS

    def make_attack(self, within):
        return Push(within=within)

    def context(self, rows):
        return {COMMAND: torch.tensor([0.5, -2.0, 1.0]).expand(rows, 3)}

    test_scalars_and_integers_are_refused = None  # they have no command


class TestSteeredPush(AttackContract):
    random = False
    dtypes = strategies.FLOATS

    def make_attack(self, within):
        return Steered(POLICY, Push(within=within))

    def modules(self):
        return [POLICY]


class TestOverrule(UnconfinedContract):
    random = False

    def make_attack(self, within):
        return Limited(Overrule(0.3))

    def context(self, rows):
        return {COMMAND: torch.tensor([0.5, -2.0, 1.0]).expand(rows, 3)}


class TestSteeredDirection(AttackContract):
    dtypes = strategies.FLOATS

    def make_attack(self, within):
        return Steered(POLICY, policy_direction(POLICY, within=within))

    def modules(self):
        return [POLICY]


class TestSampledDirection(AttackContract):
    dtypes = strategies.FLOATS

    def make_attack(self, within):
        return Steered(Gaussian(POLICY, 0.5), policy_direction(POLICY, within=within), sample=True)

    def modules(self):
        return [POLICY]


def victim(seed=0):
    torch.manual_seed(seed)
    return nn.Sequential(nn.Linear(5, 32), nn.Tanh(), nn.Linear(32, 3))


def data(seed=0, rows=256):
    draw = torch.Generator().manual_seed(seed)
    return torch.randn(rows, 5, generator=draw), torch.randn(rows, 3, generator=draw).clamp(-1, 1)


@given(eps=st.floats(0, 2), seed=st.integers(0, 1000))
def test_a_steered_push_is_a_learned_attack(eps, seed):
    clean, _ = data(seed, rows=4)
    torch.manual_seed(seed)
    adversary = nn.Linear(5, 5)
    for within in (LinfBall(eps), L2Ball(eps)):
        one, other = Steered(adversary, Push(within=within))(clean), Learned(adversary, within=within)(clean)
        assert torch.equal(one, other)


def test_a_sampled_command_is_a_sample_of_the_adversary():
    """The same numbers of the same streams as `Learned(sample=True)` draws, with the director's spread."""
    clean, _ = data(rows=4000)
    director = Gaussian(nn.Linear(5, 5), 0.05)
    one = Steered(director, Push(within=LinfBall(1.0)), sample=True)
    other = Learned(director, within=LinfBall(1.0), sample=True)
    seen = one(clean, generator=Streams.seeded(range(4000)))
    assert torch.equal(seen, other(clean, generator=Streams.seeded(range(4000))))
    inside = director.mean(clean).detach().abs() < 0.8
    noise = (seen - clean - director.mean(clean).detach())[inside]
    assert abs(noise.std().item() - 0.05) < 0.002


@pytest.mark.parametrize("steps", [1, 10])
def test_the_action_follows_the_director_and_with_the_sign_of_the_reference_flees_it(steps):
    net, (clean, command) = victim(), data()
    for reference_sign, sign in ((False, 1), (True, -1)):
        attack = policy_direction(net, within=LinfBall(0.2), steps=steps, reference_sign=reference_sign)
        seen = attack(clean, context={COMMAND: command}, generator=torch.Generator().manual_seed(1))
        with torch.no_grad():
            cosine = F.cosine_similarity(net(seen) - net(clean), command)
        assert sign * cosine.mean() > 0.4
        assert (sign * cosine > 0).float().mean() > 0.85


def test_one_step_is_the_attack_of_the_reference_code():
    """s + eps sign(g), g the gradient at a random start that is then dropped; L as the reference computes it."""
    net, (clean, command), ball = victim(), data(rows=64), LinfBall(0.2)
    start = clean + 0.1 * ball.sample(clean, Streams.seeded(range(64)))
    leaf = start.clone().requires_grad_()
    moved = net(leaf) - net(clean).detach()
    loss = -(F.cosine_similarity(moved, command) + moved.norm(dim=-1))
    (g,) = torch.autograd.grad(loss.sum(), leaf)
    for reference_sign, sign in ((True, 1), (False, -1)):  # the reference ascends its loss
        attack = policy_direction(net, within=ball, reference_sign=reference_sign)
        seen = attack(clean, context={COMMAND: command}, generator=Streams.seeded(range(64)))
        torch.testing.assert_close(seen, clean + sign * 0.2 * g.sign(), rtol=1e-6, atol=1e-6)


def test_more_steps_follow_the_director_more_closely():
    net, (clean, command) = victim(), data()

    def cosine(steps):
        attack = policy_direction(net, within=LinfBall(0.2), steps=steps)
        seen = attack(clean, context={COMMAND: command}, generator=torch.Generator().manual_seed(1))
        with torch.no_grad():
            return F.cosine_similarity(net(seen) - net(clean), command).mean()

    assert cosine(10) > cosine(1) + 0.1


@pytest.mark.parametrize("steps", [1, 5])
def test_a_single_action_goes_where_the_director_says(steps):
    """Of one feature the cosine is a sign; the action must follow it all the same, to the border of the ball."""
    weight = torch.tensor([[1.0, -2.0, 0.5]])
    victim = nn.Linear(3, 1, bias=False)
    victim.weight.data.copy_(weight)
    clean = torch.randn(50, 3, generator=torch.Generator().manual_seed(0))
    wish = torch.linspace(-1.0, 1.0, 50).unsqueeze(1)
    for reference_sign, sign in ((False, 1), (True, -1)):
        attack = policy_direction(victim, within=LinfBall(0.1), steps=steps, reference_sign=reference_sign)
        seen = attack(clean, context={COMMAND: wish}, generator=torch.Generator().manual_seed(0))
        moved = (seen - clean) @ weight.T
        torch.testing.assert_close(moved, sign * 0.35 * wish.sign(), rtol=1e-4, atol=0)


def test_the_director_reads_the_truth_and_its_command_is_clipped():
    calls = []

    def spy(clean, *, context=None, bounds=None, generator=None):
        calls.append(context[COMMAND])
        return clean

    clean, _ = data(rows=4)
    Steered(lambda obs: 100 * obs[:, :3], spy)(clean)
    torch.testing.assert_close(calls[0], (100 * clean[:, :3]).clamp(-1, 1))


@pytest.mark.parametrize("make", [dict, lambda entries: TensorDict(entries, [4])])
def test_the_context_stays_readable_and_unchanged(make):
    clean, _ = data(rows=4)
    context = make({"episode_step": torch.arange(4)})
    attack = Steered(nn.Linear(5, 5), Gated(Push(within=LinfBall(0.5)), EveryNth(2)))
    seen = attack(clean, context=context)
    assert (seen != clean).any(1).tolist() == [True, False, True, False]
    assert set(context.keys()) == {"episode_step"}


def test_without_a_command_the_error_names_the_fix():
    with pytest.raises(ValueError, match="Learned"):
        Push(within=LinfBall(0.1))(torch.zeros(2, 3))
    with pytest.raises(ValueError, match=r"\(2, 3\)"):
        Push(within=LinfBall(0.1))(torch.zeros(2, 3), context={COMMAND: torch.zeros(2, 2)})


@given(alpha=st.floats(0, 1), low=st.floats(-3, -0.1), high=st.floats(0.1, 3), seed=st.integers(0, 1000))
def test_overruled_actions_are_mixtures_and_stay_in_the_box(alpha, low, high, seed):
    draw = torch.Generator().manual_seed(seed)
    action = low - 1 + (high - low + 2) * torch.rand(6, 2, generator=draw, dtype=torch.float64)  # or outside
    command = 4 * torch.rand(6, 2, generator=draw, dtype=torch.float64) - 2
    executed = Overrule(alpha)(action, context={COMMAND: command}, bounds=Bounds(low, high))
    own = (low + high) / 2 + (high - low) / 2 * command.clamp(-1, 1)
    torch.testing.assert_close(executed, (1 - alpha) * action.clamp(low, high) + alpha * own)
    assert executed.min() >= low - 1e-12
    assert executed.max() <= high + 1e-12


def test_overruling_needs_a_command_and_limits():
    with pytest.raises(ValueError, match="Steered"):
        Overrule()(torch.zeros(2, 3), bounds=Bounds(-1.0, 1.0))
    with pytest.raises(ValueError, match="finite limits"):
        Overrule()(torch.zeros(2, 3), context={COMMAND: torch.zeros(2, 3)})
    with pytest.raises(ValueError, match="`alpha` must be in"):
        Overrule(1.5)


def test_a_director_of_actions_reads_the_observation():
    attack = Steered(lambda s: s[:, :2], Push(within=LinfBall(0.5)), reads="observation")
    action, state = torch.zeros(3, 2), torch.randn(3, 5)
    executed = attack(action, context={"observation": state})
    torch.testing.assert_close(executed, 0.5 * state[:, :2].clamp(-1, 1))
    with pytest.raises(ValueError, match=r"must hold 'observation'.*AdversarialAction"):
        attack(action)
