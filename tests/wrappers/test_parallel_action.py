"""AdversarialAction on a PettingZoo parallel environment."""

import numpy as np
import pytest
from gymnasium import spaces

from advwrap import (
    FGSM,
    ActionSet,
    AtMost,
    Gated,
    Identity,
    LinfBall,
    LowValue,
    Noise,
    RandomVertex,
)
from advwrap.wrappers.pettingzoo.parallel import AdversarialAction, AdversarialObs
from tests.wrappers.environments import Party, Shift, Spy


def zeros(env):
    return {agent: np.zeros(2, np.float32) for agent in env.agents}


def test_the_environment_receives_what_the_infos_say():
    party = Party()
    env = AdversarialAction(party, Noise(LinfBall(0.5)))
    env.reset(seed=0)
    while env.agents:
        acting = list(env.agents)
        _, rewards, _, _, infos = env.step(zeros(env))
        for agent in acting:
            executed = infos[agent]["executed_action"]
            np.testing.assert_array_equal(executed, party.received[agent])
            assert not np.shares_memory(executed, party.received[agent])
            assert 0 < abs(executed).max() <= 0.5
            assert infos[agent]["action"].tolist() == [0, 0]
            assert rewards[agent] == pytest.approx(executed.sum())
            assert infos[agent]["t"] == party.t


def test_chosen_agents_and_bounds():
    env = AdversarialAction(Party(), RandomVertex(LinfBall(5.0)), agents=["agent_1"])
    env.reset(seed=0)
    *_, infos = env.step(zeros(env))
    assert [abs(infos[agent]["executed_action"]).max() for agent in infos] == [0, 1, 0]
    with pytest.raises(ValueError, match="`agents` must name agents"):
        AdversarialAction(Party(), Identity(), agents=["x"])


def test_one_call_for_agents_of_one_form():
    spy = Spy(LinfBall(0.5))
    env = AdversarialAction(Party(), spy)
    observations, _ = env.reset(seed=0)
    env.step(zeros(env))
    assert [tuple(clean.shape) for clean, _, _ in spy.calls] == [(2, 2), (1, 2)]
    state = spy.calls[0][1]["observation"]
    np.testing.assert_array_equal(state, np.stack([observations["agent_0"], observations["agent_1"]]))


def test_critics_read_the_truth():
    q = LowValue(critic=lambda s, a: (s[:, :2] * a).sum(-1))
    env = AdversarialAction(AdversarialObs(Party(), Shift(9.0)), FGSM(q, within=LinfBall(0.25)))
    _, infos = env.reset(seed=0)
    truth = {agent: infos[agent]["clean_observation"] for agent in env.agents}
    *_, infos = env.step(zeros(env))
    for agent, state in truth.items():
        np.testing.assert_array_equal(infos[agent]["executed_action"], -0.25 * np.sign(state[:2]))


def test_masked_observations():
    spy = Spy(LinfBall(0.5))
    env = AdversarialAction(Party(masked=True), spy)
    observations, _ = env.reset(seed=0)
    env.step(zeros(env))
    context = spy.calls[0][1]
    assert context["action_mask"].tolist() == [[1, 0, 1]] * 2
    np.testing.assert_array_equal(context["observation"][0], observations["agent_0"]["observation"])


def test_discrete_actions():
    party = Party(actions=spaces.Discrete(3))
    env = AdversarialAction(party, Noise(ActionSet(3)))
    env.reset(seed=0)
    taken = set()
    while env.agents:
        *_, infos = env.step(dict.fromkeys(env.agents, 1))
        for agent, action in party.received.items():
            assert party.action_space(agent).contains(action)
            taken.add(int(infos[agent]["executed_action"]))
            assert infos[agent]["action"] == 1
    assert taken == {0, 1, 2}


def test_budgets_count_per_agent_and_episode():
    env = AdversarialAction(Party(), Gated(RandomVertex(LinfBall(0.5)), AtMost(1)))
    for _ in range(2):
        env.reset()
        moved = []
        for _ in range(2):
            *_, infos = env.step(zeros(env))
            moved.append([bool(infos[a]["executed_action"].any()) for a in infos])
        assert moved == [[True] * 3, [False] * 3]


def test_stacked_the_innermost_executes():
    env = AdversarialAction(AdversarialAction(Party(), Shift(0.25)), Shift(0.5))
    env.reset(seed=0)
    *_, infos = env.step(zeros(env))
    assert infos["agent_0"]["executed_action"].tolist() == [0.75, 0.75]
    assert infos["agent_0"]["action"].tolist() == [0.0, 0.0]


def test_agents_without_an_action_are_left_alone():
    party = Party()
    env = AdversarialAction(party, Noise(LinfBall(0.5)))
    env.reset(seed=0)
    party.agents = ["agent_0", "agent_1"]
    party.step, received = lambda actions: (actions, {}, {}, {}, {}), {}
    received, *_ = env.step({"agent_0": np.zeros(2, np.float32), "agent_1": None})
    assert received["agent_1"] is None
