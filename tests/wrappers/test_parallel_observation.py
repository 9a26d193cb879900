"""AdversarialObs on a PettingZoo parallel environment."""

import copy

import numpy as np
import pytest
import torch
from gymnasium import spaces

from advwrap import (
    UNBOUNDED,
    AtMost,
    Gated,
    Identity,
    LinfBall,
    Noise,
    OnlyAgents,
    RandomVertex,
)
from advwrap.wrappers.pettingzoo.parallel import AdversarialObs
from tests.wrappers.environments import Party, Shift, Spy


def run(env, steps=6, seed=0):
    """Observations and infos of every call, actions all zero."""
    calls = [env.reset(seed=seed)]
    while env.agents and len(calls) <= steps:
        zeros = {agent: np.zeros(2, np.float32) for agent in env.agents}
        observations, *_, infos = env.step(zeros)
        calls.append((observations, infos))
    return calls


def moved(calls, agent):
    return [
        not np.array_equal(seen[agent], infos[agent]["clean_observation"]) for seen, infos in calls if agent in seen
    ]


def test_everyone_is_attacked_in_the_ball_and_the_truth_is_told():
    calls = run(AdversarialObs(Party(), Noise(LinfBall(0.5))))
    bare = run(Party())
    assert len(calls) == len(bare) == 6
    for (seen, infos), (clean, clean_infos) in zip(calls, bare, strict=True):
        assert [*seen] == [*clean]
        for agent in seen:
            assert seen[agent].dtype == np.float32
            assert 0 < abs(seen[agent].astype(float) - clean[agent]).max() <= 0.5
            np.testing.assert_array_equal(infos[agent]["clean_observation"], clean[agent])
            assert infos[agent]["t"] == clean_infos[agent]["t"]


def test_agents_of_one_form_are_attacked_in_one_call_without_those_that_left():
    spy = Spy(LinfBall(0.5))
    run(AdversarialObs(Party(), spy))
    shapes = [tuple(clean.shape) for clean, _, _ in spy.calls]
    assert shapes == [(2, 2), (1, 4)] * 4 + [(1, 2), (1, 4)] * 2
    agents = [context["agent_index"].tolist() for _, context, _ in spy.calls]
    assert agents == [[0, 1], [2]] * 4 + [[1], [2]] * 2
    assert [c["episode_step"].tolist() for _, c, _ in spy.calls][:4] == [[0, 0], [0], [1, 1], [1]]


def test_an_agents_noise_does_not_depend_on_its_neighbours():
    alone = run(AdversarialObs(Party(), Noise(LinfBall(0.5)), agents=["agent_1"]))
    together = run(AdversarialObs(Party(), Noise(LinfBall(0.5))))
    for (seen, _), (all_seen, _) in zip(alone, together, strict=True):
        np.testing.assert_array_equal(seen["agent_1"], all_seen["agent_1"])


def test_agents_draw_different_noise():
    seen, infos = AdversarialObs(Party(), Noise(LinfBall(0.5))).reset(seed=0)
    noise = [seen[agent] - infos[agent]["clean_observation"] for agent in ("agent_0", "agent_1")]
    assert not np.allclose(*noise)


@pytest.mark.parametrize(
    "build",
    [
        lambda env, noise: AdversarialObs(env, noise, agents=["agent_1"]),
        lambda env, noise: AdversarialObs(env, noise, agents=iter(["agent_1"])),
        lambda env, noise: AdversarialObs(env, {"agent_1": noise}),
        lambda env, noise: AdversarialObs(env, {"agent_0": Identity(), "agent_1": noise}),
        lambda env, noise: AdversarialObs(env, Gated(noise, OnlyAgents(1))),
    ],
)
def test_three_ways_to_choose_agents(build):
    calls = run(build(Party(), RandomVertex(LinfBall(0.5))))
    assert moved(calls, "agent_0") == [False] * 4
    assert moved(calls, "agent_1") == [True] * 6
    assert moved(calls, "agent_2") == [False] * 6


def test_chosen_agents_stay_chosen_when_the_attack_is_replaced():
    env = AdversarialObs(Party(), Identity(), agents=iter(["agent_1"]))
    env.attack = RandomVertex(LinfBall(0.5))
    calls = run(env)
    assert moved(calls, "agent_1") == [True] * 6
    assert moved(calls, "agent_2") == [False] * 6


def test_each_agent_its_own_attack():
    env = AdversarialObs(Party(), {"agent_0": Shift(1.0), "agent_2": Shift(2.0)})
    seen, infos = env.reset(seed=0)
    by = {agent: (seen[agent] - infos[agent]["clean_observation"]).round(4) for agent in seen}
    assert [set(values.tolist()) for values in by.values()] == [{1.0}, {0.0}, {2.0}]


def test_unknown_agents_are_errors():
    with pytest.raises(ValueError, match=r"`agents` must name agents.*'nobody'.*'agent_0'"):
        AdversarialObs(Party(), Identity(), agents=["agent_1", "nobody"])
    with pytest.raises(ValueError, match="`attack` must name agents of the environment, got 7"):
        AdversarialObs(Party(), {7: Identity()})
    with pytest.raises(ValueError, match="`agents` must be left out"):
        AdversarialObs(Party(), {"agent_0": Identity()}, agents=["agent_0"])


def test_an_environment_must_list_its_agents():
    env = Party()
    env.possible_agents = []
    with pytest.raises(TypeError, match="`env` must list its `possible_agents`"):
        AdversarialObs(env, Identity())


