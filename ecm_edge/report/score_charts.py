"""The charts of a score: by subject, ROC, precision-recall, calibration and by rhythm; each gives an <svg> element."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from ecm_edge.metrics.worst import shown
from ecm_edge.report.drawing import BAND, BLUE, GREEN, INK, MUTED, ORANGE, chart, legend, short

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from matplotlib.axes import Axes

    from ecm_edge.metrics import Calibration, RhythmScore, Scores
    from ecm_edge.metrics.curves import CurvePoint, Curves

_DOTTED = (0, (2, 2))
_STEP = 0.05
_FEW = 24  # subjects on rows of full height


def subjects_chart(scores: Scores) -> str:
    """Sensitivity, specificity and Fβ of the worst subjects, worst first, with the mean Fβ and its interval behind."""
    ranked = shown(scores.by_subject)
    many = len(ranked) > _FEW
    with chart("subjects", "Score by subject", height_in=1.2 + (0.14 if many else 0.27) * len(ranked)) as (svg, axes):
        mean = scores.fbeta_mean
        if mean.low is not None and mean.high is not None:
            axes.axvspan(mean.low, mean.high, color=BAND, linewidth=0, zorder=0)
        axes.axvline(mean.value, color=GREEN, linewidth=1.4, zorder=1)
        axes.axvline(scores.good_subject_above, color=MUTED, linewidth=1, linestyle=_DOTTED, zorder=1)
        _row_marks(axes, [s.sensitivity for s in ranked], -0.22, "o", ORANGE, "sensitivity")
        _row_marks(axes, [s.specificity for s in ranked], 0.22, "s", BLUE, "specificity")
        _row_marks(axes, [s.fbeta for s in ranked], 0.0, "D", GREEN, f"F{scores.beta:g}")
        names = [short(s.subject) for s in ranked]
        axes.set_yticks(range(len(ranked)), names, fontsize=7 if many else None)
        axes.set_ylim(len(ranked) - 0.4, -0.6)
        drawn = [value for s in ranked for value in (s.sensitivity, s.specificity, s.fbeta)]
        _share_axis(axes, [*drawn, mean.value, mean.low, scores.good_subject_above])
        legend(axes, columns=3)
    return svg[0]


def roc_chart(curves: Curves) -> str:
    """Sensitivity against the share of false alarms, with the model's threshold on it."""
    with chart("roc", "ROC curve", height_in=3.4) as (svg, axes):
        axes.plot([0, 1], [0, 1], color=MUTED, linewidth=1, linestyle=_DOTTED, label="a guess")
        false_alarms = [0.0, *(1 - point.specificity for point in curves.points)]
        axes.plot(false_alarms, [0.0, *(p.sensitivity for p in curves.points)], color=BLUE, label="all thresholds")
        at = curves.at_threshold
        _threshold(axes, at, 1 - at.specificity if at else 0.0, at.sensitivity if at else 0.0)
        _unit_square(axes, "false alarms: 1 − specificity", "sensitivity")
    return svg[0]


def precision_recall_chart(curves: Curves) -> str:
    """Precision against sensitivity, with the model's threshold on it; dotted: the precision of a guess."""
    with chart("precision-recall", "Precision-recall curve", height_in=3.4) as (svg, axes):
        axes.axhline(curves.base_rate, color=MUTED, linewidth=1, linestyle=_DOTTED, label="a guess")
        sensitivity = [point.sensitivity for point in curves.points]
        axes.plot(sensitivity, [p.precision for p in curves.points], color=BLUE, label="all thresholds")
        at = curves.at_threshold
        _threshold(axes, at, at.sensitivity if at else 0.0, at.precision if at else 0.0)
        _unit_square(axes, "sensitivity (recall)", "precision (PPV)")
    return svg[0]


def reliability_chart(calibration: Calibration) -> str:
    """The observed share of positive segments against the predicted probability; the share of all segments behind."""
    bins = [one for one in calibration.bins if one.segments]
    total = sum(one.segments for one in bins)
    with chart("reliability", "Reliability curve", height_in=3.6) as (svg, axes):
        axes.bar(
            [one.low for one in bins],
            [one.segments / total for one in bins],
            [one.high - one.low for one in bins],
            align="edge",
            color=BAND,
            label="share of all segments",
        )
        axes.plot([0, 1], [0, 1], color=MUTED, linewidth=1, linestyle=_DOTTED, label="calibrated")
        points = [
            (one.predicted, one.observed) for one in bins if one.predicted is not None and one.observed is not None
        ]
        axes.plot(*zip(*points, strict=True), "o-", color=BLUE, label="observed", clip_on=False)
        _unit_square(axes, "predicted probability", "observed share")
    return svg[0]


def rhythms_chart(rhythms: Sequence[RhythmScore], label: str) -> str:
    """The share of each rhythm that is answered right, worst first, with its interval and its counts."""
    ranked = sorted(rhythms, key=lambda row: _right(row) or 0.0)
    with chart("rhythms", "Answered right, by rhythm", height_in=1.0 + 0.27 * len(ranked)) as (svg, axes):
        for positive, colour, marker, kind in ((True, ORANGE, "o", label), (False, BLUE, "s", f"not {label}")):
            rows = [_right(row) if bool(row.label) is positive else None for row in ranked]
            _row_marks(axes, rows, 0.0, marker, colour, kind)
        for place, row in enumerate(ranked):
            if row.interval and row.interval.low is not None and row.interval.high is not None:
                axes.plot([row.interval.low, row.interval.high], [place, place], color=INK, linewidth=1, zorder=1)
        names = [f"{short(row.rhythm)}, n = {row.segments:,} | {row.subjects:,}" for row in ranked]
        axes.set_yticks(range(len(ranked)), names)
        axes.set_ylim(len(ranked) - 0.4, -0.6)
        lowest = [row.interval.low for row in ranked if row.interval]
        _share_axis(axes, [*map(_right, ranked), *lowest])
        legend(axes, columns=2)
    return svg[0]


def _right(row: RhythmScore) -> float | None:
    return row.sensitivity if row.label else row.specificity


def _share_axis(axes: Axes, values: Iterable[float | None]) -> None:
    """From just below the least of these shares to 1: the axis begins where the data do."""
    least = min((value for value in values if value is not None), default=0.0)
    start = min(math.floor(least / _STEP) * _STEP, 1 - 2 * _STEP)
    room = (1 - start) * 0.03
    axes.set_xlim(start - room, 1 + room)


def _threshold(axes: Axes, at: CurvePoint | None, x: float, y: float) -> None:
    """The point at which the model answers; none where it calls nothing positive."""
    if at is not None:
        axes.plot([x], [y], "D", color=ORANGE, markersize=8, label="threshold", clip_on=False, zorder=3)


def _unit_square(axes: Axes, below: str, beside: str) -> None:
    axes.set_xlim(0, 1)
    axes.set_ylim(0, 1)
    axes.set_xlabel(below)
    axes.set_ylabel(beside)
    legend(axes, columns=3)


def _row_marks(axes: Axes, values: Sequence[float | None], offset: float, marker: str, colour: str, label: str) -> None:
    """One mark a row, a little above or below its middle, so that equal figures do not hide each other."""
    points = [(value, row + offset) for row, value in enumerate(values) if value is not None]
    axes.plot([x for x, _ in points], [y for _, y in points], marker, color=colour, label=label, clip_on=False)
