"""AdversarialObs on a PettingZoo AEC environment."""

import numpy as np
import pytest
from pettingzoo.utils import aec_to_parallel, parallel_to_aec

from advwrap import UNBOUNDED, AtMost, Delay, EveryNth, Gated, Identity, LinfBall, Noise, RandomVertex
from advwrap.wrappers.pettingzoo.aec import AdversarialObs
from advwrap.wrappers.pettingzoo.parallel import AdversarialObs as ParallelObs
from tests.wrappers.environments import Party, Shift, Spy


def turns(env, steps=30, seed=0):
    """Agent, what it sees and its info, in every turn; actions all zero."""
    env.reset(seed=seed)
    seen = []
    for agent in env.agent_iter(steps):
        observation, _, terminated, truncated, info = env.last()
        seen.append((agent, observation, info))
        env.step(None if terminated or truncated else np.zeros(2, np.float32))
    return seen


def wrapped(attack, party=Party, **options):
    return AdversarialObs(parallel_to_aec(party()), attack, **options)


def test_in_turns_or_together_the_numbers_are_the_same():
    attack = Gated(Noise(LinfBall(0.5)), AtMost(3) & EveryNth(2))
    in_turns = {agent: [] for agent in Party().possible_agents}
    for agent, observation, _ in turns(wrapped(attack)):
        in_turns[agent].append(observation)
    env = ParallelObs(Party(), attack)
    together = {agent: [o] for agent, o in env.reset(seed=0)[0].items()}
    while env.agents:
        observations, *_ = env.step({a: np.zeros(2, np.float32) for a in env.agents})
        for agent, observation in observations.items():
            together[agent].append(observation)
    for agent, observations in together.items():
        np.testing.assert_array_equal(in_turns[agent], observations)


def test_the_truth_is_told_in_every_turn():
    clean = turns(parallel_to_aec(Party()))
    for (agent, seen, info), (same, truth, bare_info) in zip(turns(wrapped(Noise(LinfBall(0.5)))), clean, strict=True):
        assert agent == same
        assert 0 < abs(seen.astype(float) - truth).max() <= 0.5
        np.testing.assert_array_equal(info["clean_observation"], truth)
        assert info["t"] == bare_info["t"]


def test_the_agent_may_write_into_the_truth_it_is_told():
    """A late sensor shows what it measured, whatever became of the copy in the info."""
    env = wrapped(Delay(1))
    env.reset(seed=0)
    *_, info = env.last()
    truth = info["clean_observation"].copy()
    info["clean_observation"][...] = 9.0
    for _ in range(3):
        env.step(np.zeros(2, np.float32))
    np.testing.assert_array_equal(env.last()[0], truth)


def test_looking_again_shows_the_same_and_costs_nothing():
    spy = Spy(LinfBall(0.5))
    env = wrapped(spy)
    env.reset(seed=0)
    first = env.observe("agent_0")
    for _ in range(3):
        np.testing.assert_array_equal(env.observe("agent_0"), first)
        np.testing.assert_array_equal(env.last()[0], first)
        assert len(env.infos) == 3
    assert len(spy.calls) == 1
    first[:] = 0  # what the caller does to its array is its own business
    assert env.observe("agent_0").any()
    assert env.last(observe=False)[0] is None


def test_looking_does_not_change_what_comes_later():
    quiet, curious = wrapped(Noise(LinfBall(0.5))), wrapped(Noise(LinfBall(0.5)))
    quiet.reset(seed=0), curious.reset(seed=0)
    for _ in range(9):
        for agent in reversed(curious.agents):
            curious.observe(agent)
        observation, *_ = quiet.last()
        np.testing.assert_array_equal(observation, curious.last()[0])
        for env in (quiet, curious):
            over = env.terminations[env.agent_selection]
            env.step(None if over else np.zeros(2, np.float32))


def test_a_truth_that_changes_within_a_turn_is_attacked_with_the_same_noise():
    party = Party()
    env = AdversarialObs(parallel_to_aec(party), RandomVertex(LinfBall(0.5)))
    env.reset(seed=0)
    inner = env.env.env
    first = env.observe("agent_1") - inner._observations["agent_1"]
    inner._observations["agent_1"] = inner._observations["agent_1"] + np.float32(1)
    again = env.observe("agent_1") - inner._observations["agent_1"]
    np.testing.assert_allclose(first, again, atol=1e-6)
    np.testing.assert_array_equal(env.infos["agent_1"]["clean_observation"], inner._observations["agent_1"])


