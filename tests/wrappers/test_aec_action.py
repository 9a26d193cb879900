"""AdversarialAction on a PettingZoo AEC environment."""

import numpy as np
import pytest
from gymnasium import spaces
from pettingzoo.utils import parallel_to_aec

from advwrap import FGSM, ActionSet, AtMost, Gated, Identity, LinfBall, LowValue, Noise, RandomVertex
from advwrap.wrappers.pettingzoo.aec import AdversarialAction, AdversarialObs
from advwrap.wrappers.pettingzoo.parallel import AdversarialAction as ParallelAction
from tests.wrappers.environments import Party, Shift, Spy


def wrapped(attack, party=Party, **options):
    return AdversarialAction(parallel_to_aec(party()), attack, **options)


def turns(env, action=None, seed=0):
    """Agent and info right after each of its actions."""
    env.reset(seed=seed)
    infos = []
    for agent in env.agent_iter(30):
        _, _, terminated, truncated, _ = env.last()
        over = terminated or truncated
        env.step(None if over else (np.zeros(2, np.float32) if action is None else action))
        if not over and agent in env.infos:
            infos.append((agent, env.infos[agent]))
    return infos


def test_in_turns_or_together_the_numbers_are_the_same():
    attack = Gated(Noise(LinfBall(0.5)), AtMost(3))
    told = turns(wrapped(attack))
    env = ParallelAction(Party(), attack)
    env.reset(seed=0)
    together = []
    while env.agents:
        acting = list(env.agents)
        *_, infos = env.step({a: np.zeros(2, np.float32) for a in acting})
        together += [(agent, infos[agent]) for agent in acting]
    assert [agent for agent, _ in told] == [agent for agent, _ in together]
    for (_, one), (_, other) in zip(told, together, strict=True):
        np.testing.assert_array_equal(one["executed_action"], other["executed_action"])
        np.testing.assert_array_equal(one["action"], other["action"])


def test_the_environment_receives_what_the_infos_say():
    party = Party()
    env = AdversarialAction(parallel_to_aec(party), Noise(LinfBall(0.5)))
    told = dict(turns(env)[:3])
    assert len(told) == 3
    env.reset(seed=0)
    for _ in range(3):
        env.step(np.zeros(2, np.float32))
    for agent, info in told.items():
        np.testing.assert_array_equal(info["executed_action"], party.received[agent])


def test_critics_read_the_truth():
    q = LowValue(critic=lambda s, a: (s[:, :2] * a).sum(-1))
    seen = AdversarialObs(parallel_to_aec(Party()), Shift(9.0))
    env = AdversarialAction(seen, FGSM(q, within=LinfBall(0.25)))
    env.reset(seed=0)
    for _ in range(3):
        agent = env.agent_selection
        truth = env.infos[agent]["clean_observation"]
        env.step(np.zeros(2, np.float32))
        expected = -0.25 * np.sign(truth[:2])
        np.testing.assert_array_equal(env.infos[agent]["executed_action"], expected)


def test_discrete_actions():
    told = turns(wrapped(Noise(ActionSet(3)), lambda: Party(actions=spaces.Discrete(3))), action=1)
    assert {int(info["executed_action"]) for _, info in told} == {0, 1, 2}
    assert {int(info["action"]) for _, info in told} == {1}


def test_chosen_agents():
    told = turns(wrapped(Shift(0.5), agents=["agent_2"]))
    assert {a for a, info in told if info["executed_action"].any()} == {"agent_2"}
    with pytest.raises(ValueError, match="`agents` must name agents"):
        wrapped(Identity(), agents=["x"])


def test_budgets_count_per_agent_and_episode():
    env = wrapped(Gated(RandomVertex(LinfBall(0.5)), AtMost(1)))
    for seed in (0, None):
        told = turns(env, seed=seed)
        for agent in ("agent_0", "agent_1", "agent_2"):
            moved = [bool(i["executed_action"].any()) for a, i in told if a == agent]
            assert moved[:2] == [True, False]


def test_stacked_the_innermost_executes():
    env = AdversarialAction(wrapped(Shift(0.25)), Shift(0.5))
    told = dict(turns(env)[:3])
    assert told["agent_0"]["executed_action"].tolist() == [0.75, 0.75]
    assert told["agent_0"]["action"].tolist() == [0.0, 0.0]


def test_masks_are_read():
    spy = Spy(LinfBall(0.5))
    turns(wrapped(spy, lambda: Party(masked=True)))
    assert spy.last("action_mask").tolist() == [[1, 0, 1]]
    assert spy.last("observation").shape == (1, 4)


def test_infos_tell_of_this_episode():
    env = wrapped(Noise(LinfBall(0.5)))
    env.reset(seed=0)
    env.step(np.zeros(2, np.float32))
    assert "executed_action" in env.infos["agent_0"]
    env.reset(seed=0)
    assert "executed_action" not in env.infos["agent_0"]


def test_the_agent_may_write_into_what_it_sees():
    spy = Spy(LinfBall(0.5))
    env = wrapped(spy)
    env.reset(seed=0)
    seen, *_ = env.last()
    truth = seen.copy()
    seen[...] = 9.0
    env.step(np.zeros(2, np.float32))
    np.testing.assert_array_equal(spy.last("observation")[0], truth)
