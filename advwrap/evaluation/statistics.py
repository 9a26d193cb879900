"""How sure are we of a score: interquartile mean and stratified bootstrap intervals.

The measures of Agarwal et al. 2021, *Deep Reinforcement Learning at the Edge of the Statistical
Precipice* (https://arxiv.org/abs/2108.13264), and of its package rliable, whose numbers the tests
hold as a reference.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import stats

from advwrap.errors import check

Floats = NDArray[np.float64]


class Statistic(Protocol):
    """A number that summarises a sample, computed along one axis, such as `mean` or `iqm`."""

    def __call__(self, values: ArrayLike, /, *, axis: int = -1) -> Floats:
        """The number, for each position along the other axes."""
        ...


@dataclass(frozen=True)
class Interval:
    """A statistic and the interval that covers its true value with probability `confidence`.

    Example:
        >>> print(Interval(value=3.0, low=2.5, high=4.0, confidence=0.95))
        3.000 [2.500, 4.000]
    """

    value: float
    low: float
    high: float
    confidence: float

    def __str__(self) -> str:
        if not math.isfinite(self.high - self.low):  # a single episode: nothing is known about the spread
            return rounded(self.value)
        return f"{rounded(self.value)} [{rounded(self.low)}, {rounded(self.high)}]"


def rounded(value: float) -> str:
    """Four significant digits, or the whole integer part; no exponent.

    Example:
        >>> rounded(12345.6), rounded(-359.123), rounded(0.12345), rounded(0.0)
        ('12346', '-359.1', '0.1235', '0')
    """
    if value == 0.0 or not math.isfinite(value):
        return f"{value:.0f}"
    decimals = 3 - math.floor(math.log10(abs(value)))
    return f"{value:.{min(max(decimals, 0), 12)}f}"


def mean(values: ArrayLike, /, *, axis: int = -1) -> Floats:
    """The arithmetic mean.

    Example:
        >>> float(mean([1.0, 2.0, 6.0]))
        3.0
    """
    return np.asarray(np.mean(np.asarray(values, np.float64), axis=axis))


def std(values: ArrayLike, /, *, axis: int = -1) -> Floats:
    """The standard deviation of the sample, with n below the sum, as in the robust-RL tables.

    Example:
        >>> float(std([1.0, 3.0]))
        1.0
    """
    return np.asarray(np.std(np.asarray(values, np.float64), axis=axis))


def iqm(values: ArrayLike, /, *, axis: int = -1) -> Floats:
    """The interquartile mean: the mean of what remains without the lowest and the highest quarter.

    With n values sorted, x_(1) <= ... <= x_(n), and k = floor(n / 4): IQM = mean(x_(k+1), ...,
    x_(n-k)). Less moved by a single escaped or crashed episode than the mean, and of smaller
    variance than the median.

    Source: Agarwal et al. 2021, section 4.3.

    Example:
        >>> float(iqm([1, 2, 3, 4, 5, 6, 7, 1000]))
        4.5
    """
    return np.asarray(stats.trim_mean(np.asarray(values, np.float64), 0.25, axis=axis))


def bootstrap_interval(
    *strata: ArrayLike,
    statistic: Statistic = mean,
    confidence: float = 0.95,
    resamples: int = 2000,
    seed: int = 0,
) -> Interval:
    """The percentile bootstrap interval of a statistic, resampled within each stratum.

    Each stratum (the episodes of one training seed, the runs of one task) is drawn with replacement
    on its own, so that every resample holds as many values of each as the data; the statistic is
    taken over all of them together.

    Source: Agarwal et al. 2021, section 4.1 (stratified bootstrap, percentile method).

    Args:
        strata: One or more samples, each of shape [n] with its own n >= 2.
        statistic: What to estimate: `mean`, `iqm`, `std`, or any function with an `axis`.
        confidence: Probability that the interval covers the true value, in (0, 1).
        resamples: Number of bootstrap samples.
        seed: Seed of the resampling: the same data and seed give the same interval.

    Raises:
        ValueError: If a stratum has fewer than two values or holds one that is not finite.

    Example:
        >>> print(bootstrap_interval([1.0, 2.0, 3.0, 4.0]))
        2.500 [1.500, 3.500]
        >>> tasks = [1.0, 2.0, 3.0, 4.0], [101.0, 102.0, 103.0, 104.0]
        >>> print(bootstrap_interval(*tasks, statistic=iqm))
        52.50 [51.50, 53.50]
    """
    check(len(strata) > 0, "`strata` must hold at least one sample, got none.")
    check(0 < confidence < 1, f"`confidence` must be in (0, 1), got {confidence}.")
    check(resamples >= 1, f"`resamples` must be >= 1, got {resamples}.")
    samples = [_checked(sample) for sample in strata]

    def pooled(*resampled: Floats, axis: int = -1) -> Floats:
        return statistic(np.concatenate(resampled, axis=axis), axis=axis)

    estimate = stats.bootstrap(
        samples,
        pooled,
        confidence_level=confidence,
        n_resamples=resamples,
        method="percentile",
        vectorized=True,
        rng=np.random.default_rng(seed),
    )
    low, high = estimate.confidence_interval
    return Interval(float(pooled(*samples)), float(low), float(high), confidence)


def interval(
    values: Sequence[float], *, statistic: Statistic = mean, confidence: float = 0.95, seed: int = 0
) -> Interval:
    """The `bootstrap_interval` of one sample; (-inf, inf) of a single value, which says nothing of the spread.

    Example:
        >>> print(interval([3.0]), interval([2.0, 4.0]))
        3.000 3.000 [2.000, 4.000]
    """
    if len(values) < 2:
        return Interval(float(statistic(values)), -math.inf, math.inf, confidence)
    return bootstrap_interval(values, statistic=statistic, confidence=confidence, seed=seed)


def paired_difference(
    treated: Sequence[float],
    control: Sequence[float],
    *,
    statistic: Statistic = mean,
    confidence: float = 0.95,
    resamples: int = 2000,
    seed: int = 0,
) -> Interval:
    """The interval of the change that an attack makes, from episodes that began in the same state.

    The differences d_i = treated_i - control_i of the pairs are bootstrapped, so the luck of the
    start states, which both share, cancels. Negative: the treatment lowers the return.

    Example:
        >>> print(paired_difference([5.0, 15.0, 25.0], [10.0, 20.0, 30.0]))
        -5.000 [-5.000, -5.000]
    """
    check(
        len(treated) == len(control),
        f"`treated` and `control` must have one value per pair, got {len(treated)} and {len(control)}.",
        fix="evaluate both with the same `seed` and `episodes`.",
    )
    differences = np.asarray(treated, np.float64) - np.asarray(control, np.float64)
    return bootstrap_interval(differences, statistic=statistic, confidence=confidence, resamples=resamples, seed=seed)


def _checked(sample: ArrayLike) -> Floats:
    values = np.asarray(sample, np.float64)
    check(values.ndim == 1, f"A sample must have one dimension, got shape {values.shape}.")
    check(
        len(values) >= 2,
        f"A sample must have at least 2 values, got {len(values)}.",
        fix="an interval needs repetitions: evaluate more episodes.",
    )
    check(bool(np.isfinite(values).all()), f"A sample must be finite, got {values.tolist()}.")
    return values
