"""Search without gradients: for black boxes, discrete actions, and objectives with flat or noisy gradients."""

from __future__ import annotations

from dataclasses import dataclass, field
from itertools import product
from typing import Protocol

import torch
from torch import Tensor

from advwrap.attacks.ascent import better, evaluate
from advwrap.attacks.region import AnySet, FiniteRegion, Region, check_set, region
from advwrap.errors import check, check_integer
from advwrap.objectives import Objective, Score
from advwrap.objectives.checking import check_objective
from advwrap.randomness import Streams, as_streams
from advwrap.sets import UNBOUNDED, ActionSet, Bounds
from advwrap.sets.rows import flat
from advwrap.victims import Context


class Strategy(Protocol):
    """How candidates are proposed: ``strategy(score, area, streams) -> the best point found, per row``."""

    def __call__(self, score: Score, area: Region, streams: Streams) -> Tensor:
        """Search the region."""
        ...


@dataclass(frozen=True)
class RandomSearch:
    """The best of `tries` random points of the set.

    Args:
        tries: Number of evaluations.

    Raises:
        ValueError: If `tries` is no integer >= 1.

    Example:
        >>> import torch
        >>> from advwrap import LinfBall, LowValue, RandomSearch, Search
        >>> low = LowValue(value=lambda obs: obs.sum(-1))
        >>> x = Search(low, within=LinfBall(0.5), strategy=RandomSearch(tries=64))(torch.zeros(1, 1))
        >>> bool(-0.5 <= x.item() < 0)
        True
    """

    tries: int = 64

    def __post_init__(self) -> None:
        check_integer("tries", self.tries, least=1)

    def __call__(self, score: Score, area: Region, streams: Streams) -> Tensor:
        """Search the region."""
        best, highest = area.clean, evaluate(score, area.clean)
        for _ in range(self.tries):
            x = area.sample(streams)
            best, highest = better(x, evaluate(score, x), best, highest)
        return best


@dataclass(frozen=True)
class Corners:
    """Every corner of the set for few features.

    The corners are the set's best vertices for all directions in {-1, +1}^n and along the axes: all vertices of the
    L-infinity and the L1 ball, where a convex objective is largest at one of them and the search is exact. The L2 ball
    has no corners; only these directions are tried in it, and in the L0 ball not every choice of features.

    Args:
        max_features: Refuse more features than this: there are 2^n corners.

    Raises:
        ValueError: If `max_features` is no integer >= 1; when called, if the input has more features.

    Example:
        >>> import torch
        >>> from advwrap import Corners, LinfBall, LowValue, Search
        >>> convex = LowValue(value=lambda obs: -(obs**2).sum(-1))
        >>> Search(convex, within=LinfBall(0.5), strategy=Corners())(torch.tensor([[0.1, -0.2]]))
        tensor([[ 0.6000, -0.7000]])
    """

    max_features: int = 10

    def __post_init__(self) -> None:
        check_integer("max_features", self.max_features, least=1)

    def __call__(self, score: Score, area: Region, streams: Streams) -> Tensor:
        """Search the region."""
        clean = area.clean
        features = clean[0].numel()
        check(
            features <= self.max_features,
            f"`Corners` enumerates 2^n corners and allows n <= {self.max_features} features, got {features}.",
            fix="Square() or CrossEntropyMethod().",
        )
        best, highest = clean, evaluate(score, clean)
        axes = torch.cat([torch.eye(features), -torch.eye(features)]).to(clean)
        signs = torch.tensor(list(product((-1.0, 1.0), repeat=features))).to(clean)
        for direction in torch.cat([signs, axes]):
            x = area.project(clean + area.steepest(direction.reshape(1, *clean.shape[1:]).expand_as(clean)))
            best, highest = better(x, evaluate(score, x), best, highest)
        return best


@dataclass(frozen=True)
class Square:
    """Random block changes, kept when they help; the block shrinks as the search goes on.

    Starts from a random vertex; each try redraws a random contiguous block of features at a random vertex.

    Source: Andriushchenko et al., *Square attack*, ECCV 2020 (the schedule of the block size halves at the same
        fractions of the budget), with blocks of features instead of image squares.

    Args:
        tries: Number of evaluations.
        share: First block size, as a fraction of the features.

    Raises:
        ValueError: If `tries` is no integer >= 1 or `share` is not in (0, 1].

    Example:
        >>> import torch
        >>> from advwrap import LinfBall, LowValue, Search, Square
        >>> low = LowValue(value=lambda obs: obs.sum(-1))
        >>> attack = Search(low, within=LinfBall(0.5), strategy=Square(tries=64))
        >>> attack(torch.zeros(1, 2), generator=torch.Generator().manual_seed(0))
        tensor([[-0.5000, -0.5000]])
    """

    tries: int = 64
    share: float = 0.5

    def __post_init__(self) -> None:
        check_integer("tries", self.tries, least=1)
        check(0 < self.share <= 1, f"`share` must be in (0, 1], got {self.share}.")

    def __call__(self, score: Score, area: Region, streams: Streams) -> Tensor:
        """Search the region."""
        clean = area.clean
        rows = flat(clean)
        features = rows.shape[1]
        position = torch.arange(features, device=clean.device)
        best, highest = clean, evaluate(score, clean)
        x = area.project(clean + area.steepest(streams.normal(clean)))
        best, highest = better(x, evaluate(score, x), best, highest)
        for i in range(self.tries - 1):
            width = max(round(features * self.share * _shrink(i / self.tries)), 1)
            first = streams.integers(features).to(clean.device)
            block = (position - first[:, None]) % features < width
            vertex = flat(area.steepest(streams.normal(clean)))
            tried = torch.where(block, rows + vertex, flat(best)).reshape(clean.shape)
            x = area.project(tried)
            best, highest = better(x, evaluate(score, x), best, highest)
        return best


