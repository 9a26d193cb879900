"""FGSM, PGD and Langevin: attacks that follow the gradient of the objective."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import torch
from torch import Tensor

from advwrap.attacks.ascent import StepSize, ascend, ascend_best, better, evaluate, gradient, strongest
from advwrap.attacks.copied_rows import CopiedContext, copies
from advwrap.attacks.inference import differentiable
from advwrap.attacks.region import AnySet, BallRegion, check_batch, check_set, region
from advwrap.errors import check, check_fraction, check_integer
from advwrap.objectives import Objective
from advwrap.objectives.checking import check_objective
from advwrap.randomness import Streams, as_streams
from advwrap.sets import UNBOUNDED, Bounds, PerturbationSet
from advwrap.victims import Context


def _ball(clean: Tensor, within: AnySet, bounds: Bounds, context: Context | None) -> BallRegion:
    """The region, which must be one to move in: of a finite set, every point can simply be tried."""
    area = region(clean, within, bounds, context)
    if not isinstance(area, BallRegion):
        raise TypeError(
            f"`within` must be a ball for an attack that follows gradients, got {type(within).__name__}. "
            "Fix: Search(objective, within=...) tries every action."
        )
    return area


def _check_steps(steps: int) -> None:
    check_integer("steps", steps, least=1, fix="use Identity() for no attack.")


def _check_step_size(step_size: StepSize | None) -> None:
    if step_size is not None and not callable(step_size):
        check(
            math.isfinite(step_size) and step_size > 0,
            f"`step_size` must be > 0 (a fraction of the radius), got {step_size}.",
            fix="leave it out for 2.5 / steps.",
        )


@dataclass(frozen=True, eq=False)
class FGSM:
    """Fast gradient sign method: one full step to the best vertex of the set.

    x = s + v(g), g the gradient of the objective at s, v(g) = argmax over the set of <g, d>

    so eps sign(g) in the L-infinity ball. Exact for objectives that are linear in the observation.

    Source: Goodfellow et al., *Explaining and harnessing adversarial examples*, ICLR 2015; Huang et al. 2017 on
        policies.

    Args:
        objective: What to maximise. Not one whose gradient vanishes at s (`ActionShift`, `PolicyKL`): use `PGD`.
        within: Where the perturbation may live.

    Shapes: [B, ...] -> [B, ...].

    Raises:
        GradientError: If the objective has no gradient.

    Example:
        >>> import torch
        >>> from advwrap import FGSM, LinfBall, LowValue
        >>> attack = FGSM(LowValue(value=lambda obs: obs[:, 0] - obs[:, 1]), within=LinfBall(0.5))
        >>> attack(torch.zeros(1, 2))
        tensor([[-0.5000,  0.5000]])
    """

    objective: Objective
    within: AnySet = field(kw_only=True)

    def __post_init__(self) -> None:
        check_objective(self.objective)
        check_set(self.within)

    @differentiable
    def __call__(
        self,
        clean: Tensor,
        *,
        context: Context | None = None,
        bounds: Bounds = UNBOUNDED,
        generator: Streams | torch.Generator | None = None,
    ) -> Tensor:
        """Perturb a batch; nothing here is random."""
        area = _ball(clean, self.within, bounds, context)
        grad = gradient(self.objective(area.clean, context), area.clean)
        return area.seal(area.clean + area.steepest(grad))


@dataclass(frozen=True, eq=False)
class PGD:
    """Projected gradient descent: `steps` projected steps of steepest ascent from a random start.

    x_{i+1} = P(x_i + a_i v(g_i)),   x_0 uniform in the set

    with g_i the gradient of the objective at x_i, v(g) = argmax over the set of <g, d>, P the projection.

    Source: Madry et al., *Towards deep learning models resistant to adversarial attacks*, ICLR 2018.

    Args:
        objective: What to maximise.
        within: Where the perturbation may live.
        steps: Number of gradients.
        step_size: Fraction of the radius per step: a number or a function of the iteration; 2.5 / steps by default.
            In the L2 ball a linear objective is approached by a factor 1 / (1 + step_size) per step.
        restarts: Independent searches, in one batch; the best result per row is kept.
        best: Whether to return the best iterate of all, the clean input included, instead of the last one. It costs two
            more evaluations (one, where the search starts at the clean input) and can never be weaker than no attack.
        random_start: The random start fills this fraction of the set around the clean input; 0 starts at the clean
            input itself, where the gradient of a divergence is 0.

    Shapes: [B, ...] -> [B, ...]. Memory grows with `restarts`, not with `steps`.

    Raises:
        ValueError: If a number is out of range.
        GradientError: If the objective has no gradient.

    Example:
        >>> import torch
        >>> from advwrap import L2Ball, LowValue, PGD
        >>> attack = PGD(LowValue(value=lambda obs: obs.sum(-1)), within=L2Ball(1.0), steps=20, step_size=2.0)
        >>> attack(torch.zeros(1, 4))
        tensor([[-0.5000, -0.5000, -0.5000, -0.5000]])
    """

    objective: Objective
    within: AnySet = field(kw_only=True)
    steps: int = field(default=10, kw_only=True)
    step_size: StepSize | None = field(default=None, kw_only=True)
    restarts: int = field(default=1, kw_only=True)
    best: bool = field(default=False, kw_only=True)
    random_start: float = field(default=1.0, kw_only=True)

    def __post_init__(self) -> None:
        check_objective(self.objective)
        check_set(self.within)
        _check_steps(self.steps)
        _check_step_size(self.step_size)
        check_integer("restarts", self.restarts, least=1)
        check_fraction("random_start", self.random_start)

    @differentiable
    def __call__(
        self,
        clean: Tensor,
        *,
        context: Context | None = None,
        bounds: Bounds = UNBOUNDED,
        generator: Streams | torch.Generator | None = None,
    ) -> Tensor:
        """Perturb a batch."""
        area = _ball(clean, self.within, bounds, context)
        streams = as_streams(generator, area.clean)
        n, many = self.restarts, area
        starts = [self._start(area, streams) for _ in range(n)]
        start = starts[0] if n == 1 else torch.cat(starts)
        if n > 1:  # all searches in one batch, of copies of the rows: of few rows it takes hardly longer than one
            context = None if context is None else CopiedContext(context, n)
            many = _ball(copies(area.clean, n), self.within, bounds, context)
        score = self.objective(many.clean, context)
        step_size = 2.5 / self.steps if self.step_size is None else self.step_size
        if self.best:
            x, value = ascend_best(score, many, start, steps=self.steps, step_size=step_size)
            if self.random_start > 0:  # else it is the first iterate
                x, value = better(x, value, many.clean, evaluate(score, many.clean))
        else:
            x = ascend(score, many, start, steps=self.steps, step_size=step_size)
            value = evaluate(score, x) if n > 1 else x
        return area.seal(x if n == 1 else strongest(x, value, n))

    def _start(self, area: BallRegion, streams: Streams) -> Tensor:
        if self.random_start == 0:
            return area.clean
        # The set is star-shaped around the clean input, so a shortened perturbation stays in it.
        return torch.lerp(area.clean, area.sample(streams), float(self.random_start))


@dataclass(frozen=True, eq=False)
class Langevin:
    """Stochastic gradient Langevin dynamics (SGLD): gradient ascent with noise that fades.

    x_0     = P(s + h sign(xi_0))
    x_{i+1} = P(x_i + h v(g_i + c_i xi_{i+1})),   c_i = sqrt(2 h / beta) / (i + 2),   xi ~ N(0, I)

    with h = step_size * radius. The noise leads away from the clean input, where the gradient of a divergence is 0.

    Source: Zhang et al. 2020. Their MAD attack is ``beta=1``; their SA-PPO regulariser has beta = 1e5 (they write
        sqrt(2 h 1e-5)). Noise with beta = 1 swamps the gradient of a robust policy: see `docs/attacks.md`.

    Args:
        objective: What to maximise.
        within: Where the perturbation may live; a ball with one radius.
        steps: Number of gradients.
        step_size: Fraction of the radius per step, a number; 1 / steps by default.
        beta: Inverse temperature; larger is less noise.

    Shapes: [B, ...] -> [B, ...].

    Raises:
        ValueError: If a number is out of range.
        GradientError: If the objective has no gradient.

    Example:
        >>> import torch
        >>> from advwrap import ActionShift, Langevin, LinfBall
        >>> attack = Langevin(ActionShift(lambda obs: obs), within=LinfBall(0.1))
        >>> moved = attack(torch.zeros(1, 2), generator=torch.Generator().manual_seed(0)).abs()
        >>> bool((moved > 0).all() and (moved <= 0.1).all())
        True
    """

    objective: Objective
    within: PerturbationSet = field(kw_only=True)
    steps: int = field(default=10, kw_only=True)
    step_size: float | None = field(default=None, kw_only=True)
    beta: float = field(default=1.0, kw_only=True)

    def __post_init__(self) -> None:
        check_objective(self.objective)
        check_set(self.within)
        _check_steps(self.steps)
        check(
            not callable(self.step_size),
            f"`step_size` must be a number for Langevin, whose noise depends on it, got {self.step_size!r}.",
            fix="PGD takes a schedule.",
        )
        _check_step_size(self.step_size)
        check(self.beta > 0, f"`beta` must be > 0, got {self.beta}.", fix="float('inf') for no noise.")

    @differentiable
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
        streams = as_streams(generator, clean)
        return self.run(
            clean,
            [streams.normal(clean) for _ in range(self.steps + 1)],
            context=context,
            bounds=bounds,
        )

    def run(
        self,
        clean: Tensor,
        normals: list[Tensor],
        *,
        context: Context | None = None,
        bounds: Bounds = UNBOUNDED,
    ) -> Tensor:
        """The attack with its N(0, 1) draws given: `steps` + 1 tensors [B, ...], the start first."""
        area = _ball(clean, self.within, bounds, context)
        size = 1 / self.steps if self.step_size is None else self.step_size
        absolute = size * torch.as_tensor(area.radius)
        scale = torch.sqrt(2 * absolute / self.beta).to(area.clean)
        start = area.project(area.clean + absolute.to(area.clean) * normals[0].sign())
        noise = [scale / (i + 2) * xi for i, xi in enumerate(normals[1:])]
        score = self.objective(area.clean, context)
        return area.seal(ascend(score, area, start, steps=self.steps, step_size=size, noise=noise))
