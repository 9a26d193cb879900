"""What a wrapper with an attack owes to the agent and to the environment, whatever the framework and the channel."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from gymnasium.utils.env_checker import data_equivalence

from advwrap.attacks import Attack, Identity
from advwrap.testing.contracts.handled import Handled
from advwrap.testing.contracts.histories import History
from advwrap.testing.contracts.played import Played
from advwrap.testing.contracts.rules import global_randomness_untouched, seeds


class AnyWrapperContract(Played):
    """The rules of every framework; inherit the contract of yours instead."""

    def wrap(self, env: Any, attack: Attack) -> Any:
        """The wrapper, around `env`, with this attack."""
        raise NotImplementedError("override wrap(env, attack)")

    def _around(self, env: Any, attack: Attack) -> Any:
        return self.wrap(env, attack)

    def _generators(self, env: Any) -> Sequence[np.random.Generator]:
        """Those that the environment itself draws from."""
        raise NotImplementedError

    @seeds
    def test_identity_changes_nothing(self, seed: int) -> None:
        """With `Identity` the agent cannot tell the wrapped environment from the bare one."""
        for make in self._worlds():
            env = make()
            commands = self._commands(env, seed)
            plain = self._play(env, commands, seed)
            wrapped = self._play(self.wrap(make(), Identity()), commands, seed)
            for bare, history in zip(plain, wrapped, strict=True):
                self._check_same_run(bare, history)

    def _check_same_run(self, bare: History, history: History) -> None:
        for a, b in zip(bare.steps, history.steps, strict=True):
            same = data_equivalence(a.observation, b.observation, exact=True)
            assert same, f"{history.who}: the observation must be the bare one, {a.observation}, got {b.observation}."
            assert a.outcome() == b.outcome(), f"{history.who}: reward and ends must be the bare ones."
            assert a.info.keys() <= b.info.keys(), f"{history.who}: no info may be lost."

    @seeds
    def test_seed_decides(self, seed: int) -> None:
        """One seed, one run; the noise goes on without a seed; no other generator is advanced."""
        for make in self._worlds():
            bare, envs = make(), [self._attacked(make) for _ in range(2)]
            commands = self._commands(bare, seed)
            with global_randomness_untouched():
                first, second = (self._play(env, commands, seed) for env in envs)
                again = self._play(envs[0], commands, seed)
                later, then = (self._play(env, commands, None) for env in envs)
            self._check_same(first, second, "one seed must give one run in two environments.")
            self._check_same(first, again, "one seed must give one run, whatever happened before.")
            self._check_same(later, then, "the episodes that follow must be the same as well.")
            for begun in (seed, None):
                self._play(bare, commands, begun)
            for mine, its in zip(self._generators(envs[1]), self._generators(bare), strict=True):
                assert mine.bit_generator.state == its.bit_generator.state, (
                    "the environment's own generator must not be advanced: clean and attacked runs start alike."
                )

    def test_spaces_stay(self) -> None:
        """The agent acts and sees in the spaces of the bare environment."""
        for make in self._worlds():
            env = make()
            bare, wrapped = self._spaces(env), self._spaces(self.wrap(env, self.make_attack()))
            for name, own in bare.items():
                assert own == wrapped[name], f"the {name} spaces must stay {own}, got {wrapped[name]}."

    @seeds
    def test_returned_data_are_the_agents(self, seed: int) -> None:
        """Writing to what was returned changes nothing that comes later."""
        for make in self._worlds():
            env = self._attacked(make)
            commands = self._commands(env, seed)
            expected = self._play(env, commands, seed)
            found = self._play(Handled(self._attacked(make), writes_got=True), commands, seed)
            self._check_same(expected, found, "returned arrays must not be read again.")
