"""A trained adversary as an attack."""

from __future__ import annotations

from dataclasses import dataclass, field

import torch
from torch import Tensor

from advwrap.attacks.region import region
from advwrap.randomness import Streams
from advwrap.sets import UNBOUNDED, Bounds, PerturbationSet
from advwrap.sets.epsilon import resolve
from advwrap.victims import AnyPolicy, Context, Policy, as_policy


@dataclass(frozen=True, eq=False)
class Learned:
    """A learned adversary: a policy that reads the true observation and chooses the perturbation.

    x = P(s + eps * clip(nu(s), -1, 1))

    so that whatever the network says, the result lies in the set.

    Source: Zhang et al., *Robust reinforcement learning on state observations with learned optimal adversary*, ICLR
        2021 (SA-RL), evaluated with the adversary's mean action.

    Args:
        adversary: A policy whose deterministic action has the shape of the observation.
        within: Where the perturbation may live.

    Shapes: [B, d] -> [B, d].

    Raises:
        ValueError: If the adversary's output has another shape than the input.

    Example:
        >>> import torch
        >>> from advwrap import Learned, LinfBall
        >>> Learned(lambda obs: obs + 5.0, within=LinfBall(0.1))(torch.zeros(1, 2))
        tensor([[0.1000, 0.1000]])
    """

    adversary: AnyPolicy
    within: PerturbationSet = field(kw_only=True)

    def __post_init__(self) -> None:
        object.__setattr__(self, "adversary", as_policy(self.adversary))

    def __call__(
        self,
        clean: Tensor,
        *,
        context: Context | None = None,
        bounds: Bounds = UNBOUNDED,
        generator: Streams | torch.Generator | None = None,
    ) -> Tensor:
        """Perturb a batch; the adversary acts deterministically."""
        area = region(clean, self.within, bounds)
        adversary: Policy = self.adversary  # type: ignore[assignment]
        with torch.no_grad():
            push = adversary.mean(area.clean, context).to(area.clean.dtype)
        if push.shape != clean.shape:
            raise ValueError(
                f"`adversary` must return a perturbation of shape {tuple(clean.shape)}, got {tuple(push.shape)}."
            )
        radius = resolve(self.within.radius, area.clean)  # type: ignore[attr-defined]
        return area.seal(area.project(area.clean + radius * push.clamp(-1.0, 1.0)))