def _shrink(progress: float) -> float:
    """Halve the block at the fractions of the budget of the original attack."""
    halvings = sum(progress >= at for at in (0.001, 0.005, 0.02, 0.05, 0.1, 0.2, 0.4, 0.6, 0.8))
    return float(0.5**halvings)


@dataclass(frozen=True)
class CrossEntropyMethod:
    """Cross-entropy method: sample a Gaussian, keep the elite, refit, repeat.

    Source: Rubinstein and Kroese, *The cross-entropy method*, 2004.

    Args:
        rounds: How often the Gaussian is refitted.
        samples: Points per round.
        elite: How many of them the next Gaussian is fitted to.

    Raises:
        ValueError: If `rounds` < 1, `elite` is not in 2..`samples`, or one of the three is no integer.

    Example:
        >>> import torch
        >>> from advwrap import CrossEntropyMethod, LinfBall, LowValue, Search
        >>> bowl = LowValue(value=lambda obs: ((obs - 0.2) ** 2).sum(-1))
        >>> attack = Search(bowl, within=LinfBall(0.5), strategy=CrossEntropyMethod(rounds=8))
        >>> x = attack(torch.zeros(1, 1), generator=torch.Generator().manual_seed(0))
        >>> bool((x - 0.2).abs() < 0.1)
        True
    """

    rounds: int = 5
    samples: int = 16
    elite: int = 4

    def __post_init__(self) -> None:
        check_integer("rounds", self.rounds, least=1)
        check_integer("samples", self.samples, least=2)
        check_integer("elite", self.elite, least=2)
        check(self.elite <= self.samples, f"`elite` must be <= `samples` ({self.samples}), got {self.elite}.")

    def __call__(self, score: Score, area: Region, streams: Streams) -> Tensor:
        """Search the region."""
        best, highest = area.clean, evaluate(score, area.clean)
        drawn = [area.sample(streams) for _ in range(self.samples)]
        for round_ in range(self.rounds):
            values = torch.stack([evaluate(score, x) for x in drawn])
            points = torch.stack(drawn)
            for x, value in zip(drawn, values, strict=True):
                best, highest = better(x, value, best, highest)
            if round_ == self.rounds - 1:
                break
            top = values.nan_to_num(-torch.inf).topk(self.elite, dim=0).indices
            index = top.reshape(*top.shape, *[1] * (points.ndim - 2)).expand(-1, -1, *points.shape[2:])
            elite = points.gather(0, index)
            mean, std = elite.mean(0), elite.std(0)
            drawn = [area.project(mean + std * streams.normal(area.clean)) for _ in range(self.samples)]
        return best


@dataclass(frozen=True, eq=False)
class Search:
    """Gradient-free search: needs only the score of points, so the victim may be a black box.

    Source: see the strategies; the default is Andriushchenko et al., *Square attack*, ECCV 2020.

    Every point of a finite `ActionSet` is tried; anything else is searched by `strategy`.

    Args:
        objective: What to maximise.
        within: Where the perturbation may live.
        strategy: `Square` (default), `RandomSearch`, `Corners`, `CrossEntropyMethod`, or your own.
        rank: Which of finitely many points to take: the best (1), the second best, ...:
            ``Search(HighReward(critic=q), within=ActionSet(4), rank=2)`` is the agent's second choice.

    Shapes: [B, ...] -> [B, ...].

    Example:
        >>> import torch
        >>> from advwrap import Corners, LinfBall, LowValue, Search
        >>> black_box = LowValue(value=lambda obs: (obs * torch.tensor([1.0, -2.0])).sum(-1).detach())
        >>> Search(black_box, within=LinfBall(0.5), strategy=Corners())(torch.zeros(1, 2))
        tensor([[-0.5000,  0.5000]])
    """

    objective: Objective
    within: AnySet = field(kw_only=True)
    strategy: Strategy = field(default=Square(), kw_only=True)
    rank: int = field(default=1, kw_only=True)

    def __post_init__(self) -> None:
        check_objective(self.objective)
        check_set(self.within)
        check_integer("rank", self.rank, least=1)
        check(
            self.rank == 1 or isinstance(self.within, ActionSet),
            f"`rank` must be 1 where the points are not finitely many, got {self.rank} within {self.within}.",
        )

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
        streams = as_streams(generator, area.clean)
        with torch.no_grad():
            score = self.objective(area.clean, context)
            if len(area.clean) == 0:
                return area.seal(area.clean)
            if isinstance(area, FiniteRegion):
                return area.seal(_candidate(score, area, self.rank))
            return area.seal(self.strategy(score, area, streams))


def _candidate(score: Score, area: FiniteRegion, rank: int) -> Tensor:
    """The point of this rank; a row with fewer points of a finite score is left alone."""
    check(
        rank <= len(area.candidates),
        f"`rank` must be at most the number of actions, {len(area.candidates)}, got {rank}.",
    )
    values = torch.stack([evaluate(score, x) for x in area.candidates])
    return area.ranked(values, rank)
