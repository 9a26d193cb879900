"""Attacks in worker processes are copies: tell which of them grow stale there."""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Iterator
from dataclasses import fields, is_dataclass
from types import BuiltinFunctionType

import numpy as np
import torch

_PLAIN = (type(None), int, float, str, tuple, list, np.ndarray, torch.Tensor, BuiltinFunctionType)


class FrozenCopyWarning(UserWarning):
    """An attack in a worker process holds a copy of a victim that may be learning elsewhere."""


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


def memory(attack: object) -> int:
    """How many steps the attack looks back: the largest `memory` of its parts; 0 for most.

    Example:
        >>> from advwrap import Identity
        >>> memory(Identity())
        0
    """
    return max(int(getattr(part, "memory", 0)) for part in parts(attack))


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


def warn_of_copies(attacks: Iterable[object], *, fix: str, stacklevel: int = 2) -> None:
    """Warn if one of these attacks, which are copies in a worker process, can grow stale.

    Args:
        attacks: What is in this process.
        fix: What to do instead.
        stacklevel: As for `warnings.warn`.
    """
    stale = next(filter(changes, attacks), None)
    if stale is not None:
        warnings.warn(
            f"this worker process attacks with its own copy of {type(stale).__name__}, whose "
            f"victim (or schedule) does not change with the original. Fix: {fix}",
            FrozenCopyWarning,
            stacklevel=stacklevel + 1,
        )
