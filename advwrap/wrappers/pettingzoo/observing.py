"""Attacks on what agents observe: which agents go together, and the spaces of what they see."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from advwrap.attacks import Attack
from advwrap.wrappers.beside import Beside
from advwrap.wrappers.entry import AnySpace, copied, entry, locate, pick, put
from advwrap.wrappers.injection import Array, Injection
from advwrap.wrappers.limits import bounds_of, box_of, widened
from advwrap.wrappers.pettingzoo.attacked import Attacked
from advwrap.wrappers.pettingzoo.teams import Agent, Team, teams


class Observing(Attacked):
    """Teams of agents with equal observation spaces."""

    def observation_space(self, agent: Agent) -> AnySpace:
        """The space of what the agent sees; the same object at every call."""
        space: AnySpace = self.env.observation_space(agent)
        team = self._team_of.get(agent)
        if team is None:
            return space
        if agent not in self._spaces:
            self._spaces[agent] = widened(space, team.path, team.injection.bounds)
        return self._spaces[agent]

    def _make_teams(self, attacks: Mapping[Agent, Attack]) -> list[Team]:
        self._spaces: dict[Agent, AnySpace] = {}
        return teams(attacks, self.env.observation_space, self._team)

    def _team(self, attack: Attack, agents: tuple[Agent, ...]) -> Team:
        names = ", ".join(map(repr, agents))
        space: AnySpace = self.env.observation_space(agents[0])
        path = locate(space, self._options.key)
        box = box_of(entry(space, path), what=f"observation of {names}")
        injection = Injection(
            attack,
            space=box,
            clock=self._clock,
            bounds=bounds_of(box, self._options.bounds),
            device=self._options.device,
            what=f"observation of {names}",
        )
        return Team(agents, injection, Beside(space, omit=path), path)


def truth_of(observation: Any, team: Team | None) -> tuple[Any, Array | None]:
    """Our own copy of a true observation, and its attacked entry."""
    if team is None:
        return copied(observation), None
    clean = team.injection.rows(pick(observation, team.path))
    return put(copied(observation), team.path, clean), clean
