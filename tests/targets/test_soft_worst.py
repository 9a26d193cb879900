"""The sampled soft-worst adversary: an attack like any other, and exact identities of its numbers."""

import copy
import pickle

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from advwrap import ActionSet, L2Ball, Linear, LinfBall, Noise, Streams
from advwrap.targets import SoftWorst
from advwrap.testing import strategies
from advwrap.testing.contracts.attacks import AttackContract
from advwrap.testing.victims import ElementwisePolicy
from advwrap.victims import Categorical, Gaussian

WEIGHT = torch.tensor([1.0, -2.0, 0.5])
POLICY = ElementwisePolicy(WEIGHT)
EPS = 0.25


def q(observation, action):
    # Feature by feature: the same bits in every batch.
    y = observation * action
    return y[:, 0] + y[:, 1] - y[:, 2] * y[:, 0]


class TestSoftWorst(AttackContract):
    dtypes = strategies.FLOATS

    def make_attack(self, within):
        return SoftWorst(POLICY, q, within=within, temperature=0.3, samples=4)

    def modules(self):
        return [POLICY]


class TestStochasticVictim(AttackContract):
    dtypes = strategies.FLOATS

    def make_attack(self, within):
        victim = Gaussian(lambda obs: (POLICY(obs), 0.1 + 0.0 * obs), squash=torch.tanh)
        return SoftWorst(victim, [q, lambda obs, act: -q(obs, act)], within=within, temperature=0.1, samples=3)


