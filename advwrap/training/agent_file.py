"""Trained agents on disk: weights as safetensors, the rest as JSON; nothing in them is ever executed."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import gymnasium as gym
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from advwrap.errors import check
from advwrap.objectives import LowValue
from advwrap.provenance import Provenance
from advwrap.training.agent_networks import KINDS, Kind
from advwrap.training.normaliser import Normaliser
from advwrap.victims import Critic, Policy

WEIGHTS, CARD = "agent.safetensors", "agent.json"


class AgentFileError(ValueError):
    """A folder that does not hold a trained agent, or holds a damaged one."""


@dataclass(frozen=True, eq=False)
class TrainedAgent:
    """A policy with its critics, and the observations that it reads.

    Args:
        env: The id of the task, or a description of one that has none.
        actor: The network of the policy, from the normalised observation; see `KINDS`.
        critics: The networks of the critics.
        normaliser: From the task's observations to what the networks read; None where the task normalises.
        low: Lower limit of the actions; of n discrete actions, n zeros.
        high: Upper limit of the actions; of n discrete actions, n ones.
        card: How it was trained, as JSON holds it: configuration and scores, and once it was saved the commit and the
            versions that made it ("made"). Its entry "policy" names one of
            `KINDS`, "gaussian" where it is missing; to be saved it needs ``["config"]["hidden"]``.
        robust_critics: The networks of critics that value actions under an adversary of them, where its defence trained
            some (OA-PI).

    Example:
        >>> import numpy as np
        >>> from tensordict.nn import NormalParamExtractor
        >>> actor = nn.Sequential(nn.Linear(3, 2), NormalParamExtractor())
        >>> scale, limit = Normaliser(np.zeros(3), np.ones(3)), torch.full((1,), 2.0)
        >>> agent = TrainedAgent("Pendulum-v1", actor, (), scale, -limit, limit, card={})
        >>> agent.act(torch.randn(5, 3)).shape, agent.make_env().action_space.shape
        (torch.Size([5, 1]), (1,))
    """

    env: str
    actor: nn.Module
    critics: tuple[nn.Module, ...]
    normaliser: Normaliser | None
    low: Tensor
    high: Tensor
    card: Mapping[str, Any]
    robust_critics: tuple[nn.Module, ...] = ()

    @property
    def kind(self) -> Kind:
        """How it acts and values."""
        return KINDS[self.card.get("policy", "gaussian")]

    @property
    def discrete(self) -> bool:
        """Whether it acts by the index of one action of a few."""
        return self.kind is KINDS["categorical"]

    @property
    def policy(self) -> Policy:
        """The victim, or an adversary: a function of the normalised observation."""
        return self.kind.policy(self.actor, self.low, self.high)

    @property
    def critic(self) -> Critic:
        """All critics as one, [E, B]: of (normalised observation, action), or of the observation where they are V."""
        return self.kind.values(self.critics)

    @property
    def robust_critic(self) -> Critic:
        """Its robust critics as one, [E, B], of (normalised observation, action).

        Raises:
            ValueError: If it has none.
        """
        check(
            len(self.robust_critics) > 0,
            "`robust_critic` needs robust critics, which this agent has none of.",
            fix="fit_robust_critic(batches, agent.policy, within=..., bounds=...).",
        )
        return self.kind.of_actions.values(self.robust_critics)

    @property
    def low_value(self) -> LowValue:
        """The objective that its own critics make: low Q of its action, or low V of what it sees."""
        if self.kind.values_actions:
            return LowValue(self.policy, self.critic)
        return LowValue(value=self.critic)

    def act(self, observation: Tensor) -> Tensor:
        """The deterministic action for a batch of normalised observations; indices of discrete actions."""
        with torch.no_grad():
            return self.kind.acts(self.policy.mean(observation), self.low, self.high)

    def make_env(self) -> gym.Env[Any, Any]:
        """The task as the agent sees it, normalised; attacks go around it.

        Raises:
            ValueError: If the task has no id, or is not there.
        """
        try:
            task = gym.make(self.env)
        except gym.error.Error as cause:
            raise ValueError(
                f"`env` must be the id of a task to be made again, got {self.env!r}: {cause} "
                "Fix: use the task that the agent was trained on, with agent.act."
            ) from cause
        return task if self.normaliser is None else self.normaliser.wrap(task)

    def digest(self) -> str:
        """What tells its weights, its normaliser and its limits from those of another agent."""
        state = hashlib.sha256()
        scale = () if self.normaliser is None else (self.normaliser.mean, self.normaliser.std)
        for part in (self.low.numpy(), self.high.numpy(), *scale):
            state.update(part.tobytes())
        for module in (self.actor, *self.critics, *self.robust_critics):
            for weight in module.state_dict().values():
                state.update(weight.cpu().numpy().tobytes())
        return state.hexdigest()[:16]


def save_agent(folder: str | Path, agent: TrainedAgent) -> None:
    """Write `agent.safetensors` and `agent.json`; each appears whole or not at all.

    Raises:
        ValueError: If the card does not say the sizes of the hidden layers.

    Example:
        >>> import tempfile
        >>> from advwrap.algorithms import SAC
        >>> agent = SAC("Pendulum-v1", steps=40, random_steps=40, hidden=(8,), batch_size=8).train()
        >>> folder = tempfile.mkdtemp()
        >>> save_agent(folder, agent)
        >>> load_agent(folder).digest() == agent.digest()
        True
    """
    check("hidden" in agent.card.get("config", ()), "`card` must hold the sizes of the hidden layers, got none.")
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    tensors = {f"actor.{name}": value for name, value in agent.actor.state_dict().items()}
    for part, critics in (("critic", agent.critics), ("robust_critic", agent.robust_critics)):
        for i, critic in enumerate(critics):
            tensors |= {f"{part}.{i}.{name}": value for name, value in critic.state_dict().items()}
    tensors |= {"low": agent.low, "high": agent.high}
    if agent.normaliser is not None:
        tensors |= {"mean": torch.as_tensor(agent.normaliser.mean), "std": torch.as_tensor(agent.normaliser.std)}
    partial = folder / f".{WEIGHTS}"
    save_file({name: value.detach().contiguous() for name, value in tensors.items()}, partial)
    partial.replace(folder / WEIGHTS)
    partial = folder / f".{CARD}"
    partial.write_text(json.dumps({"format": 1, "env": agent.env, "made": _made(), **agent.card}, indent=1) + "\n")
    partial.replace(folder / CARD)


def _made() -> dict[str, Any]:
    """Commit and versions; an agent that was read keeps those of its own training."""
    here = Provenance.here("")
    return {"commit": here.commit, "versions": dict(here.versions)}


def load_agent(folder: str | Path) -> TrainedAgent:
    """Read what `save_agent` wrote.

    Raises:
        AgentFileError: If a file is missing or damaged.

    Example:
        >>> load_agent("nowhere")
        Traceback (most recent call last):
        ...
        advwrap.training.agent_file.AgentFileError: `nowhere` must hold agent.safetensors and agent.json of a trained...
    """
    folder = Path(folder)
    try:
        for name in (CARD, WEIGHTS):
            check((folder / name).is_file(), f"{name} is missing")
        card = json.loads((folder / CARD).read_text())
        tensors = load_file(folder / WEIGHTS)
        check((version := card.pop("format")) == 1, f"`format` must be 1, got {version!r}")
        env = str(card.pop("env"))
        hidden = tuple(int(size) for size in card["config"]["hidden"])
        policy = card.get("policy", "gaussian")
        check(policy in KINDS, f"`policy` must be one of {', '.join(KINDS)}, got {policy!r}")
        kind = KINDS[policy]
        # The first of the names is that of the first layer's weight, [units, features].
        first = min((n for n in tensors if n.startswith("actor.") and n.endswith("weight")), default="actor.*.weight")
        features, actions = tensors[first].shape[1], tensors["low"].numel()
        actor = _filled(kind.actor(features, actions, hidden), tensors, "actor.")
        made = partial(kind.critic, features, actions, hidden)
        of_actions = partial(kind.of_actions.critic, features, actions, hidden)
        normaliser = None
        if "mean" in tensors:
            normaliser = Normaliser(tensors["mean"].numpy(), tensors["std"].numpy())
        critics, robust = _every(made, tensors, "critic."), _every(of_actions, tensors, "robust_critic.")
        return TrainedAgent(env, actor, critics, normaliser, tensors["low"], tensors["high"], card, robust)
    except (OSError, LookupError, AttributeError, TypeError, ValueError, RuntimeError, SafetensorError) as cause:
        found = f"there is no {cause}" if isinstance(cause, KeyError) else cause
        raise AgentFileError(
            f"`{folder}` must hold {WEIGHTS} and {CARD} of a trained agent: {found}. "
            "Fix: advwrap train --out FOLDER writes both."
        ) from cause


def _every(make: Callable[[], nn.Module], tensors: Mapping[str, Tensor], part: str) -> tuple[nn.Module, ...]:
    """The networks "part.0.", "part.1.", ..."""
    members = len({name.split(".")[1] for name in tensors if name.startswith(part)})
    return tuple(_filled(make(), tensors, f"{part}{i}.") for i in range(members))


def _filled(network: nn.Module, tensors: Mapping[str, Tensor], prefix: str) -> nn.Module:
    network.load_state_dict(
        {name.removeprefix(prefix): value for name, value in tensors.items() if name.startswith(prefix)}
    )
    return network.requires_grad_(False)


Score = Callable[[TrainedAgent], float]
"""Measures an agent while it is trained; higher is better."""
