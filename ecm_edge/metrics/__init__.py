"""Scores of a detector, all defined here; the weights and ranges of a score on a board are in its rule.

Every function takes a row for each of N segments: `labels` (N,) 0 or 1, `margins` (N,) float (scores[:, 1] -
scores[:, 0]), `subjects` (N,) names or codes. A segment is called positive where its margin >= 0, a tie included.
"""

from ecm_edge.metrics.auc import auc
from ecm_edge.metrics.board import BoardScore, BoardTerm, board_score, detection_points
from ecm_edge.metrics.calibration import Calibration, ReliabilityBin, calibrate
from ecm_edge.metrics.counts import (
    BETA,
    GOOD_SUBJECT_ABOVE,
    Counts,
    confusion,
    count_by_subject,
    criteria,
    f1,
    fbeta_by_subject,
    fbeta_mean,
    fbeta_pooled,
    g,
)
from ecm_edge.metrics.evaluate import Confusion, Figures, RhythmScore, Scores, SubjectScore, evaluate, on_board
from ecm_edge.metrics.resample import (
    RESAMPLES,
    GainParts,
    PairedStatistic,
    paired_difference,
    paired_parts,
)
from ecm_edge.metrics.threshold import Objective, ThresholdRule, beta_threshold, choose_threshold, find_threshold

__all__ = [
    "BETA",
    "GOOD_SUBJECT_ABOVE",
    "RESAMPLES",
    "BoardScore",
    "BoardTerm",
    "Calibration",
    "Confusion",
    "Counts",
    "Figures",
    "GainParts",
    "Objective",
    "PairedStatistic",
    "ReliabilityBin",
    "RhythmScore",
    "Scores",
    "SubjectScore",
    "ThresholdRule",
    "auc",
    "beta_threshold",
    "board_score",
    "calibrate",
    "choose_threshold",
    "confusion",
    "count_by_subject",
    "criteria",
    "detection_points",
    "evaluate",
    "f1",
    "fbeta_by_subject",
    "fbeta_mean",
    "fbeta_pooled",
    "find_threshold",
    "g",
    "on_board",
    "paired_difference",
    "paired_parts",
]
