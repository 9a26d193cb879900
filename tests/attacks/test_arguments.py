"""A repr rebuilds its object; arguments out of range are refused by name."""

import numpy as np
import pytest

import advwrap
from advwrap import (
    PGD,
    ActionShift,
    AtMost,
    Corners,
    CrossEntropyMethod,
    EveryNth,
    Gated,
    Identity,
    L0Ball,
    Langevin,
    LinfBall,
    Mixture,
    Noise,
    OnlyAgents,
    RandomSearch,
    RandomVertex,
    Square,
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


SHIFT = ActionShift(lambda obs: obs)
COUNTS = {
    "steps of PGD": (lambda n: PGD(SHIFT, within=LinfBall(0.1), steps=n), "steps", 1),
    "restarts of PGD": (lambda n: PGD(SHIFT, within=LinfBall(0.1), restarts=n), "restarts", 1),
    "steps of Langevin": (lambda n: Langevin(SHIFT, within=LinfBall(0.1), steps=n), "steps", 1),
    "tries of RandomSearch": (RandomSearch, "tries", 1),
    "tries of Square": (Square, "tries", 1),
    "max_features of Corners": (Corners, "max_features", 1),
    "rounds of CrossEntropyMethod": (lambda n: CrossEntropyMethod(rounds=n), "rounds", 1),
    "samples of CrossEntropyMethod": (lambda n: CrossEntropyMethod(samples=n, elite=2), "samples", 2),
    "elite of CrossEntropyMethod": (lambda n: CrossEntropyMethod(elite=n), "elite", 2),
    "n of AtMost": (AtMost, "n", 0),
    "n of EveryNth": (EveryNth, "n", 1),
    "offset of EveryNth": (lambda n: EveryNth(2, offset=n), "offset", 0),
}


@pytest.mark.parametrize(("make", "name", "least"), COUNTS.values(), ids=COUNTS)
def test_what_is_counted_is_an_integer(make, name, least):
    """Said at construction: a `range` or a slice would fail in the middle of an episode, or never."""
    for wrong in (least - 1, least + 0.5, float(least), True, "3", None):
        with pytest.raises(ValueError, match=f"^`{name}` must be an integer >= {least}, got {wrong!r}\\."):
            make(wrong)
    assert getattr(make(np.int64(least)), name) == getattr(make(least), name) == least


def test_langevin_takes_no_schedule():
    with pytest.raises(ValueError, match="`step_size` must be a number for Langevin"):
        Langevin(ActionShift(lambda obs: obs), within=LinfBall(0.1), step_size=lambda i: 0.1)
    assert PGD(ActionShift(lambda obs: obs), within=LinfBall(0.1), step_size=lambda i: 0.1).steps == 10
