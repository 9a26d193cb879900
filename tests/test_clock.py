"""The clock: a vector of rows is the single rows, for every order of seeding, starting and recording."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from advwrap.clock import ACTIONS, EpisodeClock
from advwrap.testing import strategies

ROWS = 3


def noise(clock):
    return clock.streams().uniform(torch.zeros(clock.rows * clock.agents, 2))


class VectorIsSingles(RuleBasedStateMachine):
    """One clock of three rows beside three clocks of one row."""

    @initialize(seed=strategies.seeds())
    def begin(self, seed):
        self.vector, self.singles = EpisodeClock(ROWS), [EpisodeClock(1) for _ in range(ROWS)]
        self.reseed(seed)

    @rule(seed=strategies.seeds())
    def reseed(self, seed):
        self.vector.seed([seed + i for i in range(ROWS)])
        for i, single in enumerate(self.singles):
            single.seed([seed + i])

    @rule(row=st.integers(0, ROWS - 1), seed=strategies.seeds())
    def reseed_a_row(self, row, seed):
        self.vector.seed_rows({row: seed})
        self.singles[row].seed([seed])

    @rule(rows=strategies.masks(shape=(ROWS,)))
    def start(self, rows):
        self.vector.start(rows)
        for single, begins in zip(self.singles, rows.tolist(), strict=True):
            if begins:
                single.start()

    @rule(attacked=strategies.masks(shape=(ROWS,)), acted=strategies.masks(shape=(ROWS,)))
    def record(self, attacked, acted):
        self.vector.record(attacked, acted)
        for i, single in enumerate(self.singles):
            if acted[i]:
                single.record(attacked[i : i + 1])

    @rule()
    def checkpoint(self):
        """Everything goes on from a state dict, in other objects."""
        fresh = EpisodeClock(ROWS)
        fresh.load_state_dict(self.vector.state_dict())
        self.vector = fresh

    @invariant()
    def same_numbers(self):
        assert torch.equal(noise(self.vector), torch.cat([noise(single) for single in self.singles]))
        for name, counts in self.vector.context().items():
            assert torch.equal(counts, torch.cat([single.context()[name] for single in self.singles])), name


TestVectorIsSingles = VectorIsSingles.TestCase


@given(st.lists(st.sampled_from(["step", "start", "seed"]), max_size=12))
def test_no_noise_is_used_twice(events):
    """Every step of every episode has numbers of its own, until the seed is set again."""
    clock, seen = EpisodeClock(1), []
    clock.seed([7])
    for event in events:
        if event == "seed":
            clock.seed([7])
            seen.clear()
        elif event == "start":
            clock.start()
        else:
            seen.append(noise(clock))
            clock.record(torch.ones(1, dtype=torch.bool))
    assert len(torch.cat([*seen, torch.zeros(0, 2)]).unique()) == 2 * len(seen)


@given(strategies.seeds(), st.integers(0, 1000))
def test_noise_is_a_function_of_seed_episode_and_step(seed, steps):
    """However the clock got there."""
    walked, jumped = EpisodeClock(1), EpisodeClock(1)
    for clock in (walked, jumped):
        clock.seed([seed])
        clock.start()
    for _ in range(min(steps, 20)):
        walked.record(torch.tensor([True]))
    jumped.step = np.array([min(steps, 20)])
    assert torch.equal(noise(walked), noise(jumped))


def test_calling_twice_without_recording_repeats():
    clock = EpisodeClock(2)
    assert torch.equal(noise(clock), noise(clock))


@pytest.mark.parametrize("salt", [1, ACTIONS, ACTIONS + 1])
def test_salts_differ(salt):
    plain, salted = EpisodeClock(4), EpisodeClock(4, salt=salt)
    for clock in (plain, salted):
        clock.seed(range(4))
    assert len(torch.cat([noise(plain), noise(salted)]).unique()) == 16


def test_agents_vary_fastest_and_are_rows_of_their_own():
    team, solo = EpisodeClock(2, agents=3), EpisodeClock(2)
    team.seed([5, 6])
    solo.seed([5, 6])
    assert team.context()["agent_index"].tolist() == [0, 1, 2, 0, 1, 2]
    assert torch.equal(noise(team)[::3], noise(solo))  # agent 0 has the noise of an environment without agents
    assert len(noise(team).unique()) == 12
    team.record(torch.tensor([True, False, True, False, False, True]))
    team.start(torch.tensor([True, False]))
    assert team.context()["attacked_steps"].tolist() == [0, 0, 0, 0, 0, 1]
    assert team.context()["episode_step"].tolist() == [0, 0, 0, 1, 1, 1]


def test_only_who_acts_goes_on():
    clock = EpisodeClock(2, agents=2)
    clock.record(torch.ones(4, dtype=torch.bool), torch.tensor([True, False, False, True]))
    assert clock.context()["episode_step"].tolist() == [1, 0, 0, 1]
    assert clock.context()["attacked_steps"].tolist() == [1, 0, 0, 1]


def test_some_streams_only():
    clock = EpisodeClock(4)
    clock.seed(range(4))
    clock.record(torch.ones(4, dtype=torch.bool), torch.tensor([True, False, True, False]))
    who = np.array([False, True, True, False])
    chosen = clock.streams(who).uniform(torch.zeros(2, 2))
    assert torch.equal(chosen, noise(clock)[1:3])
    assert clock.context(who)["episode_step"].tolist() == [0, 1]


def test_context_is_not_changed_later():
    """A budget, or a user, may keep what it was shown."""
    clock = EpisodeClock(2)
    shown = clock.context()
    clock.record(torch.ones(2, dtype=torch.bool))
    clock.start()
    assert shown["episode_step"].tolist() == [0, 0]
    later = clock.context()
    clock.record(torch.ones(2, dtype=torch.bool))
    assert later["attacked_steps"].tolist() == [0, 0]


def test_unseeded_clocks_differ():
    assert not torch.equal(noise(EpisodeClock(1)), noise(EpisodeClock(1)))


@pytest.mark.parametrize("seed", [0, -1, 2**64 + 5, 2**200])
def test_any_integer_is_a_seed(seed):
    first, second = EpisodeClock(1), EpisodeClock(1)
    for clock in (first, second):
        clock.seed([seed])
    assert torch.equal(noise(first), noise(second))


def test_wrong_number_of_seeds_is_refused():
    with pytest.raises(ValueError, match=r"`seeds` must hold 2 seeds \(one per row\), got 1"):
        EpisodeClock(2).seed([0])


@pytest.mark.parametrize("arguments", [{"rows": -1}, {"rows": 1, "agents": 0}])
def test_impossible_sizes_are_refused(arguments):
    with pytest.raises(ValueError, match="must be >="):
        EpisodeClock(**arguments)


def test_half_a_checkpoint_is_refused():
    clock = EpisodeClock(2)
    state = clock.state_dict()
    before = noise(clock)
    with pytest.raises(ValueError, match="`state` must hold 'attacked'"):
        clock.load_state_dict({k: v for k, v in state.items() if k != "attacked"})
    with pytest.raises(ValueError, match=r"must have shape .* Fix: load into"):
        clock.load_state_dict(EpisodeClock(3).state_dict())
    assert torch.equal(noise(clock), before)
