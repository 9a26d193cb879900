"""What the victim's policy is worth when it sees something else than the truth: the value V(s, s~) of VALT."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from advwrap.errors import check_integer
from advwrap.objectives.value import Reduce
from advwrap.sets.coefficient import Coefficient, check_coefficient, present
from advwrap.victims import AnyCritic, AnyPolicy, Context, Critic, Policy, as_critic, as_policy
from advwrap.victims.heads import Normal
from advwrap.victims.laws import CategoricalLaw


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
    is exact and needs no random numbers: sum_a pi_a min_i Q_i(s, a), one evaluation of the critics per action.

    Source: VALT, eq. 9 (the definition of V) and eq. 54, 56 (one action, the smaller of the twin critics); for discrete
        actions what `DiscreteSACLoss` bootstraps.

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
        check_integer("actions", self.actions, least=0, fix="0 for the mean action.")
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
        alpha = present(self.entropy) if self.actions else 0.0  # type: ignore[arg-type]
        output = policy.output(seen, context)
        law = policy.head.law(output)
        if isinstance(law, CategoricalLaw):
            return self._expected(law, alpha, clean, context)
        if self.actions == 0:
            return self.reduce(critic(clean, policy.head.mean(output), context), 0)
        values: list[Tensor] = []
        noise = _Mirrored(normal)
        while len(values) < self.actions:
            action, log_prob = policy.head.draw(output, noise)
            values.append(self.reduce(critic(clean, action, context), 0) - alpha * log_prob)
            if not noise.used:  # a deterministic policy: exact already
                break
        return values[0] if len(values) == 1 else torch.stack(values).mean(0)

    def _expected(self, law: CategoricalLaw, alpha: float | Tensor, clean: Tensor, context: Context | None) -> Tensor:
        """The expectation over discrete actions; the members are compared action by action."""
        critic: Critic = self.critic  # type: ignore[assignment]
        log_probs = law.logits.log_softmax(-1)
        pure = torch.eye(log_probs.shape[-1], dtype=log_probs.dtype, device=log_probs.device)  # one action each
        each = [self.reduce(critic(clean, action.expand_as(log_probs), context), 0) for action in pure]
        value: Tensor = (log_probs.exp() * (torch.stack(each, -1) - alpha * log_probs)).sum(-1)
        return value


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
