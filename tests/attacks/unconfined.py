"""The contract of attacks that know no ball: they stay in the limits, not in a set."""

import torch
from hypothesis import strategies as st

from advwrap import UNBOUNDED, Bounds
from advwrap.testing import AttackContract


class UnconfinedContract(AttackContract):
    """Nothing brings the result into a set here, nor keeps what is not finite: the attack itself has to."""

    def sets(self):
        return st.just(Anywhere())

    test_no_radius_no_change = None


class Anywhere:
    """The set that every attack stays in."""

    def contains(self, delta):
        return delta.isfinite().all(-1)


class Limited:
    """Finite limits within those that the rules draw, for attacks that take them as their unit."""

    def __init__(self, attack):
        self.attack = attack

    def __call__(self, clean, *, bounds=UNBOUNDED, **options):
        low, high = torch.as_tensor(bounds.low), torch.as_tensor(bounds.high)
        return self.attack(clean, bounds=Bounds(low.clamp_min(-20.0), high.clamp_max(20.0)), **options)
