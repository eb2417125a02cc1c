"""The charts of a score: by subject, ROC, precision-recall, calibration and by rhythm; each gives an <svg> element."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ecm_edge.base.plots import DOTTED, legend, row_marks, share_axis, short, unit_square
from ecm_edge.metrics.drawing import draw_subjects, subjects_height_in
from ecm_edge.report.svg import BLUE, COLOURS, INK, MUTED, ORANGE, chart

if TYPE_CHECKING:
    from collections.abc import Sequence

    from matplotlib.axes import Axes

    from ecm_edge.metrics import Calibration, RhythmScore, Scores
    from ecm_edge.metrics.curves import CurvePoint, Curves


def subjects_chart(scores: Scores) -> str:
    """Sensitivity, specificity and Fβ of the worst subjects, worst first, with the mean Fβ and its interval behind."""
    with chart("subjects", "Score by subject", subjects_height_in(scores)) as (svg, axes):
        draw_subjects(scores, axes, COLOURS)
    return svg[0]


def roc_chart(curves: Curves) -> str:
    """Sensitivity against the share of false alarms, with the model's threshold on it."""
    with chart("roc", "ROC curve", height_in=3.4) as (svg, axes):
        axes.plot([0, 1], [0, 1], color=MUTED, linewidth=1, linestyle=DOTTED, label="a guess")
        false_alarms = [0.0, *(1 - point.specificity for point in curves.points)]
        axes.plot(false_alarms, [0.0, *(p.sensitivity for p in curves.points)], color=BLUE, label="all thresholds")
        at = curves.at_threshold
        _threshold(axes, at, 1 - at.specificity if at else 0.0, at.sensitivity if at else 0.0)
        unit_square(axes, "false alarms: 1 − specificity", "sensitivity")
    return svg[0]


def precision_recall_chart(curves: Curves) -> str:
    """Precision against sensitivity, with the model's threshold on it; dotted: the precision of a guess."""
    with chart("precision-recall", "Precision-recall curve", height_in=3.4) as (svg, axes):
        axes.axhline(curves.base_rate, color=MUTED, linewidth=1, linestyle=DOTTED, label="a guess")
        sensitivity = [point.sensitivity for point in curves.points]
        axes.plot(sensitivity, [p.precision for p in curves.points], color=BLUE, label="all thresholds")
        at = curves.at_threshold
        _threshold(axes, at, at.sensitivity if at else 0.0, at.precision if at else 0.0)
        unit_square(axes, "sensitivity (recall)", "precision (PPV)")
    return svg[0]


def reliability_chart(calibration: Calibration) -> str:
    """The observed share of positive segments against the predicted probability; the share of all segments behind."""
    with chart("reliability", "Reliability curve", height_in=3.6) as (svg, axes):
        calibration.draw(axes, COLOURS)
    return svg[0]


def rhythms_chart(rhythms: Sequence[RhythmScore], label: str) -> str:
    """The share of each rhythm that is answered right, worst first, with its interval and its counts."""
    ranked = sorted(rhythms, key=lambda row: _right(row) or 0.0)
    with chart("rhythms", "Answered right, by rhythm", height_in=1.0 + 0.27 * len(ranked)) as (svg, axes):
        for positive, colour, marker, kind in ((True, ORANGE, "o", label), (False, BLUE, "s", f"not {label}")):
            rows = [_right(row) if bool(row.label) is positive else None for row in ranked]
            row_marks(axes, rows, 0.0, marker, colour, kind)
        for place, row in enumerate(ranked):
            if row.interval and row.interval.low is not None and row.interval.high is not None:
                axes.plot([row.interval.low, row.interval.high], [place, place], color=INK, linewidth=1, zorder=1)
        names = [f"{short(row.rhythm)}, n = {row.segments:,} | {row.subjects:,}" for row in ranked]
        axes.set_yticks(range(len(ranked)), names)
        axes.set_ylim(len(ranked) - 0.4, -0.6)
        lowest = [row.interval.low for row in ranked if row.interval]
        share_axis(axes, [*map(_right, ranked), *lowest])
        legend(axes, columns=2)
    return svg[0]


def _right(row: RhythmScore) -> float | None:
    return row.sensitivity if row.label else row.specificity


def _threshold(axes: Axes, at: CurvePoint | None, x: float, y: float) -> None:
    """The point at which the model answers; none where it calls nothing positive."""
    if at is not None:
        axes.plot([x], [y], "D", color=ORANGE, markersize=8, label="threshold", clip_on=False, zorder=3)
