"""Objectives on a value function: make the victim reach bad states, or act badly in this one."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from advwrap.objectives.protocol import Score
from advwrap.victims import AnyCritic, AnyPolicy, Context, Critic, Policy, as_critic, as_policy
from advwrap.victims.context import state_beside

Reduce = Callable[[Tensor, int], Tensor]
"""How the members of an ensemble become one value: `torch.mean`, `torch.amin`, `torch.amax`."""


@dataclass(frozen=True, eq=False)
class LowValue:
    """Lower the value that a critic expects.

    Three forms, by what is given:

    * ``LowValue(policy, critic)``, an observation attack: f(x) = - Q(s, mu(x)), the clean state with the action that
      the victim takes when it sees x (min-Q; with a Sarsa critic: robust Sarsa);
    * ``LowValue(critic=critic)``, an action attack: f(a) = - Q(s, a), with s from ``context["observation"]``;
    * ``LowValue(value=value)``: f(x) = - V(x), the value of the perturbed observation itself.

    Source: Pattanaik et al. 2018; Zhang et al. 2020 (robust Sarsa); VALT, appendix on attackers (mean of the twins).

    Args:
        policy: The victim.
        critic: Q(s, a), anything that `advwrap.victims.as_critic` takes; a TorchRL loss for its live critics.
        value: V(s).
        reduce: Over the members of an ensemble: `torch.mean` (default) or `torch.amin`.

    Shapes: x [B, ...] -> f [B].

    Raises:
        ValueError: If the three are combined in another way.

    Example:
        >>> import torch
        >>> f = LowValue(lambda obs: obs, lambda obs, act: (obs * act).sum(-1))(torch.ones(1, 2))
        >>> f(torch.tensor([[1.0, 2.0]]))
        tensor([-3.])
    """

    policy: AnyPolicy | None = None
    critic: AnyCritic | None = None
    value: AnyCritic | None = None
    reduce: Reduce = torch.mean

    def __post_init__(self) -> None:
        _adapt(self)

    def __call__(self, clean: Tensor, context: Context | None = None) -> Score:
        """Bind to the clean input."""
        return _valued(self, lambda values: -self.reduce(values, 0), clean, context)


@dataclass(frozen=True, eq=False)
class HighReward:
    """Raise the reward that a critic expects (MR): lures a safe agent into what is profitable, and costly.

    The forms and arguments are those of `LowValue`, with the opposite sign.

    Source: Liu et al., ICLR 2023 and ICML 2023 (SAFER), maximum-reward attack: f(x) = Q_r(s, mu(x)).

    Example:
        >>> import torch
        >>> f = HighReward(value=lambda obs: obs.sum(-1))(torch.ones(1, 2))
        >>> f(torch.tensor([[1.0, 2.0]]))
        tensor([3.])
    """

    policy: AnyPolicy | None = None
    critic: AnyCritic | None = None
    value: AnyCritic | None = None
    reduce: Reduce = torch.mean

    def __post_init__(self) -> None:
        _adapt(self)

    def __call__(self, clean: Tensor, context: Context | None = None) -> Score:
        """Bind to the clean input."""
        return _valued(self, lambda values: self.reduce(values, 0), clean, context)


class HighCost(HighReward):
    """Raise the cost that a cost critic expects (MC): makes a safe agent violate its constraint.

    The mathematics, forms and arguments are those of `HighReward`, with a critic of the cost.

    Source: Liu et al., ICLR 2023 and ICML 2023 (SAFER), maximum-cost attack: f(x) = Q_c(s, mu(x)).

    Example:
        >>> import torch
        >>> f = HighCost(lambda obs: obs, lambda obs, act: act.sum(-1))(torch.ones(1, 2))
        >>> f(torch.tensor([[1.0, 2.0]]))
        tensor([3.])
    """


Valued = LowValue | HighReward


def _adapt(objective: Valued) -> None:
    """Check the combination and turn the victims into pure functions, at construction."""
    given = [name for name in ("policy", "critic", "value") if getattr(objective, name) is not None]
    if given not in (["policy", "critic"], ["critic"], ["value"]):
        name = type(objective).__name__
        raise ValueError(
            f"`{name}` must get (policy, critic), critic=... or value=..., got {given or 'nothing'}. "
            f"Fix: {name}(policy, critic) attacks observations, {name}(critic=critic) attacks actions."
        )
    for name, adapt in (("policy", as_policy), ("critic", as_critic), ("value", as_critic)):
        if name in given:
            object.__setattr__(objective, name, adapt(getattr(objective, name)))


def _valued(objective: Valued, sign: Score, clean: Tensor, context: Context | None) -> Score:
    """The score of the attacked input x, from the ensemble's values [E, B] there."""
    critic: Critic = objective.critic  # type: ignore[assignment]
    if objective.value is not None:
        value: Critic = objective.value  # type: ignore[assignment]
        return lambda x: sign(value(x, None, context))
    if objective.policy is not None:
        policy: Policy = objective.policy  # type: ignore[assignment]
        return policy.then(policy.head.mean, lambda action: sign(critic(clean, action, context)), context)
    state = _state(context, type(objective).__name__)
    return lambda action: sign(critic(state, action, context))


def _state(context: Context | None, name: str) -> Tensor:
    """The true observation beside an attacked action."""
    found = state_beside(context)
    if found is not None:
        return found
    raise ValueError(
        f"`{name}(critic=...)` attacks actions and needs the state in `context['observation']`, got {context!r}. "
        f"Fix: use it in AdversarialAction, or {name}(policy, critic) for observations."
    )
