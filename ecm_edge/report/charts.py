"""The charts of training, of the board and of a search; each function gives an <svg> element."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ecm_edge.base.numbers import KIB
from ecm_edge.base.records import Verdict
from ecm_edge.report.drawing import BAND, BLUE, GREEN, MARK, MUTED, ORANGE, chart, legend, short, whole_numbers

if TYPE_CHECKING:
    from collections.abc import Sequence

    from matplotlib.axes import Axes

    from ecm_edge.firmware.fit_records import FormFit
    from ecm_edge.report.records import RunRecords
    from ecm_edge.search.trial_record import TrialRecord
    from ecm_edge.training.epochs import Epoch
    from ecm_edge.training.train import TrainingRecord

_THOUSAND = 1000


def losses_chart(record: TrainingRecord) -> str:
    """Training and validation loss by epoch, the kept epoch marked."""
    with chart("losses", "Loss by epoch") as (svg, axes):
        _curve(axes, record.epochs, "train_loss", "training", BLUE, "o", "-")
        if record.validation_subjects:
            _curve(axes, record.epochs, "validation_loss", "validation", ORANGE, "s", "--")
        _epoch_axis(axes, record, "cross-entropy")
    return svg[0]


def epochs_chart(record: TrainingRecord) -> str:
    """F1, mean Fβ, G and specificity of the validation subjects by epoch, each at that epoch's best threshold."""
    with chart("epochs", "Validation scores by epoch") as (svg, axes):
        _curve(axes, record.epochs, "fbeta_mean", "mean Fβ", GREEN, "D", "-")
        _curve(axes, record.epochs, "f1", "F1", BLUE, "o", "--")
        _curve(axes, record.epochs, "g", "G", ORANGE, "s", ":")
        if record.best.specificity is not None:  # absent in records of earlier versions
            _curve(axes, record.epochs, "specificity", "specificity", MUTED, "^", "-.")
        _epoch_axis(axes, record, "validation score")
        axes.set_ylim(top=1.02)
    return svg[0]


def pareto_chart(run: RunRecords) -> str:
    """Objective against MACs: every trial, the front, and the best; trials that did not fit as ticks at the bottom."""
    trials = run.summary.trials
    with chart("pareto", "Objective against MACs of every trial", height_in=3.7) as (svg, axes):
        axes.set_xscale("log")
        front = sorted((t for t in trials if t.number in run.summary.pareto), key=lambda t: t.macs)
        axes.step([t.macs for t in front], [_objective(t) for t in front], where="post", color=GREEN, label="front")
        _trial_marks(axes, _verified(trials), "o", BLUE, "verified")
        _trial_marks(
            axes, [t for t in trials if t.outcome == "done" and t.verdict != Verdict.PASS], "X", ORANGE, "FAIL"
        )
        _trial_marks(axes, [t for t in trials if t.outcome == "pruned"], "v", MUTED, "pruned", hollow=True)
        _trial_marks(axes, [t for t in trials if t.outcome == "failed"], "P", MUTED, "stopped by a stage")
        _trial_marks(axes, [t for t in trials if t.number == run.summary.best], "*", GREEN, "best", size=14)
        unfit = [t.macs for t in trials if t.outcome == "unfit"]
        bottom = axes.get_xaxis_transform()
        axes.plot(unfit, [0.025] * len(unfit), "|", color=MUTED, markersize=9, transform=bottom, label="did not fit")
        axes.axvline(run.settings.target.budget.macs, color=MUTED, linewidth=1, linestyle=(0, (2, 2)))
        _log_axis(axes, [*(t.macs for t in trials), run.settings.target.budget.macs])
        axes.set_xlabel("MACs (dotted: the budget)")
        axes.set_ylabel(run.summary.objective.replace("_", " "))
        legend(axes, columns=3)
    return svg[0]


def instructions_chart(fit: FormFit) -> str:
    """Counted instructions of every layer, in order of execution."""
    with chart("instructions", "Instructions by layer", height_in=_rows_height(fit)) as (svg, axes):
        values = [(layer.instructions or 0) / _THOUSAND for layer in fit.layers]
        axes.barh(range(len(values)), values, color=BLUE, height=0.68)
        _layer_axis(axes, fit, "thousand instructions")
    return svg[0]


def flash_chart(fit: FormFit) -> str:
    """Flash of every layer: its constants, and its code behind them."""
    with chart("flash", "Flash by layer", height_in=_rows_height(fit)) as (svg, axes):
        constants = [layer.constant_bytes / KIB for layer in fit.layers]
        code = [layer.code_bytes / KIB for layer in fit.layers]
        axes.barh(range(len(code)), constants, color=GREEN, height=0.68, label="weights and other constants")
        axes.barh(range(len(code)), code, left=constants, color=ORANGE, height=0.68, label="code")
        _layer_axis(axes, fit, "KiB")
        legend(axes, columns=2)
    return svg[0]


def arena_chart(fit: FormFit) -> str:
    """Where every buffer of the arena lies while each layer runs: one row a layer, in order of execution."""
    with chart("arena", "Map of the arena", height_in=_rows_height(fit)) as (svg, axes):
        for buffer in fit.arena:
            first, rows = buffer.first_layer - 0.5, buffer.last_layer - buffer.first_layer + 1
            left, wide = buffer.offset / KIB, buffer.size_bytes / KIB
            axes.barh(first, wide, rows, left, align="edge", color=BAND, edgecolor=GREEN, linewidth=0.9)
        _layer_axis(axes, fit, "KiB from the arena's start")
        axes.set_xlim(0, max(fit.arena_bytes, 1) / KIB)
    return svg[0]


def _rows_height(fit: FormFit) -> float:
    return 0.9 + 0.21 * len(fit.layers)


def _layer_axis(axes: Axes, fit: FormFit, label: str) -> None:
    """One row a layer, the first on top."""
    axes.set_yticks(range(len(fit.layers)), [short(layer.name) for layer in fit.layers])
    axes.set_ylim(len(fit.layers) - 0.4, -0.6)
    axes.set_xlim(left=0)
    axes.set_xlabel(label)
    axes.grid(visible=False, axis="y")


def _curve(axes: Axes, epochs: Sequence[Epoch], name: str, label: str, colour: str, marker: str, style: str) -> None:
    values = [getattr(epoch, name) for epoch in epochs]
    numbers = [epoch.epoch for epoch in epochs]
    axes.plot(numbers, values, color=colour, marker=marker, linestyle=style, label=label, markersize=4.5)


def _epoch_axis(axes: Axes, record: TrainingRecord, label: str) -> None:
    axes.axvline(record.best.epoch, color=MUTED, linewidth=1, linestyle=(0, (2, 2)), label="kept epoch")
    whole_numbers(axes)
    axes.set_xlim(0.7, len(record.epochs) + 0.3)
    axes.set_xlabel("epoch")
    axes.set_ylabel(label)
    legend(axes, columns=4)


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
    size: float = MARK,
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
