"""The exact sign-flip test and Holm's correction."""

from itertools import product

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from companion.common.paired import holm, sign_flip_p


@given(st.lists(st.integers(-5, 5), min_size=1, max_size=8))
def test_p_value_is_the_share_of_patterns_at_least_as_large(differences):
    sums = [np.dot(signs, np.abs(differences)) for signs in product((-1, 1), repeat=len(differences))]
    assert sign_flip_p(differences) == pytest.approx(np.mean(np.array(sums) >= sum(differences)))


def test_ten_seeds_that_agree_decide_and_two_cannot():
    assert sign_flip_p([1.0] * 10) == 2**-10
    assert sign_flip_p([1.0, 2.0]) == 0.25
    assert sign_flip_p([0.0, 0.0]) == 1.0


@given(st.lists(st.floats(-1, 1), min_size=1, max_size=6))
def test_a_direction_and_its_opposite_cover_everything(differences):
    assert sign_flip_p(differences) + sign_flip_p([-d for d in differences]) >= 1


def test_holm_by_hand():
    assert holm({"a": 0.01, "b": 0.04, "c": 0.03}) == pytest.approx({"a": 0.03, "b": 0.06, "c": 0.06})
    assert holm({"a": 0.6, "b": 0.7}) == {"a": 1.0, "b": 1.0}


@pytest.mark.parametrize("wrong", [[], [0.1] * 21, [float("nan")]])
def test_bad_differences_are_refused(wrong):
    with pytest.raises(ValueError, match="give 1 to 20 finite numbers"):
        sign_flip_p(wrong)
