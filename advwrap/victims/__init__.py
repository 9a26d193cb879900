"""Victims: any policy or critic as a pure tensor function."""

from advwrap.victims.adapt import AnyCritic, AnyPolicy, as_critic, as_policy
from advwrap.victims.context import Context
from advwrap.victims.critic import Critic, NetworkCritic, TabularCritic
from advwrap.victims.network import Network
from advwrap.victims.policy import Categorical, Chained, Deterministic, Gaussian, Policy, Score

__all__ = [
    "AnyCritic",
    "AnyPolicy",
    "Categorical",
    "Chained",
    "Context",
    "Critic",
    "Deterministic",
    "Gaussian",
    "Network",
    "NetworkCritic",
    "Policy",
    "Score",
    "TabularCritic",
    "as_critic",
    "as_policy",
]
