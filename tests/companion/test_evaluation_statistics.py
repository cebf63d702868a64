"""Intervals by Student's t, over sets or over seeds."""

import math

import pytest
from refusals import refused

from companion.common.statistics import interval


def test_one_seed_is_judged_by_its_sets():
    found = interval([[1.0, 2.0, 3.0]])
    assert found.mean == 2
    assert found.half_width == pytest.approx(4.302653 / math.sqrt(3), rel=1e-6)  # t of 2 degrees of freedom, std 1


def test_several_seeds_are_judged_by_their_means():
    found = interval([[0.0, 2.0], [2.0, 4.0]])
    assert found.mean == 2
    assert found.half_width == pytest.approx(12.706205 * math.sqrt(2) / math.sqrt(2), rel=1e-6)
    assert interval([[0.0, 2.0], [1.0, 1.0]]).half_width == 0


def test_one_number_has_no_spread():
    found = interval([[1.5]])
    assert found.mean == 1.5
    assert math.isnan(found.half_width)


def test_a_missing_score_stays_missing():
    assert math.isnan(interval([[1.0, math.nan]]).mean)
    assert "no scores" in refused(interval, [])
    assert "no scores" in refused(interval, [[1.0], []])
