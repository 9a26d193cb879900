"""What an attack is made of, to tell at construction what would silently do nothing later."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import fields, is_dataclass
from types import BuiltinFunctionType

import numpy as np
import torch

from advwrap.errors import check
from advwrap.sets import PerturbationSet

_PLAIN = (type(None), int, float, str, tuple, list, np.ndarray, torch.Tensor, BuiltinFunctionType)


def parts(thing: object) -> Iterator[object]:
    """An attack and everything in it: attacks, objectives, sets, budgets, victims, numbers.

    Example:
        >>> from advwrap import EveryNth, Gated, Identity
        >>> [type(part).__name__ for part in parts(Gated(Identity(), EveryNth(2)))]
        ['Gated', 'Identity', 'EveryNth', 'int', 'int']
    """
    yield thing
    if is_dataclass(thing):
        for field in fields(thing):
            yield from parts(getattr(thing, field.name))
    elif isinstance(thing, (tuple, list)):
        for part in thing:
            yield from parts(part)


def changes(attack: object) -> bool:
    """Whether a copy of the attack may grow stale: it holds a victim, or a radius on a schedule.

    Example:
        >>> from advwrap import Linear, LinfBall, Noise
        >>> changes(Noise(LinfBall(0.1))), changes(Noise(LinfBall(Linear(0.0, 0.1, steps=9))))
        (False, True)
    """
    for part in parts(attack):
        settings = getattr(type(part), "__dataclass_params__", None)
        frozen = settings is not None and settings.frozen
        if not frozen and not isinstance(part, _PLAIN):
            return True
    return False


def check_reaches_integers(attack: object) -> None:
    """Refuse a fixed radius that cannot move an integer: what it moves by is truncated to 0.

    Raises:
        ValueError: If a set has a radius between 0 and 1.
    """
    for part in parts(attack):
        eps = getattr(part, "eps", None)
        # A schedule may start small.
        if eps is None or callable(eps) or not isinstance(part, PerturbationSet):
            continue
        largest = float(torch.as_tensor(eps).max())
        check(
            not 0 < largest < 1,
            f"`eps` must be >= 1 for integers (grey levels of an image), got {largest:g}: nothing could move.",
            fix=f"give it in grey levels, {largest * 255:g} for {largest:g} of 255; or convert the "
            "image to floats before the attack.",
        )
