"""Victims: any policy or critic as a pure tensor function."""

from advwrap.victims.adapt import AnyCritic, AnyPolicy, as_critic, as_policy
from advwrap.victims.critic import Critic, NetworkCritic, TabularCritic
from advwrap.victims.network import Network
from advwrap.victims.policy import Categorical, Context, Deterministic, Gaussian, Policy

__all__ = [
    "AnyCritic",
    "AnyPolicy",
    "Categorical",
    "Context",
    "Critic",
    "Deterministic",
    "Gaussian",
    "Network",
    "NetworkCritic",
    "Policy",
    "TabularCritic",
    "as_critic",
    "as_policy",
]
