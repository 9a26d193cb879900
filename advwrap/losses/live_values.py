"""The critics that a loss trains, as functions of their parameters."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeAlias

import torch
from tensordict import TensorDictBase
from tensordict.nn import TensorDictModuleBase, TensorDictParams
from torch import Tensor
from torchrl.objectives import LossModule

from advwrap.errors import check

Critics: TypeAlias = TensorDictModuleBase | Sequence[TensorDictModuleBase]
"""One critic, or several of the same structure."""


def make_functional(loss: LossModule, qvalue: Critics, members: int = 1, *, target: bool = False) -> None:
    """Give a loss the parameters of its critics, as `qvalue_network_params`.

    Args:
        loss: The loss.
        qvalue: One network, whose own parameters are trained; or a list of them, whose weights are copied and stacked.
        members: With one network, how many copies of it to make, with new weights in the range of its own.
        target: Whether there is a target network.

    Raises:
        ValueError: If there is no network.
        TypeError: If one of them is no TensorDict module.
    """
    if isinstance(qvalue, Sequence):
        check(len(qvalue) >= 1, "`qvalue` must hold at least one network, got none.")
        members = len(qvalue)
        qvalue = list(qvalue) if members > 1 else qvalue[0]
    for network in qvalue if isinstance(qvalue, list) else [qvalue]:
        if not isinstance(network, TensorDictModuleBase):
            raise TypeError(
                f"`qvalue` must read a tensordict, got {type(network).__name__}. "
                'Fix: ValueOperator(network, in_keys=["observation", "action"]).'
            )
    expand = members if members > 1 else None
    loss.convert_to_functional(qvalue, "qvalue_network", expand_dim=expand, create_target_params=target)


def live_values(network: TensorDictModuleBase, params: TensorDictParams, data: TensorDictBase) -> Tensor:
    """Q_e(s, a) of every member e, with gradients for its parameters: `LossCritic` treats them as constants.

    Args:
        network: The critic, a TensorDict module.
        params: Its parameters, or those of E stacked ones.
        data: What it reads.

    Shapes: data [*batch] -> [E, N] with the batch axes flattened.
    """
    return live_tables(network, params, data).flatten(1)


def live_tables(network: TensorDictModuleBase, params: TensorDictParams, data: TensorDictBase) -> Tensor:
    """What every member returns, [E, *batch, n]: the values Q_e(s, .) of n actions, say, with gradients.

    Args: See `live_values`.
    """

    def member(data: TensorDictBase, params: TensorDictParams) -> Tensor:
        with params.to_module(network, preserve_module_state=False):
            found: Tensor = network(data).get(network.out_keys[-1])
        return found

    data = data.select(*network.in_keys, strict=False)
    if not params.batch_size:
        return member(data, params).unsqueeze(0)
    return torch.vmap(member, (None, 0))(data, params)
