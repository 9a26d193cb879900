"""A trained adversary as an attack."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import torch
from torch import Tensor

from advwrap.attacks.region import Region, check_set, region
from advwrap.randomness import Streams, as_streams
from advwrap.sets import UNBOUNDED, Bounds, LinfBall, Masked, PerturbationSet
from advwrap.victims import AnyPolicy, Context, Policy, as_policy


@dataclass(frozen=True, eq=False)
class Learned:
    """A learned adversary: a policy that reads the true observation and chooses the perturbation.

    x = P(s + eps * clip(nu(s), -1, 1))

    so that whatever the network says, the result lies in the set.

    Source: Zhang et al., *Robust reinforcement learning on state observations with learned optimal adversary*, ICLR
        2021 (SA-RL), evaluated with the adversary's mean action; VALT, appendix C.2, trains against samples of it.

    Args:
        adversary: A policy whose action has the shape of the observation, in units of the radius.
        within: Where the perturbation may live.
        sample: Whether to act stochastically, with random numbers of the attack's streams, instead of by the mean.

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
    sample: bool = field(default=False, kw_only=True)

    def __post_init__(self) -> None:
        check_set(self.within)
        object.__setattr__(self, "adversary", as_policy(self.adversary))

    def __call__(
        self,
        clean: Tensor,
        *,
        context: Context | None = None,
        bounds: Bounds = UNBOUNDED,
        generator: Streams | torch.Generator | None = None,
    ) -> Tensor:
        """Perturb a batch; by the adversary's mean action, or by a random one."""
        area = region(clean, self.within, bounds, context)
        if self.sample:
            return self._pushed(area, self._draw(area, context, generator)[0])
        adversary: Policy = self.adversary  # type: ignore[assignment]
        with torch.no_grad():
            return self._pushed(area, adversary.mean(area.clean, context))

    def with_divergence(
        self,
        clean: Tensor,
        *,
        context: Context | None = None,
        bounds: Bounds = UNBOUNDED,
        generator: Streams | torch.Generator | None = None,
    ) -> tuple[Tensor, Tensor]:
        """The perturbed batch, and log nu(x | s) - log p(x | s) of every row, [B], for the uniform density p.

        One sample of KL(nu || p): right on average, negative for some rows.

        Raises:
            ValueError: If the adversary does not sample, or the set is not a box: its density is not known then.
        """
        if not (self.sample and is_box(self.within)):
            raise ValueError(
                f"the density of {self!r} is not known: `sample` must be True and `within` an L-infinity ball. "
                "Fix: Learned(adversary, within=LinfBall(eps), sample=True)."
            )
        area = region(clean, self.within, bounds, context)
        push, log_prob = self._draw(area, context, generator)
        # Uniform in [-1, 1]^d has density 2^-d.
        return self._pushed(area, push), log_prob + push.shape[1:].numel() * math.log(2.0)

    def _draw(
        self, area: Region, context: Context | None, generator: Streams | torch.Generator | None
    ) -> tuple[Tensor, Tensor]:
        adversary: Policy = self.adversary  # type: ignore[assignment]
        with torch.no_grad():
            return adversary.draw(area.clean, as_streams(generator, area.clean).normal, context)

    def _pushed(self, area: Region, push: Tensor) -> Tensor:
        clean = area.clean
        push = push.to(clean.dtype)
        if push.shape != clean.shape:
            raise ValueError(
                f"`adversary` must return a perturbation of shape {tuple(clean.shape)}, got {tuple(push.shape)}."
            )
        radius: Tensor = area.radius  # type: ignore[attr-defined]
        return area.seal(area.project(clean + radius * push.clamp(-1.0, 1.0)))


def is_box(within: object) -> bool:
    """Whether every feature moves on its own: an L-infinity ball, whole or masked."""
    return isinstance(within.within if isinstance(within, Masked) else within, LinfBall)
