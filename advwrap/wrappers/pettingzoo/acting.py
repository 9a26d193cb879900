"""Attacks on what agents do: which agents go together, and what their critics read."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from advwrap.attacks import Attack
from advwrap.wrappers.actions import action_injection, state_of
from advwrap.wrappers.beside import Beside
from advwrap.wrappers.pettingzoo.attacked import Attacked
from advwrap.wrappers.pettingzoo.teams import Agent, Team, teams


class Acting(Attacked):
    """Teams of agents with equal action and observation spaces."""

    def _make_teams(self, attacks: Mapping[Agent, Attack]) -> list[Team]:
        return teams(attacks, self._form, self._team)

    def _form(self, agent: Agent) -> tuple[Any, Any]:
        return self.env.action_space(agent), self.env.observation_space(agent)

    def _team(self, attack: Attack, agents: tuple[Agent, ...]) -> Team:
        actions, observations = self._form(agents[0])
        injection = action_injection(
            attack,
            actions,
            clock=self._clock,
            bounds=self._options.bounds,
            device=self._options.device,
            what=f"action of {', '.join(map(repr, agents))}",
        )
        state = state_of(observations, self._options.key)
        return Team(agents, injection, Beside(observations, state=state))