def test_budgets_count_per_agent():
    calls = run(AdversarialObs(Party(), Gated(RandomVertex(LinfBall(0.5)), AtMost(2))))
    for agent in ("agent_0", "agent_1", "agent_2"):
        assert moved(calls, agent)[:4] == [True, True, False, False]


def test_a_reset_begins_the_next_episode():
    env = AdversarialObs(Party(), Gated(RandomVertex(LinfBall(0.5)), AtMost(2)))
    run(env)
    assert moved([env.reset()], "agent_0") == [True]


def test_seeds():
    def noises(env, **options):
        seen, infos = env.reset(**options)
        return np.concatenate([seen[a] - infos[a]["clean_observation"] for a in seen])

    env, other = (AdversarialObs(Party(), Noise(LinfBall(0.5))) for _ in range(2))
    first = noises(env, seed=1)
    assert not np.allclose(noises(env), first)
    assert not np.allclose(noises(env, seed=2), first)
    np.testing.assert_array_equal(noises(env, seed=1), first)
    assert not np.allclose(noises(env), noises(other))


class TestMasks:
    def test_the_observation_beside_the_mask_is_attacked(self):
        spy = Spy(LinfBall(0.5))
        calls = run(AdversarialObs(Party(masked=True), spy))
        for seen, infos in calls:
            for agent in seen:
                truth = infos[agent]["clean_observation"]
                assert not np.array_equal(seen[agent]["observation"], truth["observation"])
                np.testing.assert_array_equal(seen[agent]["action_mask"], [1, 0, 1])
        assert spy.calls[0][1]["action_mask"].tolist() == [[1, 0, 1]] * 2

    def test_a_mask_in_the_info_is_read(self):
        class Told(Party):
            def reset(self, seed=None, options=None):
                seen, infos = super().reset(seed, options)
                return seen, {a: {"action_mask": np.array([1, 0], np.int8)} for a in infos}

        spy = Spy(LinfBall(0.5))
        AdversarialObs(Told(), spy).reset(seed=0)
        assert spy.calls[0][1]["action_mask"].tolist() == [[1, 0]] * 2


class TestSpaces:
    def test_they_are_the_same_objects(self):
        env = Party()
        wrapped = AdversarialObs(env, Identity())
        for agent in env.possible_agents:
            assert wrapped.observation_space(agent) is env.observation_space(agent)
            assert wrapped.action_space(agent) is env.action_space(agent)

    def test_widened_ones_as_well(self):
        env = Party()
        box = spaces.Box(-1.0, 1.0, (2,))
        env._observations["agent_0"] = env._observations["agent_1"] = box
        wrapped = AdversarialObs(env, Shift(9.0), bounds=UNBOUNDED, agents=["agent_0"])
        space = wrapped.observation_space("agent_0")
        assert space is wrapped.observation_space("agent_0")
        assert space.high.tolist() == [np.inf, np.inf]
        assert wrapped.observation_space("agent_1") is box

    def test_only_numbers_move_in_a_ball(self):
        env = Party()
        env._observations["agent_1"] = spaces.Discrete(3)
        with pytest.raises(TypeError, match="observation of 'agent_1' must be a Box"):
            AdversarialObs(env, Identity())
        AdversarialObs(env, Identity(), agents=["agent_0"])


def test_nan_names_the_agents():
    env = Party()
    wrapped = AdversarialObs(env, Noise(LinfBall(0.5)))
    wrapped.reset(seed=0)
    env.state["agent_1"][0] = np.nan
    with pytest.raises(ValueError, match=r"observation of 'agent_0', 'agent_1'.*rows \[1\]"):
        wrapped.step({agent: np.zeros(2) for agent in env.agents})


def test_stacked_wrappers_differ_around_one_truth():
    inner = AdversarialObs(Party(), RandomVertex(LinfBall(0.5)))
    seen, infos = AdversarialObs(inner, RandomVertex(LinfBall(0.5))).reset(seed=0)
    clean, _ = Party().reset(seed=0)
    deltas = []
    for agent in seen:
        np.testing.assert_array_equal(infos[agent]["clean_observation"], clean[agent])
        deltas.append(abs(seen[agent] - clean[agent]).round(3))
    assert set(np.concatenate(deltas)) == {0.0, 1.0}


def test_infos_for_others_pass():
    class Common(Party):
        def reset(self, seed=None, options=None):
            seen, infos = super().reset(seed, options)
            return seen, {**infos, "common": {"x": 1}}

    assert AdversarialObs(Common(), Identity()).reset()[1]["common"] == {"x": 1}


def test_the_attack_can_be_replaced():
    env = AdversarialObs(Party(), Identity())
    env.reset(seed=0)
    env.attack = {"agent_2": Shift(1.0)}
    seen, *_, infos = env.step({agent: np.zeros(2) for agent in env.agents})
    assert (seen["agent_2"] - infos["agent_2"]["clean_observation"]).round(3).tolist() == [1.0] * 4
    np.testing.assert_array_equal(seen["agent_0"], infos["agent_0"]["clean_observation"])


def test_a_saved_state_continues():
    attack = Gated(Noise(LinfBall(0.5)), AtMost(3))
    env = AdversarialObs(Party(), attack)
    env.reset(seed=0)
    zeros = {agent: np.zeros(2) for agent in env.agents}
    env.step(zeros)
    other = AdversarialObs(copy.deepcopy(env.env), attack)
    other.load_state_dict(env.state_dict())
    for _ in range(2):
        seen, same = env.step(zeros)[0], other.step(zeros)[0]
        for agent in seen:
            np.testing.assert_array_equal(seen[agent], same[agent])
    assert all(isinstance(value, torch.Tensor) for value in env.state_dict().values())
