"""Student, Welch and Satterthwaite against scipy.stats and by hand."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from meme57.intervals import Estimate, difference, from_summary, mean_of, weighted_sum


def test_the_mean_has_students_interval() -> None:
    values = np.random.default_rng(0).normal(3.0, 2.0, 7)
    expected = stats.t.interval(0.9, 6, values.mean(), stats.sem(values))
    assert mean_of(values).interval(0.9) == pytest.approx(expected)
    assert from_summary(values.mean(), values.std(), 7).interval(0.9) == pytest.approx(expected)


def test_the_difference_has_welchs_interval() -> None:
    rng = np.random.default_rng(1)
    x, y = rng.normal(0.0, 1.0, 5), rng.normal(1.0, 9.0, 8)
    expected = stats.ttest_ind(x, y, equal_var=False).confidence_interval(0.95)
    assert difference(mean_of(x), mean_of(y)).interval(0.95) == pytest.approx((expected.low, expected.high))


def test_one_value_has_no_interval_and_makes_none_for_a_sum() -> None:
    alone, other = mean_of([5.0]), mean_of([1.0, 2.0])
    assert alone.interval(0.95) is None
    assert difference(alone, other).interval(0.95) is None
    assert not alone.is_constant


def test_what_does_not_vary_has_an_interval_without_width() -> None:
    constant = weighted_sum([mean_of([0.1] * 3), mean_of([0.2] * 2)], [1.0, 2.0])
    assert constant.interval(0.95) == pytest.approx((0.5, 0.5))
    assert constant.is_constant
    assert float(difference(mean_of([1.0, 1.0]), mean_of([0.0, 0.0, 0.0])).degrees) == 3  # 1 and 2


def test_arrays_are_many_estimates_at_once() -> None:
    values = np.random.default_rng(2).normal(size=(4, 3, 6))
    both = difference(mean_of(values[0]), mean_of(values[1]))
    assert both.value.shape == (3,)
    for row in range(3):
        one = difference(mean_of(values[0, row]), mean_of(values[1, row]))
        assert both.reach(0.95)[row] == pytest.approx(float(one.reach(0.95)))


def test_satterthwaites_degrees_by_hand() -> None:
    # Variances 4 and 1, weights 1/2: 1 and 1/4 of the sum 5/4. (5/4)^2 / (1^2 / 2 + (1/4)^2 / 4) = 1.5625 / 0.515625
    parts = [Estimate(*map(np.asarray, (1.0, variance, degrees))) for variance, degrees in ((4.0, 2.0), (1.0, 4.0))]
    found = weighted_sum(parts, [0.5, 0.5])
    assert (float(found.value), float(found.variance)) == (1.0, 1.25)
    assert float(found.degrees) == pytest.approx(1.5625 / 0.515625)
