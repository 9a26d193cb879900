"""Soft actor-critic for discrete actions with TorchRL's unmodified `DiscreteSACLoss`.

Source: Christodoulou, *Soft actor-critic for discrete action settings*, 2019.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any, ClassVar

import gymnasium as gym
from tensordict.nn import TensorDictModule
from torch import nn
from torchrl.modules import MLP, OneHotCategorical, ProbabilisticActor, ValueOperator
from torchrl.objectives import DiscreteSACLoss

from advwrap.algorithms.defence import Learner
from advwrap.algorithms.off_policy import OffPolicy
from advwrap.errors import check, check_fraction
from advwrap.training.agent_networks import mlp


@dataclass(frozen=True)
class DiscreteSAC(OffPolicy):
    """Soft actor-critic for n actions: a categorical policy, twin tables of action values, exact expectations.

    The actor reads ``observation`` (what the victim sees), the critics ``clean_observation`` (the truth).

    Source: Christodoulou, *Soft actor-critic for discrete action settings*, 2019; under attack: VALT, appendix F, the
        actor-critic case.

    Args:
        target_entropy: Of the policy; by default `entropy_share` of the largest possible one, log n.
        entropy_share: See there. The source has 0.98, which leaves little room for a good policy of two actions.

    Example:
        >>> DiscreteSAC("CartPole-v1").kind
        'categorical'
    """

    target_entropy: float | None = field(default=None, kw_only=True)
    entropy_share: float = field(default=0.3, kw_only=True)

    kind: ClassVar[str] = "categorical"

    def __post_init__(self) -> None:
        super().__post_init__()
        check_fraction("entropy_share", self.entropy_share)

    def learner(self, observations: gym.spaces.Box, actions: gym.Space[Any]) -> Learner:
        """The networks and the loss.

        Raises:
            TypeError: If the actions are not discrete.
            ValueError: If they do not begin at 0: an agent chooses by index.
        """
        if not isinstance(actions, gym.spaces.Discrete):
            raise TypeError(f"`env` must have discrete actions, got {actions} in {self.env}. Fix: SAC or TD3.")
        features, n, first = observations.shape[0], int(actions.n), int(actions.start)
        check(
            first == 0,
            f"`env` must have actions that begin at 0, got {actions} in {self.env}.",
            fix=f"gymnasium.wrappers.TransformAction(env, lambda index: index + {first}, Discrete({n})).",
        )
        actor = ProbabilisticActor(
            TensorDictModule(mlp(features, n, self.hidden), ["observation"], ["logits"]),
            in_keys=["logits"],
            distribution_class=OneHotCategorical,
            return_log_prob=False,
        )
        tables = MLP(features, n, num_cells=self.hidden, activation_class=nn.ReLU)
        loss = DiscreteSACLoss(
            actor,
            ValueOperator(tables, in_keys=["clean_observation"], out_keys=["action_value"]),
            action_space="one-hot",
            num_actions=n,
            num_qvalue_nets=2,
            loss_function=self.loss_function,
            target_entropy=self.entropy_share * math.log(n) if self.target_entropy is None else self.target_entropy,
        )
        return self.assembled(actor, loss, features=features, actions=n)
