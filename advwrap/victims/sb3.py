"""Stable-Baselines3 policies and critics (the `[sb3]` extra)."""

from __future__ import annotations

from typing import Any

import torch
from stable_baselines3.common.base_class import BaseAlgorithm
from stable_baselines3.common.policies import ActorCriticPolicy, BasePolicy
from stable_baselines3.dqn.policies import DQNPolicy
from stable_baselines3.sac.policies import SACPolicy
from stable_baselines3.td3.policies import TD3Policy
from torch import Tensor

from advwrap.victims.critic import Critic, TabularCritic, ensemble
from advwrap.victims.heads import CategoricalHead, DeterministicHead, Head, NormalHead
from advwrap.victims.policy import Context, Policy
from advwrap.victims.quiet import mode_dependent, quietly


def policy_of(model: BaseAlgorithm | BasePolicy) -> Policy:
    """The policy of an SB3 model: PPO, A2C (continuous or discrete), SAC, TD3, DDPG, DQN.

    Observations are those that the model's networks see: put `VecNormalize` before the attack.

    Raises:
        TypeError: If the kind of policy is not known.
    """
    policy = model.policy if isinstance(model, BaseAlgorithm) else model
    head: Head
    if isinstance(policy, SACPolicy):
        head = NormalHead(squash=torch.tanh)

        def run(obs: Tensor) -> Any:
            mean, log_std, _ = policy.actor.get_action_dist_params(obs)
            return mean, log_std.exp()

    elif isinstance(policy, TD3Policy):
        head, run = DeterministicHead(), policy.actor
    elif isinstance(policy, DQNPolicy):
        head, run = CategoricalHead(), policy.q_net
    elif isinstance(policy, ActorCriticPolicy):
        discrete = hasattr(policy.action_space, "n")
        head = CategoricalHead() if discrete else NormalHead()

        def run(obs: Tensor) -> Any:
            inner = policy.get_distribution(obs).distribution
            return inner.logits if discrete else (inner.mean, inner.stddev)

    else:
        raise TypeError(
            f"no adapter for the Stable-Baselines3 policy {type(policy).__name__}. "
            "Fix: wrap its network in advwrap.victims.Deterministic, Gaussian or Categorical."
        )
    modal = mode_dependent(policy)

    def forward(observation: Tensor, context: Context | None) -> Any:
        with quietly(modal):
            return run(observation.float() if observation.is_floating_point() else observation)

    return Policy(forward, head)


def critic_of(model: BaseAlgorithm | BasePolicy) -> Critic:
    """The critic of an SB3 model: twin Q for SAC and TD3, the table of DQN, V for PPO and A2C.

    Raises:
        TypeError: If the policy has no critic.
    """
    policy = model.policy if isinstance(model, BaseAlgorithm) else model
    if isinstance(policy, DQNPolicy):
        return TabularCritic(lambda obs: policy.q_net(obs.float()))
    if not isinstance(policy, (SACPolicy, TD3Policy, ActorCriticPolicy)):
        raise TypeError(f"the Stable-Baselines3 policy {type(policy).__name__} has no critic.")
    modal = mode_dependent(policy)

    def critic(observation: Tensor, action: Tensor | None = None, context: Context | None = None) -> Tensor:
        with quietly(modal):
            obs = observation.float()
            values = policy.predict_values(obs) if isinstance(policy, ActorCriticPolicy) else None
            if values is None and action is not None:
                values = policy.critic(obs, action.float())  # type: ignore[union-attr,operator]
            return ensemble(values, observation.shape[0])

    return critic
