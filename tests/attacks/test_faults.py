"""Faults: their formulas, their limits, and the contract of every attack."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from advwrap import (
    After,
    Bias,
    Bounds,
    Confined,
    Delay,
    Dropout,
    Gain,
    Gated,
    LinfBall,
    Quantised,
    Saturated,
    Streams,
    Stuck,
    WithProbability,
    sticky,
)
from advwrap.attacks import Attack
from advwrap.sets import PerturbationSet
from advwrap.testing import AttackContract
from tests.attacks.unconfined import Limited, UnconfinedContract

BOX = Bounds(torch.tensor([-1.0, -2.0, 0.0]), torch.tensor([1.0, 4.0, 0.5]))
OF_NUMBERS = [Bias(0.3), Quantised(5), Saturated(0.4), Gain(0.5)]
OF_ANYTHING = [Dropout(0.5), Delay(2, initial=0.2), sticky(0.5), Stuck(features=[0])]
FAULTS = [*OF_NUMBERS, *OF_ANYTHING]


def past(rows: int, shape: tuple[int, ...] = (3,), *, steps: int | None = None) -> dict[str, Tensor]:
    """What each row carried; the first step of the first row, the second of the second, ..."""
    numbers = torch.arange(rows).reshape(rows, 1, *[1] * len(shape)) / 10
    numbers = numbers + torch.arange(3).reshape(1, 3, *[1] * len(shape)) / 100 + torch.zeros(rows, 3, *shape)
    known = torch.arange(rows) if steps is None else torch.full((rows,), steps)
    return {"past_intended": numbers, "past_executed": -numbers, "past_steps": known, "episode_step": known}


class Faulty:
    """What the contracts of faults share."""

    @pytest.fixture(autouse=True)
    def _take(self, fault: Attack) -> None:
        self.fault = fault
        self.random = isinstance(fault, Gated)  # lost zeros are zeros

    def context(self, rows: int) -> dict[str, Tensor]:
        return past(rows)


@pytest.mark.parametrize("fault", OF_NUMBERS, ids=repr)
class TestFaultOfNumbers(Faulty, UnconfinedContract):
    """A fault is an attack like any other, but that it knows no set."""

    def make_attack(self, within: PerturbationSet) -> Attack:
        return Limited(self.fault)


@pytest.mark.parametrize("fault", OF_ANYTHING, ids=repr)
class TestFaultOfAnything(Faulty, UnconfinedContract):
    """Those that indices can have too."""

    def make_attack(self, within: PerturbationSet) -> Attack:
        return self.fault

    test_scalars_and_integers_are_refused = None


@pytest.mark.parametrize("fault", [Bias(0.3), Delay(2, initial=0.2), sticky(0.5)], ids=repr)
class TestConfinedFault(Faulty, AttackContract):
    """Confined to a set, it knows one."""

    def make_attack(self, within: PerturbationSet) -> Attack:
        return Confined(Limited(self.fault), within)


class TestFormulas:
    clean = torch.tensor([[0.5, 3.0, 0.1], [-0.2, -1.0, 0.4]])

    def test_gain(self) -> None:
        assert torch.equal(Gain(0.5)(self.clean), self.clean * 0.5)
        assert torch.equal(Gain(3.0)(self.clean, bounds=BOX), (3 * self.clean).clamp(BOX.low, BOX.high))

    def test_bias_is_in_half_ranges(self) -> None:
        expected = torch.tensor([[0.7, 3.6, 0.15], [0.0, -0.4, 0.45]])
        torch.testing.assert_close(Bias(0.2)(self.clean, bounds=BOX), expected)

    def test_quantised_to_the_nearest_level(self) -> None:
        found = Quantised(4)(self.clean, bounds=BOX)
        levels = torch.tensor([[-1.0, -2.0, 0.0], [-1 / 3, 0.0, 1 / 6], [1 / 3, 2.0, 1 / 3], [1.0, 4.0, 0.5]])
        nearest = (self.clean.unsqueeze(1) - levels).abs().argmin(1)
        torch.testing.assert_close(found, levels.gather(0, nearest))

    def test_saturated_around_the_middle(self) -> None:
        found = Saturated(0.5)(self.clean, bounds=BOX)
        torch.testing.assert_close(found, torch.tensor([[0.5, 2.5, 0.125], [-0.2, -0.5, 0.375]]))

    def test_dropout_counts(self) -> None:
        lost = Dropout(0.3)(torch.ones(4000, 2), generator=torch.Generator().manual_seed(0)) == 0
        assert torch.all((lost.float().mean(0) - 0.3).abs() < 0.03)
        both = (lost[:, 0] & lost[:, 1]).float().mean()
        assert abs(both - 0.09) < 0.02  # features are independent
        assert not Dropout(1.0)(self.clean).any()
        assert (Dropout(1.0, value=0.25)(self.clean) == 0.25).all()
        index = Dropout(1.0, value=3)(torch.tensor([4, 5]))  # of discrete actions that begin with 3
        assert index.tolist() == [3, 3]
        assert index.dtype == torch.int64

    def test_delay_and_its_first_steps(self) -> None:
        context, clean = past(4), torch.ones(4, 3)
        found = Delay(2, initial=0.25)(clean, context=context)
        assert torch.equal(found[:2], torch.full((2, 3), 0.25))  # no or one step was seen
        assert torch.equal(found[2:], context["past_intended"][2:, 1])

    def test_stuck_executes_again(self) -> None:
        context, clean = past(3), torch.ones(3, 3)
        found = Stuck()(clean, context=context)
        assert torch.equal(found[0], clean[0])
        assert torch.equal(found[1:], context["past_executed"][1:, 0])

    def test_sticky_with_its_probability(self) -> None:
        rows = 4000
        found = sticky(0.25)(
            torch.ones(rows, 3), context=past(rows, steps=1), generator=torch.Generator().manual_seed(0)
        )
        again = (found != 1).any(1).float().mean()
        assert abs(again - 0.25) < 0.03

    def test_only_the_named_features(self) -> None:
        found = Gain(0.0, features=[1, -1])(self.clean)
        assert torch.equal(found, self.clean * torch.tensor([1.0, 0.0, 0.0]))
        indices = Stuck(features=[0])(torch.tensor([3, 4]), context=past(2, (), steps=1) | _indices())
        assert indices.tolist() == [7, 8]

    def test_discrete_actions_can_be_late(self) -> None:
        assert Delay(1)(torch.tensor([3, 4]), context=past(2, (), steps=1) | _indices()).tolist() == [5, 6]


def _indices() -> dict[str, Tensor]:
    return {"past_intended": torch.tensor([[5], [6]]), "past_executed": torch.tensor([[7], [8]])}


@given(st.floats(0.05, 1.0), st.integers(2, 9), st.floats(-3, 3))
def test_results_stay_in_the_limits(share: float, levels: int, offset: float) -> None:
    clean = torch.rand(16, 3) * (BOX.high - BOX.low) + BOX.low  # type: ignore[operator]
    for fault in (Saturated(share), Quantised(levels), Bias(offset), Gain(offset)):
        x = fault(clean, bounds=BOX)
        assert torch.all((x >= BOX.low) & (x <= BOX.high)), fault


def test_a_machine_breaks() -> None:
    fault = Gated(Gain(0.0), After(3))
    steps = {"episode_step": torch.arange(6)}
    assert fault(torch.ones(6, 1), context=steps).flatten().tolist() == [1, 1, 1, 0, 0, 0]


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda: Delay(0), "`steps` must be an integer >= 1"),
        (lambda: Delay(1, initial=float("nan")), "`initial` must be a finite number"),
        (lambda: Dropout(1.5), "`p` must be in"),
        (lambda: Dropout(0.5, value=float("nan")), "`value` must be a finite number"),
        (lambda: Gain(float("nan")), "`factor` must be a finite number"),
        (lambda: Gain("half"), "`factor` must be a finite number, got 'half'"),
        (lambda: Bias(float("inf")), "`offset` must be a finite number"),
        (lambda: Quantised(1), "`levels` must be an integer >= 2"),
        (lambda: Saturated(0.0), "`share` must be in"),
        (lambda: Stuck(features=[]), "at least one feature"),
        (lambda: After(-1), "`n` must be an integer >= 0"),
        (lambda: Gain(0.5, features=[3])(torch.zeros(1, 3)), "indices of 3 features"),
        (lambda: Bias(0.1)(torch.zeros(1, 3)), "finite limits"),
        (lambda: Stuck()(torch.zeros(1, 3)), "remember"),
        (lambda: Delay(1)(torch.zeros(1, 3), context={}), "remember"),
    ],
)
def test_bad_input(make: Any, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        make()


@pytest.mark.parametrize("fault", OF_NUMBERS, ids=repr)
def test_scaled_integers_are_refused(fault: Attack) -> None:
    with pytest.raises(TypeError, match=r"`clean` must be floating point.*Fix: Delay"):
        fault(torch.tensor([1, 2]), bounds=Bounds(0.0, 3.0))


@pytest.mark.parametrize("fault", FAULTS, ids=repr)
def test_repr_rebuilds(fault: Attack) -> None:
    assert repr(eval(repr(fault))) == repr(fault)  # noqa: S307 - that is what it is for


def test_confined_is_the_projection() -> None:
    found = Confined(Gain(0.0), within=LinfBall(0.2))(torch.tensor([[1.0, 0.1]]), generator=Streams.seeded([0]))
    torch.testing.assert_close(found, torch.tensor([[0.8, 0.0]]))


def test_sticky_is_a_gated_fault() -> None:
    assert sticky(0.25, features=[1]).budget == WithProbability(0.25)
