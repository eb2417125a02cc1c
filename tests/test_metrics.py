"""Scores against confusion matrices worked by hand, one for each special case of the contest's rule."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import fbeta_score, roc_auc_score

from ecm_edge import metrics, targets
from ecm_edge.base.errors import DatasetError, ModelError, TargetError
from ecm_edge.metrics.auc import weighted_auc
from ecm_edge.metrics.counts import check_rows
from ecm_edge.metrics.worst import left_out, shown, worst_first

RULE = targets.load("loongson-2k0500").score


def rows(**cells):
    """Labels, margins and subjects of subjects given as (tp, fp, tn, fn); margins are +1 and -1."""
    labels, margins, subjects = [], [], []
    for name, (tp, fp, tn, fn) in cells.items():
        labels += [1] * tp + [0] * fp + [0] * tn + [1] * fn
        margins += [1.0] * (tp + fp) + [-1.0] * (tn + fn)
        subjects += [name] * (tp + fp + tn + fn)
    return np.array(labels, np.int8), np.array(margins, np.float32), np.array(subjects)


def evaluate(**cells):
    labels, margins, subjects = rows(**cells)
    return metrics.evaluate(labels, margins, subjects, np.where(labels == 1, "AFIB", "N"))


@pytest.mark.parametrize(
    ("cells", "expected"),
    [
        ((3, 2, 4, 1), 15 / 21),  # Se 3/4, PPV 3/5: 5 x 0.45 / (4 x 0.6 + 0.75)
        ((0, 0, 5, 0), 1.0),  # no AF: Se = PPV = 1 by rule
        ((0, 5, 0, 0), 1.0),  # no AF, everything called AF: still 1 by rule
        ((0, 0, 3, 2), 0.0),  # AF, nothing called: PPV = 0 by rule
        ((0, 2, 1, 2), 0.0),  # AF, only wrong calls: Se = PPV = 0
        ((4, 0, 0, 0), 1.0),  # AF only, all found
        ((9, 0, 0, 1), 45 / 49),  # a miss costs four times what a false call costs
        ((9, 1, 0, 0), 45 / 46),
    ],
)
def test_fbeta_by_the_contests_rule(cells, expected):
    assert metrics.fbeta_by_subject(*rows(A=cells)) == {"A": pytest.approx(expected)}


def test_fbeta_mean_and_g_are_over_subjects_not_segments():
    data = rows(A=(3, 2, 4, 1), B=(0, 1, 100, 0), C=(0, 0, 3, 2), D=(9, 0, 0, 1))
    assert metrics.fbeta_mean(*data) == pytest.approx((15 / 21 + 1 + 0 + 45 / 49) / 4)
    assert metrics.g(*data) == pytest.approx(2 / 4)
    assert metrics.confusion(*data) == (12, 3, 107, 4)
    assert metrics.f1(*data) == pytest.approx(24 / 31)


def test_g_needs_strictly_more_than_its_limit():
    data = rows(A=(9, 5, 0, 0))  # Fβ = 45 / 50 = 0.9 exactly
    assert metrics.fbeta_by_subject(*data)["A"] == 0.9
    assert metrics.g(*data) == 0.0
    assert metrics.g(*data, good_above=0.89) == 1.0


def test_a_tie_counts_as_af():
    below = np.nextafter(np.float32(0), np.float32(-1))
    assert metrics.confusion([1, 1, 0], np.array([0.0, -0.0, below], np.float32), ["A", "A", "A"]) == (2, 0, 1, 0)


def test_pooled_and_averaged_figures():
    scores = evaluate(A=(3, 2, 4, 1), B=(0, 1, 4, 0))
    assert (scores.segments, scores.subjects) == (15, 2)
    assert scores.confusion == metrics.Confusion(tp=3, fp=3, tn=8, fn=1)
    assert scores.accuracy.value == pytest.approx(11 / 15)
    assert scores.specificity.value == pytest.approx(8 / 11)
    assert scores.averaged.specificity.value == pytest.approx((4 / 6 + 4 / 5) / 2)
    assert scores.averaged.recall.value == pytest.approx(3 / 4)  # undefined in B, so A alone
    assert scores.averaged.precision.value == pytest.approx((3 / 5 + 0) / 2)
    assert scores.npv.value == pytest.approx(8 / 9)


def test_by_subject_leaves_undefined_ratios_out():
    subject = evaluate(B=(0, 0, 4, 0)).by_subject[0]
    assert (subject.sensitivity, subject.ppv, subject.f1) == (None, None, None)
    assert (subject.specificity, subject.npv, subject.fbeta) == (1.0, 1.0, 1.0)


def test_one_subject_has_no_interval_and_one_class_no_auc():
    scores = evaluate(B=(0, 1, 3, 0))
    assert scores.accuracy.value == 0.75
    assert (scores.accuracy.low, scores.accuracy.high) == (None, None)
    assert scores.auc is None
    assert scores.recall is None
    assert evaluate(A=(1, 0, 0, 1), B=(2, 0, 0, 0)).specificity is None


def test_interval_brackets_the_figure_and_is_the_same_every_time():
    cells = {f"S{i}": (10 + i, i, 20, 10 - i) for i in range(10)}
    first, second = evaluate(**cells), evaluate(**cells)
    assert first == second
    assert first.fbeta_mean.low < first.fbeta_mean.value < first.fbeta_mean.high
    by_subject = [s.fbeta for s in first.by_subject]
    half = 1.96 * np.std(by_subject) / np.sqrt(10)
    assert first.fbeta_mean.high - first.fbeta_mean.low == pytest.approx(2 * half, rel=0.1)


def test_interval_is_absent_where_resamples_are_mostly_undefined():
    recall = evaluate(A=(1, 0, 0, 1), B=(0, 0, 2, 0)).recall  # a quarter of the resamples have no AF
    assert recall.value == 0.5
    assert (recall.low, recall.high) == (None, None)


def test_by_rhythm_gives_specificity_or_sensitivity_and_names_the_blank():
    rhythms = metrics.evaluate([1, 0, 0, 0], [1, 1, -1, -1], ["A", "A", "B", "B"], ["AFIB", "", "", "N"]).by_rhythm
    assert [(r.rhythm, r.subjects, r.segments, r.called_positive) for r in rhythms] == [
        ("blank", 2, 2, 1),
        ("AFIB", 1, 1, 1),
        ("N", 1, 1, 0),
    ]
    assert [(r.sensitivity, r.specificity) for r in rhythms] == [(None, 0.5), (1.0, None), (None, 1.0)]


def test_a_rhythm_has_the_interval_of_its_one_ratio_by_resampling_subjects():
    labels, margins, subjects = rows(A=(9, 0, 0, 1), B=(2, 1, 3, 8))
    called = dict.fromkeys([0, 1])
    for rhythm in metrics.evaluate(labels, margins, subjects, np.where(labels == 1, "AFIB", "N")).by_rhythm:
        called[rhythm.label] = rhythm.interval
    assert (called[1].value, called[1].low, called[1].high) == pytest.approx((11 / 20, 0.2, 0.9))
    assert called[0].value == pytest.approx(3 / 4)
    assert (called[0].low, called[0].high) == (None, None)  # a quarter of the resamples are without subject B


def test_auc_by_hand_with_a_tie():
    # AF margins 2 and 1, others 1 and 0: 2>1, 2>0, 1=1 (half), 1>0 of four pairs
    assert metrics.auc([1, 1, 0, 0], [2, 1, 1, 0], ["A", "B", "A", "B"]) == pytest.approx(3.5 / 4)


@given(st.lists(st.tuples(st.integers(0, 1), st.integers(-3, 3), st.integers(0, 3)), min_size=2, max_size=60))
def test_auc_and_fbeta_agree_with_scikit_learn(cases):
    labels, margins, subjects = (np.array(column) for column in zip(*cases, strict=True))
    if 0 < labels.sum() < labels.size:
        assert metrics.auc(labels, margins, subjects) == pytest.approx(roc_auc_score(labels, margins))
    for name, value in metrics.fbeta_by_subject(labels, margins, subjects).items():
        own = subjects == int(name)
        expected = fbeta_score(labels[own], margins[own] >= 0, beta=2, zero_division=0) if labels[own].any() else 1.0
        assert value == pytest.approx(expected)


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_margins_must_be_finite(bad):
    with pytest.raises(ModelError, match="1 of 2 margins are not, the first at row 1"):
        metrics.evaluate([1, 0], [1.0, bad], ["A", "A"], ["AFIB", "N"])


@pytest.mark.parametrize(
    ("labels", "margins", "subjects", "message"),
    [
        ([], [], [], "at least one segment"),
        ([1, -1], [1, 1], ["A", "A"], "labels are 0 or 1; found -1"),
        ([1, 0], [1], ["A", "A"], "three lists of one length"),
    ],
)
def test_rows_that_cannot_be_scored(labels, margins, subjects, message):
    with pytest.raises(DatasetError, match=message):
        metrics.count_by_subject(labels, margins, subjects)


def test_f1_needs_af():
    with pytest.raises(DatasetError, match="F1 needs positive segments"):
        metrics.f1(*rows(A=(0, 1, 1, 0)))


def test_board_score_reproduces_the_contests_best_entry():
    score = metrics.board_score(RULE, fbeta_mean=0.935, g=0.833, latency_ms=4.883, size_kib=178)
    assert score.total == pytest.approx(67.98, abs=0.06)  # the published figures are rounded
    assert [t.name for t in score.terms] == ["fbeta", "g", "latency", "size"]
    assert score.terms[0].points == pytest.approx(25 * (0.935 - 0.5) / 0.5)
    assert (score.most, score.total) == (80, pytest.approx(sum(t.points for t in score.terms)))


@pytest.mark.parametrize(
    ("figures", "total"),
    [
        ((1, 1, 0.5, 50), 80),
        ((1, 1, 0.1, 10), 80),
        ((0.5, 0.5, 50, 1000), 0),
        ((0.1, 0, 99, 9000), 0),
        ((0.5, 0.5, 25.25, 1000), 17.5),
    ],
)
def test_board_terms_are_clipped_on_both_sides(figures, total):
    assert metrics.board_score(RULE, *figures).total == pytest.approx(total)


@pytest.mark.parametrize("bad", [np.nan, np.inf, -1.0])
def test_board_score_refuses_a_cost_that_is_no_cost(bad):
    with pytest.raises(TargetError, match="latency is a number of at least 0"):
        metrics.board_score(RULE, 0.9, 0.9, bad, 100)


def test_subjects_with_positives_are_counted():
    assert evaluate(A=(3, 2, 4, 1), B=(0, 1, 4, 0), C=(0, 0, 2, 1)).positive_subjects == 2


def test_auc_of_resamples_is_that_of_repeated_segments():
    generator = np.random.default_rng(5)
    labels, margins = generator.integers(0, 2, 80), generator.integers(-4, 5, 80)  # with ties
    subjects = generator.integers(0, 6, 80)
    weights = generator.multinomial(6, np.full(6, 1 / 6), size=20).astype(float)
    values = weighted_auc(check_rows(labels, margins, subjects), weights)
    for weight, value in zip(weights, values, strict=True):
        repeated = np.repeat(np.arange(80), weight[subjects].astype(int))
        assert value == pytest.approx(roc_auc_score(labels[repeated], margins[repeated]))


def test_worst_first_puts_false_alarms_before_names():
    scores = evaluate(S10=(0, 1, 3, 0), S2=(0, 0, 4, 0), S1=(0, 3, 1, 0), S9=(0, 0, 4, 0), AF=(1, 0, 0, 1))
    assert [s.subject for s in worst_first(scores.by_subject)] == ["AF", "S1", "S10", "S2", "S9"]


def test_of_many_subjects_the_worst_of_both_kinds_are_shown_and_the_rest_counted():
    cells = {f"P{i:02d}": (i, 0, 0, 20 - i) for i in range(20)} | {f"N{i:02d}": (0, 20 - i, i, 0) for i in range(20)}
    subjects = evaluate(**cells).by_subject
    assert [s.subject for s in shown(subjects, most=6)] == ["P00", "P01", "P02", "N00", "N01", "N02"]
    assert left_out(subjects, most=6) == (
        "shown: the worst 6 of 40 subjects, with and without AF. Of the others, 17 have AF, 2 of them Fβ above 0.9; "
        "17 have none, 1 of them specificity above 0.9. --json has all"
    )
    assert (len(shown(subjects, most=40)), left_out(subjects, most=40)) == (40, "")
    few = [s for s in subjects if s.subject in {"P00", *(f"N{i:02d}" for i in range(20))}]
    assert [s.subject for s in shown(few, most=6)] == ["P00", "N00", "N01", "N02", "N03", "N04"]
