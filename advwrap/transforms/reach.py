"""Let an environment's `set_seed` and its steps reach the transforms that need them.

TorchRL hands ``TransformedEnv.set_seed`` to the base environment only, and what a transform does to
the action stays inside ``TransformedEnv.step``. Both are extended on the one environment that holds
the transform; its class, and every other environment, stay as they are.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Protocol, runtime_checkable

from tensordict import TensorDictBase
from torchrl.envs import Compose, EnvBase, Transform, TransformedEnv


@runtime_checkable
class Seeded(Protocol):
    """A transform with randomness of its own."""

    def seed(self, seed: int | None) -> None:
        """Begin it anew."""
        ...


@runtime_checkable
class Reporting(Protocol):
    """A transform that has something to say about the step, at root, beside the action."""

    def begin(self) -> None:
        """Before the step."""
        ...

    def report(self, tensordict: TensorDictBase) -> None:
        """After the step: write into its tensordict."""
        ...


def env_of(transform: Transform) -> EnvBase | None:
    """The environment around a transform, if it is in one."""
    try:
        return transform.container
    except ValueError:  # torchrl's answer for a `Compose` that is in none
        return None


def listed(transform: Transform) -> Iterator[Transform]:
    """A transform and those inside it, from the base environment outwards."""
    if isinstance(transform, Compose):
        for inner in transform.transforms:
            yield from listed(inner)
    else:
        yield transform


def beneath(transform: Transform) -> Iterator[Transform]:
    """The transforms between this one and the base environment."""
    env = env_of(transform)
    while isinstance(env, TransformedEnv):
        for other in listed(env.transform):
            if other is transform:
                break
            yield other
        env = env.base_env


def reach(env: TransformedEnv, transform: Transform) -> None:
    """Extend `env.set_seed` and `env.step` to this transform, and to all others of its kind."""
    # In `__dict__`, so that they hide the methods of the class.
    if isinstance(transform, Seeded):
        env.__dict__["set_seed"] = _SetSeed(env)
    if isinstance(transform, Reporting):
        env.__dict__["step"] = _Step(env)
        env.__dict__["step_and_maybe_reset"] = _StepAndMaybeReset(env)


class _SetSeed:
    """`TransformedEnv.set_seed`, then every transform that is `Seeded`."""

    def __init__(self, env: TransformedEnv) -> None:
        self.env = env

    def __call__(self, seed: int | None = None, static_seed: bool = False) -> Any:
        following = type(self.env).set_seed(self.env, seed, static_seed=static_seed)
        for transform in listed(self.env.transform):
            if isinstance(transform, Seeded):
                transform.seed(seed)
        return following


class _Step:
    """`TransformedEnv.step`, then every transform that is `Reporting`."""

    def __init__(self, env: TransformedEnv) -> None:
        self.env = env

    def __call__(self, tensordict: TensorDictBase) -> TensorDictBase:
        reporting = inwards(self.env)
        for transform in reporting:
            transform.begin()
        out = type(self.env).step(self.env, tensordict)
        for transform in reporting:
            transform.report(out)
        return out


class _StepAndMaybeReset:
    """`TransformedEnv.step_and_maybe_reset`, which collectors call.

    Where the environment names a device, a copy is stepped, and a collector takes "next" alone from that: what is
    reported at root goes into the collector's own data as well.
    """

    def __init__(self, env: TransformedEnv) -> None:
        self.env = env

    def __call__(self, tensordict: TensorDictBase) -> tuple[TensorDictBase, TensorDictBase]:
        out, following = type(self.env).step_and_maybe_reset(self.env, tensordict)
        collector = self.env.collector
        carried = None if collector is None else getattr(collector, "_carrier", None)
        if carried is not None and carried is not out:
            for transform in inwards(self.env):
                transform.report(carried)
        return out, following


def inwards(env: TransformedEnv) -> list[Reporting]:
    """Who reports, from outside inwards: the innermost knows what the environment really got."""
    return [t for t in listed(env.transform) if isinstance(t, Reporting)][::-1]
