"""What the channel of observations and that of actions owe, in every framework."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
from gymnasium.utils.env_checker import data_equivalence

from advwrap.attacks import Attack, Noise, Stuck
from advwrap.sets import LinfBall
from advwrap.testing.contracts.handled import Handled
from advwrap.testing.contracts.histories import History, Step, alone
from advwrap.testing.contracts.played import Played
from advwrap.testing.contracts.rules import seeds
from advwrap.wrappers.gymnasium import AdversarialAction, AdversarialObs

Carried = Sequence[tuple[Any, Any]]
"""What went into a channel and what came out of it, step by step."""


class ChannelRules(Played):
    """The rules that do not ask what the channel carries."""

    def _carried(self, steps: Sequence[Step]) -> Carried:
        raise NotImplementedError

    def test_memory_begins_anew(self) -> None:
        """What is stuck stays so to the end of its episode, and the next one knows nothing of it."""
        for make in self._worlds():
            env = self._around(make(), Stuck())
            for history in self._play(env, self._commands(env, 0), 0):
                for number, episode in enumerate(history.episodes):
                    carried = self._carried(episode)
                    for _, out in carried:
                        first, _ = carried[0]
                        assert np.array_equal(out, first), (
                            f"{history.who}: every episode must begin with a memory of its own: in episode {number} "
                            f"{first} is stuck, but {out} came out."
                        )

    def _distance(self, one: Any, other: Any) -> Any:
        return np.abs(np.asarray(one, np.float64) - np.asarray(other, np.float64))

    def _check_moves(self, histories: Sequence[History]) -> None:
        """In the ball, and not idle."""
        moved = []
        for history in histories:
            for clean, out in self._carried(history.steps):
                far = self._distance(clean, out)
                assert (far <= self.radius).all(), f"{history.who}: the attack may move {self.radius}, got {far}."
                moved.append((far > 0).any())
        share = np.mean(moved)
        assert share >= self.active, f"the attack must act in {self.active:.0%} of the steps, got {share:.0%}."

    def _check_broken_is_refused(self) -> None:
        for make in self._worlds():
            env = self._attacked(make)
            commands = self._commands(env, 0)
            if self._are_numbers(commands):
                broken = self._broken(commands)
                with pytest.raises(ValueError, match=r"NaN|nan"):
                    self._play(env, broken, 0)


class RowRules(ChannelRules):
    """What holds where several rows or agents are attacked together."""

    def make_single(self, row: int) -> gym.Env[Any, Any] | None:
        """A Gymnasium environment that is for itself what this row (or agent) is here; None if there is none."""
        raise NotImplementedError

    def _around_single(self, env: gym.Env[Any, Any], attack: Attack) -> gym.Env[Any, Any]:
        raise NotImplementedError

    @seeds
    def test_numbers_of_gymnasium(self, seed: int) -> None:
        """One seed gives row i, or agent 0, the numbers that it gives a single environment with the seed + i."""
        for make in self._worlds():
            rows = self._attacked(make)
            for row, history in enumerate(self._play(rows, self._commands(rows, seed), seed)):
                env = self.make_single(row)
                if env is None:
                    continue
                commands = [[step.action for step in history.taken]]
                [single] = alone(self._around_single(env, self.make_attack()), commands, seed + row)
                here, there = self._carried(history.steps), self._carried(self._as_told(single, history))
                for step, ((_, mine), (_, its)) in enumerate(zip(here, there, strict=False)):
                    assert (self._distance(mine, its) <= self.row_tolerance).all(), (
                        f"{history.who}: one seed must give the numbers of Gymnasium: at step {step} {mine} came out, "
                        f"and {its} in a single environment."
                    )

    def _as_told(self, single: History, history: History) -> list[Step]:
        """What is told aside in the rows is so for the single environment as well."""
        return [replace(step, aside=own.aside) for step, own in zip(single.steps, history.steps, strict=False)]

    def test_rows_draw_their_own_numbers(self) -> None:
        """The same commands, but no two rows or agents get the same perturbations."""
        for make in self._worlds() if self.random else ():
            env = self._attacked(make)
            first, *others = self._commands(env, 0)
            histories = self._play(env, [first, *(first for _ in others)], 0)
            moves = [[self._moves(episode) for episode in history.episodes] for history in histories]
            for i, mine in enumerate(moves):
                for j, its in enumerate(moves[:i]):
                    pairs = [pair for both in zip(mine, its, strict=False) for pair in zip(*both, strict=False)]
                    same = all(np.allclose(a, b, rtol=0, atol=1e-5) for a, b in pairs)
                    assert not same, f"{histories[i].who} must not draw the numbers of {histories[j].who}."

    def _moves(self, steps: Sequence[Step]) -> list[Any]:
        return [np.asarray(out, np.float64) - clean for clean, out in self._carried(steps)]


class ActionRules(ChannelRules):
    """Of attacked actions."""

    def _carried(self, steps: Sequence[Step]) -> Carried:
        return [(step.told("action"), step.told("executed_action")) for step in steps if step.action is not None]

    def _around_single(self, env: gym.Env[Any, Any], attack: Attack) -> gym.Env[Any, Any]:
        return AdversarialAction(env, attack)

    @seeds
    def test_the_environment_gets_the_executed_action(self, seed: int) -> None:
        """Replaying ``info["executed_action"]`` without an attack gives the same run."""
        for make in self._worlds():
            bare = make()
            commands = self._commands(bare, seed)
            attacked = self._play(self._attacked(make), commands, seed)
            executed = []
            for history, own, space in zip(attacked, commands, self._spaces(bare)["action"], strict=True):
                told = [
                    (step.action, *pair) for step, pair in zip(history.taken, self._carried(history.steps), strict=True)
                ]
                for chosen, intended, out in told:
                    same = np.array_equal(intended, chosen)
                    assert same, (
                        f"{history.who}: info['action'] must be what the agent chose, {chosen}, got {intended}."
                    )
                    assert out in space, f"{history.who}: the executed action must be in {space}, got {out!r}."
                executed.append([*(out for *_, out in told), *own[len(told) :]])
            self._check_moves(attacked)
            for history, replayed in zip(attacked, self._play(bare, executed, seed), strict=True):
                for a, b in zip(history.steps, replayed.steps, strict=True):
                    same = data_equivalence(a.observation, b.observation, exact=True) and a.outcome() == b.outcome()
                    assert same, f"{history.who}: the environment must get the executed action."

    def test_executed_actions_are_in_the_space(self) -> None:
        """However far the attack wants to go; for numbers only, since indices have no ball."""
        for make in self._worlds():
            bare = make()
            own, commands = self._spaces(bare)["action"], self._commands(bare, 0)
            if self._are_numbers(commands):
                env = self._around(bare, Noise(LinfBall(10.0)))
                for history, space in zip(self._play(env, commands, 0), own, strict=True):
                    for _, out in self._carried(history.steps):
                        assert out in space, f"{history.who}: the executed action must be in {space}, got {out!r}."

    def test_commands_stay_the_callers(self) -> None:
        """A command is not written to, and what its owner does with it after the step changes nothing."""
        for make in self._worlds():
            env = self._attacked(make)
            commands = self._commands(env, 0)
            expected = self._play(env, commands, 0)
            found = self._play(Handled(self._attacked(make), writes_given=True), commands, 0)
            self._check_same(expected, found, "a command must be read in its step only, and be copied into the info.")

    def test_broken_action_is_refused(self) -> None:
        """NaN from the agent raises."""
        self._check_broken_is_refused()


class ObservationRules(ChannelRules):
    """Of attacked observations."""

    def _carried(self, steps: Sequence[Step]) -> Carried:
        return [(step.told("clean_observation"), step.observation) for step in steps if not step.aside]

    def _around_single(self, env: gym.Env[Any, Any], attack: Attack) -> gym.Env[Any, Any]:
        return AdversarialObs(env, attack)

    @seeds
    def test_only_the_observation_changes(self, seed: int) -> None:
        """With the same actions the environment runs as if nobody attacked, and the truth is in the info."""
        for make in self._worlds():
            env = make()
            commands = self._commands(env, seed)
            plain, attacked = self._play(env, commands, seed), self._play(self._attacked(make), commands, seed)
            for bare, history in zip(plain, attacked, strict=True):
                for a, b in zip(bare.steps, history.steps, strict=True):
                    self._check_truth(history.who, a, b)
            self._check_moves(attacked)

    def _check_truth(self, who: str, bare: Step, step: Step) -> None:
        assert bare.outcome() == step.outcome(), (
            f"{who}: an attack on the observation must leave reward and ends alone."
        )
        if step.aside:
            same = data_equivalence(bare.observation, step.observation, exact=True)
            assert same, f"{who}: final_obs must be the true one."
            return
        truth = step.told("clean_observation")
        same = np.array_equal(bare.observation, truth) and bare.observation.dtype == truth.dtype
        assert same, f"{who}: info['clean_observation'] must be the true one."
        dtype = step.observation.dtype
        assert dtype == truth.dtype, f"{who}: the dtype must stay {truth.dtype}, got {dtype}."

    def test_seen_observations_are_in_the_space(self) -> None:
        """However far the attack wants to go."""
        for make in self._worlds():
            env = self._around(make(), Noise(LinfBall(10.0)))
            histories = self._play(env, self._commands(env, 0), 0)
            for history, space in zip(histories, self._spaces(env)["observation"], strict=True):
                for step in history.steps:
                    assert step.observation in space, f"{history.who}: the agent must see members of {space}."

    def test_broken_observation_is_refused(self) -> None:
        """NaN from the environment raises; ours show it after an action that is NaN."""
        self._check_broken_is_refused()
