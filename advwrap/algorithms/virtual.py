"""What the losses of VALT see: the virtual adversary at both ends of a transition, or at one of them."""

from __future__ import annotations

from typing import Any, Protocol

from advwrap.algorithms.defence import between
from advwrap.errors import check
from advwrap.modules import Perturb
from advwrap.sets import Linear
from advwrap.sets.coefficient import Coefficient, check_coefficient
from advwrap.targets import PerturbPlaces, SoftBackup, at_places


class SoftlyVirtual(Protocol):
    """A defence by a soft-worst adversary, and where its losses see it."""

    @property
    def temperature(self) -> float | tuple[float, float]:
        """alpha_attk, or where it begins and where it ends."""
        ...

    @property
    def evaluation(self) -> bool:
        """Whether the critics' targets see the adversary."""
        ...

    @property
    def improvement(self) -> bool:
        """Whether the actor's loss sees the adversary."""
        ...

    @property
    def exact(self) -> bool:
        """Whether the critics learn eq. 26 instead of eq. 54."""
        ...


def check_soft(defence: SoftlyVirtual) -> None:
    """Refuse temperatures that are no temperatures, and the exact target without one of its two places."""
    for temperature in _ends(defence):
        check_coefficient("temperature", temperature, positive=True)
    check(
        not defence.exact or (defence.evaluation and defence.improvement),
        "`exact` must be False where `evaluation` or `improvement` is.",
        fix="ablations of eq. 54, which leave the price of the adversary's choice out.",
    )


def temperature_of(defence: SoftlyVirtual, *, steps: int) -> Linear:
    """alpha_attk over the training; a pair moves from its first to its second number within the first nine tenths."""
    first, last = _ends(defence)
    return between((0.0, 0.9), first, last, steps=steps)


def _ends(defence: SoftlyVirtual) -> tuple[float, float]:
    given = defence.temperature
    return given if isinstance(given, tuple) else (given, given)


def virtual(
    defence: SoftlyVirtual, attack: Any, *, gamma: float, temperature: Coefficient, seed: int
) -> Perturb | PerturbPlaces | SoftBackup:
    """The stage between replay buffer and losses.

    Args:
        defence: With its switches.
        attack: The soft-worst adversary.
        gamma: The discount of the loss.
        temperature: alpha_attk.
        seed: Of its random streams.
    """
    if defence.exact:
        return SoftBackup(attack, gamma=gamma, temperature=temperature, seed=seed)
    return at_places(attack, root=defence.improvement, next=defence.evaluation, seed=seed)
