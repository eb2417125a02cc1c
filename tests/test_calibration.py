"""Calibration against values worked by hand."""

import numpy as np
import pytest

from ecm_edge import metrics
from ecm_edge.base.errors import ModelError
from ecm_edge.metrics import calibration


def log_odds(*probabilities):
    p = np.array(probabilities, np.float64)
    return np.log(p / (1 - p))


# Two subjects. Squared differences: 0.04, 0.04, 0.36, 0.36, so a Brier score of 0.2; base rate 1/2, whose score is 1/4.
LABELS, ODDS, SUBJECTS = [1, 0, 1, 0], log_odds(0.8, 0.2, 0.4, 0.6), ["A", "A", "B", "B"]


def test_the_brier_score_and_its_skill():
    found = metrics.calibrate(LABELS, ODDS, SUBJECTS)
    assert found.base_rate == 0.5
    assert found.brier.value == pytest.approx(0.2)
    assert found.skill.value == pytest.approx(1 - 0.2 / 0.25)
    assert (found.brier.low, found.brier.high) == pytest.approx((0.04, 0.36))  # resamples of A alone, and of B alone


def test_the_bins_and_the_expected_error():
    labels, odds = [1, 1, 1, 0, 0, 0], log_odds(0.95, 0.95, 0.91, 0.93, 0.05, 0.55)
    found = metrics.calibrate(labels, odds, ["A", "A", "B", "B", "B", "A"])
    bins = {b.low: b for b in found.bins}
    assert [(b.low, b.high) for b in found.bins] == [(k / 10, (k + 1) / 10) for k in range(10)]
    assert (bins[0.9].segments, bins[0.9].subjects, bins[0.9].observed) == (4, 2, 0.75)
    assert bins[0.9].predicted == pytest.approx(0.935, abs=1e-6)
    assert (bins[0.5].segments, bins[0.5].subjects, bins[0.5].observed) == (1, 1, 0.0)
    assert (bins[0.3].segments, bins[0.3].subjects, bins[0.3].predicted, bins[0.3].observed) == (0, 0, None, None)
    assert found.expected_error == pytest.approx((4 * (0.935 - 0.75) + 0.05 + 0.55) / 6, abs=1e-6)


def test_a_bin_begins_at_its_lower_end_and_the_last_holds_one():
    found = metrics.calibrate([1, 0], [0.0, 1000.0], ["A", "B"])
    assert [b.low for b in found.bins if b.segments] == [0.5, 0.9]
    assert found.bins[-1].predicted == 1.0
    assert found.brier.value == pytest.approx((0.25 + 1) / 2)


def test_one_class_has_no_skill_and_one_subject_no_interval():
    found = metrics.calibrate([1, 1], log_odds(0.9, 0.7), ["A", "A"])
    assert found.skill is None
    assert found.brier.value == pytest.approx((0.01 + 0.09) / 2)
    assert (found.brier.low, found.brier.high) == (None, None)


def test_log_odds_are_finite():
    with pytest.raises(ModelError, match="finite"):
        metrics.calibrate([1, 0], [float("nan"), 0.0], ["A", "B"])


def test_scores_have_it_where_log_odds_are_given():
    margins = ODDS - 0.1
    known = metrics.evaluate(LABELS, margins, SUBJECTS, ["N"] * 4, log_odds=ODDS)
    assert known.calibration == metrics.calibrate(LABELS, ODDS, SUBJECTS)
    assert metrics.evaluate(LABELS, margins, SUBJECTS, ["N"] * 4).calibration is None


def test_a_sigmoid_of_any_log_odds():
    values = calibration.probability([-1e6, -2.0, 0.0, 2.0, 1e6])
    np.testing.assert_allclose(values, [0, 1 / (1 + np.e**2), 0.5, 1 / (1 + np.e**-2), 1], rtol=1e-12)
