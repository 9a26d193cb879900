"""What the victim's policy is worth when it sees something else than the truth: the value V(s, s~) of VALT."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from advwrap.errors import check
from advwrap.objectives.value import Reduce
from advwrap.victims import AnyCritic, AnyPolicy, Context, Critic, Policy, as_critic, as_policy
from advwrap.victims.heads import Normal

Coefficient = float | Tensor | Callable[[], "float | Tensor"]
"""A number, or a schedule: a callable without arguments that returns the present one."""


def present(coefficient: Coefficient) -> float | Tensor:
    """The present value of a coefficient.

    Example:
        >>> from advwrap import Linear
        >>> present(3.0), present(Linear(1000.0, 4.0, steps=10))
        (3.0, 1000.0)
    """
    return coefficient() if callable(coefficient) else coefficient


def check_coefficient(name: str, value: object, *, positive: bool = False) -> None:
    """Refuse a number that is not finite, is negative or, where it divides, is 0; a schedule is taken as it is.

    Raises:
        TypeError: If it is neither a number nor callable.
        ValueError: If the number is out of range.
    """
    if callable(value):
        return
    if isinstance(value, Tensor) and value.ndim == 0:
        value = value.item()
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise TypeError(f"`{name}` must be a number or a schedule, got {value!r}. Fix: 1.0, or Linear(1000, 4, steps).")
    rule = "> 0" if positive else ">= 0"
    check(math.isfinite(value) and (value > 0 if positive else value >= 0), f"`{name}` must be {rule}, got {value}.")


@dataclass(frozen=True, eq=False)
class LossTemperature:
    """The entropy coefficient that a TorchRL loss is learning, read when it is called.

    Args:
        loss: A loss with `log_alpha`: `SACLoss`, `DiscreteSACLoss`, ...

    Example:
        >>> from types import SimpleNamespace
        >>> LossTemperature(SimpleNamespace(log_alpha=torch.tensor(0.0)))()  # here of a SACLoss
        tensor(1.)
    """

    loss: Any

    def __call__(self) -> Tensor:
        """exp(log_alpha), without gradient."""
        return self.loss.log_alpha.detach().exp()  # type: ignore[no-any-return]


@dataclass(frozen=True, eq=False)
class SoftValue:
    """The value of a true state s in which the victim sees s~ and acts on that.

    V(s, s~) = E_{a ~ pi(.|s~)}[min_i Q_i(s, a)] + alpha_ent H(pi(.|s~))

    The expectation is over `actions` random actions per row, reparameterised (differentiable in s~), with
    H = E[-log pi(a | s~)]; the noise of every second action is minus that of the one before. For a discrete policy it
    is exact and needs no random numbers: min_i sum_a pi_a Q_i(s, a).

    Source: VALT, eq. 9 (the definition of V) and eq. 54, 56 (one action, the smaller of the twin critics).

    Args:
        policy: The victim.
        critic: Q(s, a), anything that `advwrap.victims.as_critic` takes; a TorchRL loss for its live critics.
        entropy: alpha_ent, a number or a schedule. None reads it live from a TorchRL loss that learns one (given as
            `critic`), and is 0 for any other critic.
        actions: Random actions per row; 0 takes the mean action and leaves the entropy out, as VALT-EPS does.
        reduce: Over the members of an ensemble: `torch.amin` (default) or `torch.mean`.

    Shapes: clean, seen [B, ...] -> [B].

    Raises:
        ValueError: If a number is out of range.

    Example:
        >>> import torch
        >>> value = SoftValue(lambda obs: obs, lambda obs, act: (obs * act).sum(-1))
        >>> value(torch.ones(1, 2), torch.tensor([[1.0, 2.0]]), torch.randn_like)
        tensor([3.])
    """

    policy: AnyPolicy
    critic: AnyCritic
    entropy: Coefficient | None = field(default=None, kw_only=True)
    actions: int = field(default=1, kw_only=True)
    reduce: Reduce = field(default=torch.amin, kw_only=True)

    def __post_init__(self) -> None:
        check(
            isinstance(self.actions, int) and not isinstance(self.actions, bool) and self.actions >= 0,
            f"`actions` must be an integer >= 0, got {self.actions!r}.",
            fix="0 for the mean action.",
        )
        entropy = learned_entropy(self.critic) if self.entropy is None else self.entropy
        check_coefficient("entropy", entropy)
        object.__setattr__(self, "policy", as_policy(self.policy))
        object.__setattr__(self, "critic", as_critic(self.critic))
        object.__setattr__(self, "entropy", entropy)

    def __call__(self, clean: Tensor, seen: Tensor, normal: Normal, context: Context | None = None) -> Tensor:
        """The values of the states `clean` for a victim that sees `seen`.

        Args:
            clean: The true states, [B, ...].
            seen: What the victim sees, [B, ...].
            normal: Returns numbers from N(0, 1) in the shape of its argument: `Streams.normal`, say.
            context: What else the policy and the critic read.
        """
        policy: Policy = self.policy  # type: ignore[assignment]
        critic: Critic = self.critic  # type: ignore[assignment]
        if self.actions == 0:
            return self.reduce(critic(clean, policy.mean(seen, context), context), 0)
        alpha = present(self.entropy)  # type: ignore[arg-type]
        output = policy.output(seen, context)
        values: list[Tensor] = []
        noise = _Mirrored(normal)
        while len(values) < self.actions:
            action, log_prob = policy.head.draw(output, noise)
            values.append(self.reduce(critic(clean, action, context), 0) - alpha * log_prob)
            if not noise.used:  # a deterministic or a discrete policy: exact already
                break
        return values[0] if len(values) == 1 else torch.stack(values).mean(0)


class _Mirrored:
    """Normal numbers of which every second batch is minus the one before: pairs whose odd errors cancel."""

    def __init__(self, normal: Normal) -> None:
        self.normal = normal
        self.used = False
        self.last: Tensor | None = None

    def __call__(self, like: Tensor) -> Tensor:
        self.used = True
        if self.last is None:
            self.last = self.normal(like)
            return self.last
        mirrored, self.last = -self.last, None
        return mirrored


def learned_entropy(critic: AnyCritic) -> Coefficient:
    """The entropy coefficient of the loss behind a critic, 0 where there is none."""
    for loss in (critic, getattr(critic, "loss", None)):
        if isinstance(getattr(loss, "log_alpha", None), Tensor):
            return LossTemperature(loss)
    return 0.0
