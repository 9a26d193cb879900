"""Any sequence of reset, step, change of radius, save, load and clone keeps what an attacked environment promises.

Beside every attacked environment runs a bare twin, which gets the same seeds and actions.
"""

from __future__ import annotations

import copy
from typing import Any

import numpy as np
import torch
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from advwrap import AdversarialObs, AtMost, Gated, LinfBall, RandomVertex
from advwrap.testing.environments import SignalEnv, SignalTorchRLEnv, signal_vector

BUDGET = 3
ROWS = 2
seeds = st.integers(0, 1000)
sizes = st.sampled_from([0.0, 0.05, 0.3])
pushes = st.sampled_from([-1.0, 0.0, 0.5])


def attack(eps: float) -> Gated:
    return Gated(RandomVertex(LinfBall(eps)), AtMost(BUDGET))


class Attacked(RuleBasedStateMachine):
    """The rules; a subclass says how its framework does each of them."""

    eps = 0.0
    over = True
    spent = 0

    def make(self, eps: float) -> None:
        """Make `self.env`, attacked, and `self.twin`, bare."""
        raise NotImplementedError

    def begin(self, seed: int | None) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Reset both: what is seen, what is true, what the twin shows."""
        raise NotImplementedError

    def act(self, push: float) -> tuple[np.ndarray, np.ndarray, np.ndarray, bool]:
        """Step both: the same, and whether the episode is over."""
        raise NotImplementedError

    def change(self, eps: float) -> None:
        """Attack with another radius from now on."""
        raise NotImplementedError

    def save(self) -> Any:
        """The attack's state, as it is checkpointed."""
        raise NotImplementedError

    def load(self, state: Any) -> None:
        """Put a state back."""
        raise NotImplementedError

    @initialize(seed=seeds, eps=sizes)
    def start(self, seed: int, eps: float) -> None:
        self.make(eps)
        self.eps = eps
        self.reset(seed)

    @rule(seed=st.none() | seeds)
    def reset(self, seed: int | None) -> None:
        self.over, self.spent = False, 0
        self.look(*self.begin(seed))

    @precondition(lambda self: not self.over)
    @rule(push=pushes)
    def step(self, push: float) -> None:
        seen, truth, twin, self.over = self.act(push)
        self.look(seen, truth, twin)

    @rule(eps=sizes)
    def set_epsilon(self, eps: float) -> None:
        self.eps = eps
        self.change(eps)

    @precondition(lambda self: not self.over)
    @rule(push=pushes)
    def clone(self, push: float) -> None:
        """A copy goes on as the original does, and does not disturb it."""
        original, bare = self.env, self.twin
        self.env, self.twin = copy.deepcopy(original), copy.deepcopy(bare)
        copied, *_ = self.act(push)
        self.env, self.twin = original, bare
        seen, truth, twin, self.over = self.act(push)
        np.testing.assert_array_equal(copied, seen)
        self.look(seen, truth, twin)

    @precondition(lambda self: not self.over)
    @rule(push=pushes)
    def save_and_load(self, push: float) -> None:
        """A state that is put back gives the same perturbation again."""
        state, bare = self.save(), copy.deepcopy((self.env, self.twin))
        first, *_ = self.act(push)
        self.env, self.twin = bare
        self.load(state)
        seen, truth, twin, self.over = self.act(push)
        np.testing.assert_array_equal(first, seen)
        self.look(seen, truth, twin)

    def look(self, seen: np.ndarray, truth: np.ndarray, twin: np.ndarray) -> None:
        """What holds for everything that is ever shown."""
        np.testing.assert_array_equal(truth, twin)
        delta = seen.astype(np.float64) - truth.astype(np.float64)
        assert np.abs(delta).max() <= self.eps
        self.spent += int((delta != 0).reshape(len(delta), -1).any(1).max())

    @invariant()
    def the_budget_is_never_exceeded(self) -> None:
        assert self.spent <= BUDGET