def values_of(*values):
    """A critic that gives the first candidate of every row the first value, and so on."""
    return lambda obs, act: torch.tensor(values).repeat_interleave(len(obs) // len(values))


def attack(*values, temperature=1.0, **options):
    return SoftWorst(
        nn.Identity(), values_of(*values), within=LinfBall(EPS), temperature=temperature, samples=len(values), **options
    )


ROWS = torch.zeros(20_000, 2)
SEEDS = Streams.seeded(range(20_000))


def streams():
    return Streams.seeded(range(len(ROWS)))


class TestNumbers:
    @given(st.lists(st.floats(-100, 100), min_size=1, max_size=6), st.sampled_from([0.01, 1.0, 1e3]))
    def test_the_divergence_closes_the_gap(self, values, temperature):
        """E_w[V] + alpha sum w log(n w) = -alpha log mean exp(-V / alpha), exactly."""
        soft = attack(*values, temperature=temperature)
        clean = ROWS[:2]
        v = torch.tensor(values, dtype=torch.float64)
        weights = (-v.float().double() / temperature).softmax(0)
        _, divergence = soft.with_divergence(clean)
        expected = (weights * v).sum() + temperature * divergence.double()
        value = soft.value(clean).double()
        size = max(1.0, float(v.abs().max()), temperature)
        torch.testing.assert_close(value, expected, rtol=0, atol=1e-5 * size)
        assert (divergence >= -1e-6).all()
        assert (divergence <= torch.tensor(float(len(values))).log() + 1e-6).all()
        assert (value >= v.min() - 1e-5 * size).all()
        assert (value <= v.mean() + 1e-5 * size).all()

    def test_frozen_numbers(self):
        soft = attack(0.0, 1.0, 2.0)
        torch.testing.assert_close(soft.value(ROWS[:1]), torch.tensor([0.691006]), rtol=0, atol=1e-5)
        _, divergence = soft.with_divergence(ROWS[:1])
        torch.testing.assert_close(divergence, torch.tensor([0.266217]), rtol=0, atol=1e-5)

    def test_candidates_are_chosen_with_their_weights(self):
        """Over 20000 rows, with the weights of a softmax; four standard deviations of a binomial."""
        values = (0.0, 1.0, 2.0)
        soft, weights = attack(*values), (-torch.tensor(values)).softmax(0)
        _, x, _, _ = soft._candidates(ROWS, None, soft_bounds(), streams())
        seen = soft(ROWS, generator=streams())
        chosen = (x == seen).all(-1).double()
        assert (chosen.sum(0) == 1).all()
        error = (weights * (1 - weights) / len(ROWS)).sqrt()
        assert ((chosen.mean(1) - weights).abs() < 4 * error).all()

    def test_the_perturbed_batch_is_the_same_with_and_without_divergence(self):
        soft = attack(0.0, 1.0)
        seen, _ = soft.with_divergence(ROWS, generator=streams())
        assert torch.equal(seen, soft(ROWS, generator=streams()))

    def test_from_the_worst_candidate_to_noise(self):
        cold, hot = attack(3.0, -1.0, 2.0, temperature=1e-6), attack(3.0, -1.0, 2.0, temperature=1e9)
        _, x, _, _ = cold._candidates(ROWS, None, soft_bounds(), streams())
        assert torch.equal(cold(ROWS, generator=streams()), x[1])
        torch.testing.assert_close(cold.value(ROWS[:1]), torch.tensor([-1.0]), rtol=0, atol=1e-4)
        torch.testing.assert_close(hot.value(ROWS[:1]), torch.tensor([4 / 3]), rtol=0, atol=1e-6)
        share = (x == hot(ROWS, generator=streams())).all(-1).double().mean(1)
        torch.testing.assert_close(share, torch.full((3,), 1 / 3).double(), rtol=0, atol=0.02)

    @pytest.mark.parametrize("bad", [float("nan"), float("inf")])
    def test_a_candidate_without_a_number_is_never_chosen(self, bad):
        soft = attack(0.0, bad, 1.0)
        _, x, _, _ = soft._candidates(ROWS, None, soft_bounds(), streams())
        seen, divergence = soft.with_divergence(ROWS, generator=streams())
        assert not (x[1] == seen).all(-1).any()
        assert divergence.isfinite().all()

    def test_one_candidate_is_noise(self):
        seen = attack(5.0)(ROWS, generator=streams())
        assert seen.abs().max() <= EPS
        torch.testing.assert_close(seen.std(0), torch.full((2,), EPS / 3**0.5), rtol=0.02, atol=0)
        assert float(attack(5.0).value(ROWS[:1])) == 5.0

    def test_candidates_are_uniform_and_independent(self):
        _, x, _, _ = attack(0.0, 0.0)._candidates(ROWS, None, soft_bounds(), streams())
        torch.testing.assert_close(x.mean((0, 1)), torch.zeros(2), rtol=0, atol=0.01)
        torch.testing.assert_close(x.std((0, 1)), torch.full((2,), EPS / 3**0.5), rtol=0.02, atol=0)
        both = torch.corrcoef(torch.stack([x[0, :, 0], x[1, :, 0], x[0, :, 1]])) - torch.eye(3)
        assert both.abs().max() < 0.03


def soft_bounds():
    from advwrap import UNBOUNDED

    return UNBOUNDED


class TestWhatIsEvaluated:
    def test_all_candidates_in_one_call(self):
        calls = []

        def victim(observation):
            calls.append(len(observation))
            return observation

        soft = SoftWorst(victim, lambda obs, act: act.sum(-1), within=LinfBall(EPS), temperature=1.0, samples=5)
        soft(torch.zeros(7, 2))
        assert calls == [35]

    def test_the_critic_sees_the_truth(self):
        def critic(observation, action):
            assert torch.equal(observation, torch.arange(3.0).reshape(3, 1).repeat(4, 1))
            return action.sum(-1)

        clean = torch.arange(3.0).reshape(3, 1)
        SoftWorst(nn.Identity(), critic, within=LinfBall(EPS), temperature=1.0, samples=4)(clean)

    def test_context_of_every_candidate(self):
        def critic(observation, action, context):
            assert context["goal"].tolist() == [7.0, 8.0] * 3
            assert context.get("nothing") is None
            assert context["name"] == "task"
            return action.sum(-1, keepdim=True).T

        soft = SoftWorst(nn.Identity(), critic, within=LinfBall(EPS), temperature=1.0, samples=3)
        soft(torch.zeros(2, 1), context={"goal": torch.tensor([7.0, 8.0]), "name": "task"})

    def test_the_smaller_of_the_twins(self):
        soft = SoftWorst(
            nn.Identity(),
            [lambda obs, act: act.sum(-1), lambda obs, act: -act.sum(-1)],
            within=LinfBall(EPS),
            temperature=1e-4,
            samples=256,
        )
        assert float(soft.value(torch.zeros(1, 1))) == pytest.approx(-EPS, abs=0.01)

    def test_candidates_of_a_row_share_their_action_noise(self):
        """A victim that does not look: all candidates have the same value, whatever its noise."""
        blind = Gaussian(lambda obs: (0 * obs, 1 + 0 * obs))
        soft = SoftWorst(blind, lambda obs, act: act.sum(-1), within=LinfBall(EPS), temperature=1e-3, samples=8)
        _, divergence = soft.with_divergence(torch.zeros(5, 2))
        torch.testing.assert_close(divergence, torch.zeros(5))
        odd = SoftWorst(
            blind, lambda obs, act: act.sum(-1), within=LinfBall(EPS), temperature=1e-3, samples=8, actions=1
        )
        assert len(odd.value(torch.zeros(5, 2)).unique()) == 5  # but the rows have noise of their own

    def test_rows_are_their_own(self):
        soft = SoftWorst(POLICY, q, within=L2Ball(EPS), temperature=0.3, samples=4)
        clean = torch.randn(6, 3, generator=torch.Generator().manual_seed(0))
        whole = soft.value(clean, generator=Streams.seeded(range(6)))
        alone = torch.cat([soft.value(clean[i : i + 1], generator=Streams.seeded([i])) for i in range(6)])
        assert torch.equal(whole, alone)


class TestFiniteSets:
    """A finite set is small enough to know eq. 9 without a grid."""

    def test_matches_equation_9(self):
        worth = torch.tensor([0.0, 1.0, -0.5, 2.0])
        soft = SoftWorst(
            Categorical(lambda obs: 50.0 * nn.functional.one_hot(obs, 4).float()),
            lambda obs, act: (act * worth).sum(-1),
            within=ActionSet(4),
            temperature=0.7,
            samples=64,
        )
        seen = soft(torch.zeros(20_000, dtype=torch.int64), generator=streams())
        share = torch.bincount(seen, minlength=4).double() / len(seen)
        law = (-worth.double() / 0.7).softmax(0)
        assert float((share * (share / law).log()).sum()) < 0.005
        exact = -0.7 * float((-worth / 0.7).exp().mean().log())
        value = soft.value(torch.zeros(1000, dtype=torch.int64), generator=Streams.seeded(range(1000)))
        assert float(value.mean()) == pytest.approx(exact, rel=0.02)


class TestSettings:
    @pytest.mark.parametrize(
        ("options", "error", "match"),
        [
            ({"temperature": 0.0}, ValueError, "`temperature` must be > 0, got 0.0"),
            ({"temperature": -1.0}, ValueError, "`temperature` must be > 0"),
            ({"temperature": float("nan")}, ValueError, "`temperature` must be > 0"),
            ({"temperature": "cold"}, TypeError, r"`temperature` must be a number or a schedule.*Fix: "),
            ({"samples": 0}, ValueError, "`samples` must be an integer >= 1, got 0"),
            ({"samples": 2.5}, ValueError, "`samples`"),
            ({"entropy": -0.1}, ValueError, "`entropy` must be >= 0"),
            ({"actions": -1}, ValueError, r"`actions` must be an integer >= 0, got -1. Fix: 0 for the mean action"),
        ],
    )
    def test_numbers_out_of_range(self, options, error, match):
        with pytest.raises(error, match=match):
            SoftWorst(POLICY, q, within=LinfBall(EPS), **{"temperature": 1.0, **options})

    def test_a_schedule_is_asked_at_every_call(self):
        schedule = Linear(1e9, 1e-6, steps=10)
        soft = attack(0.0, 4.0, temperature=schedule)
        assert float(soft.value(ROWS[:1])) == pytest.approx(2.0)
        schedule.advance(10)
        assert float(soft.value(ROWS[:1])) == pytest.approx(0.0, abs=1e-4)

    @pytest.mark.parametrize("copied", [copy.deepcopy, lambda a: pickle.loads(pickle.dumps(a))])  # noqa: S301
    def test_copies(self, copied):
        soft = SoftWorst(nn.Linear(2, 2), nn.Linear(4, 1), within=LinfBall(EPS), temperature=0.1)
        clean = torch.randn(4, 2)
        expected = soft(clean, generator=Streams.seeded(range(4)))
        assert torch.equal(copied(soft)(clean, generator=Streams.seeded(range(4))), expected)

    def test_other_noise_than_the_uniform_attack(self):
        """Its draws are its own: the same seed in `Noise` gives other numbers."""
        clean = torch.zeros(4, 2)
        assert not torch.equal(
            attack(0.0)(clean, generator=Streams.seeded(range(4))),
            Noise(LinfBall(EPS))(clean, generator=Streams.seeded(range(4))),
        )
