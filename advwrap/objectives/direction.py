"""Move the victim's action in a given direction: what the director of PA-AD asks for."""

from __future__ import annotations

from dataclasses import dataclass, field

import torch
from torch import Tensor

from advwrap.objectives.protocol import Score
from advwrap.victims import AnyPolicy, Context, Policy, as_policy

COMMAND = "adversary_action"
"""The entry of an attack's context that holds what a learned adversary asks for, one row per attacked row."""


@dataclass(frozen=True, eq=False)
class TowardsDirection:
    """Push the victim's action far, and along a direction d of its action space.

    f(x) = cos(mu(x) - mu(s), d) + |mu(x) - mu(s)|_2

    with the clean input s and the deterministic action mu (for discrete policies: the probabilities). Where the action
    has not moved the cosine counts as 0; its gradient is exactly 0 there, so an attack needs a random start.

    Of a single action feature the cosine is a sign, without a gradient that could follow d: there f is the movement
    along d, f(x) = (mu(x) - mu(s)) sign(d), which has its maximum at the same place (ours).

    Source: Sun et al., *Who is the strongest enemy? Towards optimal and efficient evasion attacks in deep RL*, ICLR
        2022 (PA-AD), the actor's problem as its reference code states it for continuous actions. The MuJoCo part of
        that code then ascends -f, which moves the action *against* the director; a director trained through it has
        learned to point the other way. `reference_sign` is for replaying such a director.

    Args:
        policy: The victim, anything that `advwrap.victims.as_policy` takes.
        direction: d: a tensor [A] or [B, A] of any length > 0. By default what the adversary commands: the entry
            "adversary_action" of the context.
        reference_sign: Whether to maximise -f instead, as the reference code does, for a single step: more of them
            would find an action that has hardly moved.

    Shapes: s, x [B, ...] -> f [B].

    Reads: ``context["adversary_action"]`` [B, A], unless `direction` is given.

    Raises:
        ValueError: If there is no direction, or it has another shape than the actions.

    Example:
        >>> import torch
        >>> f = TowardsDirection(lambda obs: obs, torch.tensor([1.0, 0.0]))(torch.zeros(2, 2))
        >>> f(torch.tensor([[0.5, 0.0], [-0.5, 0.0]]))
        tensor([ 1.5000, -0.5000])
    """

    policy: AnyPolicy
    direction: Tensor | None = None
    reference_sign: bool = field(default=False, kw_only=True)

    def __post_init__(self) -> None:
        object.__setattr__(self, "policy", as_policy(self.policy))

    def __call__(self, clean: Tensor, context: Context | None = None) -> Score:
        """Bind to the clean input."""
        policy: Policy = self.policy  # type: ignore[assignment]
        with torch.no_grad():
            reference = policy.mean(clean, context)
        direction = self._direction(context, reference)
        return policy.then(
            policy.head.mean, _Along(reference, direction, -1.0 if self.reference_sign else 1.0), context
        )

    def _direction(self, context: Context | None, reference: Tensor) -> Tensor:
        given = self.direction
        if given is None and context is not None:
            given = context.get(COMMAND, None)
        if given is None:
            raise ValueError(
                f"`direction` must be given, or come from the context as {COMMAND!r}, got neither. "
                "Fix: TowardsDirection(policy, direction), or run the attack inside Steered(director, attack)."
            )
        if given.shape[-1:] != reference.shape[-1:] or given.shape not in (reference.shape, reference.shape[1:]):
            raise ValueError(
                f"`direction` must have the shape of the actions, {tuple(reference.shape)}, got {tuple(given.shape)}."
            )
        return given.detach().to(reference).expand_as(reference)


class _Along:
    """sign * (cos(y - r, d) + |y - r|) of the network's output y, and its gradient.

    With m = y - r, n = |m| and the unit direction u: u / n - (m . u) m / n^3 + m / n; of one feature m . u, and u.
    """

    def __init__(self, reference: Tensor, direction: Tensor, sign: float) -> None:
        self.reference = reference
        self.sign = sign
        self.unit = direction / _length(direction)

    def __call__(self, y: Tensor) -> Tensor:
        """The score, [B]."""
        moved = y - self.reference
        if y.shape[-1] == 1:
            return self.sign * (moved * self.unit).squeeze(-1)
        length = _length(moved)
        score = (moved * self.unit).sum(-1, keepdim=True) / length + length
        return torch.where(length > _least(y), self.sign * score, 0.0).squeeze(-1)

    def gradient(self, y: Tensor) -> Tensor:
        """Its gradient, [B, A]."""
        if y.shape[-1] == 1:
            return self.sign * self.unit
        moved = y - self.reference
        length = _length(moved)
        heading = moved / length
        along = (heading * self.unit).sum(-1, keepdim=True)
        slope = (self.unit - along * heading) / length + heading
        return torch.where(length > _least(y), self.sign * slope, 0.0)


def _least(x: Tensor) -> float:
    """A length that is nothing but rounding: its heading means nothing."""
    return 8 * torch.finfo(x.dtype).eps


def _length(x: Tensor) -> Tensor:
    """The Euclidean length [B, 1], at least so much that one can divide by it; its gradient at 0 is 0."""
    # sqrt has an infinite slope at 0, which would make 0 * inf = NaN of the gradient there.
    return x.square().sum(-1, keepdim=True).clamp_min(_least(x) ** 2).sqrt()
