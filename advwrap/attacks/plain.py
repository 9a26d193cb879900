"""Attacks that ask nobody: no attack, noise, and random corners."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from advwrap.attacks.region import AnySet, check_set, region
from advwrap.errors import check
from advwrap.randomness import Streams, as_streams
from advwrap.sets import UNBOUNDED, Bounds, LinfBall, PerturbationSet
from advwrap.victims import Context

Rows = NDArray[Any]
"""A batch as a NumPy array.

An attack may offer ``on_rows(clean, bounds, streams)`` beside its call on tensors: the same numbers
without torch, whose cost per operation is most of an attack that does little. None means: not here.
"""

_PLAIN_FLOATS = (np.dtype(np.float32), np.dtype(np.float64))


@dataclass(frozen=True)
class Identity:
    """No attack: the clean input itself. Keeps keys, infos and code paths the same for the natural run.

    Source: the natural row of every robustness table.

    Example:
        >>> import torch
        >>> Identity()(torch.ones(1, 2))
        tensor([[1., 1.]])
    """

    def __call__(
        self,
        clean: Tensor,
        *,
        context: Context | None = None,
        bounds: Bounds = UNBOUNDED,
        generator: Streams | torch.Generator | None = None,
    ) -> Tensor:
        """Return a copy of `clean`."""
        return clean.detach().clone()

    def on_rows(self, clean: Rows, bounds: Bounds, streams: Streams) -> Rows | None:
        """Return a copy of `clean`."""
        return clean.copy()


@dataclass(frozen=True, eq=False)
class Noise:
    """Uniform noise: a random point of the set around the clean input.

    x = s + d, d ~ U(set)

    Source: the uniform attack of Zhang et al., NeurIPS 2020.

    Args:
        within: Where the perturbation may live; for a finite `ActionSet`, a random action.

    Shapes: [B, ...] -> [B, ...].

    Example:
        >>> import torch
        >>> from advwrap import LinfBall, Noise
        >>> noise = Noise(LinfBall(0.1))(torch.zeros(4, 3), generator=torch.Generator().manual_seed(0))
        >>> bool((noise.abs() <= 0.1).all() and noise.abs().max() > 0)
        True
    """

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
        return area.seal(area.sample(as_streams(generator, area.clean)))

    def on_rows(self, clean: Rows, bounds: Bounds, streams: Streams) -> Rows | None:
        """The same numbers for finite rows and a box of one radius, at NumPy's cost per operation.

        None where the set is another or rounding needs more care: the call on a tensor has it.
        """
        eps = self.within.eps if type(self.within) is LinfBall else None
        if not isinstance(eps, float) or clean.dtype not in _PLAIN_FLOATS:
            return None
        delta = (streams.unit(clean.shape) * 2.0 - 1.0).astype(clean.dtype, copy=False) * eps
        x: Rows = clean + delta
        if not bounds.unbounded:
            low, high = (limit.numpy() for limit in bounds.around(torch.from_numpy(clean)))
            x = x.clip(low, high)
        size = abs(np.subtract(x, clean, dtype=np.float64))
        if not (size <= eps).all():
            return None
        if not size.all():
            np.copyto(x, clean, where=size == 0)  # where nothing moved, the clean bits stay
        return x


@dataclass(frozen=True, eq=False)
class GaussianNoise:
    """Gaussian noise of a given deviation, cut off at the border of the set.

    x = P(s + std * xi), xi ~ N(0, I)

    Source: sensor noise as in Robust Gymnasium, without its clipping of observations and its global random numbers.

    Args:
        std: Standard deviation in the units of the input: a number or one per feature.
        within: A set to project on, `LinfBall(3 * std)` for a cut at three deviations, say.

    Shapes: [B, ...] -> [B, ...].

    Example:
        >>> import torch
        >>> from advwrap import GaussianNoise, LinfBall
        >>> GaussianNoise(0.1, within=LinfBall(0.3))(torch.zeros(4, 3)).shape
        torch.Size([4, 3])
    """

    std: float | Tensor
    within: PerturbationSet

    def __post_init__(self) -> None:
        check_set(self.within)
        std = torch.as_tensor(self.std)
        check(bool((std >= 0).all() and torch.isfinite(std).all()), f"`std` must be finite and >= 0, got {self.std}.")

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
        xi = as_streams(generator, area.clean).normal(area.clean)
        return area.seal(area.project(area.clean + torch.as_tensor(self.std).to(xi) * xi))


@dataclass(frozen=True, eq=False)
class RandomVertex:
    """The largest noise: a random vertex of the set, the end of a random direction.

    x = s + v(xi), xi ~ N(0, I), v(g) = argmax over the set of <g, d>

    so plus or minus eps on every feature for the L-infinity ball.

    Source: the "Biggest" action attack of OA-PI, and the corner noise of robust control.

    Args:
        within: Where the perturbation may live.

    Shapes: [B, ...] -> [B, ...].

    Example:
        >>> import torch
        >>> from advwrap import LinfBall, RandomVertex
        >>> RandomVertex(LinfBall(0.1))(torch.zeros(1, 3)).abs()
        tensor([[0.1000, 0.1000, 0.1000]])
    """

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
        xi = as_streams(generator, area.clean).normal(area.clean)
        return area.seal(area.project(area.clean + area.steepest(xi)))
