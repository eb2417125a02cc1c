"""The charts as inline SVG: matplotlib draws them, the page's style sheet colours them.

Every colour is drawn as a placeholder that becomes a variable of the style sheet, so that one drawing suits light,
dark and paper. Ids are made unique, since all charts stand in one page.
"""

from __future__ import annotations

import io
import re
import warnings
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from ecm_edge.base.numbers import KIB
from ecm_edge.base.records import Verdict
from ecm_edge.metrics.worst import shown

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from matplotlib.axes import Axes

    from ecm_edge.firmware.fit_records import FormFit
    from ecm_edge.metrics import Calibration, Scores
    from ecm_edge.report.records import RunRecords
    from ecm_edge.search.trial_record import TrialRecord
    from ecm_edge.training.epochs import Epoch
    from ecm_edge.training.train import TrainingRecord

_WIDTH_IN = 4.6
_MARK = 5.5
_LONGEST_NAME = 15
_THOUSAND = 1000

_VARIABLES = {
    "#010101": "ink",
    "#020202": "muted",
    "#030303": "line",
    "#040404": "blue",
    "#050505": "orange",
    "#060606": "green",
    "#070707": "paper",
    "#080808": "band",
}
_INK, _MUTED, _LINE, _BLUE, _ORANGE, _GREEN, _PAPER, _BAND = _VARIABLES

_STYLE: Any = {  # matplotlib's own type names every key there is
    "svg.fonttype": "none",
    "svg.hashsalt": "ecm-edge",
    "text.parse_math": False,  # a subject may be called $x
    "font.size": 9,
    "axes.edgecolor": _LINE,
    "axes.labelcolor": _INK,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": _LINE,
    "grid.linewidth": 0.6,
    "text.color": _INK,
    "xtick.color": _MUTED,
    "ytick.color": _MUTED,
    "xtick.labelcolor": _INK,
    "ytick.labelcolor": _INK,
    "legend.frameon": False,
    "legend.fontsize": 9,
    "lines.linewidth": 1.8,
    "lines.markersize": _MARK,
}


def subjects_chart(scores: Scores) -> str:
    """Sensitivity, specificity and Fβ of the worst subjects, worst first, with the mean Fβ and its interval behind."""
    ranked = shown(scores.by_subject)
    with _chart("subjects", "Score by subject", height_in=1.2 + 0.27 * len(ranked)) as (svg, axes):
        mean = scores.fbeta_mean
        if mean.low is not None and mean.high is not None:
            axes.axvspan(mean.low, mean.high, color=_BAND, linewidth=0, zorder=0)
        axes.axvline(mean.value, color=_GREEN, linewidth=1.4, zorder=1)
        axes.axvline(scores.good_subject_above, color=_MUTED, linewidth=1, linestyle=(0, (2, 2)), zorder=1)
        _row_marks(axes, [s.sensitivity for s in ranked], -0.22, "o", _ORANGE, "sensitivity")
        _row_marks(axes, [s.specificity for s in ranked], 0.22, "s", _BLUE, "specificity")
        _row_marks(axes, [s.fbeta for s in ranked], 0.0, "D", _GREEN, f"F{scores.beta:g}")
        axes.set_yticks(range(len(ranked)), [_short(s.subject) for s in ranked])
        axes.set_ylim(len(ranked) - 0.4, -0.6)
        axes.set_xlim(-0.03, 1.03)
        _legend(axes, columns=3)
    return svg[0]


def reliability_chart(calibration: Calibration) -> str:
    """The observed share of positive segments against the predicted probability; the share of all segments behind."""
    bins = [one for one in calibration.bins if one.segments]
    total = sum(one.segments for one in bins)
    with _chart("reliability", "Reliability curve", height_in=3.6) as (svg, axes):
        axes.bar(
            [one.low for one in bins],
            [one.segments / total for one in bins],
            [one.high - one.low for one in bins],
            align="edge",
            color=_BAND,
            label="share of all segments",
        )
        axes.plot([0, 1], [0, 1], color=_MUTED, linewidth=1, linestyle=(0, (2, 2)), label="calibrated")
        points = [
            (one.predicted, one.observed) for one in bins if one.predicted is not None and one.observed is not None
        ]
        axes.plot(*zip(*points, strict=True), "o-", color=_BLUE, label="observed", clip_on=False)
        axes.set_xlim(0, 1)
        axes.set_ylim(0, 1)
        axes.set_xlabel("predicted probability")
        axes.set_ylabel("observed share")
        _legend(axes, columns=3)
    return svg[0]


def losses_chart(record: TrainingRecord) -> str:
    """Training and validation loss by epoch, the kept epoch marked."""
    with _chart("losses", "Loss by epoch") as (svg, axes):
        _curve(axes, record.epochs, "train_loss", "training", _BLUE, "o", "-")
        if record.validation_subjects:
            _curve(axes, record.epochs, "validation_loss", "validation", _ORANGE, "s", "--")
        _epoch_axis(axes, record, "cross-entropy")
    return svg[0]