def test_budgets_count_turns():
    seen = turns(wrapped(Gated(RandomVertex(LinfBall(0.5)), AtMost(2))))
    for agent in ("agent_0", "agent_1", "agent_2"):
        moved = [bool((o != i["clean_observation"]).any()) for a, o, i in seen if a == agent]
        assert moved[:4] == [True, True, False, False]


def test_a_turn_nobody_looked_at_counts_no_attack():
    env = wrapped(Gated(RandomVertex(LinfBall(0.5)), AtMost(1)))
    env.reset(seed=0)
    env.step(np.zeros(2, np.float32))
    for _ in range(2):
        env.step(np.zeros(2, np.float32))
    assert env.agent_selection == "agent_0"
    assert (env.observe("agent_0") != env.infos["agent_0"]["clean_observation"]).any()
    assert env.state_dict()["step"].tolist() == [1, 1, 1]


def test_chosen_agents():
    seen = turns(wrapped(Shift(1.0), agents=["agent_2"]))
    moved = {agent for agent, o, i in seen if (o != i["clean_observation"]).any()}
    assert moved == {"agent_2"}
    with pytest.raises(ValueError, match="`agents` must name agents"):
        wrapped(Identity(), agents=["x"])


def test_masked_observations():
    spy = Spy(LinfBall(0.5))
    seen = turns(wrapped(spy, lambda: Party(masked=True)))
    for _, observation, info in seen:
        truth = info["clean_observation"]
        assert not np.array_equal(observation["observation"], truth["observation"])
        np.testing.assert_array_equal(observation["action_mask"], truth["action_mask"])
    assert spy.last("action_mask").tolist() == [[1, 0, 1]]


def test_conversion_to_parallel():
    attack = Noise(LinfBall(0.5))
    converted = aec_to_parallel(wrapped(attack, lambda: Party(lengths=(4, 4, 4))))
    parallel = ParallelObs(Party(lengths=(4, 4, 4)), attack)
    seen, infos = converted.reset(seed=3)
    same, _ = parallel.reset(seed=3)
    for _ in range(4):
        for agent in same:
            np.testing.assert_array_equal(seen[agent], same[agent])
            assert "clean_observation" in infos[agent]
        zeros = {agent: np.zeros(2, np.float32) for agent in parallel.agents}
        seen, *_, infos = converted.step(zeros)
        same, *_ = parallel.step(zeros)


def test_infos_and_last_tell_the_same_objects():
    env = wrapped(Noise(LinfBall(0.5)))
    env.reset(seed=0)
    *_, info = env.last()
    assert info["clean_observation"] is env.infos[env.agent_selection]["clean_observation"]
    assert isinstance(env.infos, dict)
    assert [*env.infos] == env.agents


def test_stacked_wrappers_differ_around_one_truth():
    inner = wrapped(RandomVertex(LinfBall(0.5)))
    env = AdversarialObs(inner, RandomVertex(LinfBall(0.5)))
    clean = turns(parallel_to_aec(Party()))
    deltas = []
    for (_, seen, info), (_, truth, _) in zip(turns(env), clean, strict=True):
        np.testing.assert_array_equal(info["clean_observation"], truth)
        deltas.append(abs(seen - truth).round(3))
    assert set(np.concatenate(deltas)) == {0.0, 1.0}


def test_seeds_and_episodes():
    env = wrapped(Noise(LinfBall(0.5)))

    def noise(**options):
        env.reset(**options)
        observation, *_, info = env.last()
        return (observation - info["clean_observation"]).tolist()

    first = noise(seed=1)
    assert noise() != first
    assert noise(seed=2) != first
    assert noise(seed=1) == first


def test_spaces_are_the_same_objects():
    env = wrapped(Shift(1.0))
    assert env.observation_space("agent_0") is env.env.observation_space("agent_0")
    assert wrapped(Shift(1.0), bounds=UNBOUNDED).observation_space("agent_0") is not None


def test_the_attack_can_be_replaced_within_a_turn():
    env = wrapped(Identity())
    env.reset(seed=0)
    clean = env.observe("agent_0")
    env.attack = attack = Shift(1.0)
    assert env.attack is attack
    np.testing.assert_allclose(env.observe("agent_0"), clean + 1)


def test_a_new_attack_may_reach_other_agents():
    env = wrapped({"agent_1": Identity()})
    env.reset(seed=0)
    clean = env.observe("agent_0")
    assert len(env.infos) == 3
    env.attack = {"agent_0": Shift(1.0)}
    np.testing.assert_allclose(env.observe("agent_0"), clean + 1)
