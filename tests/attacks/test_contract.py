"""Every attack keeps the public contract."""

import torch

from advwrap import (
    FGSM,
    PGD,
    ActionShift,
    Corners,
    CrossEntropyMethod,
    EveryNth,
    Gated,
    GaussianNoise,
    Identity,
    Langevin,
    Learned,
    LowValue,
    Mixture,
    Noise,
    RandomSearch,
    RandomVertex,
    Search,
    Square,
    Worst,
)
from advwrap.targets import worst_action
from advwrap.testing import strategies
from advwrap.testing.contracts.attacks import AttackContract
from advwrap.testing.victims import ElementwisePolicy

WEIGHT = torch.tensor([1.0, -2.0, 0.5])


def value(observation):
    # Products and sums feature by feature: the same bits in every batch and dtype.
    y = observation * WEIGHT.to(observation)
    return y[:, 0] + y[:, 1] * y[:, 0] + y[:, 2]


LOW = LowValue(value=value)
POLICY = ElementwisePolicy(WEIGHT)


class TestIdentity(AttackContract):
    random = False

    def make_attack(self, within):
        return Identity()

    test_scalars_and_integers_are_refused = None


class TestNoise(AttackContract):
    def make_attack(self, within):
        return Noise(within)


class TestGaussianNoise(AttackContract):
    def make_attack(self, within):
        return GaussianNoise(0.5, within)


class TestRandomVertex(AttackContract):
    def make_attack(self, within):
        return RandomVertex(within)


class TestFGSM(AttackContract):
    random = False

    def make_attack(self, within):
        return FGSM(LOW, within=within)


class TestPGD(AttackContract):
    dtypes = strategies.FLOATS

    def make_attack(self, within):
        return PGD(ActionShift(POLICY), within=within, steps=3)

    def modules(self):
        return [POLICY]


class TestBestPGD(AttackContract):
    def make_attack(self, within):
        return PGD(LOW, within=within, steps=2, restarts=2, best=True)


class TestLangevin(AttackContract):
    dtypes = strategies.FLOATS

    def make_attack(self, within):
        return Langevin(ActionShift(POLICY), within=within, steps=2)

    def modules(self):
        return [POLICY]


class TestSquare(AttackContract):
    def make_attack(self, within):
        return Search(LOW, within=within, strategy=Square(tries=5))


class TestCorners(AttackContract):
    random = False

    def make_attack(self, within):
        return Search(LOW, within=within, strategy=Corners())


class TestCrossEntropyMethod(AttackContract):
    def make_attack(self, within):
        return Search(LOW, within=within, strategy=CrossEntropyMethod(rounds=2, samples=4, elite=2))


class TestRandomSearch(AttackContract):
    def make_attack(self, within):
        return Search(LOW, within=within, strategy=RandomSearch(tries=3))


class TestWorstAction(AttackContract):
    random = False  # wherever it starts, it ends in the worst corner

    def make_attack(self, within):
        return worst_action(lambda observation, action: value(action * observation), within=within, restarts=2)

    def context(self, rows):
        return {"observation": WEIGHT.flip(0).expand(rows, 3)}


class TestLearned(AttackContract):
    random = False
    dtypes = strategies.FLOATS

    def make_attack(self, within):
        return Learned(POLICY, within=within)

    def modules(self):
        return [POLICY]


class TestMixture(AttackContract):
    def make_attack(self, within):
        return Mixture((0.5, Noise(within)), (0.3, FGSM(LOW, within=within)), (0.2, Identity()))

    test_scalars_and_integers_are_refused = None


class TestWorst(AttackContract):
    def make_attack(self, within):
        return Worst([Noise(within), RandomVertex(within), FGSM(LOW, within=within)], LOW)


class TestGated(AttackContract):
    def make_attack(self, within):
        return Gated(Noise(within), EveryNth(2))

    def context(self, rows):
        return {"episode_step": torch.arange(rows)}