def epochs_chart(record: TrainingRecord) -> str:
    """F1, mean Fβ, G and specificity of the validation subjects by epoch, each at that epoch's best threshold."""
    with _chart("epochs", "Validation scores by epoch") as (svg, axes):
        _curve(axes, record.epochs, "fbeta_mean", "mean Fβ", _GREEN, "D", "-")
        _curve(axes, record.epochs, "f1", "F1", _BLUE, "o", "--")
        _curve(axes, record.epochs, "g", "G", _ORANGE, "s", ":")
        if record.best.specificity is not None:  # absent in records of earlier versions
            _curve(axes, record.epochs, "specificity", "specificity", _MUTED, "^", "-.")
        _epoch_axis(axes, record, "validation score")
        axes.set_ylim(top=1.02)
    return svg[0]


def pareto_chart(run: RunRecords) -> str:
    """Objective against MACs: every trial, the front, and the best; trials that did not fit as ticks at the bottom."""
    trials = run.summary.trials
    with _chart("pareto", "Objective against MACs of every trial", height_in=3.7) as (svg, axes):
        axes.set_xscale("log")
        front = sorted((t for t in trials if t.number in run.summary.pareto), key=lambda t: t.macs)
        axes.step([t.macs for t in front], [_objective(t) for t in front], where="post", color=_GREEN, label="front")
        _trial_marks(axes, _verified(trials), "o", _BLUE, "verified")
        _trial_marks(
            axes, [t for t in trials if t.outcome == "done" and t.verdict != Verdict.PASS], "X", _ORANGE, "FAIL"
        )
        _trial_marks(axes, [t for t in trials if t.outcome == "pruned"], "v", _MUTED, "pruned", hollow=True)
        _trial_marks(axes, [t for t in trials if t.outcome == "failed"], "P", _MUTED, "stopped by a stage")
        _trial_marks(axes, [t for t in trials if t.number == run.summary.best], "*", _GREEN, "best", size=14)
        unfit = [t.macs for t in trials if t.outcome == "unfit"]
        bottom = axes.get_xaxis_transform()
        axes.plot(unfit, [0.025] * len(unfit), "|", color=_MUTED, markersize=9, transform=bottom, label="did not fit")
        axes.axvline(run.settings.target.budget.macs, color=_MUTED, linewidth=1, linestyle=(0, (2, 2)))
        _log_axis(axes, [*(t.macs for t in trials), run.settings.target.budget.macs])
        axes.set_xlabel("MACs (dotted: the budget)")
        axes.set_ylabel(run.summary.objective.replace("_", " "))
        _legend(axes, columns=3)
    return svg[0]


def instructions_chart(fit: FormFit) -> str:
    """Counted instructions of every layer, in order of execution."""
    with _chart("instructions", "Instructions by layer", height_in=_rows_height(fit)) as (svg, axes):
        values = [(layer.instructions or 0) / _THOUSAND for layer in fit.layers]
        axes.barh(range(len(values)), values, color=_BLUE, height=0.68)
        _layer_axis(axes, fit, "thousand instructions")
    return svg[0]


def flash_chart(fit: FormFit) -> str:
    """Flash of every layer: its constants, and its code behind them."""
    with _chart("flash", "Flash by layer", height_in=_rows_height(fit)) as (svg, axes):
        constants = [layer.constant_bytes / KIB for layer in fit.layers]
        code = [layer.code_bytes / KIB for layer in fit.layers]
        axes.barh(range(len(code)), constants, color=_GREEN, height=0.68, label="weights and other constants")
        axes.barh(range(len(code)), code, left=constants, color=_ORANGE, height=0.68, label="code")
        _layer_axis(axes, fit, "KiB")
        _legend(axes, columns=2)
    return svg[0]


def arena_chart(fit: FormFit) -> str:
    """Where every buffer of the arena lies, and during which layers; the largest carry their names."""
    with _chart("arena", "Map of the arena", height_in=3.2) as (svg, axes):
        for buffer in fit.arena:
            left, wide = buffer.first_layer - 0.5, buffer.last_layer - buffer.first_layer + 1
            bottom, high = buffer.offset / KIB, buffer.size_bytes / KIB
            axes.bar(left, high, wide, bottom, align="edge", color=_BAND, edgecolor=_GREEN, linewidth=0.9)
        axes.set_xlim(-0.6, len(fit.layers) - 0.4)
        axes.set_ylim(0, max(fit.arena_bytes, 1) / KIB)
        axes.set_xlabel("layer")
        axes.set_ylabel("KiB from the arena's start")
        axes.grid(visible=False, axis="x")
        _whole_numbers(axes)
    return svg[0]


def _rows_height(fit: FormFit) -> float:
    return 0.9 + 0.21 * len(fit.layers)


def _layer_axis(axes: Axes, fit: FormFit, label: str) -> None:
    """One row a layer, the first on top."""
    axes.set_yticks(range(len(fit.layers)), [_short(layer.name) for layer in fit.layers])
    axes.set_ylim(len(fit.layers) - 0.4, -0.6)
    axes.set_xlim(left=0)
    axes.set_xlabel(label)
    axes.grid(visible=False, axis="y")


