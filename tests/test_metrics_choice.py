"""Paired comparison and decision threshold."""

from __future__ import annotations

import numpy as np
import pytest

from ecm_edge import metrics, targets
from ecm_edge.base.errors import DatasetError, ModelError

RULE = targets.load("loongson-2k0500").score


def shifted(shift: float, seed: int = 0):
    """2,000 rows of 10 subjects whose margins part best at `shift`."""
    generator = np.random.default_rng(seed)
    labels = np.tile([0, 1], 1000)
    margins = (2 * labels - 1 + generator.normal(0, 0.5, 2000) + shift).astype(np.float32)
    return labels, margins, np.repeat(np.arange(10), 200)


def test_paired_difference_is_zero_for_equal_models_and_signed_for_others():
    labels, margins, subjects = shifted(0)
    same = metrics.paired_difference(labels, margins, margins, subjects)
    assert (same.value, same.low, same.high) == (0, 0, 0)
    worse = metrics.paired_difference(labels, margins - 1, margins, subjects, "f1")
    assert worse.low < worse.value < worse.high < 0
    better = metrics.paired_difference(labels, margins, margins - 1, subjects, "f1")
    assert better.low == pytest.approx(-worse.high)


def test_pairing_takes_out_what_subjects_have_in_common():
    labels, margins, subjects = shifted(0)
    hard = margins - 0.2 * subjects.astype(np.float32)  # one subject is much harder than another, for both models
    alone = metrics.evaluate(labels, hard, subjects, labels.astype(str)).fbeta_mean
    pair = metrics.paired_difference(labels, hard + np.float32(0.05), hard, subjects)
    assert pair.low > 0
    assert pair.high - pair.low < 0.5 * (alone.high - alone.low)


def test_detection_points_of_a_pair_by_hand():
    labels, subjects = [1, 1, 1, 1], ["A", "A", "B", "B"]
    # challenger Fβ (1, 1), G 1: 40 points; incumbent Fβ (1, 5/9), G 0.5: 25 x (0.7778 - 0.5) / 0.5
    pair = metrics.paired_difference(labels, [1, 1, 1, 1], [1, 1, 1, -1], subjects, "detection_points", rule=RULE)
    assert pair.value == pytest.approx(40 - 25 * (7 / 9 - 0.5) / 0.5)
    with pytest.raises(DatasetError, match="need the rule of a board"):
        metrics.paired_difference(labels, [1, 1, 1, 1], [1, 1, 1, -1], subjects, "detection_points")


def test_one_subject_has_a_difference_but_no_interval():
    pair = metrics.paired_difference([1, 1], [1, 1], [1, -1], ["A", "A"])
    assert (pair.value, pair.low, pair.high) == (pytest.approx(1 - 5 / 9), None, None)


def test_an_undefined_difference_is_an_error():
    with pytest.raises(DatasetError, match="both models must have a recall"):
        metrics.paired_difference([0, 0], [1, 1], [1, -1], ["A", "A"], "recall")


@pytest.mark.parametrize("shift", [-3.0, 0.0, 2.0])
@pytest.mark.parametrize("rule", [None, RULE])
def test_threshold_follows_the_margins(shift, rule):
    labels, margins, subjects = shifted(shift)
    threshold = metrics.choose_threshold(labels, margins, subjects, rule)
    assert threshold == pytest.approx(shift, abs=1.0)
    chosen = metrics.fbeta_mean(labels, margins - np.float32(threshold), subjects)
    tried = [metrics.fbeta_mean(labels, margins - np.float32(t), subjects) for t in np.linspace(-6, 6, 200)]
    assert chosen > max(tried) - 0.01


def test_threshold_of_separable_margins_lies_between_the_classes():
    labels = np.repeat([0, 1], 50)
    margins = np.where(labels == 1, 2.0, -1.0)
    threshold = metrics.choose_threshold(labels, margins, np.tile(["A", "B"], 50))
    assert -1.0 < threshold < 2.0
    assert metrics.f1(labels, margins - threshold, np.tile(["A", "B"], 50)) == 1.0


def test_threshold_sits_in_the_middle_of_a_plateau():
    margins = np.arange(-50, 50, dtype=np.float32)
    keep = np.abs(margins + 0.5) > 20
    threshold = metrics.choose_threshold((margins >= 0)[keep], margins[keep], np.zeros(keep.sum(), int))
    assert threshold == pytest.approx(-0.5, abs=1)


@pytest.mark.parametrize("margins", [[0.25, 0.25, 0.25], [0.25, 1.0, 2.0]])
def test_a_threshold_that_calls_everything_af_is_no_segments_margin(margins):
    """A segment on the threshold would flip by the rounding of the next form."""
    threshold = metrics.choose_threshold([1, 0, 0], margins, ["A", "A", "A"])
    assert 0.2 < threshold < 0.25 - 1e-4


@pytest.mark.parametrize("label", [0, 1])
def test_threshold_needs_both_classes(label):
    with pytest.raises(DatasetError, match="segments of both classes"):
        metrics.choose_threshold([label, label], [0.0, 1.0], ["A", "B"])


def test_threshold_refuses_nan():
    with pytest.raises(ModelError, match="scores are finite"):
        metrics.choose_threshold([0, 1], [0.0, np.nan], ["A", "B"])


@pytest.mark.parametrize(("rule", "threshold"), [("by_beta", -np.log(RULE.beta)), ("even_odds", 0)])
def test_a_threshold_may_look_at_no_prediction(rule, threshold):
    labels, margins, subjects = shifted(2.0)
    found = metrics.find_threshold(rule, labels, margins, subjects, RULE)
    assert found == metrics.find_threshold(rule, 1 - labels, -margins, subjects, RULE) == threshold


def test_a_threshold_that_is_chosen():
    labels, margins, subjects = shifted(2.0)
    chosen = metrics.find_threshold("chosen", labels, margins, subjects, RULE)
    assert chosen == metrics.choose_threshold(labels, margins, subjects, RULE)
