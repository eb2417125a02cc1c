"""`ecm-edge robustness`: accuracy under disturbances of the input."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from ecm_edge.cli._common import (
    SEED,
    choose_form,
    data_option,
    emit,
    form_option,
    json_option,
    keeps_records,
    model_argument,
    open_data,
    rule_option,
    subjects_option,
    trust_option,
    unkept,
)
from ecm_edge.cli._help import example
from ecm_edge.cli._told import tell

if TYPE_CHECKING:
    from pathlib import Path

    from ecm_edge.base.records import Form
    from ecm_edge.evaluate.robustness import RobustnessRecord


@click.command("robustness", epilog=example("ecm-edge robustness run --data af"))
@model_argument
@data_option
@rule_option
@form_option()
@subjects_option
@click.option(
    "--out-of-fold",
    "out_of_fold",
    is_flag=True,
    help="All subjects in folds, each answered by the network of a candidate's cross-validation that has not seen it.",
)
@click.option(
    "--source",
    "sources",
    multiple=True,
    metavar="SOURCE",
    help="Of a merged data set, take the subjects of this source alone; may be repeated.",
)
@click.option(
    "--segments",
    type=click.IntRange(min=1),
    default=5000,
    show_default=True,
    help="At most this many segments, spread evenly over the sources of a merged data set and their subjects.",
)
@click.option("--seed", type=SEED, default=0, show_default=True, help="Of the noise.")
@trust_option
@json_option
def command(
    model: Path,
    data: Path,
    target: str | None,
    form: Form | None,
    subjects: str | None,
    sources: tuple[str, ...],
    segments: int,
    seed: int,
    *,
    out_of_fold: bool,
    as_json: bool,
) -> None:
    """Score MODEL, a candidate's folder or any ONNX file, on disturbed segments: noise, gains, units, recorders.

    On a candidate's own data set the record is kept in its folder as robustness.json, unless --source is given. An
    entry of a registry is not changed. Exits with 1 if an answer was not finite, or if the networks out of fold do not
    give the answers on record.
    """
    from ecm_edge import targets
    from ecm_edge.evaluate.robustness import ROBUSTNESS, check_out_of_fold, check_robustness
    from ecm_edge.evaluate.score import parse_subjects

    if out_of_fold and subjects is not None:
        raise click.UsageError("--out-of-fold takes all subjects; leave out --subjects")
    if out_of_fold and form not in {None, "float32"}:
        raise click.UsageError("--out-of-fold is of float32 networks; leave out --form")
    board = targets.load(target) if target else None
    with unkept():
        dataset, chosen = open_data(data), parse_subjects(subjects)
        if out_of_fold:
            record = check_out_of_fold(model, dataset, target=board, sources=sources, segments=segments, seed=seed)
        else:
            form = choose_form(model, form, board)
            record = check_robustness(
                model, dataset, target=board, subjects=chosen, sources=sources, form=form, segments=segments, seed=seed
            )
    if keeps_records(model) and not record.sources and record.origin and record.origin.relation == "own":
        record.save(model / ROBUSTNESS)
    emit(record, as_json=as_json, render=lambda: _render(record))


def _render(record: RobustnessRecord) -> None:
    from ecm_edge.base.numbers import with_positives
    from ecm_edge.base.tables import say

    tell([], record.warnings)
    made_up = " SYNTHETIC DATA" if record.synthetic else ""
    counted = with_positives(record.subjects, record.positive_subjects, record.label)
    part = "all subjects out of fold" if record.part == "out_of_fold" else f"{record.part} subjects"
    part += f" of {', '.join(record.sources)}" if record.sources else ""
    title = (
        f"{record.verdict}: {record.model} on {record.dataset}, {part}: "
        f"{record.segments} segments of {counted}{made_up}"
    )
    if record.statement:
        say(f"{record.statement}; signals that are not an ECG got an answer")
    for gate in record.gates:
        if gate.verdict != "PASS":
            say(f"{gate.verdict} {gate.name}: {gate.value} {gate.unit}, at most {gate.limit} {gate.detail}")
    _show_disturbances(title, record)
    _show_sources(record)
    _show_broadened(record)
    _show_rhythms(record)
    _show_degenerate(record)


def _show_disturbances(title: str, record: RobustnessRecord) -> None:
    from ecm_edge.base.numbers import point
    from ecm_edge.base.tables import Column, show

    show(
        title,
        [
            "disturbance",
            "Fβ mean",
            "change",
            Column("G", drop=2),
            "specificity",
            "sensitivity",
            Column("F1", drop=1),
            "labels changed",
        ],
        [
            [
                row.name,
                point(row.fbeta_mean),
                f"{row.fbeta_change.value:+.3f}",
                *map(point, (row.g, row.specificity, row.sensitivity, row.f1)),
                f"{row.share_changed:.2%}",
            ]
            for row in record.rows
        ],
    )


def _show_sources(record: RobustnessRecord) -> None:
    from ecm_edge.base.numbers import point
    from ecm_edge.base.tables import show

    sources = [own.source for own in record.rows[0].by_source]
    if sources:
        show(
            "By source: change of mean Fβ, specificity, sensitivity",
            ["disturbance", *sources],
            [
                [
                    row.name,
                    *(
                        f"{own.fbeta_change.value:+.3f}  {point(own.specificity)}  {point(own.sensitivity)}"
                        for own in row.by_source
                    ),
                ]
                for row in record.rows
            ],
        )


def _show_broadened(record: RobustnessRecord) -> None:
    from ecm_edge.base.numbers import figure, whole
    from ecm_edge.base.tables import Column, say, show

    made = record.broadened
    if made is None:
        return
    called = f"called {record.label} (95 %)"
    if made.rows:
        show(
            "Regular sinus rhythm, QRS made broad",
            [
                "source",
                "QRS",
                Column("measured", drop=2),
                "subjects",
                Column("segments", drop=3),
                Column("left out", drop=1),
                called,
                "as they are (95 %)",
            ],
            [
                [
                    row.source,
                    f"{row.width_ms} ms",
                    f"{row.measured_ms:.0f} ms",
                    *map(whole, (row.subjects, row.segments, row.left_out)),
                    *map(figure, (row.called_positive, row.as_they_are)),
                ]
                for row in made.rows
            ],
        )
    for reason, count in made.left_out.items():
        say(f"QRS not made broad in {count} of {made.sinus} sinus segments: {reason}")


def _show_rhythms(record: RobustnessRecord) -> None:
    from ecm_edge.base.numbers import figure, whole
    from ecm_edge.base.tables import show

    show(
        "By rhythm, undisturbed",
        ["rhythm", "subjects", "segments", f"called {record.label}", "sensitivity (95 %)", "specificity (95 %)"],
        [
            [
                r.rhythm,
                *map(whole, (r.subjects, r.segments, r.called_positive)),
                *map(figure, (r.sensitivity, r.specificity)),
            ]
            for r in record.by_rhythm
        ],
    )


def _show_degenerate(record: RobustnessRecord) -> None:
    from ecm_edge.base.tables import show

    show(
        "Segments without an ECG",
        ["segment", "label", "margin"],
        [
            [a.name, "–" if a.label is None else str(a.label), "refused" if a.refused else _margin(a.margin)]
            for a in record.degenerate
        ],
    )


def _margin(margin: float | None) -> str:
    return "not finite" if margin is None else f"{margin:.4g}"