def _whole_numbers(axes: Axes) -> None:
    from matplotlib.ticker import MaxNLocator

    axes.xaxis.set_major_locator(MaxNLocator(integer=True))


@contextmanager
def _chart(name: str, label: str, height_in: float = 2.8) -> Iterator[tuple[list[str], Axes]]:
    """Axes to draw on; the list holds the SVG once the block has ended."""
    import matplotlib as mpl
    from matplotlib.backends.backend_svg import FigureCanvasSVG
    from matplotlib.figure import Figure

    svg: list[str] = []
    with mpl.rc_context(_STYLE), warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Glyph .* missing")  # the reader's browser has the font
        figure = Figure(figsize=(_WIDTH_IN, height_in), layout="constrained")
        FigureCanvasSVG(figure)
        yield svg, figure.subplots()
        stream = io.StringIO()
        figure.savefig(
            stream, format="svg", transparent=True, metadata=dict.fromkeys(("Creator", "Date", "Format", "Type"))
        )
    svg.append(inline(stream.getvalue(), name, label))


def inline(document: str, name: str, label: str) -> str:
    """The <svg> element of an SVG document, to stand in a page under a unique name; `label` is for screen readers.

    >>> inline('<?xml version="1.0"?><svg width="1pt"><path id="a" fill="#010101"/><use href="#a"/></svg>', "x", "X")
    '<svg role="img" aria-label="X" width="1pt"><path id="x-a" fill="var(--ink)"/><use href="#x-a"/></svg>'
    """
    svg = document[document.index("<svg") :].strip()
    svg = svg.replace("<svg", f'<svg role="img" aria-label="{label}"', 1)
    svg = re.sub(r"<style.*?</style>", "", svg, flags=re.DOTALL)  # it would hold for the whole page
    svg = re.sub(r'\bid="', f'id="{name}-', svg)
    svg = re.sub(r'href="#', f'href="#{name}-', svg)
    svg = svg.replace("url(#", f"url(#{name}-")
    for colour, variable in _VARIABLES.items():
        svg = svg.replace(colour, f"var(--{variable})")
    return svg


def _short(name: str) -> str:
    """A name that leaves room for the chart; the table beside it has the whole one.

    >>> _short("S47"), _short("a-very-long-subject-name")
    ('S47', 'a-very-long-su…')
    """
    return name if len(name) <= _LONGEST_NAME else f"{name[: _LONGEST_NAME - 1]}…"


def _row_marks(axes: Axes, values: Sequence[float | None], offset: float, marker: str, colour: str, label: str) -> None:
    """One mark a row, a little above or below its middle, so that equal figures do not hide each other."""
    points = [(value, row + offset) for row, value in enumerate(values) if value is not None]
    axes.plot([x for x, _ in points], [y for _, y in points], marker, color=colour, label=label, clip_on=False)


def _curve(axes: Axes, epochs: Sequence[Epoch], name: str, label: str, colour: str, marker: str, style: str) -> None:
    values = [getattr(epoch, name) for epoch in epochs]
    numbers = [epoch.epoch for epoch in epochs]
    axes.plot(numbers, values, color=colour, marker=marker, linestyle=style, label=label, markersize=4.5)


def _epoch_axis(axes: Axes, record: TrainingRecord, label: str) -> None:
    axes.axvline(record.best.epoch, color=_MUTED, linewidth=1, linestyle=(0, (2, 2)), label="kept epoch")
    _whole_numbers(axes)
    axes.set_xlim(0.7, len(record.epochs) + 0.3)
    axes.set_xlabel("epoch")
    axes.set_ylabel(label)
    _legend(axes, columns=4)


def _objective(trial: TrialRecord) -> float:
    return float("nan") if trial.objective is None else trial.objective


def _verified(trials: Sequence[TrialRecord]) -> list[TrialRecord]:
    return [trial for trial in trials if trial.outcome == "done" and trial.verdict == Verdict.PASS]


def _trial_marks(
    axes: Axes,
    trials: Sequence[TrialRecord],
    marker: str,
    colour: str,
    label: str,
    *,
    hollow: bool = False,
    size: float = _MARK,
) -> None:
    """Nothing at all, not even a line in the legend, where there is no such trial with an objective."""
    points = [(trial.macs, trial.objective) for trial in trials if trial.objective is not None]
    if points:
        face = "none" if hollow else colour
        axes.plot(*zip(*points, strict=True), marker, color=colour, markerfacecolor=face, markersize=size, label=label)


def _log_axis(axes: Axes, macs: Sequence[int]) -> None:
    """Plain numbers at 1, 2 and 5 times powers of ten."""
    from matplotlib.ticker import FuncFormatter, LogLocator, NullLocator

    axes.set_xlim(min(macs) / 1.25, max(macs) * 1.25)
    axes.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value / 1000:,.4g} k"))


def _legend(axes: Axes, columns: int) -> None:
    axes.legend(loc="lower left", bbox_to_anchor=(-0.02, 1.0), ncols=columns, handletextpad=0.4, columnspacing=1.2)
