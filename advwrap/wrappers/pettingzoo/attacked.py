"""What all PettingZoo wrappers share: the attacks on their agents, and the clock."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from advwrap.attacks import Attack
from advwrap.clock import EpisodeClock
from advwrap.sets import Bounds
from advwrap.wrappers.entry import Key
from advwrap.wrappers.injection import Array
from advwrap.wrappers.pettingzoo.teams import Agent, Attacks, Team, agents_of, attack_of_each
from advwrap.wrappers.stack import beneath
from advwrap.wrappers.workers import Process


@dataclass(frozen=True)
class Options:
    """How the agents are attacked, besides the attack."""

    agents: Iterable[Agent] | None
    key: Key
    bounds: Bounds | None
    device: torch.device | str

    def __post_init__(self) -> None:
        if self.agents is not None:  # read again for every new attack
            object.__setattr__(self, "agents", tuple(self.agents))


class Attacked:
    """An environment of several agents, with an attack on some of them and a clock.

    Agent number i of ``possible_agents`` draws its own numbers from the seed; agent 0 those that a
    single-agent environment draws.
    """

    env: Any
    _clock: EpisodeClock
    _teams: list[Team]

    def _attach(self, attack: Attacks, options: Options, *, name: str, salt: int = 0) -> None:
        """Part of the constructor.

        Args:
            attack: One attack for all attacked agents, or a mapping from agent to attack.
            options: The other arguments.
            name: The name of the wrapper: several of a name in a stack draw different numbers.
            salt: The first salt of this name.
        """
        possible = agents_of(self.env)
        self._index = {agent: i for i, agent in enumerate(possible)}
        self._options = options
        self._clock = EpisodeClock(1, salt=salt + beneath(self.env, name), agents=len(possible))
        self.attack = attack
        self._process = Process(*self._attacks())

    @property
    def attack(self) -> Attacks:
        """The attack, or the attack of each agent; may be replaced at any time."""
        return self._attack

    @attack.setter
    def attack(self, attack: Attacks) -> None:
        attacks = attack_of_each(attack, list(self._index), self._options.agents)
        self._teams = self._make_teams(attacks)
        self._team_of = {agent: team for team in self._teams for agent in team.agents}
        self._attack = attack

    def _make_teams(self, attacks: Mapping[Agent, Attack]) -> list[Team]:
        raise NotImplementedError

    def _attacks(self) -> list[Attack]:
        return [team.injection.attack for team in self._teams]

    def _who(self, agents: list[Agent]) -> Array:
        """The streams of some agents in the clock."""
        return np.array([self._index[agent] for agent in agents])

    def _begin(self, seed: int | None) -> None:
        """The clock of a reset."""
        self._process.check(*self._attacks())
        if seed is None:
            self._clock.start()
        else:
            self._clock.seed([seed])

    def state_dict(self) -> dict[str, Tensor]:
        """Seed, episode and counts: with the state of the environment, enough to continue."""
        return self._clock.state_dict()

    def load_state_dict(self, state: Mapping[str, Tensor]) -> None:
        """Continue from `state_dict`."""
        self._clock.load_state_dict(state)
