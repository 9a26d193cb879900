"""What an attack is made of, to tell at construction what would silently do nothing later."""

from __future__ import annotations

import torch

from advwrap.attacks.copies import changes, parts
from advwrap.errors import check
from advwrap.sets import PerturbationSet

__all__ = ["changes", "check_reaches_indices", "check_reaches_integers", "parts"]


def check_reaches_indices(attack: object, space: object, what: str) -> None:
    """Refuse a ball around an index: nothing in it is another index, whatever the radius.

    Raises:
        TypeError: If there is one.
    """
    for part in parts(attack):
        if isinstance(part, PerturbationSet):
            raise TypeError(
                f"the {what} is {space}, whose indices no ball can move, got {part}. "
                "Fix: a list of other actions, Noise(ActionSet(n)) or Search(objective, within=ActionSet(n))."
            )


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
