"""The drawing of scores by subject."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ecm_edge.metrics.worst import shown

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from ecm_edge.base.plots import Colours
    from ecm_edge.metrics.evaluate import Scores

_FEW = 24  # subjects on rows of full height


def subjects_height_in(scores: Scores) -> float:
    """The height that the drawing needs."""
    subjects = len(shown(scores.by_subject))
    return 1.2 + (0.27 if subjects <= _FEW else 0.14) * subjects


def draw_subjects(scores: Scores, axes: Axes, colours: Colours) -> None:
    """Sensitivity, specificity and Fβ of the worst subjects, worst first, with the mean Fβ and its interval behind."""
    from ecm_edge.base import plots

    ranked, mean = shown(scores.by_subject), scores.fbeta_mean
    if mean.low is not None and mean.high is not None:
        axes.axvspan(mean.low, mean.high, color=colours.band, linewidth=0, zorder=0)
    axes.axvline(mean.value, color=colours.green, linewidth=1.4, zorder=1)
    axes.axvline(scores.good_subject_above, color=colours.muted, linewidth=1, linestyle=plots.DOTTED, zorder=1)
    plots.row_marks(axes, [s.sensitivity for s in ranked], -0.22, "o", colours.orange, "sensitivity")
    plots.row_marks(axes, [s.specificity for s in ranked], 0.22, "s", colours.blue, "specificity")
    plots.row_marks(axes, [s.fbeta for s in ranked], 0.0, "D", colours.green, f"F{scores.beta:g}")
    plots.row_names(axes, [s.subject for s in ranked], small=len(ranked) > _FEW)
    drawn = [value for s in ranked for value in (s.sensitivity, s.specificity, s.fbeta)]
    plots.share_axis(axes, [*drawn, mean.value, mean.low, scores.good_subject_above])
    plots.legend(axes, columns=3)
