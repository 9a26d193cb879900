"""NR-MDP and PR-MDP on TD3: an adversary shares the actuators, and learns with the agent.

Source: Tessler, Efroni, Mannor, *Action robust reinforcement learning and applications in continuous control*, ICML
2019.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import torch
from tensordict.nn import TensorDictModule, TensorDictSequential
from torch import Tensor, nn

from advwrap.algorithms.oapi import OAPI
from advwrap.algorithms.td3 import TD3
from advwrap.errors import check, check_fraction
from advwrap.training.agent_networks import ToBox, mlp


def noisy(action: Tensor, adversary: Tensor, alpha: float) -> Tensor:
    """NR-MDP: both steer at once, (1 - alpha) a + alpha a~.

    Example:
        >>> noisy(torch.tensor([1.0]), torch.tensor([-1.0]), 0.25)
        tensor([0.5000])
    """
    return (1 - alpha) * action + alpha * adversary


def probabilistic(action: Tensor, adversary: Tensor, alpha: float) -> Tensor:
    """PR-MDP: the adversary steers alone with probability alpha, row by row.

    Example:
        >>> probabilistic(torch.ones(10_000, 1), torch.zeros(10_000, 1), 0.25).unique()
        tensor([0., 1.])
    """
    takes_over = torch.rand_like(action[..., :1]) < alpha
    return torch.where(takes_over, adversary, action)


GAMES: Mapping[str, Callable[[Tensor, Tensor, float], Tensor]] = {"noisy": noisy, "probabilistic": probabilistic}
"""How an adversary shares the actuators."""


@dataclass(frozen=True)
class ActionRobustTD3(TD3):
    """TD3 in the game in which an adversary shares the actuators: NR-MDP ("noisy") or PR-MDP ("probabilistic").

    Both play in every environment step, the critics value what is executed, and in one loss the agent raises that value
    while the adversary lowers it; what comes out of the training is the agent alone.

    Source: Tessler et al. 2019, with DDPG. Their code takes the gradient at the *next* state's action in the present
        state; here both are of the present state. There the agent is updated ten times as often as the adversary; here
        as often: both sides are one loss of one optimiser.

    Args:
        alpha: The adversary's share.
        game: "noisy" or "probabilistic".

    Example:
        >>> ActionRobustTD3("Hopper-v5", alpha=0.1, game="noisy").delay
        2
    """

    alpha: float = field(default=0.1, kw_only=True)
    game: str = field(default="noisy", kw_only=True)

    def __post_init__(self) -> None:
        super().__post_init__()
        check_fraction("alpha", self.alpha)
        check(self.game in GAMES, f"`game` must be one of {', '.join(GAMES)}, got {self.game!r}.")
        check(
            not isinstance(self.defence, OAPI),
            f"`defence` must leave the actions to the game, got {self.defence}.",
            fix="TD3(env, OAPI(epsilon)), without a game.",
        )

    def executed_policy(
        self, actor: TensorDictSequential, features: int, low: Tensor, high: Tensor
    ) -> TensorDictSequential:
        """The actor's action, mixed with that of an adversary who reads the truth."""
        adversary = nn.Sequential(mlp(features, len(low), self.hidden), ToBox(low, high))
        return TensorDictSequential(
            *actor,
            TensorDictModule(adversary, ["clean_observation"], ["adversary_action"]),
            TensorDictModule(Shared(self.game, self.alpha), ["action", "adversary_action"], ["action"]),
        )


class Shared(nn.Module):
    """The executed action of a game; the adversary's gradient changes its sign, so that one loss trains both sides.

    Args:
        game: A name of `GAMES`.
        alpha: The adversary's share.

    Example:
        >>> action, adversary = (torch.tensor([x], requires_grad=True) for x in (1.0, -1.0))
        >>> Shared("noisy", 0.25)(action, adversary).backward()
        >>> action.grad, adversary.grad
        (tensor([0.7500]), tensor([-0.2500]))
    """

    def __init__(self, game: str, alpha: float) -> None:
        super().__init__()
        self.game, self.alpha = game, alpha

    def forward(self, action: Tensor, adversary: Tensor) -> Tensor:
        """Mix."""
        opposed = 2 * adversary.detach() - adversary  # its value, minus its gradient
        return GAMES[self.game](action, opposed, self.alpha)
