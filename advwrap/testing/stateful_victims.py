"""Victims with something to disturb: running statistics, dropout, recurrent state, train mode."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

if TYPE_CHECKING:
    from tensordict.nn import TensorDictSequential


class BatchNormPolicy(nn.Module):
    """A policy with BatchNorm and dropout, left in train mode: a careless forward changes it.

    Args:
        features: Observation features.
        actions: Action features.
        seed: For the weights.

    Example:
        >>> victim = BatchNormPolicy(3, 2)
        >>> victim.training, victim(torch.ones(4, 3)).shape
        (True, torch.Size([4, 2]))
    """

    def __init__(self, features: int, actions: int, *, seed: int = 0) -> None:
        super().__init__()
        with torch.random.fork_rng(devices=[]):
            torch.default_generator.manual_seed(seed)  # not those of the GPUs
            self.net = nn.Sequential(
                nn.Linear(features, 8),
                nn.BatchNorm1d(8),
                nn.Tanh(),
                nn.Dropout(0.5),
                nn.Linear(8, actions),
            )
            norm = self.net[1]
            norm.running_mean.normal_()  # type: ignore[operator]
            norm.running_var.uniform_(0.5, 2.0)  # type: ignore[operator]

    def forward(self, observation: Tensor) -> Tensor:
        """The action, [B, features] -> [B, actions]."""
        return self.net(observation)  # type: ignore[no-any-return]


def gru_actor(features: int, actions: int, *, seed: int = 0) -> TensorDictSequential:
    """A TorchRL actor that reads ``observation``, ``is_init`` and a GRU's ``recurrent_state``.

    Example:
        >>> actor = gru_actor(3, 2)
        >>> actor.in_keys
        ['observation', 'recurrent_state', 'is_init']
        >>> sorted(recurrent_context(actor, rows=4))
        ['is_init', 'recurrent_state']
    """
    from torchrl.modules import GRUModule

    return _recurrent(GRUModule, ["recurrent_state"], features, actions, seed)


def lstm_actor(features: int, actions: int, *, seed: int = 0) -> TensorDictSequential:
    """A TorchRL actor with an LSTM: state in ``recurrent_state_h`` and ``recurrent_state_c``.

    Example:
        >>> sorted(recurrent_context(lstm_actor(3, 2), rows=4))
        ['is_init', 'recurrent_state_c', 'recurrent_state_h']
    """
    from torchrl.modules import LSTMModule

    states = ["recurrent_state_h", "recurrent_state_c"]
    return _recurrent(LSTMModule, states, features, actions, seed)


_HIDDEN = 8


def recurrent_context(actor: TensorDictSequential, rows: int, *, seed: int = 0) -> Mapping[str, Tensor]:
    """An attack's context in the middle of an episode, for `gru_actor` and `lstm_actor`."""
    generator = torch.Generator().manual_seed(seed)
    context = {
        str(key): torch.randn(rows, 1, _HIDDEN, generator=generator)
        for key in actor.in_keys
        if key not in ("observation", "is_init")
    }
    return {**context, "is_init": torch.zeros(rows, 1, dtype=torch.bool)}


def _recurrent(layer: Any, states: list[str], features: int, actions: int, seed: int) -> TensorDictSequential:
    from tensordict.nn import TensorDictModule, TensorDictSequential

    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed)  # not those of the GPUs
        memory = layer(
            input_size=features,
            hidden_size=_HIDDEN,
            in_keys=["observation", *states],
            out_keys=["embedding", *(("next", state) for state in states)],
        )
        linear = nn.Linear(_HIDDEN, actions)
    head = TensorDictModule(linear, in_keys=["embedding"], out_keys=["action"])
    return TensorDictSequential(memory, head)
