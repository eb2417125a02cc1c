"""`ecm-edge episodes`: the episodes of recordings, their burden, and EC57's comparison with a reference."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click
from click.core import ParameterSource

from ecm_edge.cli._common import PATH, FiniteRange, choose_form, emit, form_option, json_option, model_argument
from ecm_edge.cli._help import example
from ecm_edge.cli._recordings import (
    RHYTHM_OPTIONS,
    format_option,
    listed,
    model_task_option,
    on_error_option,
    reading_options,
    rhythm_options,
    rhythm_rules,
)
from ecm_edge.cli._told import lines_of, tell

if TYPE_CHECKING:
    from pathlib import Path

    from ecm_edge.base.records import Form
    from ecm_edge.data.recordings.formats import Format
    from ecm_edge.data.recordings.importer import OnError
    from ecm_edge.evaluate.episodes import EpisodesRecord, Reference
    from ecm_edge.metrics.episodes import EpisodeFigures
    from ecm_edge.tasks import Task

_OF_A_REFERENCE = ("start_s", "excluded", "labels", "subjects", "annotator", *RHYTHM_OPTIONS)


@click.command("episodes", epilog=example("ecm-edge episodes run recordings -o episodes --hop 1"))
@model_argument
@click.argument("source", metavar="RECORDING|FOLDER", type=PATH, help="A recording, or a folder of them.")
@click.option("--out", "-o", type=PATH, required=True, help="The folder to make; it must not exist.")
@click.option(
    "--hop", "hop_s", type=FiniteRange(0, min_open=True), help="Seconds between windows.  [default: none overlap]"
)
@click.option(
    "--begin-at", type=FiniteRange(), default=0.0, show_default=True, help="The margin that begins an episode."
)
@click.option("--end-below", type=FiniteRange(), help="The margin below which it ends.  [default: --begin-at]")
@click.option(
    "--min-duration",
    "min_duration_s",
    type=FiniteRange(0),
    default=0.0,
    show_default=True,
    help="Episodes of fewer seconds are dropped.",
)
@click.option("--reference", "with_reference", is_flag=True, help="Compare with the recordings' own rhythms, by EC57.")
@click.option(
    "--start",
    "start_s",
    type=FiniteRange(0),
    default=300.0,
    show_default=True,
    help="The comparison leaves out this time at the start of each recording, in seconds.",
)
@click.option(
    "--exclude",
    "-x",
    "excluded",
    default="",
    show_default="none",
    metavar="CODES",
    help="Rhythms that the detector may call, by commas.",
)
@form_option("float32")
@model_task_option
@format_option
@on_error_option
@reading_options()
@rhythm_options
@json_option
def command(
    model: Path,
    source: Path,
    out: Path,
    form: Form | None,
    task: str | None,
    file_format: Format | None,
    on_error: OnError,
    hop_s: float | None,
    begin_at: float,
    end_below: float | None,
    min_duration_s: float,
    start_s: float,
    excluded: str,
    *,
    with_reference: bool,
    as_json: bool,
    **given: Any,  # noqa: ANN401 - fields of Options, and the options of rhythm codes
) -> None:
    """Write the episodes that MODEL finds in recordings: tables, rhythm notes for WFDB, and a strip chart of each.

    A moment belongs to the window whose centre is nearest. Where no window can be used an episode ends, and the burden
    leaves that time out.
    """
    from ecm_edge import tasks
    from ecm_edge.data.recordings.options import Options
    from ecm_edge.evaluate.answering import model_task
    from ecm_edge.evaluate.episodes import Rule
    from ecm_edge.report.episodes import write_episodes

    if not with_reference:
        _refuse_without_reference(click.get_current_context())
    rhythm_options = {name: given.pop(name) for name in RHYTHM_OPTIONS}
    form = choose_form(model, form, None)
    chosen = model_task(model, form, tasks.load(task) if task else None)
    record = write_episodes(
        model,
        source,
        out,
        form=form,
        task=chosen,
        rule=Rule(
            hop_s=hop_s or chosen.window_s,
            begin_at=begin_at,
            end_below=begin_at if end_below is None else end_below,
            min_duration_s=min_duration_s,
        ),
        reference=_reference(chosen, excluded, start_s, rhythm_options) if with_reference else None,
        file_format=file_format,
        options=Options(**given),
        on_error=on_error,
    )
    tell(lines_of(record), record.warnings)
    emit(record, as_json=as_json, render=lambda: _render(record))


def _refuse_without_reference(context: click.Context) -> None:
    for name in _OF_A_REFERENCE:
        if context.get_parameter_source(name) == ParameterSource.COMMANDLINE:
            option = next(p for p in context.command.params if p.name == name)
            raise click.UsageError(f"{option.opts[0]} has an effect with --reference only", context)


def _reference(task: Task, excluded: str, start_s: float, options: dict[str, Any]) -> Reference:
    from ecm_edge.evaluate.episodes import Reference

    return Reference(rhythm_rules(task, **options), listed(excluded), start_s)


def _render(record: EpisodesRecord) -> None:
    from ecm_edge.base.numbers import clock, percent, whole
    from ecm_edge.base.tables import Column, show

    show(
        f"{record.label} episodes{' SYNTHETIC DATA' if record.synthetic else ''}",
        ["recording", "duration", Column("analysed", drop=1), "episodes", record.label, "burden", "longest"],
        [
            [
                one.name,
                *(clock(time_s, 0) for time_s in (one.duration_s, one.analysed_s)),
                whole(len(one.episodes)),
                clock(one.positive_s, 0),
                "-" if one.burden is None else percent(one.burden),
                "-" if one.longest_s is None else clock(one.longest_s, 0),
            ]
            for one in record.recordings
        ],
    )
    if record.gross and record.averaged:
        named = [(one.name, one.figures) for one in record.recordings if one.figures]
        several = [("gross", record.gross), ("average", record.averaged)] if len(named) > 1 else []
        left_out = f", {', '.join(record.excluded)} excluded" if record.excluded else ""
        show(
            f"EC57 from {clock(record.start_s or 0, 0)} on{left_out}, in %",
            ["recording", "ESe", "E+P", "DSe", "D+P", "burden error"],
            [[name, *_figures(figures)] for name, figures in [*named, *several]],
        )
    click.echo(record.out)


def _figures(figures: EpisodeFigures) -> list[str]:
    """Percent as `epicmp` prints them; the error of the burden in percentage points."""
    shares = (
        figures.episode_sensitivity,
        figures.episode_positive_predictivity,
        figures.duration_sensitivity,
        figures.duration_positive_predictivity,
    )
    error = figures.burden_error
    written = ["-" if share is None else str(int(100 * share + 0.5)) for share in shares]
    return [*written, "-" if error is None else f"{100 * error:+.1f}"]
