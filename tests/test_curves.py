"""ROC and precision-recall curves, held against scikit-learn, and the parts of a segment that speak for an answer."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.metrics import average_precision_score, roc_auc_score

from ecm_edge.forms import onnx_model
from ecm_edge.metrics.curves import POINTS, curves
from ecm_edge.report.occlusion import parts_for
from tests import tiny


@pytest.mark.parametrize("decimals", [1, 6])  # with many ties, and with none
def test_areas_are_those_of_scikit_learn(decimals):
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 2, 3000)
    margins = np.round(rng.normal(labels - 0.5, 1.0), decimals).astype(np.float32)
    found = curves(labels, margins)
    assert found.auc == pytest.approx(roc_auc_score(labels, margins), abs=1e-9)
    assert found.average_precision == pytest.approx(average_precision_score(labels, margins), abs=1e-9)
    assert len(found.points) <= POINTS
    assert (found.points[-1].sensitivity, found.points[-1].specificity) == (1, 0)


def test_the_threshold_is_a_point_with_ties_called_positive():
    found = curves(np.array([1, 1, 1, 0, 0, 0]), np.array([2, 0, -1, 0, -1, -2], np.float32))
    at = found.at_threshold
    assert (at.margin, at.sensitivity, at.specificity, at.precision) == pytest.approx((0, 2 / 3, 2 / 3, 2 / 3))
    assert found.base_rate == 0.5


def test_a_model_that_calls_nothing_has_no_point_at_its_threshold():
    assert curves(np.array([1, 0]), np.array([-1, -2], np.float32)).at_threshold is None


@pytest.mark.parametrize("label", [0, 1])
def test_one_class_has_no_curve(label):
    assert curves(np.full(3, label), np.zeros(3, np.float32)) is None


def test_the_part_that_made_the_answer_stands_out():
    classifier = onnx_model.classifier_of(tiny.model(column=4))
    samples = np.zeros(tiny.T, np.float32)
    samples[4] = 3
    parts = parts_for(classifier, samples, 10.0, towards=-1)  # steps of one sample
    assert parts == [0, 0, 0, 0, 3, 0, 0, 0]
    assert parts_for(classifier, samples, 10.0, towards=1) == [-part for part in parts]


def test_a_long_segment_has_no_more_parts_than_fit():
    classifier = onnx_model.classifier_of(tiny.model(column=4))
    samples = np.ones(tiny.T, np.float32)
    assert len(parts_for(classifier, samples, 0.1, towards=1)) == 60  # 80 s
    assert len(parts_for(classifier, samples, 250.0, towards=1)) == 1
