"""Attacks in worker processes: a copy of a victim does not learn."""

import os
import warnings

import numpy as np
import pytest
import torch
from gymnasium.vector import AsyncVectorEnv

from advwrap import (
    PGD,
    ActionShift,
    AtMost,
    EveryNth,
    GapAbove,
    Gated,
    Identity,
    Learned,
    Linear,
    LinfBall,
    Mixture,
    Noise,
    RandomVertex,
    Search,
)
from advwrap.victims import Categorical
from advwrap.wrappers.gymnasium import AdversarialAction, AdversarialObs
from advwrap.wrappers.parts import changes
from advwrap.wrappers.workers import FrozenCopyWarning
from tests.wrappers.environments import Spy, Walk

pytestmark = pytest.mark.filterwarnings("ignore:.*multi-threaded:DeprecationWarning")

NET = torch.nn.Linear(3, 2)
GRADIENT = PGD(ActionShift(NET), within=LinfBall(0.1))


@pytest.mark.parametrize(
    ("attack", "stale"),
    [
        (Identity(), False),
        (Noise(LinfBall(torch.ones(3))), False),
        (Gated(RandomVertex(LinfBall(0.1)), AtMost(3) & EveryNth(2)), False),
        (Mixture((0.5, Identity()), (0.5, Noise(LinfBall(0.1)))), False),
        (GRADIENT, True),
        (Mixture((0.5, Identity()), (0.5, GRADIENT)), True),
        (Search(ActionShift(NET), within=LinfBall(0.1)), True),
        (Learned(NET, within=LinfBall(0.1)), True),
        (Gated(Identity(), GapAbove(Categorical(NET), 0.5)), True),
        (Noise(LinfBall(Linear(0.0, 0.1, steps=9))), True),
        (Spy(LinfBall(0.1)), True),
    ],
)
def test_what_may_grow_stale(attack, stale):
    assert changes(attack) is stale


def warned(envs):
    """How many warnings each worker gave when it made its environment."""
    try:
        return envs.get_attr("warned")
    finally:
        envs.close()


class Recorded:
    """Makes an attacked environment and notes the warnings."""

    def __init__(self, attack, wrapper=AdversarialObs):
        self.attack = attack
        self.wrapper = wrapper

    def __call__(self):
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            env = self.wrapper(Walk(), self.attack)
        env.unwrapped.warned = [str(w.message) for w in caught if w.category is FrozenCopyWarning]
        return env


@pytest.mark.parametrize(("context", "workers"), [("fork", 2), ("spawn", 1)])
def test_a_worker_warns_with_the_fix(context, workers):
    envs = AsyncVectorEnv([Recorded(GRADIENT)] * workers, context=context)
    for messages in warned(envs):
        assert len(messages) == 1
        assert "AdversarialObs(AsyncVectorEnv(...), attack=attack)" in messages[0]
        assert "own copy of PGD" in messages[0]


@pytest.mark.parametrize("wrapper", [AdversarialObs, AdversarialAction])
def test_noise_needs_no_warning(wrapper):
    envs = AsyncVectorEnv([Recorded(Noise(LinfBall(0.1)), wrapper)], context="fork")
    assert warned(envs) == ([],)


def test_here_nothing_warns():
    assert Recorded(GRADIENT)().unwrapped.warned == []


def test_an_environment_that_was_carried_into_another_process_warns_once(monkeypatch):
    env = AdversarialObs(Walk(), GRADIENT)
    env.reset(seed=0)
    monkeypatch.setattr(os, "getpid", lambda: -1)
    with pytest.warns(FrozenCopyWarning):
        env.reset()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        env.reset()


def test_an_update_can_be_pushed_to_the_workers():
    envs = AsyncVectorEnv([lambda: AdversarialObs(Walk(), Identity())] * 2, context="fork")
    try:
        _, infos = envs.reset(seed=0)
        envs.set_attr("attack", [RandomVertex(LinfBall(1.0))] * 2)
        seen, *_, infos = envs.step(np.zeros((2, 2), np.float32))
        np.testing.assert_allclose(abs(seen - infos["clean_observation"]), 1.0, atol=1e-6)
    finally:
        envs.close()
