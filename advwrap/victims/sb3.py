"""Stable-Baselines3 policies and critics (the `[sb3]` extra).

Actions are in the units of the environment, as ``model.predict`` returns them: the networks of SAC, TD3 and DDPG work
in [-1, 1], and are given and asked for that.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from gymnasium import spaces
from stable_baselines3.common.base_class import BaseAlgorithm
from stable_baselines3.common.policies import ActorCriticPolicy, BasePolicy
from stable_baselines3.common.torch_layers import FlattenExtractor
from stable_baselines3.dqn.policies import DQNPolicy
from stable_baselines3.sac.policies import SACPolicy
from stable_baselines3.td3.policies import TD3Policy
from torch import Tensor, nn

from advwrap.victims.chain import Layer
from advwrap.victims.context import Context
from advwrap.victims.critic import Critic, NetworkCritic, TabularCritic, ensemble
from advwrap.victims.heads import CategoricalHead, DeterministicHead, NormalHead
from advwrap.victims.network import Network
from advwrap.victims.policy import Policy
from advwrap.victims.quiet import mode_dependent, quietly
from advwrap.victims.squash import Squash, Stretch


def policy_of(model: BaseAlgorithm | BasePolicy, *, fast: bool = True) -> Policy:
    """The policy of an SB3 model: PPO, A2C (continuous or discrete), SAC, TD3, DDPG, DQN.

    Observations are those that the model's networks see: put `VecNormalize` before the attack.

    Args:
        model: The model, or its policy.
        fast: Whether to go around SB3's feature extraction where it does nothing; False serves comparisons.

    Raises:
        TypeError: If the kind of policy, or of action, is not known.
    """
    policy: Any = model.policy if isinstance(model, BaseAlgorithm) else model
    space: Any = policy.action_space
    plain = fast and _plain_observations(policy)
    if isinstance(policy, (SACPolicy, TD3Policy)):
        stretch = _to_environment(space)
        if isinstance(policy, TD3Policy):
            acting = Network(policy.actor.mu) if plain else None
            return _deterministic(policy, acting, stretch)
        head = NormalHead(squash=_Squashed(stretch))
        acting = Network(nn.Sequential(policy.actor.latent_pi, policy.actor.mu, nn.Tanh())) if plain else None
        return Policy(_Quietly(policy, _gaussian), head, acting=_followed(acting, stretch))
    if isinstance(policy, DQNPolicy):
        network = Network(policy.q_net.q_net) if plain else None
        return Policy(network or _Quietly(policy, _action_values), CategoricalHead())
    if not isinstance(policy, ActorCriticPolicy):
        raise TypeError(
            f"no adapter for the Stable-Baselines3 policy {type(policy).__name__}. "
            "Fix: wrap its network in advwrap.victims.Deterministic, Gaussian or Categorical."
        )
    if isinstance(space, spaces.Discrete):
        network = _two(policy.mlp_extractor.policy_net, policy.action_net) if plain else None
        return Policy(network or _Quietly(policy, _logits), CategoricalHead())
    if not isinstance(space, spaces.Box):
        raise TypeError(f"no adapter for Stable-Baselines3 policies with actions in {space}: Box or Discrete.")
    if policy.squash_output:
        return Policy(_Quietly(policy, _normal), NormalHead(squash=_Squashed(_to_environment(space))))
    acting = _two(policy.mlp_extractor.policy_net, policy.action_net) if plain else None
    return Policy(_Quietly(policy, _normal), NormalHead(), acting=acting)


def critic_of(model: BaseAlgorithm | BasePolicy, *, fast: bool = True) -> Critic:
    """The critic of an SB3 model: twin Q for SAC and TD3, the table of DQN, V for PPO and A2C.

    Args:
        model: The model, or its policy.
        fast: As for `policy_of`.

    Raises:
        TypeError: If the policy has no critic.
    """
    policy: Any = model.policy if isinstance(model, BaseAlgorithm) else model
    plain = fast and _plain_observations(policy)
    if isinstance(policy, DQNPolicy):
        return TabularCritic(policy.q_net.q_net if plain else _Quietly(policy, _action_values))
    if isinstance(policy, (SACPolicy, TD3Policy)):
        networks = NetworkCritic(list(policy.critic.q_networks)) if plain else None
        space: Any = policy.action_space
        return _Scaled(policy, networks, _to_environment(space))
    if isinstance(policy, ActorCriticPolicy):
        network = _two(policy.mlp_extractor.value_net, policy.value_net) if plain else None
        return NetworkCritic([network.module if network else _Quietly(policy, _state_value)])
    raise TypeError(f"the Stable-Baselines3 policy {type(policy).__name__} has no critic.")


class _Quietly:
    """A function of a policy and an observation, run in eval mode and in the dtype of SB3's networks."""

    def __init__(self, policy: Any, function: Callable[[Any, Tensor], Any]) -> None:
        self.policy, self.function = policy, function
        self.modal = mode_dependent(policy)

    def __call__(self, observation: Tensor, context: Context | None = None) -> Any:
        x = observation.float() if observation.is_floating_point() else observation
        with quietly(self.modal):
            return self.function(self.policy, x)


