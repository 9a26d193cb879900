"""Every set keeps the public contract."""

import torch

from advwrap import L0Ball, L1Ball, L2Ball, LinfBall, Masked
from advwrap.testing.contracts.sets import SetContract


class TestLinfBall(SetContract):
    def make_set(self, eps):
        return LinfBall(eps)


class TestL2Ball(SetContract):
    def make_set(self, eps):
        return L2Ball(eps)


class TestL1Ball(SetContract):
    def make_set(self, eps):
        return L1Ball(eps)


class TestL0Ball(SetContract):
    convex = False

    def make_set(self, eps):
        return L0Ball(2, eps)


class TestMaskedL2Ball(SetContract):
    def make_set(self, eps):
        return Masked(L2Ball(eps), torch.tensor([True, False, True]))


class TestImageL2Ball(SetContract):
    shape = (2, 2)

    def make_set(self, eps):
        return L2Ball(eps)
