"""When and whom: budgets, and the combinators that obey them."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from advwrap import (
    FGSM,
    Always,
    AtMost,
    EveryNth,
    GapAbove,
    Gated,
    Identity,
    LinfBall,
    LowValue,
    Mixture,
    Noise,
    OnlyAgents,
    RandomVertex,
    WholeEpisodes,
    WithProbability,
    Worst,
)
from advwrap.clock import EpisodeClock
from advwrap.randomness import Streams
from advwrap.testing import strategies
from advwrap.testing.contracts.rules import same_bits
from advwrap.testing.victims import TwoActions
from advwrap.victims import Categorical

ROWS = 3
VERTEX = RandomVertex(LinfBall(0.1))


def episode(budget, steps, *, rows=ROWS, agents=1, seed=0, attack=VERTEX):
    """Which rows were perturbed at every step of an episode: [steps, rows]."""
    clock = EpisodeClock(rows, agents=agents)
    clock.seed(range(seed, seed + rows))
    gated, seen = Gated(attack, budget), []
    for _ in range(steps):
        clean = torch.zeros(rows * agents, 2)
        moved = (gated(clean, context=clock.context(), generator=clock.streams()) != clean).any(1)
        clock.record(moved)
        seen.append(moved)
    return torch.stack(seen)


@given(st.integers(0, 5), st.integers(1, 12))
def test_at_most(n, steps):
    assert (episode(AtMost(n), steps).sum(0) == min(n, steps)).all()


@given(st.integers(1, 5), st.integers(0, 4), st.integers(1, 15))
def test_every_nth(n, offset, steps):
    expected = [step >= offset and (step - offset) % n == 0 for step in range(steps)]
    assert torch.equal(episode(EveryNth(n, offset), steps), torch.tensor(expected)[:, None].expand(-1, ROWS))


@given(st.integers(0, 3), st.sampled_from([0.0, 0.3, 1.0]), st.integers(1, 12), strategies.seeds())
def test_a_count_is_never_exceeded(n, p, steps, seed):
    """Whatever else decides, and however it is combined."""
    both = episode(AtMost(n) & WithProbability(p), steps, seed=seed).sum(0)
    assert (both <= n).all()
    either = episode(AtMost(n) | EveryNth(1), steps, seed=seed).sum(0)
    assert (either == steps).all()


@pytest.mark.parametrize("p", [0.0, 0.25, 1.0])
def test_probability_is_per_row_and_step(p):
    drawn = episode(WithProbability(p), 300, rows=10).float()
    assert abs(drawn.mean() - p) < 0.03
    if 0 < p < 1:
        assert (drawn.mean(0) - p).abs().max() < 0.12  # every row
        together = (drawn[:, 0] * drawn[:, 1]).mean()
        assert abs(together - p * p) < 0.05  # neighbours do not decide together


@pytest.mark.parametrize("p", [0.0, 0.25, 1.0])
def test_whole_episodes_are_attacked_or_left_alone(p):
    """All steps alike; other rows, and other episodes of a row, decide anew."""
    clock, gated, attacked = EpisodeClock(40), Gated(VERTEX, WholeEpisodes(p)), []
    clock.seed(range(40))
    for _ in range(10):
        steps = []
        for _ in range(3):
            clean = torch.zeros(40, 1)
            moved = (gated(clean, context=clock.context(), generator=clock.streams()) != clean).any(1)
            clock.record(moved)
            steps.append(moved)
        assert (torch.stack(steps) == steps[0]).all()
        attacked.append(steps[0])
        clock.start()
    drawn = torch.stack(attacked).float()
    assert abs(drawn.mean() - p) < 0.06
    if 0 < p < 1:
        assert len(drawn.mT.unique(dim=0)) > 30  # rows do not decide together
        assert abs((drawn[1:] * drawn[:-1]).mean() - p * p) < 0.06  # nor does an episode follow the one before


def test_the_coin_of_an_episode_is_none_of_its_attacks_draws():
    """Else an attack whose first number is small would be the one that acts."""
    clock = EpisodeClock(1000)
    clock.seed(range(1000))
    acts = WholeEpisodes(0.5)(torch.zeros(1000, 1), clock.context(), clock.streams())
    assert abs((acts == clock.streams().chance(0.5)).double().mean() - 0.5) < 0.06
    assert abs((acts == Streams(clock.context()["episode_key"].numpy()).chance(0.5)).double().mean() - 0.5) < 0.06


def test_nested_and_for_some_rows_an_episode_stays_the_same():
    clock, inner = EpisodeClock(20), Gated(VERTEX, WholeEpisodes(0.5))
    clock.seed(range(20))
    drawn = []
    for step in range(6):
        attack = Gated(inner, EveryNth(2)) if step % 2 == 0 else inner
        clean = torch.zeros(20, 1)
        moved = (attack(clean, context=clock.context(), generator=clock.streams()) != clean).any(1)
        clock.record(moved)
        drawn.append(moved)
    assert 0 < drawn[0].sum() < 20
    assert all(torch.equal(moved, drawn[0]) for moved in drawn)


def test_a_step_that_changes_nothing_is_not_spent():
    """AtMost counts what the victim sees, not what the attack was asked."""
    clock = EpisodeClock(1)
    gated = Gated(Noise(LinfBall(0.0)), AtMost(1))
    for _ in range(3):
        clean = torch.zeros(1, 2)
        clock.record((gated(clean, context=clock.context(), generator=clock.streams()) != clean).any(1))
    assert clock.context()["attacked_steps"].tolist() == [0]


def test_only_agents():
    moved = episode(OnlyAgents(0, 2), 2, rows=2, agents=3)
    assert moved.tolist() == [[True, False, True, True, False, True]] * 2


def test_reset_returns_the_budget():
    clock = EpisodeClock(2)
    gated = Gated(VERTEX, AtMost(1))
    for _ in range(2):
        clean = torch.zeros(2, 1)
        clock.record((gated(clean, context=clock.context(), generator=clock.streams()) != clean).any(1))
    clock.start(torch.tensor([True, False]))
    moved = gated(torch.zeros(2, 1), context=clock.context(), generator=clock.streams()) != 0
    assert moved.flatten().tolist() == [True, False]


def test_gap_of_a_policy():
    """|sigmoid(z) - sigmoid(-z)| > threshold."""
    victim = Categorical(TwoActions(torch.tensor([1.0, 0.0])))
    clean = torch.tensor([[0.0, 0.0], [3.0, 0.0], [-3.0, 0.0], [0.5, 0.0]])
    assert GapAbove(victim, 0.5)(clean, None, Streams.seeded(range(4))).tolist() == [False, True, True, False]


def test_gap_of_ones_own():
    gap = GapAbove(None, 1.0, gap=lambda clean, context: clean[:, 0])
    assert gap(torch.tensor([[0.5], [2.0]]), None, Streams.seeded([0, 1])).tolist() == [False, True]


def test_always_is_the_attack_itself():
    clean = torch.zeros(4, 2)
    gated = Gated(FGSM(LowValue(value=lambda o: o.sum(-1)), within=LinfBall(0.1)), Always())
    assert torch.equal(gated(clean), FGSM(LowValue(value=lambda o: o.sum(-1)), within=LinfBall(0.1))(clean))


@given(strategies.observations(shape=(2,), rows=4, infinities=True), strategies.masks(shape=(4,)))
def test_whom_the_budget_spares_stays_bitwise_clean(clean, chosen):
    budget = GapAbove(None, 0.5, gap=lambda observation, context: chosen.float())
    adv = Gated(VERTEX, budget)(clean, generator=Streams.seeded(range(4)))
    assert same_bits(adv[~chosen], clean[~chosen])


@given(strategies.masks(shape=(4,)))
def test_whom_the_budget_chooses_does_not_change_the_noise(chosen):
    """The noise of a row is the same whoever else is attacked."""
    budget = GapAbove(None, 0.5, gap=lambda observation, context: chosen.float())
    everyone = Gated(VERTEX, Always())(torch.zeros(4, 2), generator=Streams.seeded(range(4)))
    some = Gated(VERTEX, budget)(torch.zeros(4, 2), generator=Streams.seeded(range(4)))
    assert torch.equal(some[chosen], everyone[chosen])


@given(strategies.masks(shape=(4,)))
def test_spared_rows_cost_nothing(chosen):
    """The victim is asked about the chosen rows only, with their part of the context."""
    asked = []

    def value(observation):
        asked.append(len(observation))
        return observation.sum(-1)

    budget = GapAbove(None, 0.5, gap=lambda observation, context: chosen.float())
    Gated(FGSM(LowValue(value=value), within=LinfBall(0.1)), budget)(torch.zeros(4, 2))
    assert asked == ([int(chosen.sum())] if chosen.any() else [])


def test_context_follows_the_rows():
    """A victim that reads the context gets that of the attacked rows."""

    def critic(observation, action):
        return (observation * action).sum(-1)

    attack = Gated(FGSM(LowValue(critic=critic), within=LinfBall(0.5)), EveryNth(2))
    state = torch.tensor([[1.0], [1.0], [-1.0], [1.0]])
    context = {"observation": state, "episode_step": torch.tensor([0, 1, 2, 3])}
    assert attack(torch.zeros(4, 1), context=context).flatten().tolist() == [-0.5, 0.0, 0.5, 0.0]


# Mixture and Worst


@pytest.mark.parametrize("p", [0.0, 0.3, 1.0])
def test_mixture_draws_by_its_weights(p):
    moved = Mixture((p, VERTEX), (1 - p, Identity()))(torch.zeros(4000, 1), generator=Streams.seeded(range(4000))) != 0
    assert abs(moved.float().mean().item() - p) < 0.03


def test_mixture_of_three():
    parts = [FGSM(LowValue(value=lambda o: o.sum(-1)), within=LinfBall(eps)) for eps in (0.1, 0.2, 0.3)]
    drawn = Mixture((0.2, parts[0]), (0.3, parts[1]), (0.5, parts[2]))(
        torch.zeros(4000, 1), generator=Streams.seeded(range(4000))
    )
    shares = [(drawn + eps).abs().lt(1e-6).float().mean().item() for eps in (0.1, 0.2, 0.3)]
    assert shares == pytest.approx([0.2, 0.3, 0.5], abs=0.03)


@given(strategies.observations(shape=(3,), rows=3, dtype=torch.float64))
def test_worst_is_never_better_than_any(clean):
    low = LowValue(value=lambda o: (o * torch.tensor([1.0, -2.0, 0.5]).double()).tanh().sum(-1))
    parts = [FGSM(low, within=LinfBall(0.1)), VERTEX, Identity()]
    worst = low(clean)(Worst(parts, low)(clean, generator=Streams.seeded(range(3))))
    for part in (parts[0], parts[2]):  # the random one draws again when it is alone
        assert (worst >= low(clean)(part(clean)) - 1e-12).all()


def test_worst_of_the_clean_row_is_clean_bits():
    clean = torch.tensor([[-0.0, float("inf")]])
    low = LowValue(value=lambda o: torch.zeros(len(o)))
    assert same_bits(Worst([Identity()], low)(clean), clean)


# One after the other


@given(strategies.observations(shape=(3,), rows=3, dtype=torch.float32))
def test_identity_is_neutral(clean):
    def then(first, second):
        return second(first(clean, generator=Streams.seeded(range(3))), generator=Streams.seeded(range(3)))

    alone = VERTEX(clean, generator=Streams.seeded(range(3)))
    assert same_bits(then(VERTEX, Identity()), alone)
    assert same_bits(then(Identity(), VERTEX), alone)
