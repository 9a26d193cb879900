"""Attacks made of attacks: a random choice, the worst of several, only when a budget allows it, only so far."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from advwrap.attacks.ascent import better, evaluate
from advwrap.attacks.budgets import Budget
from advwrap.attacks.protocol import Attack
from advwrap.attacks.region import AnySet, check_batch, check_set, region
from advwrap.attacks.some_rows import SomeRows
from advwrap.errors import check
from advwrap.objectives import Objective
from advwrap.randomness import Streams, as_streams
from advwrap.sets import UNBOUNDED, Bounds
from advwrap.sets.rows import per_row
from advwrap.victims import Context

Probability = float | Callable[[], float | Tensor] | None


@dataclass(frozen=True, eq=False)
class Mixture:
    """Each row suffers one of several attacks, chosen at random.

    Source: the kappa mixture of VALT-EPS is ``Mixture((kappa, PGD(...)), (None, Noise(...)))``.

    Args:
        terms: Pairs (probability, attack). A probability may be a schedule, a callable without arguments that is asked
            at every call; None for the last one is the rest. They add up to 1.

    Raises:
        ValueError: If they do not.

    Example:
        >>> import torch
        >>> from advwrap import Identity, LinfBall, Mixture, RandomVertex
        >>> half = Mixture((0.5, RandomVertex(LinfBall(0.1))), (0.5, Identity()))
        >>> moved = half(torch.zeros(1000, 1), generator=torch.Generator().manual_seed(0)) != 0
        >>> 400 < int(moved.sum()) < 600
        True
    """

    terms: tuple[tuple[Probability, Attack], ...]

    def __init__(self, *terms: tuple[Probability, Attack]) -> None:
        check(len(terms) > 0, "`terms` must hold at least one (probability, attack) pair, got none.")
        chances = [p for p, _ in terms]
        open_ended = chances[-1] is None
        check(None not in chances[:-1], f"only the last probability may be None (the rest), got {chances}.")
        if not any(callable(p) for p in chances):
            weights: list[float] = [p for p in chances if p is not None]  # type: ignore[misc]
            check(all(0 <= p <= 1 for p in weights), f"probabilities must be in [0, 1], got {weights}.")
            total = sum(weights)
            check(
                total <= 1 + 1e-9 if open_ended else math.isclose(total, 1.0, abs_tol=1e-9),
                f"probabilities must add up to 1, got {chances}.",
            )
        object.__setattr__(self, "terms", terms)

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
        dice = streams.uniform(torch.empty(clean.shape[0], dtype=torch.float64, device=clean.device))
        perturbed = clean.detach().clone()
        below: float | Tensor = 0.0
        for p, attack in self.terms[:-1]:
            above = below + (p() if callable(p) else p)  # type: ignore[operator]
            rows = (dice >= below) & (dice < above)
            perturbed = on_rows(attack, rows, perturbed, clean, context, bounds, streams)
            below = above
        return on_rows(self.terms[-1][1], dice >= below, perturbed, clean, context, bounds, streams)

    def __repr__(self) -> str:
        return f"Mixture({', '.join(map(repr, self.terms))})"


@dataclass(frozen=True, eq=False)
class Worst:
    """The best of several attacks per row, judged by one objective.

    Source: the ensemble idea of Croce and Hein, *AutoAttack*, ICML 2020.

    Args:
        attacks: The attacks to try.
        objective: How to compare them: what the adversary wants in the end.

    Example:
        >>> import torch
        >>> from advwrap import FGSM, Identity, LinfBall, LowValue, Worst
        >>> low = LowValue(value=lambda obs: obs.sum(-1))
        >>> Worst([Identity(), FGSM(low, within=LinfBall(0.1))], objective=low)(torch.zeros(1, 2))
        tensor([[-0.1000, -0.1000]])
    """

    attacks: tuple[Attack, ...]
    objective: Objective

    def __post_init__(self) -> None:
        object.__setattr__(self, "attacks", tuple(self.attacks))
        check(len(self.attacks) > 0, "`attacks` must hold at least one attack, got none.")

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
        with torch.no_grad():
            score = self.objective(clean, context)
        best = clean.detach().clone()
        highest = torch.full(clean.shape[:1], -torch.inf, device=clean.device)
        for attack in self.attacks:
            x = attack(clean, context=context, bounds=bounds, generator=streams.fork())
            best, highest = better(x, evaluate(score, x), best, highest)
        return best


@dataclass(frozen=True, eq=False)
class Gated:
    """An attack that acts only when a budget allows it; the other rows stay bitwise clean and cost nothing.

    Source: Lin et al., *Tactics of adversarial attack on deep reinforcement learning agents*, IJCAI 2017, for attacks
        that choose their moment.

    Args:
        attack: What to do.
        budget: When, and to whom: `AtMost(10)`, `EveryNth(4)`, `WithProbability(0.1)`, `GapAbove(...)`, ...

    Example:
        >>> import torch
        >>> from advwrap import EveryNth, Gated, LinfBall, RandomVertex
        >>> attack = Gated(RandomVertex(LinfBall(0.1)), EveryNth(2))
        >>> attack(torch.zeros(2, 1), context={"episode_step": torch.tensor([0, 1])}).abs()
        tensor([[0.1000],
                [0.0000]])
    """

    attack: Attack
    budget: Budget

    def __post_init__(self) -> None:
        attack: object = self.attack
        if isinstance(attack, Budget):
            raise TypeError(f"`attack` must be an attack, got the budget {attack!r}. Fix: Gated(attack, budget).")
        budget: object = self.budget
        if isinstance(budget, type) or not callable(budget):
            raise TypeError(f"`budget` must be a budget, got {budget!r}. Fix: WithProbability(0.1), AtMost(10).")

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
        rows = self.budget(clean, context, streams).to(clean.device)
        return on_rows(self.attack, rows, clean.detach().clone(), clean, context, bounds, streams)


@dataclass(frozen=True, eq=False)
class Confined:
    """An attack whose result is brought into a set: a fault that is no larger than epsilon, say.

    x = s + P(attack(s) - s), P the projection on the set

    Source: projection as in PGD, Madry et al. 2018, around any attack.

    Args:
        attack: What to do.
        within: Where the perturbation may live.

    Example:
        >>> import torch
        >>> from advwrap import Confined, Gain, LinfBall
        >>> Confined(Gain(0.0), within=LinfBall(0.1))(torch.ones(1, 2))
        tensor([[0.9000, 0.9000]])
    """

    attack: Attack
    within: AnySet

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
        """Perturb a batch."""
        area = region(clean, self.within, bounds, context)
        return area.seal(area.project(self.attack(clean, context=context, bounds=bounds, generator=generator)))


def on_rows(
    attack: Attack,
    rows: Tensor,
    otherwise: Tensor,
    clean: Tensor,
    context: Context | None,
    bounds: Bounds,
    streams: Streams,
) -> Tensor:
    """Attack only the marked rows of a batch; the others come from `otherwise`.

    Shapes: rows [B] bool, otherwise and clean [B, ...] -> [B, ...].
    """
    if torch.compiler.is_compiling():  # shapes in a graph do not depend on data: attack all, keep some
        every = attack(clean, context=context, bounds=bounds, generator=streams.fork())
        return torch.where(per_row(rows, clean), every, otherwise)
    if bool(rows.all()):
        return attack(clean, context=context, bounds=bounds, generator=streams[rows])
    if not bool(rows.any()):
        streams.fork()  # the same draws are spent whoever is attacked
        return otherwise
    some = None if context is None else SomeRows(context, rows)
    few = attack(clean[rows], context=some, bounds=bounds, generator=streams[rows])
    return otherwise.masked_scatter(per_row(rows, otherwise), few)
