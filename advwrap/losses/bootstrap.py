"""One step of temporal differences for critics that bootstrap from a worst case."""

from __future__ import annotations

from typing import Protocol

from tensordict import TensorDictBase
from tensordict.nn import TensorDictModuleBase, TensorDictParams
from torch import Tensor
from torchrl.objectives import distance_loss

from advwrap.losses.live_values import live_values
from advwrap.losses.reading import Transitions, weighted_mean


class Bootstrapping(Protocol):
    """A loss with live critics."""

    qvalue_network: TensorDictModuleBase
    qvalue_network_params: TensorDictParams
    reading: Transitions
    gamma: float
    loss_function: str


def temporal_difference(loss: Bootstrapping, tensordict: TensorDictBase, worst_next: Tensor) -> tuple[Tensor, Tensor]:
    """sum_i l(U_i(s, a), r + gamma (1 - terminated) w), weighted over the batch, and the values U.

    Args:
        loss: Whose critics learn.
        tensordict: The batch.
        worst_next: w, what is left in the next state, [N].

    Returns:
        A scalar with gradients for the critics, and U(s, a), [E, N].
    """
    values = live_values(loss.qvalue_network, loss.qvalue_network_params, loss.reading.at_truth(tensordict))
    following = tensordict.get("next")
    reward, ended = (loss.reading.number(following, name) for name in ("reward", "terminated"))
    target = reward + loss.gamma * (1 - ended.to(reward.dtype)) * worst_next
    error = distance_loss(values, target.expand_as(values), loss.loss_function).sum(0)
    return weighted_mean(error, tensordict), values
