"""The figures of a comparison, worked by hand."""

import numpy as np
import pytest

from ecm_edge.forms import parity

REFERENCE = np.float32([[0, 1], [2, 0], [1, 1], [3, 4]])
OTHER = np.float32([[0, 2], [2, 0], [1, 0], [3, 4]])


def test_figures_by_hand():
    found = parity.compare(REFERENCE, OTHER)  # e = 0 -1 0 0 0 1 0 0
    assert (found.segments, found.label_flips, found.acc) == (4, 1, 0.75)
    assert found.rmse == pytest.approx(0.5)
    assert (found.mae, found.mean, found.std, found.max_abs) == (0.25, 0, 0.5, 1)
    assert found.l2r == pytest.approx((2 / 32) ** 0.5)
    assert found.nse == pytest.approx(1 - 2 / 14)  # sum of squares about the mean 1.5 is 32 - 8 * 2.25
    assert found.cos == pytest.approx(32 / (32 * 34) ** 0.5)


def test_equal_scores_are_equal():
    found = parity.compare(REFERENCE, REFERENCE)
    assert (found.max_abs, found.l2r, found.nse, found.label_flips) == (0, 0, 1, 0)
    assert found.cos == pytest.approx(1)


def test_a_tie_is_af_and_nan_is_not():
    assert parity.labels_of(np.float32([[1, 1], [1, 0], [0, 1], [np.nan, 1]])).tolist() == [1, 0, 1, 0]


def test_flips_are_rows():
    assert parity.flipped(REFERENCE, OTHER).tolist() == [2]


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_scores_that_are_no_numbers_leave_no_figures(bad):
    other = OTHER.copy()
    other[1, 1] = bad
    found = parity.compare(REFERENCE, other)
    assert (found.non_finite, found.max_abs, found.cos) == (1, None, None)


def test_nothing_compared_leaves_no_figures():
    nothing = np.zeros((0, 2), np.float32)
    assert parity.compare(nothing, nothing).max_abs is None


def test_zeros_have_no_direction():
    found = parity.compare(np.zeros((2, 2), np.float32), OTHER[:2])
    assert (found.cos, found.l2r, found.nse) == (None, None, None)
    assert found.max_abs == 2
