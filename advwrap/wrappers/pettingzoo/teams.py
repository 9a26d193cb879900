"""Which agents of a PettingZoo environment are attacked, by what, and which of them together."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from advwrap.attacks import Attack
from advwrap.errors import check
from advwrap.wrappers.beside import Beside
from advwrap.wrappers.entry import Path, pick
from advwrap.wrappers.injection import Array, Injection

Agent = Any
"""The id of an agent, as the environment gives it."""

Attacks = Attack | Mapping[Agent, Attack]
"""One attack for all agents, or one for each of some."""


@dataclass(frozen=True)
class Team:
    """Agents whose rows have the same form and the same attack: they are attacked in one call.

    Args:
        agents: Their ids.
        injection: The attack on their rows.
        beside: What else it reads of an agent's observation.
        path: The attacked entry.
    """

    agents: tuple[Agent, ...]
    injection: Injection
    beside: Beside
    path: Path = ()

    def stack(self, agents: list[Agent], values: Mapping[Agent, Any]) -> Array:
        """One row per agent: our own copy of the attacked entry of its value."""
        return np.stack([self.injection.rows(pick(values[agent], self.path)) for agent in agents])

    def known(
        self, agents: list[Agent], observations: Mapping[Agent, Any], infos: Mapping[Agent, Any]
    ) -> dict[Any, Tensor]:
        """What the attack reads besides, one row per agent; nothing before the first reset."""
        if not observations:
            return {}
        each = [self.beside(observations[agent], infos.get(agent, {})) for agent in agents]
        names = [name for name in each[0] if all(name in known for known in each)]
        return {name: torch.cat([known[name] for known in each]) for name in names}


def agents_of(env: Any) -> list[Agent]:
    """The ids of all agents that may appear; their order numbers them for `OnlyAgents`.

    Raises:
        TypeError: If the environment cannot tell.
    """
    agents = getattr(env, "possible_agents", None)
    if not agents:
        raise TypeError(
            f"`env` must list its `possible_agents`, but {env} does not. "
            "Fix: env.possible_agents = [...], every agent that may appear."
        )
    return list(agents)


def attack_of_each(attack: Attacks, possible: list[Agent], agents: Iterable[Agent] | None) -> dict[Agent, Attack]:
    """The attack on each attacked agent.

    Raises:
        ValueError: If an id is unknown, or agents are chosen twice.

    Example:
        >>> from advwrap import Identity
        >>> attack_of_each({"b": Identity()}, ["a", "b"], None)
        {'b': Identity()}
        >>> attack_of_each(Identity(), ["a", "b"], ["c"])
        Traceback (most recent call last):
        ...
        ValueError: `agents` must name agents of the environment, got 'c'. Fix: choose of ['a', 'b'].
    """
    check(
        agents is None or not isinstance(attack, Mapping),
        "`agents` must be left out where `attack` gives one attack per agent.",
    )
    named = [*attack] if isinstance(attack, Mapping) else [*(possible if agents is None else agents)]
    for agent in named:
        check(
            agent in possible,
            f"`{'attack' if isinstance(attack, Mapping) else 'agents'}` must name agents of the "
            f"environment, got {agent!r}.",
            fix=f"choose of {possible}.",
        )
    return {agent: attack[agent] if isinstance(attack, Mapping) else attack for agent in named}


def teams(
    attacks: Mapping[Agent, Attack],
    form_of: Callable[[Agent], Any],
    make: Callable[[Attack, tuple[Agent, ...]], Team],
) -> list[Team]:
    """Agents with the same attack and equal forms, together.

    Args:
        attacks: The attack on each agent.
        form_of: What must be equal for two agents to be attacked together: their spaces.
        make: Makes a team of an attack and the agents.
    """
    together: list[tuple[Attack, Any, list[Agent]]] = []
    for agent, attack in attacks.items():
        form = form_of(agent)
        for other, like, members in together:
            if other is attack and like == form:
                members.append(agent)
                break
        else:
            together.append((attack, form, [agent]))
    return [make(attack, tuple(members)) for attack, _, members in together]
