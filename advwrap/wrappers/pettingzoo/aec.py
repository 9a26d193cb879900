"""PettingZoo AEC environments under attack: each agent in its turn."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from pettingzoo.utils.env import AECEnv
from pettingzoo.utils.wrappers import BaseWrapper

from advwrap.attacks import Attack
from advwrap.clock import ACTIONS
from advwrap.sets import Bounds
from advwrap.wrappers.entry import Key, copied, put, same
from advwrap.wrappers.injection import Array
from advwrap.wrappers.pettingzoo.acting import Acting
from advwrap.wrappers.pettingzoo.attacked import Options
from advwrap.wrappers.pettingzoo.observing import Observing, truth_of
from advwrap.wrappers.pettingzoo.teams import Agent, Attacks, Team


@dataclass
class Turn:
    """What an agent could observe since it last acted, and what it was shown.

    Args:
        truth: The true observation.
        told: A copy of it, for the info: the agent may write into what it gets.
        clean: Its attacked entry; None for an agent that is not attacked.
        seen: That entry as shown; None until the agent looks.
        attacked: Whether anything shown in this turn differed from the truth.
    """

    truth: Any = None
    told: Any = None
    clean: Array | None = None
    seen: Array | None = None
    attacked: bool = False


class AdversarialObs(Observing, BaseWrapper):  # type: ignore[misc]
    """Some or all agents see perturbed observations; the environment and the rewards stay.

    An agent is attacked once per turn: until it acts, looking again shows the same. Its first
    observation of an episode is step 0, the one after its k-th action step k; so an environment in
    its AEC and in its parallel form gives the same numbers.

    Reads: the other entries of Dict observations, such as an action mask, as context of the attack.
    Writes: ``infos[agent]["clean_observation"]``, the true observation, for every agent.

    Args:
        env: An AEC environment with `possible_agents`.
        attack: One attack for all attacked agents, or a mapping from agent to attack.
        agents: The ids of the attacked agents; all by default.
        key: Which entry of Dict observations; "observation" beside an "action_mask" by default.
        bounds: The valid range of perturbed values, by default the bounds of the space.
        device: Where the attack computes.

    Raises:
        TypeError: If an attacked observation is no Box of numbers.
        ValueError: If an agent or a key is unknown, or (at a turn) the observation holds NaN.

    Example:
        >>> from mpe2 import simple_spread_v3
        >>> from advwrap import LinfBall, RandomVertex
        >>> env = AdversarialObs(simple_spread_v3.env(), RandomVertex(LinfBall(0.1)))
        >>> env.reset(seed=0)
        >>> seen, *_, info = env.last()
        >>> print(abs(seen - info["clean_observation"]).max().round(2))
        0.1
    """

    def __init__(
        self,
        env: AECEnv[Agent, Any, Any],
        attack: Attacks,
        *,
        agents: Iterable[Agent] | None = None,
        key: Key = None,
        bounds: Bounds | None = None,
        device: torch.device | str = "cpu",
    ) -> None:
        BaseWrapper.__init__(self, env)
        self._turns: dict[Agent, Turn] = {}
        self._attach(attack, Options(agents, key, bounds, device), name="AdversarialObs")

    def reset(self, seed: int | None = None, options: dict[str, Any] | None = None) -> None:
        """Reset."""
        self.env.reset(seed=seed, options=options)
        self._begin(seed)
        self._turns = {}

    def observe(self, agent: Agent) -> Any:
        """What the agent sees."""
        observation = self.env.observe(agent)
        team = self._team_of.get(agent)
        if team is None or observation is None:
            return observation
        turn = self._turn(agent, observation)
        if turn.seen is None and turn.clean is not None:
            known = team.known([agent], {agent: observation}, self.env.infos)
            turn.seen = team.injection.perturb(turn.clean[None], known, self._who([agent]))[0]
            turn.attacked = turn.attacked or bool((turn.seen != turn.clean).any())
        return put(observation, team.path, copied(turn.seen))

    def last(self, observe: bool = True) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        """What the agent whose turn it is sees, and the results of its last action."""
        agent = self.env.agent_selection
        observation = self.observe(agent) if observe else None
        results = self.env.last(observe=False)
        return observation, *results[1:4], self._info(agent, results[4])

    def step(self, action: Any) -> None:
        """Step; the turn of the agent that acts is over."""
        agent = self.env.agent_selection
        self.env.step(action)
        turn = self._turns.pop(agent, None)
        if agent in self._team_of:
            injection = self._team_of[agent].injection
            changed = np.array([turn is not None and turn.attacked])
            who = self._who([agent])
            if turn is not None and turn.seen is not None and turn.clean is not None:
                injection.remember(turn.clean[None], turn.seen[None], who)
            injection.count(changed, who)

    @property
    def infos(self) -> dict[Agent, dict[str, Any]]:
        """The infos of the agents, with their true observations."""
        return {agent: self._info(agent, info) for agent, info in self.env.infos.items()}

    def _make_teams(self, attacks: Mapping[Agent, Attack]) -> list[Team]:
        """A new attack shows something new, in the present turns as well."""
        for turn in self._turns.values():
            turn.truth = turn.seen = None
        return super()._make_teams(attacks)

    def _info(self, agent: Agent, info: dict[str, Any]) -> dict[str, Any]:
        # What is beneath may be attacked as well: its clean observation is the true one.
        if "clean_observation" in info:
            return info
        observation = self.env.observe(agent)
        if observation is None:
            return info
        return {**info, "clean_observation": self._turn(agent, observation).told}

    def _turn(self, agent: Agent, observation: Any) -> Turn:
        """The turn of the agent; if the truth changes within it, it will be shown anew."""
        turn = self._turns.setdefault(agent, Turn())
        if not same(turn.truth, observation):
            turn.truth, turn.clean = truth_of(observation, self._team_of.get(agent))
            turn.told = copied(turn.truth)
            turn.seen = None
        return turn


class AdversarialAction(Acting, BaseWrapper):  # type: ignore[misc]
    """The environment executes perturbed actions of some or all agents.

    Discrete actions are replaced by another of an `ActionSet`, never by one that the agent's action mask forbids.

    Reads: the true observation of the agent, as ``context["observation"]`` of the attack.
    Writes: ``infos[agent]["action"]``, what the agent last intended, and
    ``infos[agent]["executed_action"]``, what the environment received.

    Args:
        env: An AEC environment with `possible_agents`.
        attack: One attack for all attacked agents, or a mapping from agent to attack.
        agents: The ids of the attacked agents; all by default.
        key: Which entry of Dict observations is ``context["observation"]``.
        bounds: The valid range of executed actions, by default that of the action space.
        device: Where the attack computes.

    Raises:
        TypeError: If attacked actions are neither numbers nor discrete.
        ValueError: If an agent is unknown, or the attack chooses an action outside the space.

    Example:
        >>> from mpe2 import simple_spread_v3
        >>> from advwrap import ActionSet, Noise
        >>> env = AdversarialAction(simple_spread_v3.env(), Noise(ActionSet(5)))
        >>> env.reset(seed=0)
        >>> env.step(0)
        >>> int(env.infos["agent_0"]["executed_action"])
        1
    """

    def __init__(
        self,
        env: AECEnv[Agent, Any, Any],
        attack: Attacks,
        *,
        agents: Iterable[Agent] | None = None,
        key: Key = None,
        bounds: Bounds | None = None,
        device: torch.device | str = "cpu",
    ) -> None:
        BaseWrapper.__init__(self, env)
        options = Options(agents, key, bounds, device)
        self._attach(attack, options, name="AdversarialAction", salt=ACTIONS)
        self._told: dict[Agent, dict[str, Any]] = {}

    def reset(self, seed: int | None = None, options: dict[str, Any] | None = None) -> None:
        """Reset."""
        self.env.reset(seed=seed, options=options)
        self._begin(seed)
        self._told = {}

    def observe(self, agent: Agent) -> Any:
        """A copy of what the agent sees: the attack reads it as well, when the agent acts."""
        return copied(self.env.observe(agent))

    def step(self, action: Any) -> None:
        """Step with the perturbed action; an agent's k-th action is attacked as its step k."""
        agent = self.env.agent_selection
        executed, team = action, self._team_of.get(agent)
        if team is not None and action is not None:
            known = team.known([agent], {agent: self._truth(agent)}, self.env.infos)
            intended = team.stack([agent], {agent: action})
            executed = team.injection(intended, known, self._who([agent]))[0]
        self.env.step(copied(executed))
        # What is beneath may attack as well: its executed action is what was executed.
        told = {"executed_action": copied(executed), **self.env.infos.get(agent, {})}
        self._told[agent] = {
            "executed_action": told["executed_action"],
            "action": copied(action),
        }

    @property
    def infos(self) -> dict[Agent, dict[str, Any]]:
        """The infos of the agents, with what they last did."""
        infos = self.env.infos
        return {agent: {**info, **self._told.get(agent, {})} for agent, info in infos.items()}

    def _truth(self, agent: Agent) -> Any:
        info = self.env.infos[agent]
        return info["clean_observation"] if "clean_observation" in info else self.env.observe(agent)
