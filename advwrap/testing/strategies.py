"""Hypothesis strategies for everything that an attack, a set or a wrapper is given.

Every argument is keyword-only, every default is the widest that a correct block must handle, and
what is drawn shrinks to something small and readable. They compose with the usual ones::

    @given(strategies.observations(shape=(3,)), strategies.sets(shape=(3,)))
    def test_stays_inside(clean, within): ...
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import gymnasium as gym
import numpy as np
import torch
from hypothesis import strategies as st
from torch import Tensor

from advwrap.sets import Bounds, L0Ball, L1Ball, L2Ball, LinfBall, Masked, PerturbationSet

if TYPE_CHECKING:
    from tensordict import TensorDict

Shape = tuple[int, ...]

FLOATS = (torch.float32, torch.float64)
"""What most users have."""
ALL_FLOATS = (torch.float32, torch.float64, torch.float16, torch.bfloat16)
"""Every dtype that an attack accepts."""


def dtypes(*, among: Sequence[torch.dtype] = ALL_FLOATS) -> st.SearchStrategy[torch.dtype]:
    """A floating-point dtype; shrinks to the first.

    Args:
        among: The dtypes to choose from.
    """
    return st.sampled_from(list(among))


def seeds() -> st.SearchStrategy[int]:
    """A seed, as `reset(seed=)` takes it."""
    return st.integers(0, 2**31 - 1)


def shapes(*, max_axes: int = 2, max_features: int = 4) -> st.SearchStrategy[Shape]:
    """The shape of one row, without the batch axis; at least one feature.

    Args:
        max_axes: At most so many axes; images have more than one.
        max_features: At most so many entries per axis.
    """
    return st.lists(st.integers(1, max_features), min_size=1, max_size=max_axes).map(tuple)


def observations(
    *,
    shape: Shape | None = None,
    rows: int | None = None,
    max_rows: int = 4,
    dtype: torch.dtype | None = None,
    largest: float = 10.0,
    infinities: bool = False,
) -> st.SearchStrategy[Tensor]:
    """A batch of observations (or actions): zeros of both signs, ties, and numbers of all sizes.

    Args:
        shape: Of one row; drawn if None.
        rows: Batch size; drawn from 0 to `max_rows` if None, so an empty batch is included.
        max_rows: At most so many rows.
        dtype: Drawn from `ALL_FLOATS` if None.
        largest: Bound on the absolute value.
        infinities: Whether infinite entries may occur.

    Example:
        >>> from hypothesis import given
        >>> @given(observations(shape=(3,), rows=2, dtype=torch.float32))
        ... def test(clean):
        ...     assert clean.shape == (2, 3)
        >>> test()
    """
    return _observations(shape, rows, max_rows, dtype, largest, infinities)


@st.composite
def _observations(
    draw: st.DrawFn,
    shape: Shape | None,
    rows: int | None,
    max_rows: int,
    dtype: torch.dtype | None,
    largest: float,
    infinities: bool,
) -> Tensor:
    features = draw(shapes()) if shape is None else shape
    count = draw(st.integers(0, max_rows)) if rows is None else rows
    kind = draw(dtypes()) if dtype is None else dtype
    special = [0.0, -0.0, 1.0, -largest]
    special += [math.inf, -math.inf] if infinities else []
    # All 53 bits where there are any: differences of short numbers are exact, and would hide rounding.
    digits = st.floats(-largest, largest) if kind == torch.float64 else st.floats(-largest, largest, width=32)
    number = st.one_of(digits, st.sampled_from(special))
    size = count * math.prod(features)
    values = draw(st.lists(number, min_size=size, max_size=size))
    return torch.tensor(values, dtype=torch.float64).reshape(count, *features).to(kind)


def epsilons(
    *,
    shape: Shape | None = None,
    smallest: float = 1e-12,
    largest: float = 1e6,
    zero: bool = True,
) -> st.SearchStrategy[float | Tensor]:
    """A radius: 0, tiny, usual, huge; one number, or one per feature if `shape` is given.

    Args:
        shape: Of one row, for a radius per feature (some of them 0) or one that broadcasts to it.
        smallest: The smallest radius but 0.
        largest: The largest radius.
        zero: Whether the radius may be 0.

    Example:
        >>> from hypothesis import given
        >>> @given(epsilons(shape=(3,)))
        ... def test(eps):
        ...     assert LinfBall(eps).contains(torch.zeros(1, 3)).all()
        >>> test()
    """
    usual = st.floats(0.01, 1.0)
    sizes = [usual, st.floats(smallest, 0.01), st.floats(1.0, largest)]
    sizes += [st.just(0.0)] if zero else []
    number = st.one_of(sizes)
    if shape is None:
        return number
    count = math.prod(shape)
    feature = st.one_of(usual, st.just(0.0)) if zero else usual

    def tensor(values: list[float]) -> Tensor:
        return torch.tensor(values, dtype=torch.float64).reshape(shape)

    per_feature = st.lists(feature, min_size=count, max_size=count).map(tensor)
    return st.one_of(number, per_feature)


MakeSet = Callable[[Any], PerturbationSet]


def sets(
    *,
    shape: Shape,
    eps: st.SearchStrategy[float | Tensor] | None = None,
    kinds: Sequence[MakeSet] = (LinfBall, L2Ball, L1Ball),
    sparse: bool = True,
    masked: bool = True,
) -> st.SearchStrategy[PerturbationSet]:
    """A perturbation set for rows of this shape.

    Args:
        shape: Of one row.
        eps: The radius; `epsilons` of this shape if None.
        kinds: Constructors that take the radius.
        sparse: Whether `L0Ball` may be drawn too.
        masked: Whether the set may be wrapped in `Masked`.

    Example:
        >>> from hypothesis import given
        >>> @given(sets(shape=(3,)))
        ... def test(within):
        ...     assert within.contains(torch.zeros(2, 3)).all()
        >>> test()
    """
    radius = epsilons(shape=shape) if eps is None else eps
    made: list[st.SearchStrategy[PerturbationSet]] = [st.builds(kind, radius) for kind in kinds]
    if sparse:
        made.append(st.builds(L0Ball, st.integers(0, math.prod(shape)), radius))
    plain = st.one_of(made)
    if not masked:
        return plain
    return st.one_of(plain, st.builds(Masked, plain, masks(shape=shape)))


def masks(*, shape: Shape) -> st.SearchStrategy[Tensor]:
    """A boolean mask over the features of a row.

    Args:
        shape: Of one row.
    """
    count = math.prod(shape)
    return st.lists(st.booleans(), min_size=count, max_size=count).map(
        lambda values: torch.tensor(values).reshape(shape)
    )


def bounds(*, shape: Shape, largest: float = 10.0) -> st.SearchStrategy[Bounds]:
    """The valid range of an observation: per feature finite, half-infinite, infinite, or one point.

    Clean values need not lie in it: real environments leave their own spaces now and then.

    Args:
        shape: Of one row.
        largest: Bound on the absolute value of the finite limits.

    Example:
        >>> from hypothesis import given
        >>> @given(bounds(shape=(2,)))
        ... def test(drawn):
        ...     assert (torch.as_tensor(drawn.low) <= torch.as_tensor(drawn.high)).all()
        >>> test()
    """
    return _bounds(shape, largest)


@st.composite
def _bounds(draw: st.DrawFn, shape: Shape, largest: float) -> Bounds:
    number = st.floats(-largest, largest, width=32)
    pairs = st.tuples(number, number).map(sorted)
    interval = st.one_of(
        pairs,
        number.map(lambda low: [low, math.inf]),
        number.map(lambda high: [-math.inf, high]),
        st.just([-math.inf, math.inf]),
        number.map(lambda point: [point, point]),
    )
    if draw(st.booleans()):
        low, high = draw(interval)
        return Bounds(low, high)
    count = math.prod(shape)
    both = torch.tensor(draw(st.lists(interval, min_size=count, max_size=count))).double()
    return Bounds(both[:, 0].reshape(shape), both[:, 1].reshape(shape))


def spaces(*, boxes: bool = True, images: bool = True, nested: bool = True) -> st.SearchStrategy[gym.Space[Any]]:
    """An observation space of floats: a Box, an image in [0, 1], or a Dict of Boxes.

    Args:
        boxes: Whether to draw vectors; finite, half-infinite and infinite limits.
        images: Whether to draw [height, width, channels] in [0, 1].
        nested: Whether to draw a Dict of vectors and images, with one level of nesting.

    Example:
        >>> from hypothesis import given
        >>> @given(spaces())
        ... def test(space):
        ...     assert space.sample() in space
        >>> test()
    """
    limit = st.sampled_from([2.0, 10.0, math.inf])
    vector = st.builds(
        lambda low, high, shape: gym.spaces.Box(-low, high, shape, np.float32),
        limit,
        limit,
        shapes(),
    )
    image = st.tuples(st.integers(1, 4), st.integers(1, 4), st.sampled_from([1, 3])).map(
        lambda shape: gym.spaces.Box(0.0, 1.0, shape, np.float32)
    )
    leaves: list[st.SearchStrategy[gym.Space[Any]]] = [vector] if boxes else []
    leaves += [image] if images else []
    if not nested:
        return st.one_of(leaves)
    leaf = st.one_of(leaves)
    names = st.sampled_from(["position", "velocity", "camera"])
    inner = st.dictionaries(names, leaf, min_size=1, max_size=2).map(gym.spaces.Dict)
    outer = st.dictionaries(names, st.one_of(leaf, inner), min_size=1, max_size=2)
    return st.one_of(leaf, outer.map(gym.spaces.Dict))


def tensordicts(
    *,
    shape: Shape | None = None,
    rows: int | None = None,
    dtype: torch.dtype = torch.float32,
) -> st.SearchStrategy[TensorDict]:
    """A batch of transitions as TorchRL stores them, with a nested group beside the usual keys.

    Holds "observation", "clean_observation" (equal to it), "action", ("agents", "observation") at
    the root, and the observations with "reward", "done" and "terminated" under "next".

    Args:
        shape: Of one observation; drawn if None.
        rows: Batch size; drawn if None.
        dtype: Of the observations.

    Example:
        >>> from hypothesis import given
        >>> @given(tensordicts(shape=(3,), rows=2))
        ... def test(data):
        ...     assert data["next", "observation"].shape == (2, 3)
        >>> test()
    """
    return _tensordicts(shape, rows, dtype)


@st.composite
def _tensordicts(draw: st.DrawFn, shape: Shape | None, rows: int | None, dtype: torch.dtype) -> TensorDict:
    from tensordict import TensorDict

    features = draw(shapes()) if shape is None else shape
    count = draw(st.integers(0, 4)) if rows is None else rows
    batch = torch.Size([count])

    def seen() -> dict[Any, Tensor]:
        clean = draw(observations(shape=features, rows=count, dtype=dtype))
        agents = draw(observations(shape=(2, *features), rows=count, dtype=dtype))
        return {
            "observation": clean,
            "clean_observation": clean.clone(),
            ("agents", "observation"): agents,
        }

    data = TensorDict({}, batch_size=batch)
    for key, value in seen().items():
        data.set(key, value)
    data.set("action", draw(observations(shape=(2,), rows=count, dtype=dtype, largest=1.0)))
    for key, value in seen().items():
        data.set(("next", key), value)
    data.set(("next", "reward"), draw(observations(shape=(1,), rows=count, dtype=dtype)))
    for key in ("done", "terminated"):
        data.set(("next", key), torch.zeros(count, 1, dtype=torch.bool))
    return data
