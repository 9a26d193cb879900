"""A repr rebuilds its object; arguments out of range are refused by name."""

import pytest

import advwrap
from advwrap import (
    PGD,
    ActionShift,
    AtMost,
    EveryNth,
    Gated,
    Identity,
    L0Ball,
    Langevin,
    LinfBall,
    Mixture,
    Noise,
    OnlyAgents,
    RandomVertex,
    WithProbability,
)

BLOCKS = [
    Identity(),
    Noise(LinfBall(0.1)),
    Mixture((0.25, RandomVertex(L0Ball(2, 0.1))), (0.75, Identity())),
    Gated(Noise(LinfBall(0.1)), (EveryNth(4) & AtMost(5)) | WithProbability(0.1)),
    Gated(Noise(LinfBall(0.1)), OnlyAgents(0, 2)),
    Gated(Noise(LinfBall(0.1)), OnlyAgents(1)),
]


@pytest.mark.parametrize("block", BLOCKS, ids=repr)
def test_repr_rebuilds_the_object(block):
    rebuilt = eval(repr(block), vars(advwrap))  # noqa: S307
    assert type(rebuilt) is type(block)
    assert repr(rebuilt) == repr(block)


@pytest.mark.parametrize("n", [-1, 1.5])
def test_a_budget_counts_whole_steps(n):
    with pytest.raises(ValueError, match="`n` must be an integer >= 0"):
        AtMost(n)


def test_langevin_takes_no_schedule():
    with pytest.raises(ValueError, match="`step_size` must be a number for Langevin"):
        Langevin(ActionShift(lambda obs: obs), within=LinfBall(0.1), step_size=lambda i: 0.1)
    assert PGD(ActionShift(lambda obs: obs), within=LinfBall(0.1), step_size=lambda i: 0.1).steps == 10
