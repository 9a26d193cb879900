"""PettingZoo parallel environments under attack: all agents of a form in one batched call."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import torch
from pettingzoo.utils.env import ParallelEnv
from pettingzoo.utils.wrappers import BaseParallelWrapper

from advwrap.clock import ACTIONS
from advwrap.sets import Bounds
from advwrap.wrappers.entry import Key, copied, put
from advwrap.wrappers.pettingzoo.acting import Acting
from advwrap.wrappers.pettingzoo.attacked import Options
from advwrap.wrappers.pettingzoo.observing import Observing, truth_of
from advwrap.wrappers.pettingzoo.teams import Agent, Attacks

ByAgent = dict[Agent, Any]


class AdversarialObs(Observing, BaseParallelWrapper):  # type: ignore[misc]
    """Some or all agents see perturbed observations; the environment and the rewards stay.

    Agents with the same attack and the same observation space are attacked in one batched call.

    Reads: the other entries of Dict observations, such as an action mask, as context of the attack.
    Writes: ``infos[agent]["clean_observation"]``, the true observation, for every agent.

    Args:
        env: A parallel environment with `possible_agents`.
        attack: One attack for all attacked agents, or a mapping from agent to attack.
        agents: The ids of the attacked agents; all by default.
        key: Which entry of Dict observations; "observation" beside an "action_mask" by default.
        bounds: The valid range of perturbed values, by default the bounds of the space.
        device: Where the attack computes.

    Raises:
        TypeError: If an attacked observation is no Box of numbers.
        ValueError: If an agent or a key is unknown, or (at a step) an observation holds NaN.

    Example:
        >>> from mpe2 import simple_spread_v3
        >>> from advwrap import LinfBall, RandomVertex
        >>> attack = RandomVertex(LinfBall(0.1))
        >>> env = AdversarialObs(simple_spread_v3.parallel_env(), attack, agents=["agent_1"])
        >>> seen, infos = env.reset(seed=0)
        >>> for agent in env.agents:
        ...     print(agent, abs(seen[agent] - infos[agent]["clean_observation"]).max().round(2))
        agent_0 0.0
        agent_1 0.1
        agent_2 0.0
    """

    def __init__(
        self,
        env: ParallelEnv[Agent, Any, Any],
        attack: Attacks,
        *,
        agents: Iterable[Agent] | None = None,
        key: Key = None,
        bounds: Bounds | None = None,
        device: torch.device | str = "cpu",
    ) -> None:
        BaseParallelWrapper.__init__(self, env)
        self._attach(attack, Options(agents, key, bounds, device), name="AdversarialObs")

    def reset(self, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[ByAgent, ByAgent]:
        """Reset; the first observations are attacked as step 0 of the episode."""
        observations, infos = self.env.reset(seed=seed, options=options)
        self._begin(seed)
        return self._attacked(observations, infos)

    def step(self, actions: ByAgent) -> tuple[ByAgent, ByAgent, ByAgent, ByAgent, ByAgent]:
        """Step; only the observations change."""
        observations, rewards, terminations, truncations, infos = self.env.step(actions)
        observations, infos = self._attacked(observations, infos)
        return observations, rewards, terminations, truncations, infos

    def _attacked(self, observations: ByAgent, infos: ByAgent) -> tuple[ByAgent, ByAgent]:
        seen, infos = dict(observations), dict(infos)
        for agent, observation in observations.items():
            truth, _ = truth_of(observation, self._team_of.get(agent))
            # What is beneath may be attacked as well: its clean observation is the true one.
            infos[agent] = {"clean_observation": truth, **infos.get(agent, {})}
        for team in self._teams:
            present = [agent for agent in team.agents if agent in observations]
            if present:
                known = team.known(present, observations, infos)
                clean = team.stack(present, observations)
                perturbed = team.injection(clean, known, self._who(present))
                for agent, row in zip(present, perturbed, strict=True):
                    seen[agent] = put(observations[agent], team.path, row.copy())
        return seen, infos


class AdversarialAction(Acting, BaseParallelWrapper):  # type: ignore[misc]
    """The environment executes perturbed actions of some or all agents.

    Discrete actions are replaced by another of an `ActionSet`, never by one that the agent's action mask forbids.

    Agents with the same attack and the same spaces are attacked in one batched call.

    Reads: the true observations, as ``context["observation"]`` of the attack.
    Writes: ``infos[agent]["action"]``, what the agent intended, and
    ``infos[agent]["executed_action"]``, what the environment received, for every agent that acted.

    Args:
        env: A parallel environment with `possible_agents`.
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
        >>> env = AdversarialAction(simple_spread_v3.parallel_env(), Noise(ActionSet(5)))
        >>> observations, infos = env.reset(seed=0)
        >>> *_, infos = env.step({agent: 0 for agent in env.agents})
        >>> [int(infos[agent]["executed_action"]) for agent in env.agents]
        [1, 0, 4]
    """

    def __init__(
        self,
        env: ParallelEnv[Agent, Any, Any],
        attack: Attacks,
        *,
        agents: Iterable[Agent] | None = None,
        key: Key = None,
        bounds: Bounds | None = None,
        device: torch.device | str = "cpu",
    ) -> None:
        BaseParallelWrapper.__init__(self, env)
        options = Options(agents, key, bounds, device)
        self._attach(attack, options, name="AdversarialAction", salt=ACTIONS)
        self._truth: ByAgent = {}
        self._infos: ByAgent = {}

    def reset(self, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[ByAgent, ByAgent]:
        """Reset; nothing is attacked."""
        observations, infos = self.env.reset(seed=seed, options=options)
        self._begin(seed)
        self._remember(observations, infos)
        return observations, infos

    def step(self, actions: ByAgent) -> tuple[ByAgent, ByAgent, ByAgent, ByAgent, ByAgent]:
        """Step with the perturbed actions; the k-th actions of an episode are attacked as step k."""
        executed = dict(actions)
        for team in self._teams:
            present = [agent for agent in team.agents if actions.get(agent) is not None]
            if present:
                intended = team.stack(present, actions)
                known = team.known(present, self._truth, self._infos)
                perturbed = team.injection(intended, known, self._who(present))
                executed.update(zip(present, perturbed, strict=True))
        results = self.env.step({agent: copied(action) for agent, action in executed.items()})
        observations, rewards, terminations, truncations, infos = results
        self._remember(observations, infos)
        infos = dict(infos)
        for agent, action in actions.items():
            # What is beneath may attack as well: its executed action is what was executed.
            told = {"executed_action": copied(executed[agent]), **infos.get(agent, {})}
            infos[agent] = {**told, "action": copied(action)}
        return observations, rewards, terminations, truncations, infos

    def _remember(self, observations: ByAgent, infos: ByAgent) -> None:
        self._infos = infos
        for agent, observation in observations.items():
            truth = infos.get(agent, {}).get("clean_observation", observation)
            self._truth[agent] = copied(truth)
