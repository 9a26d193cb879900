"""What a perturbation set must offer; anything that does, works everywhere a ball does."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol, runtime_checkable

from torch import Tensor

from advwrap.randomness import Streams


@runtime_checkable
class PerturbationSet(Protocol):
    """Where a perturbation may live: a closed set D around 0 that contains 0.

    The first axis of every tensor counts independent rows; the others are features.

    A set whose radius differs between features may also have ``project_in_radii(delta)``, the nearest point when every
    feature is measured in its own radius. Gradient attacks walk with it: a step along `steepest` and the Euclidean
    projection of an ellipsoid do not agree on where a linear objective is largest.
    """

    def project(self, delta: Tensor) -> Tensor:
        """The nearest point of D in Euclidean distance, per row."""
        ...

    def steepest(self, grad: Tensor) -> Tensor:
        """Argmax over d in D of <grad, d>, per row: where a linear objective is largest; 0 where `grad` is 0."""
        ...

    def sample(self, like: Tensor, streams: Streams) -> Tensor:
        """A random point of D per row, in the shape, dtype and device of `like`."""
        ...

    def contains(self, delta: Tensor) -> Tensor:
        """Which rows lie in D exactly, bool, shape [B]."""
        ...


@runtime_checkable
class FiniteSet(Protocol):
    """A finite list of values that the perturbed row may take, whatever the clean one was."""

    def candidates(self, clean: Tensor) -> Tensor:
        """Every allowed value for every row, shape [K, *clean.shape]."""
        ...


@runtime_checkable
class ContextualSet(Protocol):
    """A set that depends on the row, on the time or on what happened before; an attack asks for it once per call."""

    def at(self, clean: Tensor, context: Mapping[str, Any] | None) -> PerturbationSet:
        """The set around these rows."""
        ...


def check_ball(within: object) -> None:
    """Refuse what has no smaller copies of itself.

    Raises:
        TypeError: If it is no set that one can move in, or one that varies already.
    """
    if isinstance(within, type) or not hasattr(within, "project"):
        raise TypeError(f"`within` must be a ball, got {within!r}. Fix: LinfBall(0.1), Masked(L2Ball(0.1), mask), ...")
