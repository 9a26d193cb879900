"""Objectives on the victim's policy: how far can its behaviour be moved?"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from advwrap.errors import check
from advwrap.objectives.closed_form import SquaredShift, Surprise
from advwrap.objectives.protocol import Score
from advwrap.victims import AnyPolicy, Context, Policy, as_policy
from advwrap.victims.laws import CategoricalLaw, Law, NormalLaw


@dataclass(frozen=True, eq=False)
class ActionShift:
    """Maximal action difference (MAD): move the deterministic action as far as possible.

    f(x) = sum_j ((mu_j(x) - mu_j(s)) / w_j)^2

    with the clean input s, the deterministic action mu (for discrete policies: the probabilities) and w_j = 1, or w_j =
    sigma_j(s) / mean_k sigma_k(s) where `by_std` is set, which counts the actions that the policy is sure of more.

    Its gradient is exactly 0 at x = s: an attack on it needs a random start.

    Source: Zhang et al., *Robust deep reinforcement learning against adversarial perturbations on state observations*,
        NeurIPS 2020 (MAD attack); the weights as in the public reference code, where they are 1 for a deterministic
        victim.

    Args:
        policy: The victim, anything that `advwrap.victims.as_policy` takes.
        by_std: Whether to weigh the actions by the clean standard deviation.

    Shapes: s, x [B, ...] -> f [B].

    Example:
        >>> import torch
        >>> f = ActionShift(lambda obs: 2 * obs)(torch.zeros(1, 2))
        >>> f(torch.tensor([[0.0, 1.0]]))
        tensor([4.])
    """

    policy: AnyPolicy
    by_std: bool = False

    def __post_init__(self) -> None:
        object.__setattr__(self, "policy", as_policy(self.policy))

    def __call__(self, clean: Tensor, context: Context | None = None) -> Score:
        """Bind to the clean input."""
        policy: Policy = self.policy  # type: ignore[assignment]
        with torch.no_grad():
            reference = policy.mean(clean, context)
            weight = _relative_std(policy.law(clean, context)) if self.by_std else None

        return policy.then(policy.head.mean, SquaredShift(reference, weight), context)


@dataclass(frozen=True, eq=False)
class PolicyKL:
    """Kullback-Leibler divergence of the attacked from the clean policy.

    f(x) = KL(pi(.|s) || pi(.|x))

    A tanh after the Gaussian changes nothing. The gradient is 0 at x = s: an attack needs a random start.

    Source: Zhang et al., NeurIPS 2020, the regulariser of SA-PPO and SA-SAC.

    Args:
        policy: The victim; a deterministic one counts as a normal of unit variance.

    Shapes: s, x [B, ...] -> f [B].

    Example:
        >>> import torch
        >>> f = PolicyKL(lambda obs: obs)(torch.zeros(1, 2))
        >>> f(torch.tensor([[0.0, 1.0]]))
        tensor([0.5000])
    """

    policy: AnyPolicy

    def __post_init__(self) -> None:
        object.__setattr__(self, "policy", as_policy(self.policy))

    def __call__(self, clean: Tensor, context: Context | None = None) -> Score:
        """Bind to the clean input."""
        policy, reference = _reference(self.policy, clean, context)
        return policy.then(policy.head.law, reference.kl, context)


@dataclass(frozen=True, eq=False)
class CrossEntropy:
    """The policy attack: cross entropy of the attacked policy relative to the clean one.

    f(x) = H(pi(.|x), pi(.|s)) = - sum_a pi(a|x) log pi(a|s)

    so the attacked policy is driven to actions that the clean one would not take. For a Gaussian the sum is the closed
    form of the base normal, before a tanh.

    Source: ATPA, eq. (9). Its Algorithm 1 prints the opposite sign under an ascent step, which would minimise the cross
        entropy; this is maximised, as the equation says.

    Args:
        policy: The victim.

    Shapes: s, x [B, ...] -> f [B].

    Example:
        >>> import torch
        >>> from advwrap.victims import Categorical
        >>> f = CrossEntropy(Categorical(lambda obs: obs))(torch.tensor([[2.0, 0.0]]))
        >>> bool(f(torch.tensor([[0.0, 2.0]])) > f(torch.tensor([[2.0, 0.0]])))
        True
    """

    policy: AnyPolicy

    def __post_init__(self) -> None:
        object.__setattr__(self, "policy", as_policy(self.policy))

    def __call__(self, clean: Tensor, context: Context | None = None) -> Score:
        """Bind to the clean input."""
        policy, reference = _reference(self.policy, clean, context)
        return policy.then(policy.head.law, lambda law: law.cross_entropy(reference), context)


@dataclass(frozen=True, eq=False)
class AvoidAction:
    """Make the clean action unlikely (Max_PGD, and the usual untargeted attack of classifiers).

    f(x) = - log pi(a*|x), a* the most likely action at s

    Source: ATPA, section on attackers; Goodfellow et al. 2015 for the classifier form.

    Args:
        policy: The victim.

    Shapes: s, x [B, ...] -> f [B].

    Example:
        >>> import torch
        >>> from advwrap.victims import Categorical
        >>> f = AvoidAction(Categorical(lambda obs: obs))(torch.tensor([[2.0, 0.0]]))
        >>> f(torch.tensor([[0.0, 0.0]]))
        tensor([0.6931])
    """

    policy: AnyPolicy

    def __post_init__(self) -> None:
        object.__setattr__(self, "policy", as_policy(self.policy))

    def __call__(self, clean: Tensor, context: Context | None = None) -> Score:
        """Bind to the clean input."""
        policy, reference = _reference(self.policy, clean, context)
        action = reference.mode()
        if isinstance(reference, CategoricalLaw):
            return policy.then(lambda output: _logits(policy.head.law(output)), Surprise(action), context)
        return policy.then(policy.head.law, lambda law: -law.log_prob(action), context)


@dataclass(frozen=True, eq=False)
class SeekAction:
    """Make a chosen action likely (targeted; Min_PGD with the default target).

    f(x) = log pi(a_t|x)

    Args:
        policy: The victim.
        target: The action wanted: a tensor (an index for discrete policies, [A] or [B, A] for continuous ones, before a
            tanh), or a callable ``clean -> action``. By default the least likely action at s that no mask forbids,
            for discrete policies only.

    Shapes: s, x [B, ...] -> f [B].

    Raises:
        ValueError: If a continuous policy is given no target.

    Source: ATPA, Min_PGD; Lin et al. 2017 (enchanting attack) for targets of one's own.

    Example:
        >>> import torch
        >>> f = SeekAction(lambda obs: obs, target=torch.tensor([1.0]))(torch.zeros(1, 1))
        >>> bool(f(torch.tensor([[1.0]])) > f(torch.tensor([[0.0]])))
        True
    """

    policy: AnyPolicy
    target: Tensor | Callable[[Tensor], Tensor] | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "policy", as_policy(self.policy))

    def __call__(self, clean: Tensor, context: Context | None = None) -> Score:
        """Bind to the clean input."""
        policy, reference = _reference(self.policy, clean, context)
        if self.target is not None:
            target = self.target(clean) if callable(self.target) else torch.as_tensor(self.target)
            action = target.to(clean.device).expand_as(reference.mode())
        else:
            check(
                isinstance(reference, CategoricalLaw),
                "`target` must be given for a continuous policy, got None.",
                fix="SeekAction(policy, target=action).",
            )
            action = reference.least()  # type: ignore[attr-defined]
        return policy.then(policy.head.law, lambda law: law.log_prob(action), context)


def _reference(policy: AnyPolicy, clean: Tensor, context: Context | None) -> tuple[Policy, Law]:
    adapted: Policy = policy  # type: ignore[assignment]
    with torch.no_grad():
        return adapted, adapted.law(clean, context)


def _logits(law: Law) -> Tensor:
    return law.logits  # type: ignore[attr-defined,no-any-return]


def _relative_std(law: Law) -> Tensor:
    check(
        isinstance(law, NormalLaw),
        f"`by_std` needs a normal policy, got {type(law).__name__}.",
        fix="Gaussian(net, std), or by_std=False.",
    )
    return law.scale / law.scale.mean(-1, keepdim=True)  # type: ignore[attr-defined,no-any-return]
