"""Actions outside the box: a Gaussian policy leaves it, the task clips. What is attacked is what the task makes of it.

Of an intended 5 in a box that ends at 1 an executed 4.9 is no attack at all: it would not reach the task, and the agent
would seem robust.
"""

from __future__ import annotations

from functools import partial

import numpy as np
import pytest
import torch
from gymnasium import spaces
from gymnasium.vector import SyncVectorEnv
from pettingzoo.utils import parallel_to_aec
from torchrl.envs import step_mdp

from advwrap import AtMost, Bias, Delay, Gain, Gated, Identity, LinfBall, RandomVertex, Stuck
from advwrap.evaluation import evaluate
from advwrap.wrappers import AdversarialAction
from tests.transforms.test_action import echo
from tests.wrappers.environments import Party, Walk

FAR = np.array([5.0, 0.2], np.float32)


def executed(attack, actions):
    """What Gymnasium, its vector environments, both kinds of PettingZoo and TorchRL execute of [T, 2]: [5, T, 2]."""
    env = AdversarialAction(Walk(length=99), attack)
    env.reset(seed=0)
    found = [[env.step(action)[-1]["executed_action"] for action in actions]]
    envs = AdversarialAction(SyncVectorEnv([partial(Walk, length=99)]), attack)
    envs.reset(seed=0)
    found.append([envs.step(action[None])[-1]["executed_action"][0] for action in actions])
    party = AdversarialAction(Party(lengths=(99,), sizes=(2,)), attack)
    party.reset(seed=0)
    found.append([party.step({"agent_0": action})[-1]["agent_0"]["executed_action"] for action in actions])
    turns = AdversarialAction(parallel_to_aec(Party(lengths=(99,), sizes=(2,))), attack)
    turns.reset(seed=0)
    torchrl = echo(attack)
    data = torchrl.reset()
    found += [[], []]
    for action in actions:
        turns.step(action)
        found[3].append(turns.infos["agent_0"]["executed_action"])
        data = torchrl.step(data.set("action", torch.from_numpy(action)))
        found[4].append(data["executed_action"].numpy())
        data = step_mdp(data)
    return np.stack([np.stack(rows) for rows in found])


@pytest.mark.parametrize(
    ("attack", "first"), [(Gain(0.9), 0.9), (Bias(-0.1), 0.9), (Bias(0.1), 5.0), (Identity(), 5.0)], ids=repr
)
def test_the_attack_begins_where_the_task_clips(attack, first):
    """In every framework; what leaves the action alone leaves all of it alone."""
    found = executed(attack, np.float32([[5.0, 1.0]]))
    np.testing.assert_allclose(found[:, 0], np.tile([first, min(first, 1.0)], (5, 1)), rtol=1e-6)


def test_a_random_perturbation_is_felt():
    """Half of the vertices are beyond the limit, and nothing can be done about those."""
    found = executed(RandomVertex(LinfBall(0.25)), [FAR] * 40)
    assert set(np.unique(found[..., 0])) == {np.float32(0.75), np.float32(1.0)}
    assert all((row == 0.75).any() for row in found[..., 0])


@pytest.mark.parametrize(("attack", "expected"), [(Delay(1), [0.0, 1.0, -1.0]), (Stuck(), [5.0, 1.0, 1.0])], ids=repr)
def test_what_is_remembered_is_what_the_task_made_of_it(attack, expected):
    """A delayed 5 arrives as 1; the first command is left alone, and a stuck actuator repeats what became of it."""
    actions = np.float32([[5.0, 0.0], [-7.0, 0.0], [0.5, 0.0]])
    np.testing.assert_array_equal(executed(attack, actions)[..., 0], np.tile(np.float32(expected), (5, 1)))


def test_a_budget_is_not_spent_where_nothing_changes():
    """At the limit there is nothing to gain; the one attack is left for the third step."""
    env = AdversarialAction(Walk(), Gated(Gain(2.0), AtMost(1)))
    env.reset(seed=0)
    for action, expected in ((FAR, 5.0), (-FAR, -5.0)):
        saturated = np.float32([action[0], 0.0])
        assert env.step(saturated)[-1]["executed_action"][0] == expected
    assert env.step(np.float32([0.3, 0.0]))[-1]["executed_action"][0] == np.float32(0.6)


def test_the_size_of_a_perturbation_is_what_the_task_feels():
    result = evaluate(lambda seen: np.tile(FAR, (len(seen), 1)), Walk, Gain(0.9), channel=AdversarialAction, episodes=1)
    assert result.sizes[0] == pytest.approx(0.1, abs=0.03)


@pytest.mark.parametrize(
    ("make", "action", "said"),
    [
        (lambda: AdversarialAction(Walk(), Gain(0.5)), np.zeros(3), r"the action must have shape \(2,\), got \(3,\)"),
        (lambda: AdversarialAction(Walk(), Gain(0.5)), 0.5, r"the action must have shape \(2,\), got \(\)"),
        (
            lambda: AdversarialAction(SyncVectorEnv([Walk] * 2), Gain(0.5)),
            np.zeros((3, 2)),
            r"the action must have shape \(2, 2\), got \(3, 2\)",
        ),
    ],
)
def test_another_shape_is_refused(make, action, said):
    env = make()
    env.reset(seed=0)
    with pytest.raises(ValueError, match=said):
        env.step(action)


def test_integers_are_clipped_as_integers():
    class Steps(Walk):
        def __init__(self):
            super().__init__()
            self.action_space = spaces.Box(-3, 3, (2,), np.int64)

    env = AdversarialAction(Steps(), Bias(-1 / 3))
    env.reset(seed=0)
    found = env.step(np.array([9, 1]))[-1]["executed_action"]
    assert found.tolist() == [2, 0]
    assert found.dtype == np.int64
