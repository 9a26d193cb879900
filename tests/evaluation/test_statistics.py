"""Hand-computed and reference numbers, and what must hold for every sample."""

from __future__ import annotations

import re

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from advwrap.evaluation import Interval, bootstrap_interval, iqm, mean, paired_difference, std
from advwrap.evaluation.statistics import rounded

RETURNS = st.lists(st.floats(-1e6, 1e6, width=32), min_size=2, max_size=40)

# Five runs (rows) of three tasks (columns).
SCORES = np.array(
    [
        [0.10, 0.52, 1.30],
        [0.25, 0.61, 1.10],
        [0.31, 0.47, 2.05],
        [0.05, 0.90, 1.55],
        [0.40, 0.33, 0.95],
    ]
)


class TestNumbers:
    @pytest.mark.parametrize(
        ("values", "expected"),
        [
            ([3.0], 3.0),
            ([1.0, 3.0], 2.0),  # floor(2 / 4) = 0 values are cut on either side
            ([0.0, 1.0, 3.0, 100.0], 2.0),
            ([8.0, 1.0, 7.0, 2.0, 6.0, 3.0, 5.0, 4.0], 4.5),
            ([1.0, 2.0, 3.0, 4.0, 1000.0], 3.0),
        ],
    )
    def test_interquartile_mean_by_hand(self, values: list[float], expected: float) -> None:
        assert iqm(values) == pytest.approx(expected, abs=1e-12)

    def test_mean_and_standard_deviation_by_hand(self) -> None:
        assert mean([1.0, 3.0]) == 2.0
        assert std([1.0, 3.0]) == 1.0

    @pytest.mark.parametrize(
        ("statistic", "value", "low", "high"),
        [(iqm, 0.62111111, 0.52666667, 0.75333333), (mean, 0.726, 0.602, 0.864)],
    )
    def test_stratified_interval_is_that_of_rliable(
        self, statistic: object, value: float, low: float, high: float
    ) -> None:
        """rliable 1.2.0, 50000 resamples: it draws other random numbers, hence the tolerance."""
        ours = bootstrap_interval(*SCORES.T, statistic=statistic, resamples=50000)
        assert ours.value == pytest.approx(value, abs=1e-8)
        assert (ours.low, ours.high) == pytest.approx((low, high), abs=0.01)

    @pytest.mark.parametrize(
        ("statistic", "low", "high"),
        [(iqm, 0.36444444, 0.98666667), (mean, 0.46266667, 1.02133333)],
    )
    def test_plain_interval_is_that_of_rliable(self, statistic: object, low: float, high: float) -> None:
        ours = bootstrap_interval(SCORES.ravel(), statistic=statistic, resamples=50000)
        assert (ours.low, ours.high) == pytest.approx((low, high), abs=0.01)

    def test_strata_of_different_level_do_not_widen_the_interval(self) -> None:
        stratified = bootstrap_interval([0.0, 1.0] * 5, [100.0, 101.0] * 5)
        pooled = bootstrap_interval([0.0, 1.0] * 5 + [100.0, 101.0] * 5)
        assert stratified.value == pooled.value
        assert stratified.high - stratified.low < 0.1 * (pooled.high - pooled.low)

    @pytest.mark.parametrize(
        ("value", "text"),
        [
            (9359.4, "9359"),
            (1e7, "10000000"),
            (-0.5, "-0.5000"),
            (1.25e-3, "0.001250"),
            (-0.0, "0"),
            (np.inf, "inf"),
        ],
    )
    def test_rounding(self, value: float, text: str) -> None:
        assert rounded(value).removeprefix("-" if value == 0 else "") == text

    def test_an_unbounded_interval_prints_its_value_alone(self) -> None:
        assert str(Interval(3.0, -np.inf, np.inf, 0.95)) == "3.000"