class GymnasiumMachine(Attacked):
    def make(self, eps: float) -> None:
        self.env, self.twin = AdversarialObs(SignalEnv(), attack=attack(eps)), SignalEnv()

    def begin(self, seed: int | None) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        seen, info = self.env.reset(seed=seed)
        return seen[None], info["clean_observation"][None], self.twin.reset(seed=seed)[0][None]

    def act(self, push: float) -> tuple[np.ndarray, np.ndarray, np.ndarray, bool]:
        action = np.full(2, push, np.float32)
        seen, _, terminated, truncated, info = self.env.step(action)
        return seen[None], info["clean_observation"][None], self.twin.step(action)[0][None], terminated or truncated

    def change(self, eps: float) -> None:
        self.env.attack = attack(eps)

    def save(self) -> Any:
        return self.env.state_dict()

    def load(self, state: Any) -> None:
        self.env.load_state_dict(state)


class VectorMachine(Attacked):
    def make(self, eps: float) -> None:
        self.env, self.twin = AdversarialObs(signal_vector(ROWS), attack=attack(eps)), signal_vector(ROWS)

    def begin(self, seed: int | None) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        seen, infos = self.env.reset(seed=seed)
        return seen.copy(), infos["clean_observation"], self.twin.reset(seed=seed)[0].copy()

    def act(self, push: float) -> tuple[np.ndarray, np.ndarray, np.ndarray, bool]:
        action = np.full((ROWS, 2), push, np.float32)
        seen, _, terminated, truncated, infos = self.env.step(action)
        twin = self.twin.step(action)[0].copy()
        return seen.copy(), infos["clean_observation"], twin, bool((terminated | truncated).any())

    def change(self, eps: float) -> None:
        self.env.attack = attack(eps)

    def save(self) -> Any:
        return self.env.state_dict()

    def load(self, state: Any) -> None:
        self.env.load_state_dict(state)


class TorchRLMachine(Attacked):
    def make(self, eps: float) -> None:
        self.env, self.twin = AdversarialObs(SignalTorchRLEnv(), attack=attack(eps)), SignalTorchRLEnv()

    def begin(self, seed: int | None) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        if seed is not None:
            self.env.set_seed(seed)
            self.twin.set_seed(seed)
        self.data, self.bare = self.env.reset(), self.twin.reset()
        return self.shown(self.data, self.bare)

    def act(self, push: float) -> tuple[np.ndarray, np.ndarray, np.ndarray, bool]:
        after = []
        for env, data in ((self.env, self.data), (self.twin, self.bare)):
            before = data.clone()
            before["action"] = torch.full((*before.batch_size, 2), push)
            after.append(env.step(before)["next"])
        self.following = after
        return *self.shown(*after), bool(after[0]["done"].any())

    def shown(self, data: Any, bare: Any) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        entries = (data["observation"], data["clean_observation"], bare["observation"])
        return tuple(entry.reshape(-1, entry.shape[-1]).numpy().copy() for entry in entries)

    def look(self, seen: np.ndarray, truth: np.ndarray, twin: np.ndarray) -> None:
        # Only a step that counts moves on; a cloned or repeated one is looked at, not followed.
        if hasattr(self, "following"):
            self.data, self.bare = (data.exclude("reward") for data in self.following)
            del self.following
        super().look(seen, truth, twin)

    def change(self, eps: float) -> None:
        self.env.transform.attack = attack(eps)

    def save(self) -> Any:
        return copy.deepcopy(self.env.transform.state_dict())

    def load(self, state: Any) -> None:
        self.env.transform.load_state_dict(state)


for machine in (GymnasiumMachine, VectorMachine, TorchRLMachine):
    machine.TestCase.settings = settings(stateful_step_count=20)

TestGymnasium = GymnasiumMachine.TestCase
TestVector = VectorMachine.TestCase
TestTorchRL = TorchRLMachine.TestCase
