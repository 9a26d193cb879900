"""An agent with a Gaussian policy and a value network, and its files: what PPO trains, victims and attackers alike."""

from __future__ import annotations

import copy
import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from advwrap.errors import check
from advwrap.training.agent_file import CARD, WEIGHTS, AgentFileError
from advwrap.training.normaliser import Normaliser
from advwrap.victims import Gaussian, Policy


@dataclass(frozen=True, eq=False)
class GaussianAgent:
    """A policy N(mu(s), sigma), sigma independent of s, and the value network that it was trained with.

    Args:
        mean: Observation -> mu.
        log_std: log sigma, [A].
        value: Observation -> V, [B, 1].
        low: Lower limit of the actions; those outside are clipped.
        high: Upper limit of the actions.
        normaliser: From the task's observations to what the networks read; None where the task normalises.
        card: How it was trained: configuration and history, as JSON holds them.
    """

    mean: nn.Sequential
    log_std: Tensor
    value: nn.Sequential
    low: Tensor
    high: Tensor
    normaliser: Normaliser | None
    card: Mapping[str, Any]

    @classmethod
    def copied(
        cls,
        mean: nn.Sequential,
        log_std: Tensor,
        value: nn.Sequential,
        *,
        low: Any,
        high: Any,
        normaliser: Normaliser | None = None,
        card: Mapping[str, Any],
    ) -> GaussianAgent:
        """The agent of networks that go on learning: with frozen copies of them."""
        mean, value = (copy.deepcopy(net).requires_grad_(False) for net in (mean, value))
        low, high = (torch.as_tensor(np.array(limit), dtype=torch.float32) for limit in (low, high))
        return cls(mean, log_std.detach().clone(), value, low, high, normaliser, json.loads(json.dumps(card)))

    @property
    def policy(self) -> Policy:
        """The victim or adversary: a function of the (normalised) observation."""
        return Gaussian(self.mean, self.log_std.exp())

    def act(self, observation: Tensor) -> Tensor:
        """The deterministic action for a batch of (normalised) observations, within the limits."""
        with torch.no_grad():
            return self.policy.mean(observation).clamp(self.low, self.high)

    def make_env(self) -> gym.Env[Any, Any]:
        """The task as the agent sees it, normalised; attacks go around it.

        Raises:
            ValueError: If the agent was trained on a task that has no id.
        """
        env = self.card["config"].get("env")
        try:
            task = gym.make(env)
        except (gym.error.Error, AttributeError, TypeError) as cause:
            raise ValueError(f"the agent's task must be registered to be made again, got {env!r}.") from cause
        return task if self.normaliser is None else self.normaliser.wrap(task)

    def save(self, folder: str | Path) -> None:
        """Write `agent.safetensors` and `agent.json`; each appears whole or not at all."""
        folder = Path(folder)
        folder.mkdir(parents=True, exist_ok=True)
        tensors = {"log_std": self.log_std, "low": self.low, "high": self.high}
        for prefix, net in (("mean", self.mean), ("value", self.value)):
            tensors |= {f"{prefix}.{name}": weight for name, weight in net.state_dict().items()}
        if self.normaliser is not None:
            tensors["normaliser.mean"] = torch.as_tensor(self.normaliser.mean)
            tensors["normaliser.std"] = torch.as_tensor(self.normaliser.std)
        partial = folder / f".{WEIGHTS}"
        save_file({name: value.detach().contiguous() for name, value in tensors.items()}, partial)
        partial.replace(folder / WEIGHTS)
        partial = folder / f".{CARD}"
        partial.write_text(json.dumps({"format": 1, "kind": "gaussian", **self.card}, indent=1) + "\n")
        partial.replace(folder / CARD)

    @classmethod
    def load(cls, folder: str | Path) -> GaussianAgent:
        """Read what `save` wrote.

        Raises:
            AgentFileError: If a file is missing or damaged.
        """
        folder = Path(folder)
        try:
            card = json.loads((folder / CARD).read_text())
            check((card.pop("kind"), card.pop("format")) == ("gaussian", 1), "it is of another kind")
            tensors = load_file(folder / WEIGHTS)
            mean, value = (_network(tensors, f"{prefix}.") for prefix in ("mean", "value"))
            normaliser = None
            if "normaliser.mean" in tensors:
                normaliser = Normaliser(tensors["normaliser.mean"].numpy(), tensors["normaliser.std"].numpy())
            return cls(mean, tensors["log_std"], value, tensors["low"], tensors["high"], normaliser, card)
        except (OSError, KeyError, TypeError, ValueError, RuntimeError, SafetensorError) as cause:
            raise AgentFileError(
                f"`{folder}` must hold {WEIGHTS} and {CARD} of a Gaussian agent: {cause}. "
                "Fix: GaussianAgent.save(folder) writes both."
            ) from cause


def tanh_mlp(inputs: int, outputs: int, hidden: tuple[int, ...], *, last: float = 1.0) -> nn.Sequential:
    """Linear layers with tanh between them, orthogonal with gain sqrt(2), the last one with gain `last`.

    Example:
        >>> [type(layer).__name__ for layer in tanh_mlp(3, 1, (8,))]
        ['Linear', 'Tanh', 'Linear']
    """
    layers: list[nn.Module] = []
    for size, following in pairwise([inputs, *hidden, outputs]):
        linear = nn.Linear(size, following)
        nn.init.orthogonal_(linear.weight, math.sqrt(2))
        nn.init.zeros_(linear.bias)
        layers += [linear, nn.Tanh()]
    nn.init.orthogonal_(layers[-2].weight, last)  # type: ignore[arg-type]
    return nn.Sequential(*layers[:-1])


def _network(tensors: Mapping[str, Tensor], prefix: str) -> nn.Sequential:
    """The MLP with these weights."""
    own = {name.removeprefix(prefix): value for name, value in tensors.items() if name.startswith(prefix)}
    weights = sorted((int(name.split(".")[0]), value) for name, value in own.items() if name.endswith("weight"))
    check(len(weights) > 0, f"it holds no tensor {prefix}*")
    hidden = tuple(weight.shape[0] for _, weight in weights[:-1])
    network = tanh_mlp(weights[0][1].shape[1], weights[-1][1].shape[0], hidden)
    network.load_state_dict(own)
    return network.requires_grad_(False)