class TestProperties:
    @given(RETURNS)
    def test_interquartile_mean_lies_between_the_extremes(self, values: list[float]) -> None:
        slack = 1e-9 * max(1.0, *map(abs, values))
        assert min(values) - slack <= iqm(values) <= max(values) + slack

    @given(RETURNS.flatmap(lambda values: st.tuples(st.just(values), st.permutations(values))))
    def test_interquartile_mean_does_not_depend_on_the_order(self, both: tuple[list[float], list[float]]) -> None:
        assert iqm(both[0]) == pytest.approx(float(iqm(both[1])), rel=1e-9, abs=1e-9)

    @given(RETURNS, st.floats(-100, 100), st.floats(0.01, 100))
    def test_interquartile_mean_moves_with_the_unit(self, values: list[float], shift: float, scale: float) -> None:
        moved = [scale * value + shift for value in values]
        assert iqm(moved) == pytest.approx(scale * float(iqm(values)) + shift, rel=1e-6, abs=1e-3)

    @settings(deadline=None)
    @given(RETURNS, st.sampled_from([mean, iqm]))
    def test_the_interval_holds_the_estimate_and_lies_within_the_data(
        self, values: list[float], statistic: object
    ) -> None:
        interval = bootstrap_interval(values, statistic=statistic)
        slack = 1e-9 * max(1.0, *map(abs, values))
        assert interval.low - slack <= interval.value <= interval.high + slack
        assert min(values) - slack <= interval.low
        assert interval.high <= max(values) + slack

    @settings(deadline=None)
    @given(RETURNS, st.integers(0, 2**32))
    def test_one_seed_gives_one_interval(self, values: list[float], seed: int) -> None:
        state = np.random.get_state()[1].copy()  # noqa: NPY002 - the global generator must stay untouched
        assert bootstrap_interval(values, seed=seed) == bootstrap_interval(values, seed=seed)
        assert (np.random.get_state()[1] == state).all()  # noqa: NPY002

    @settings(deadline=None)
    @given(RETURNS)
    def test_more_confidence_needs_a_wider_interval(self, values: list[float]) -> None:
        narrow, wide = (bootstrap_interval(values, confidence=c) for c in (0.5, 0.99))
        assert wide.low <= narrow.low
        assert narrow.high <= wide.high

    @settings(deadline=None)
    @given(RETURNS, st.floats(-1e3, 1e3, width=32))
    def test_pairing_cancels_what_both_share(self, values: list[float], change: float) -> None:
        treated = [value + change for value in values]
        interval = paired_difference(treated, values)
        assert (interval.low, interval.value, interval.high) == pytest.approx((change,) * 3, abs=1e-6)


@pytest.mark.slow
@pytest.mark.parametrize("statistic", [mean, iqm])
def test_the_interval_covers_the_true_value_of_a_normal_sample(statistic: object) -> None:
    """Of 400 intervals about 20 should miss; the percentile bootstrap is slightly too narrow."""
    samples = np.random.default_rng(0).normal(5.0, 2.0, (400, 40))
    intervals = [bootstrap_interval(sample, statistic=statistic, seed=i) for i, sample in enumerate(samples)]
    covered = np.mean([interval.low <= 5.0 <= interval.high for interval in intervals])
    assert 0.90 <= covered <= 0.98


class TestErrors:
    @pytest.mark.parametrize(
        ("strata", "options", "message"),
        [
            ([], {}, "`strata` must hold at least one sample, got none."),
            ([[1.0]], {}, "at least 2 values, got 1. Fix: an interval needs repetitions"),
            ([[1.0, 2.0], [3.0]], {}, "at least 2 values, got 1."),
            ([[1.0, np.nan]], {}, "A sample must be finite"),
            ([[[1.0, 2.0]]], {}, "one dimension, got shape (1, 2)"),
            ([[1.0, 2.0]], {"confidence": 1.0}, "`confidence` must be in (0, 1), got 1.0."),
            ([[1.0, 2.0]], {"resamples": 0}, "`resamples` must be >= 1, got 0."),
        ],
    )
    def test_bad_samples(self, strata: list, options: dict, message: str) -> None:
        with pytest.raises(ValueError, match=re.escape(message)):
            bootstrap_interval(*strata, **options)

    def test_pairs_of_unequal_number(self) -> None:
        with pytest.raises(ValueError, match="one value per pair, got 2 and 3"):
            paired_difference([1.0, 2.0], [1.0, 2.0, 3.0])
