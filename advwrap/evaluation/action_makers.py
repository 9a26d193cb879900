"""Makers of attacks on actions: from a trained agent and a radius, in units of half the range of each action."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

import torch
from tensordict import TensorDict
from torch import Tensor

from advwrap.attacks import (
    Attack,
    Gated,
    Identity,
    Noise,
    RandomVertex,
    Search,
    WithProbability,
)
from advwrap.errors import check
from advwrap.evaluation.attack_makers import return_std
from advwrap.losses import sarsa_batches
from advwrap.losses.fit_robust_critic import RobustCriticTraining, fit_robust_critic
from advwrap.losses.robust_critic import Solver
from advwrap.objectives import HighReward, LowValue
from advwrap.sets import ActionSet, Bounds, LinfBall
from advwrap.targets import worst_action
from advwrap.training import TrainedAgent
from advwrap.victims import AnyCritic
from advwrap.victims.tensordict_critic import LossCritic


def action_ball(agent: TrainedAgent, epsilon: float) -> LinfBall:
    """The ball of this radius in units of half the range of each action.

    Example:
        >>> from advwrap.algorithms import TD3
        >>> agent = TD3("Pendulum-v1", steps=40, random_steps=40, hidden=(8,), batch_size=8).train()
        >>> action_ball(agent, 0.25).radius  # torques in [-2, 2]
        tensor([0.5000])
    """
    return LinfBall(epsilon * (agent.high - agent.low) / 2)


def played_in_ball(agent: TrainedAgent, epsilon: float, *, seed: int = 0) -> Iterator[TensorDict]:
    """`sarsa_batches` of the agent under uniform noise on its actions, rewards in units of its return's deviation."""
    noise, bounds = Noise(action_ball(agent, epsilon)), Bounds(agent.low, agent.high)
    generator = torch.Generator().manual_seed(seed)

    def executed(observation: Tensor) -> Tensor:
        return noise(agent.act(observation), bounds=bounds, generator=generator)

    return sarsa_batches(agent.make_env, executed, num_envs=8, reward_scale=1 / return_std(agent), seed=seed)


@dataclass(frozen=True)
class UniformAction:
    """Uniform noise: knows nothing.

    Example:
        >>> UniformAction()
        UniformAction()
    """

    def __call__(self, agent: TrainedAgent, epsilon: float, /) -> Attack:
        """`Noise`."""
        return Noise(action_ball(agent, epsilon))


@dataclass(frozen=True)
class VertexAction:
    """A random vertex of the ball: as large as possible, in a random direction ("Biggest" of OA-PI).

    Example:
        >>> VertexAction()
        VertexAction()
    """

    def __call__(self, agent: TrainedAgent, epsilon: float, /) -> Attack:
        """`RandomVertex`."""
        return RandomVertex(action_ball(agent, epsilon))


@dataclass(frozen=True)
class ReplacedAction:
    """Now and then another action of finitely many is executed.

    A random one, or by the agent's own critics the second best or the worst.

    Source: Tessler et al., ICML 2019 (PR-MDP), with an adversary that needs no training.

    Args:
        by: "random", "second best" or "worst".

    Example:
        >>> ReplacedAction("worst")
        ReplacedAction(by='worst')
    """

    by: str

    def __post_init__(self) -> None:
        known = "random", "second best", "worst"
        check(self.by in known, f"`by` must be one of {', '.join(known)}, got {self.by!r}.")

    def __call__(self, agent: TrainedAgent, epsilon: float, /) -> Attack:
        """With the radius as the probability."""
        every = ActionSet(len(agent.low))
        other: Attack = Noise(every)
        if self.by == "worst":
            other = Search(LowValue(critic=agent.critic, reduce=torch.amin), within=every)
        elif self.by == "second best":
            other = Search(HighReward(critic=agent.critic, reduce=torch.amin), within=every, rank=2)
        return Gated(other, WithProbability(epsilon))


@dataclass(frozen=True)
class LowestAction:
    """The worst executed action by the agent's own critics: Min-Q.

    Where those value observations only (PPO's), critics Q(s, a) are fitted to the frozen agent, on episodes that it
    plays under uniform noise in the ball; they expect it to be left alone from the next step on.

    Args:
        training: How they are fitted, where they are.
        steps: Gradients per start.
        restarts: Starts.

    Example:
        >>> LowestAction().restarts
        6
    """

    training: RobustCriticTraining = field(default_factory=RobustCriticTraining)
    steps: int = 3
    restarts: int = 6

    def __call__(self, agent: TrainedAgent, epsilon: float, /) -> Attack:
        """Fit if need be, search."""
        if agent.kind.values_actions:
            critic: AnyCritic = agent.critic
        else:
            critic = fitted(agent, epsilon, self.training, solver=lambda critic: Identity())
        return worst_action(critic, within=action_ball(agent, epsilon), steps=self.steps, restarts=self.restarts)


@dataclass(frozen=True)
class LowestRobustAction:
    """The worst executed action by critics that expect the adversary to go on: Min-OA-Q.

    They are fitted to the frozen agent for this radius, on episodes that it plays under uniform noise in the ball.

    Args:
        training: How they are fitted.
        steps: Gradients per start.
        restarts: Starts.

    Example:
        >>> LowestRobustAction().restarts
        6
    """

    training: RobustCriticTraining = field(default_factory=RobustCriticTraining)
    steps: int = 3
    restarts: int = 6

    def __call__(self, agent: TrainedAgent, epsilon: float, /) -> Attack:
        """Fit, search."""
        critic = fitted(agent, epsilon, self.training)
        return worst_action(critic, within=action_ball(agent, epsilon), steps=self.steps, restarts=self.restarts)


@dataclass(frozen=True)
class OwnRobustAction:
    """The worst executed action by the robust critics that the agent itself was trained with (OA-PI).

    They know the radius of its training, whatever that of the attack is.

    Args:
        steps: Gradients per start.
        restarts: Starts.

    Example:
        >>> OwnRobustAction().restarts
        6
    """

    steps: int = 3
    restarts: int = 6

    def __call__(self, agent: TrainedAgent, epsilon: float, /) -> Attack:
        """Search."""
        within = action_ball(agent, epsilon)
        return worst_action(agent.robust_critic, within=within, steps=self.steps, restarts=self.restarts)


def fitted(
    agent: TrainedAgent, epsilon: float, training: RobustCriticTraining, *, solver: Solver | None = None
) -> LossCritic:
    """Critics of what is executed, fitted to the frozen agent in the ball of this radius (see `fit_robust_critic`)."""
    within, bounds = action_ball(agent, epsilon), Bounds(agent.low, agent.high)
    played = played_in_ball(agent, epsilon)
    return fit_robust_critic(played, agent.policy, within=within, bounds=bounds, training=training, solver=solver)
