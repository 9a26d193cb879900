"""Soft actor-critic with TorchRL's unmodified `SACLoss`.

Source: Haarnoja et al., *Soft actor-critic algorithms and applications*, 2018.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import partial
from typing import Any, ClassVar

import gymnasium as gym
from tensordict import TensorDictBase
from tensordict.nn import TensorDictModule
from torch import Tensor, nn
from torchrl.modules import MLP, ProbabilisticActor, TanhNormal, ValueOperator
from torchrl.objectives import SACLoss

from advwrap.algorithms.defence import Learner, action_box
from advwrap.algorithms.off_policy import OffPolicy
from advwrap.training.agent_networks import actor_network


@dataclass(frozen=True)
class SAC(OffPolicy):
    """Soft actor-critic: a squashed Gaussian policy, twin critics, a learned temperature.

    The actor reads ``observation`` (what the victim sees), the critics ``clean_observation`` (the truth), so that any
    `Defence` that rewrites observations trains it without a change of the loss.

    Source: Haarnoja et al., *Soft actor-critic algorithms and applications*, 2018.

    Args:
        target_entropy: Of the policy; minus the size of the action by default.

    Example:
        >>> SAC("InvertedDoublePendulum-v5").steps
        20000
    """

    target_entropy: float | None = field(default=None, kw_only=True)

    kind: ClassVar[str] = "gaussian"

    def learner(self, observations: gym.spaces.Box, actions: gym.Space[Any]) -> Learner:
        """The networks and the loss.

        Raises:
            TypeError: If the actions are no box.
            ValueError: If an action has no limit.
        """
        low, high = action_box(actions, self.env)
        features, size = observations.shape[0], len(low)
        actor = ProbabilisticActor(
            TensorDictModule(actor_network(features, size, self.hidden), ["observation"], ["loc", "scale"]),
            in_keys=["loc", "scale"],
            distribution_class=TanhNormal,
            distribution_kwargs={"low": low, "high": high},
            return_log_prob=False,
        )
        critic = MLP(features + size, 1, num_cells=self.hidden, activation_class=nn.ReLU)
        loss = SACLoss(
            actor,
            ValueOperator(critic, in_keys=["clean_observation", "action"]),
            num_qvalue_nets=2,
            loss_function=self.loss_function,
            target_entropy=-float(size) if self.target_entropy is None else self.target_entropy,
            use_prioritized_weights=self.prioritised,
        )
        return self.assembled(
            actor,
            loss,
            features=features,
            actions=size,
            box=(low, high),
            next_action=partial(sampled_action, actor),
        )


def sampled_action(actor: ProbabilisticActor, following: TensorDictBase) -> Tensor:
    """What the live policy might do next: the action that `SACLoss` bootstraps, another sample of it."""
    action: Tensor = actor.get_dist(following.select(*actor.in_keys)).sample()
    return action
