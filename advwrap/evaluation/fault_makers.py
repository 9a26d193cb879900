"""Makers of actuator faults: how severe each of them is at a radius."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from advwrap.attacks import After, Attack, Bias, Delay, Dropout, Gain, Gated, Quantised, Saturated, Stuck, sticky
from advwrap.errors import check
from advwrap.training import TrainedAgent


@dataclass(frozen=True)
class Fault:
    """A fault of the actuators, as severe as the radius says where it has degrees.

    Args:
        name: One of `FAULTS`.

    Example:
        >>> from advwrap.algorithms import TD3
        >>> agent = TD3("Pendulum-v1", steps=40, random_steps=40, hidden=(8,), batch_size=8).train()
        >>> Fault("gain")(agent, 0.25)
        Gain(features=None, factor=0.75)
    """

    name: str

    def __post_init__(self) -> None:
        check(self.name in FAULTS, f"`name` must be one of {', '.join(FAULTS)}, got {self.name!r}.")

    def __call__(self, agent: TrainedAgent, epsilon: float, /) -> Attack:
        """The fault.

        Raises:
            ValueError: If the radius is not in (0, 1).
        """
        check(0 < epsilon < 1, f"`epsilon` must be in (0, 1), got {epsilon}.")
        return FAULTS[self.name](epsilon)


FAULTS: Mapping[str, Callable[[float], Attack]] = {
    "delay": lambda epsilon: Delay(1),
    "sticky": sticky,
    "dropout": Dropout,
    "stuck": lambda epsilon: Gated(Stuck(features=[0]), After(100)),
    "gain": lambda epsilon: Gain(1 - epsilon),
    "bias": Bias,
    "quantised": lambda epsilon: Quantised(1 + max(1, math.ceil(1 / epsilon))),
    "saturated": lambda epsilon: Saturated(1 - epsilon),
}
"""By the radius: the share of steps, of effect or of the range that is lost, or the largest error in half-ranges (bias,
quantised). A delay is one step, and what is stuck is the first actuator from step 100 on, whatever the radius.
"""

ANY_ACTION = ("delay", "sticky", "dropout", "stuck")
"""Those that discrete actions can have too; what is lost is then action 0."""
