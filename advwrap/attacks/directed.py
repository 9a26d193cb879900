"""Attacks that do what a learned adversary commands, and the adversary in front of them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from advwrap.attacks.gradient import PGD
from advwrap.attacks.protocol import Attack
from advwrap.attacks.region import AnySet, check_batch, check_set, region
from advwrap.errors import check, check_fraction
from advwrap.objectives.direction import COMMAND, TowardsDirection
from advwrap.randomness import Streams, as_streams
from advwrap.sets import UNBOUNDED, Bounds, PerturbationSet
from advwrap.victims import AnyPolicy, Context, Policy, as_policy


@dataclass(frozen=True, eq=False)
class Push:
    """The perturbation itself is commanded, in units of the radius.

    x = P(s + eps * clip(a, -1, 1)),   a the adversary's action

    so that whatever is commanded, the result lies in the set. `Learned(adversary, within=...)` is this with the
    adversary in front of it.

    Source: Zhang et al., ICLR 2021 (SA-RL): what the adversary's environment does with its action.

    Args:
        within: Where the perturbation may live.

    Shapes: [B, ...] -> [B, ...].

    Reads: ``context["adversary_action"]``, of the shape of the input.

    Raises:
        ValueError: If there is no command, or it has another shape than the input.

    Example:
        >>> import torch
        >>> from advwrap import LinfBall
        >>> Push(within=LinfBall(0.1))(torch.zeros(1, 2), context={"adversary_action": torch.tensor([[0.5, -3.0]])})
        tensor([[ 0.0500, -0.1000]])
    """

    within: PerturbationSet = field(kw_only=True)

    def __post_init__(self) -> None:
        check_set(self.within)

    def __call__(
        self,
        clean: Tensor,
        *,
        context: Context | None = None,
        bounds: Bounds = UNBOUNDED,
        generator: Streams | torch.Generator | None = None,
    ) -> Tensor:
        """Perturb a batch; nothing here is random."""
        area = region(clean, self.within, bounds, context)
        push = _command(clean, context)
        radius: Tensor = area.radius  # type: ignore[attr-defined]
        return area.seal(area.project(area.clean + radius * push.to(area.clean).clamp(-1.0, 1.0)))


@dataclass(frozen=True, eq=False)
class Overrule:
    """The commanded action takes the place of the intended one, or of a share of it.

    x = (1 - alpha) clip(a) + alpha (m + r * clip(c, -1, 1)),   c the command, m the middle and r the half-range of
    `bounds`, which clip a

    What is not finite stays as it is.

    With alpha < 1 this is the adversary of NR-MDP, both steer at once; ``Gated(Overrule(), WithProbability(alpha))`` is
    that of PR-MDP, which steers alone now and then.

    Source: Tessler et al., *Action robust reinforcement learning and applications in continuous control*, ICML 2019.

    Args:
        alpha: The share of the command.

    Shapes: [B, A] -> [B, A].

    Reads: ``context["adversary_action"]``, of the shape of the input.

    Raises:
        ValueError: If `alpha` is not in [0, 1]; when called, if there is no command or a feature has no limits.

    Example:
        >>> import torch
        >>> command = {"adversary_action": torch.tensor([[-1.0]])}
        >>> Overrule(0.25)(torch.ones(1, 1), context=command, bounds=Bounds(-2.0, 2.0))
        tensor([[0.2500]])
    """

    alpha: float = 1.0

    def __post_init__(self) -> None:
        check_fraction("alpha", self.alpha)

    def __call__(
        self,
        clean: Tensor,
        *,
        context: Context | None = None,
        bounds: Bounds = UNBOUNDED,
        generator: Streams | torch.Generator | None = None,
    ) -> Tensor:
        """Perturb a batch; nothing here is random."""
        check_batch(clean)
        if not clean.is_floating_point():
            raise TypeError(f"`clean` must be floating point for {self}, got {clean.dtype}. Fix: a Box of actions.")
        low, high = bounds.finite(clean, self)
        commanded = (high + low) / 2 + (high - low) / 2 * _command(clean, context).to(clean).clamp(-1.0, 1.0)
        mixed = (1 - self.alpha) * clean.detach().clamp(low, high) + self.alpha * commanded
        return torch.where(clean.isfinite(), mixed, clean.detach())


@dataclass(frozen=True, eq=False)
class Steered:
    """A learned director in front of an attack: it reads the true observation and commands the attack.

    a = clip(nu(s), -1, 1),   x = attack(s) with a as the command

    With `policy_direction` behind it, this is PA-AD: the director chooses the direction in which the victim's action
    is pushed, a space much smaller than that of the perturbations, and a gradient step does the rest.

    Source: Sun et al., ICLR 2022 (PA-AD), evaluated with the director's mean action.

    Args:
        director: A policy whose action is the command.
        attack: Any attack; `policy_direction` and `Push` read the command.
        sample: Whether the director acts stochastically, with random numbers of the attack's streams, instead of by
            its mean.
        reads: What the director reads: the input itself, or an entry of the context: "observation" where the input is
            an action.

    Shapes: [B, ...] -> [B, ...].

    Writes: "adversary_action" in the context that `attack` gets; the caller's context is left alone.

    Example:
        >>> import torch
        >>> from advwrap import LinfBall
        >>> victim = lambda obs: obs[:, :2]
        >>> generator = policy_direction(victim, within=LinfBall(0.1), steps=10)
        >>> attack = Steered(lambda obs: torch.tensor([[1.0, -1.0]]).expand(len(obs), 2), generator)
        >>> seen = attack(torch.zeros(100, 2), generator=torch.Generator().manual_seed(0))
        >>> bool((seen[:, 0] > seen[:, 1]).float().mean() > 0.9)
        True
    """

    director: AnyPolicy
    attack: Attack
    sample: bool = field(default=False, kw_only=True)
    reads: str | None = field(default=None, kw_only=True)

    def __post_init__(self) -> None:
        object.__setattr__(self, "director", as_policy(self.director))

    def __call__(
        self,
        clean: Tensor,
        *,
        context: Context | None = None,
        bounds: Bounds = UNBOUNDED,
        generator: Streams | torch.Generator | None = None,
    ) -> Tensor:
        """Perturb a batch."""
        check_batch(clean)
        director: Policy = self.director  # type: ignore[assignment]
        state = clean.detach() if self.reads is None else _entry(context, self.reads)
        with torch.no_grad():
            if self.sample:
                generator = as_streams(generator, clean)
                command = director.draw(state, generator.normal, context)[0]
            else:
                command = director.mean(state, context)
        context = _Commanded(command.clamp(-1.0, 1.0), context)
        return self.attack(clean, context=context, bounds=bounds, generator=generator)


def policy_direction(policy: AnyPolicy, *, within: AnySet, steps: int = 1, reference_sign: bool = False) -> PGD:
    """The generator of PA-AD: the perturbation that pushes the victim's action along the commanded direction.

    One step from a random start in a tenth of the ball. In the L-infinity ball it ends at s + eps sign(g) wherever it
    began (but where an entry of g is 0), as the reference implementation does, which drops its start. A single step
    from a random start follows the direction only roughly: on a released HalfCheetah policy the cosine with it is 0.58
    in the mean, 0.74 with ten steps.

    Source: Sun et al., ICLR 2022 (PA-AD), the actor of its attack on continuous actions.

    Args:
        policy: The victim.
        within: Where the perturbation may live.
        steps: Number of gradients; more than one is plain projected gradient ascent.
        reference_sign: See `TowardsDirection`.

    Example:
        >>> from advwrap import LinfBall
        >>> policy_direction(lambda obs: obs, within=LinfBall(0.1)).steps
        1
    """
    objective = TowardsDirection(policy, reference_sign=reference_sign)
    # 1.1 radii carry every start in a tenth of the ball to its surface.
    return PGD(objective, within=within, steps=steps, step_size=1.1 if steps == 1 else None, random_start=0.1)


def _entry(context: Context | None, name: str) -> Tensor:
    """What the director reads."""
    found: Tensor | None = None if context is None else context.get(name, None)
    if found is None:
        raise ValueError(f"`context` must hold {name!r}, which the director reads. Fix: use it in AdversarialAction.")
    return found


def _command(clean: Tensor, context: Context | None) -> Tensor:
    """What the adversary commands for these rows."""
    command: Tensor | None = None if context is None else context.get(COMMAND, None)
    if command is None:
        raise ValueError(
            f"`context` must hold {COMMAND!r}, what the adversary commands. Fix: Learned(adversary, within=...), or "
            "Steered(adversary, attack)."
        )
    check(
        command.shape == clean.shape,
        f"`context[{COMMAND!r}]` must have the shape of the input, {tuple(clean.shape)}, got {tuple(command.shape)}.",
    )
    return command


class _Commanded(Mapping[Any, Any]):
    """A context with the command beside its entries, which stay where they are.

    Args:
        command: What the adversary asks for.
        context: The rest: any mapping or TensorDict, or None.
    """

    def __init__(self, command: Tensor, context: Any) -> None:
        self.command = command
        self.context = {} if context is None else context

    def get(self, key: Any, default: Any = None) -> Any:
        """The command, or an entry of the context."""
        return self.command if key == COMMAND else self.context.get(key, default)

    def clone(self) -> dict[Any, Any]:
        """Every entry, copied."""
        return {key: value.clone() if isinstance(value, Tensor) else value for key, value in self.items()}

    def __getitem__(self, key: Any) -> Any:
        return self.command if key == COMMAND else self.context[key]

    def __iter__(self) -> Any:
        yield COMMAND
        yield from (key for key in self.context.keys() if key != COMMAND)  # noqa: SIM118 - a TensorDict iterates rows

    def __len__(self) -> int:
        return len(list(iter(self)))
