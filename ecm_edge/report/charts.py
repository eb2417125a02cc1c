"""The charts of training, of the board and of a search; each function gives an <svg> element."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ecm_edge.base.numbers import KIB
from ecm_edge.base.plots import DOTTED, legend, log_axis, row_names, whole_numbers
from ecm_edge.report.svg import BAND, BLUE, COLOURS, GREEN, MUTED, ORANGE, chart

if TYPE_CHECKING:
    from collections.abc import Sequence

    from matplotlib.axes import Axes

    from ecm_edge.firmware.fit_records import FormFit
    from ecm_edge.report.records import RunRecords
    from ecm_edge.training.epochs import Epoch
    from ecm_edge.training.train import TrainingRecord


def losses_chart(record: TrainingRecord) -> str:
    """Training and validation loss by epoch, the kept epoch marked."""
    with chart("losses", "Loss by epoch") as (svg, axes):
        record.draw(axes, COLOURS)
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
    budget = run.settings.target.budget.macs
    with chart("pareto", "Objective against MACs of every trial", height_in=3.7) as (svg, axes):
        run.summary.draw(axes, COLOURS)
        axes.axvline(budget, color=MUTED, linewidth=1, linestyle=DOTTED)
        log_axis(axes, [*(trial.macs for trial in run.summary.trials), budget])
        axes.set_xlabel("MACs (dotted: the budget)")
    return svg[0]


def instructions_chart(fit: FormFit) -> str:
    """Counted instructions of every layer, in order of execution."""
    with chart("instructions", "Instructions by layer", height_in=_rows_height(fit)) as (svg, axes):
        fit.draw(axes, COLOURS)
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
    row_names(axes, [layer.name for layer in fit.layers])
    axes.set_xlim(left=0)
    axes.set_xlabel(label)
    axes.grid(visible=False, axis="y")


def _curve(axes: Axes, epochs: Sequence[Epoch], name: str, label: str, colour: str, marker: str, style: str) -> None:
    values = [getattr(epoch, name) for epoch in epochs]
    numbers = [epoch.epoch for epoch in epochs]
    axes.plot(numbers, values, color=colour, marker=marker, linestyle=style, label=label, markersize=4.5)


def _epoch_axis(axes: Axes, record: TrainingRecord, label: str) -> None:
    axes.axvline(record.best.epoch, color=MUTED, linewidth=1, linestyle=DOTTED, label="kept epoch")
    whole_numbers(axes)
    axes.set_xlim(0.7, len(record.epochs) + 0.3)
    axes.set_xlabel("epoch")
    axes.set_ylabel(label)
    legend(axes, columns=4)
