"""Twin delayed deep deterministic policy gradient with TorchRL's unmodified `TD3Loss`.

Source: Fujimoto et al., *Addressing function approximation error in actor-critic methods*, ICML 2018.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import partial
from typing import Any, ClassVar

import gymnasium as gym
import torch
from tensordict import TensorDictBase
from tensordict.nn import TensorDictModule, TensorDictSequential
from torch import Tensor, nn
from torchrl.data import Bounded
from torchrl.modules import MLP, AdditiveGaussianModule, ValueOperator
from torchrl.objectives import TD3Loss

from advwrap.algorithms.defence import Learner, action_box
from advwrap.algorithms.off_policy import OffPolicy
from advwrap.errors import check_integer
from advwrap.modules import reads_also
from advwrap.sets.coefficient import check_coefficient
from advwrap.training.agent_networks import ToBox, mlp


@dataclass(frozen=True)
class TD3(OffPolicy):
    """Twin delayed DDPG: a deterministic policy, twin critics, smoothed targets, a delayed actor.

    The actor reads ``observation`` (what the victim sees), the critics ``clean_observation`` (the truth), so that any
    `Defence` that rewrites observations trains it without a change of the loss.

    Source: Fujimoto et al., *Addressing function approximation error in actor-critic methods*, ICML 2018.

    Args:
        exploration: Standard deviation of the noise on collected actions, in units of half the range of each.
        target_noise: Of the noise on target actions, in the same units.
        target_noise_clip: Its limit, in the same units.
        delay: Critic updates per update of the actor and of the target networks.

    Example:
        >>> TD3("InvertedDoublePendulum-v5").delay
        2
    """

    exploration: float = field(default=0.1, kw_only=True)
    target_noise: float = field(default=0.2, kw_only=True)
    target_noise_clip: float = field(default=0.5, kw_only=True)
    delay: int = field(default=2, kw_only=True)

    kind: ClassVar[str] = "deterministic"

    def __post_init__(self) -> None:
        super().__post_init__()
        check_integer("delay", self.delay, least=1)
        for name in ("exploration", "target_noise", "target_noise_clip"):
            check_coefficient(name, getattr(self, name))

    def learner(self, observations: gym.spaces.Box, actions: gym.Space[Any]) -> Learner:
        """The networks and the loss.

        Raises:
            TypeError: If the actions are no box.
            ValueError: If an action has no limit.
        """
        low, high = action_box(actions, self.env)
        features, size = observations.shape[0], len(low)
        spec = Bounded(low, high, shape=low.shape, dtype=torch.float32)
        actor = TensorDictSequential(
            TensorDictModule(mlp(features, size, self.hidden), ["observation"], ["raw_action"]),
            TensorDictModule(ToBox(low, high), ["raw_action"], ["action"]),
        )
        executed = self.executed_policy(actor, features, low, high)
        # TD3Loss hands its critics nothing but what the actor declares.
        reads_also(executed, "clean_observation")
        half = (high - low) / 2
        noise = AdditiveGaussianModule(
            spec, sigma_init=self.exploration, sigma_end=self.exploration, annealing_num_steps=1
        )
        noise.std = half  # its constructor takes one number for all actions
        loss = TD3Loss(
            executed,
            ValueOperator(
                MLP(features + size, 1, num_cells=self.hidden, activation_class=nn.ReLU),
                in_keys=["clean_observation", "action"],
            ),
            bounds=(low, high),
            num_qvalue_nets=2,
            policy_noise=self.target_noise * half,
            noise_clip=self.target_noise_clip * half,
            loss_function=self.loss_function,
            delay_actor=True,
        )
        return self.assembled(
            actor,
            loss,
            explore=TensorDictSequential(executed, noise),
            features=features,
            actions=size,
            delay=self.delay,
            box=(low, high),
            next_action=partial(smoothed_target_action, loss),
        )

    def executed_policy(
        self, actor: TensorDictSequential, features: int, low: Tensor, high: Tensor
    ) -> TensorDictSequential:
        """What is executed when the actor acts, and what the loss trains: the actor's own action."""
        return actor


def smoothed_target_action(loss: TD3Loss, following: TensorDictBase) -> Tensor:
    """clip(mu'(s') + clip(noise)): the action that `TD3Loss` bootstraps, with noise of its own."""
    with loss.target_actor_network_params.to_module(loss.actor_network, preserve_module_state=False):
        mean = loss.actor_network(following.select(*loss.actor_network.in_keys, strict=False))["action"]
    noise = (torch.randn_like(mean) * loss.policy_noise).clamp(-loss.noise_clip, loss.noise_clip)
    action: Tensor = (mean + noise).clamp(loss.min_action, loss.max_action)
    return action
