"""What the specs say about the attacked entry: who shares it, and its valid range."""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
from tensordict.utils import NestedKey
from torch import Tensor
from torchrl.data import Bounded, Composite, TensorSpec
from torchrl.envs import EnvBase

from advwrap.errors import check
from advwrap.modules.rows import group_of
from advwrap.sets import UNBOUNDED, Bounds
from advwrap.transforms.agents import Agents, agents_of


def spec_of(specs: Composite, key: NestedKey, what: str) -> TensorSpec:
    """The spec of an entry.

    Raises:
        KeyError: If there is none, with the keys that there are.
    """
    if key not in specs.keys(True, True):
        known = [str(name) for name in specs.keys(True, True)]
        raise KeyError(f"`key` must name an {what} of the environment, got {key!r}. Fix: {known}.")
    return specs[key]


class Facts(NamedTuple):
    """What the specs say about an entry: who shares it, and its valid range."""

    agents: Agents
    bounds: Bounds


def facts_of(env: EnvBase, specs: Composite, key: NestedKey, what: str) -> Facts:
    """The facts about an entry of the specs of an environment."""
    spec, group, batch = spec_of(specs, key, what), group_of(key), env.batch_size
    axes = (specs[group].shape if group else batch)[len(batch) :]
    features = spec.ndim - len(batch) - len(axes)
    return Facts(agents_of(env, key, axes.numel()), bounds_of(spec, features))


def bounds_of(spec: TensorSpec, features: int) -> Bounds:
    """The bounds of a spec; where environments or agents differ, what all of them allow.

    Args:
        spec: The spec of a whole entry.
        features: How many of its last axes are features.

    Example:
        >>> bounds_of(Bounded(-1.0, 1.0, (2, 3)), features=1)
        Bounds(low=tensor([-1., -1., -1.]), high=tensor([1., 1., 1.]))
    """
    if not isinstance(spec, Bounded) or not spec.dtype.is_floating_point:
        return UNBOUNDED
    space: Any = spec.space
    low, high = (limit.reshape(-1, *limit.shape[limit.ndim - features :]).cpu() for limit in (space.low, space.high))
    return Bounds(low.amax(0), high.amin(0))


def check_no_nan(rows: Tensor, over: Tensor | None, key: NestedKey) -> None:
    """Refuse NaN, except where an episode is over: there TorchRL leaves a placeholder.

    Raises:
        ValueError: If a row holds NaN, with its number.
    """
    bad = torch.isnan(rows).reshape(rows.shape[0], -1).any(1)
    if over is not None:
        bad &= ~over
    numbers = bad.nonzero().flatten().tolist()
    check(
        not numbers,
        f"{key!r} must not hold NaN, but its rows {numbers} do.",
        fix="look for the cause in the environment (a diverged simulation?).",
    )
