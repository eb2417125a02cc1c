"""`ecm-edge robustness`: accuracy under disturbances of the input."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from ecm_edge.cli._common import (
    CANDIDATE,
    SEED,
    choose_form,
    data_option,
    emit,
    form_option,
    json_option,
    keeps_records,
    open_data,
    rule_option,
    subjects_option,
)
from ecm_edge.cli._told import tell

if TYPE_CHECKING:
    from pathlib import Path

    from ecm_edge.base.records import Form
    from ecm_edge.evaluate.robustness import RobustnessRecord


@click.command("robustness")
@click.argument("model", type=CANDIDATE)
@data_option
@rule_option
@form_option()
@subjects_option
@click.option(
    "--segments",
    type=click.IntRange(min=1),
    default=5000,
    show_default=True,
    help="At most so many, evenly spread over the subjects.",
)
@click.option("--seed", type=SEED, default=0, show_default=True, help="Of the noise.")
@json_option
def command(
    model: Path,
    data: Path,
    target: str | None,
    form: Form | None,
    subjects: str | None,
    segments: int,
    seed: int,
    *,
    as_json: bool,
) -> None:
    """Score MODEL, a candidate's folder or any ONNX file, on disturbed segments: noise, gains, units, recorders.

    A candidate keeps the record of its own data set as robustness.json; an entry of a registry is left as it is. Exits
    with 1 if an answer was not finite.
    """
    from ecm_edge import targets
    from ecm_edge.evaluate.robustness import ROBUSTNESS, check_robustness
    from ecm_edge.evaluate.score import parse_subjects

    board = targets.load(target) if target else None
    form = choose_form(model, form, board)
    record = check_robustness(
        model,
        open_data(data),
        target=board,
        subjects=parse_subjects(subjects),
        form=form,
        segments=segments,
        seed=seed,
    )
    if keeps_records(model) and record.origin and record.origin.relation == "own":
        record.save(model / ROBUSTNESS)
    emit(record, as_json=as_json, render=lambda: _render(record))


def _render(record: RobustnessRecord) -> None:
    from ecm_edge.base.numbers import with_positives

    tell([], record.warnings)
    made_up = " SYNTHETIC DATA" if record.synthetic else ""
    counted = with_positives(record.subjects, record.positive_subjects, record.label)
    title = (
        f"{record.verdict}: {record.model} on {record.dataset}, {record.part} subjects: "
        f"{record.segments} segments of {counted}{made_up}"
    )
    _show_disturbances(title, record)
    _show_rhythms(record)
    _show_degenerate(record)


def _show_disturbances(title: str, record: RobustnessRecord) -> None:
    from ecm_edge.base.numbers import point
    from ecm_edge.base.tables import show

    show(
        title,
        ["disturbance", "Fβ mean", "change", "G", "specificity", "sensitivity", "F1", "labels changed"],
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


def _show_rhythms(record: RobustnessRecord) -> None:
    from ecm_edge.base.numbers import figure
    from ecm_edge.base.tables import show

    show(
        "By rhythm, undisturbed",
        ["rhythm", "subjects", "segments", f"called {record.label}", "sensitivity (95 %)", "specificity (95 %)"],
        [
            [
                r.rhythm,
                str(r.subjects),
                str(r.segments),
                str(r.called_positive),
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
