"""From the networks of an off-policy training to an agent, and from an agent back to the networks."""

from __future__ import annotations

import copy
import math
from typing import Any

import torch
from torch import nn
from torchrl.objectives import LossModule

from advwrap.algorithms.defence import Learner
from advwrap.errors import check
from advwrap.training import TrainedAgent
from advwrap.training.agent_networks import KINDS


def trained_agent(learner: Learner, card: dict[str, Any], robust: LossModule | None = None) -> TrainedAgent:
    """The present networks, copied.

    Args:
        learner: Whose networks.
        card: What is known of the agent.
        robust: The loss of its robust critics, if it has some.
    """
    loss, sizes = learner.loss, (learner.features, learner.actions, learner.hidden)
    critics = twins(loss, learner.policy, *sizes)
    actor = copy.deepcopy(network(learner)).cpu().requires_grad_(False)
    low, high = learner.box or (torch.zeros(learner.actions), torch.ones(learner.actions))
    temperature = {"temperature": loss.log_alpha.exp().item()} if hasattr(loss, "log_alpha") else {}
    return TrainedAgent(
        learner.env,
        actor,
        critics,
        learner.normaliser.frozen(),
        low.cpu(),
        high.cpu(),
        {**card, **temperature},
        () if robust is None else twins(robust, learner.policy, *sizes),
    )


def twins(loss: LossModule, policy: str, features: int, actions: int, hidden: tuple[int, ...]) -> tuple[nn.Module, ...]:
    """The critics of actions that a loss trains, copied one by one.

    Args:
        loss: Which has them stacked, [2, ...], under the names of the network's own parameters.
        policy: The kind of policy, a name of `KINDS`.
        features: Size of the observation.
        actions: Size of the action.
        hidden: Units of the hidden layers.
    """
    stacked, critics = loss.qvalue_network_params.data["module"].flatten_keys("."), []
    for i in range(2):
        critic = KINDS[policy].of_actions.critic(features, actions, hidden)
        critic.load_state_dict({name: value[i].cpu() for name, value in stacked.items()})
        critics.append(critic.requires_grad_(False))
    return tuple(critics)


def begin_with(start: TrainedAgent, learner: Learner) -> None:
    """Put the networks, the temperature and the normaliser of an agent into a learner.

    Raises:
        ValueError: If its task, its kind of policy or its networks are others, or it reads raw observations.
    """
    loss = learner.loss
    check(start.env == learner.env, f"`start` must be an agent for {learner.env}, got one for {start.env}.")
    kind = start.card.get("policy", "gaussian")
    check(kind == learner.policy, f"`start` must have a {learner.policy} policy, got a {kind} one.")
    if start.normaliser is None:
        raise ValueError("`start` must read normalised observations, got an agent without a normaliser.")
    hidden = tuple(start.card["config"]["hidden"])
    check(hidden == learner.hidden, f"`start` must have hidden layers {learner.hidden}, got {hidden}.")
    network(learner).load_state_dict(start.actor.state_dict())
    for name, value in loss.qvalue_network_params.data["module"].flatten_keys(".").items():
        value.copy_(torch.stack([critic.state_dict()[name] for critic in start.critics]))
    loss.target_qvalue_network_params.data.copy_(loss.qvalue_network_params.data)
    if (target := getattr(loss, "target_actor_network_params", None)) is not None:
        target.data.copy_(loss.actor_network_params.data)
    if hasattr(loss, "log_alpha"):
        loss.log_alpha.data.fill_(math.log(start.card["temperature"]))
    learner.normaliser.begin_with(start.normaliser)


def network(learner: Learner) -> nn.Module:
    """The network at the bottom of the learner's actor."""
    module: nn.Module = learner.actor[0].module
    return module