def _gaussian(policy: Any, observation: Tensor) -> tuple[Tensor, Tensor]:
    mean, log_std, _ = policy.actor.get_action_dist_params(observation)
    return mean, log_std.exp()


def _action(policy: Any, observation: Tensor) -> Tensor:
    return policy.actor(observation)  # type: ignore[no-any-return]


def _action_values(policy: Any, observation: Tensor) -> Tensor:
    return policy.q_net(observation)  # type: ignore[no-any-return]


def _logits(policy: Any, observation: Tensor) -> Tensor:
    # As `get_distribution` does it, without normalising the logits.
    features = BasePolicy.extract_features(policy, observation, policy.pi_features_extractor)
    return policy.action_net(policy.mlp_extractor.forward_actor(features))  # type: ignore[no-any-return]


def _normal(policy: Any, observation: Tensor) -> tuple[Tensor, Tensor]:
    inner = policy.get_distribution(observation).distribution
    return inner.mean, inner.stddev


def _state_value(policy: Any, observation: Tensor) -> Tensor:
    return policy.predict_values(observation)  # type: ignore[no-any-return]


def _plain_observations(policy: Any) -> bool:
    """Whether SB3 passes observations to its networks as they are: flat vectors of floats."""
    space = policy.observation_space
    vector = isinstance(space, spaces.Box) and len(space.shape) == 1 and np.issubdtype(space.dtype, np.floating)
    return vector and policy.features_extractor_class is FlattenExtractor


def _two(first: nn.Module, second: nn.Module) -> Network | None:
    network = Network(nn.Sequential(first, second))
    return network if network.chain is not None else None


def _to_environment(space: spaces.Box) -> Stretch | None:
    """From [-1, 1] to the limits of the actions; None where they are that."""
    low, high = (torch.as_tensor(limit, dtype=torch.float32) for limit in (space.low, space.high))
    if bool((low == -1).all() and (high == 1).all()):
        return None
    return Stretch((high + low) / 2, (high - low) / 2)


@dataclass(frozen=True)
class _Squashed:
    """tanh, then the limits of the actions."""

    stretch: Stretch | None

    def __call__(self, x: Tensor) -> Tensor:
        return _stretched(x.tanh(), self.stretch)


def _stretched(action: Tensor, stretch: Stretch | None) -> Tensor:
    return action if stretch is None else stretch.forward(action)[0]


def _followed(network: Network | None, stretch: Stretch | None) -> Network | None:
    if network is None or network.chain is None or network.rest:
        return None
    layers: list[Layer] = [] if stretch is None else [stretch]
    return network.through(layers)


def _deterministic(policy: Any, acting: Network | None, stretch: Stretch | None) -> Policy:
    network = _followed(acting, stretch)
    if network is not None:
        return Policy(network, DeterministicHead())
    squash = None if stretch is None else Squash([stretch])
    return Policy(_Quietly(policy, _action), DeterministicHead(), read=squash)


class _Scaled:
    """Q(s, a) for actions in the units of the environment."""

    def __init__(self, policy: Any, networks: NetworkCritic | None, stretch: Stretch | None) -> None:
        self.policy, self.networks, self.stretch = policy, networks, stretch
        self.modal = mode_dependent(policy)

    def __call__(self, observation: Tensor, action: Tensor | None = None, context: Context | None = None) -> Tensor:
        """Values, shape [E, B]."""
        action = self._scaled(action)
        if self.networks is not None:
            return self.networks(observation, action)
        with quietly(self.modal):
            return ensemble(self.policy.critic(observation.float(), action.float()), observation.shape[0])

    @property
    def members(self) -> int:
        """How many networks can be asked alone."""
        return 1 if self.networks is None else self.networks.members

    def apart(self, observation: Tensor, action: Tensor | None = None, context: Context | None = None) -> Tensor:
        """Values of E B rows, each by one network: the first B by the first one. Shape [E B]."""
        if self.networks is None:
            return self(observation, action, context).amin(0)
        return self.networks.apart(observation, self._scaled(action))

    def _scaled(self, action: Tensor | None) -> Tensor:
        if action is None:
            raise ValueError("the critic reads the action. Fix: LowValue(policy, critic) or LowValue(critic=critic).")
        if self.stretch is None:
            return action
        middle, half = (torch.as_tensor(v).to(action) for v in (self.stretch.middle, self.stretch.half))
        return (action - middle) / half
