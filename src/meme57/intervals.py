"""Intervals of few independent values: Student's t, Welch's difference and Satterthwaite's sum as one formula.

A mean whose variance is estimated from n values follows t with n - 1 degrees of freedom. A weighted sum of such means
follows t approximately: the variances add with squared weights; the degrees of freedom are Satterthwaite's.
Sources: Student 1908; Satterthwaite 1946; Welch 1947.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

Array = NDArray[np.float64]
ROUNDING = 1e-9
"""Relative tolerance: values that differ by less are equal."""


class Interval(NamedTuple):
    """A confidence interval, in the units of the statistic it belongs to."""

    low: float
    high: float


@dataclass(frozen=True)
class Estimate:
    """A mean, or a weighted sum of means, and its variance. Arrays of one shape [...]."""

    value: Array
    variance: Array
    """Variance of `value`, not of the values that it averages; NaN for the mean of one value."""
    degrees: Array
    """Degrees of freedom of `variance`; n - 1 for the mean of n values."""

    def reach(self, confidence: ArrayLike) -> Array:
        """Compute half the width of the interval [...]; NaN where there are no degrees of freedom."""
        from scipy.special import stdtrit  # here, so that a machine without SciPy can train

        quantile: Array = stdtrit(self.degrees, (1 + np.asarray(confidence)) / 2)
        return quantile * np.sqrt(self.variance)

    def interval(self, confidence: float) -> Interval | None:
        """Return value -+ reach of a single estimate; None if there are no degrees of freedom, as for one value."""
        value, reach = float(self.value), float(self.reach(confidence))
        return Interval(value - reach, value + reach) if np.isfinite(reach) else None

    @property
    def is_constant(self) -> NDArray[np.bool_]:
        """Whether the values do not vary, apart from rounding [...]; False for the mean of one value."""
        constant: NDArray[np.bool_] = np.sqrt(self.variance) <= ROUNDING * np.maximum(1.0, np.abs(self.value))
        return constant


def mean_of(values: ArrayLike) -> Estimate:
    """Estimate the mean over the last axis: [..., n] -> [...]. n = 1 has no variance and so no interval."""
    values = np.asarray(values, np.float64)
    n = values.shape[-1]
    return from_summary(values.mean(axis=-1), values.std(axis=-1), np.full(values.shape[:-1], n))


def from_summary(mean: ArrayLike, std: ArrayLike, n: ArrayLike) -> Estimate:
    """Estimate the mean of n values with the population standard deviation `std` (ddof 0, as in `scores.json`)."""
    mean, std, degrees = (np.asarray(array, np.float64) for array in (mean, std, np.asarray(n) - 1))
    with np.errstate(invalid="ignore", divide="ignore"):
        return Estimate(mean, np.where(degrees > 0, std**2 / degrees, np.nan), degrees)


def weighted_sum(estimates: Sequence[Estimate], weights: ArrayLike) -> Estimate:
    """Compute sum w x of independent estimates. Where nothing varies, the degrees of freedom add up."""
    value, variance, scatter, degrees = (np.zeros(np.shape(estimates[0].value)) for _ in range(4))
    with np.errstate(invalid="ignore", divide="ignore"):
        for weight, estimate in zip(np.asarray(weights), estimates, strict=True):
            part = weight**2 * estimate.variance
            value = value + weight * estimate.value
            variance = variance + part
            scatter = scatter + part**2 / estimate.degrees
            degrees = degrees + estimate.degrees
        return Estimate(value, variance, np.where(variance == 0, degrees, variance**2 / scatter))


def difference(ours: Estimate, theirs: Estimate) -> Estimate:
    """Compute ours - theirs, of two independent samples. Source: Welch 1947."""
    return weighted_sum((ours, theirs), (1.0, -1.0))
