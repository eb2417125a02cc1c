"""`ecm-edge score`: accuracy by subject and by rhythm, and the board's score."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from ecm_edge.cli._common import (
    PATH,
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
)
from ecm_edge.cli._help import example
from ecm_edge.cli._told import tell

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from ecm_edge.base.records import Form
    from ecm_edge.evaluate.score import BoardResult, ScoreRecord
    from ecm_edge.metrics import Calibration, Scores
    from ecm_edge.metrics.board import BoardTerm
    from ecm_edge.metrics.evaluate import SourceScore


_FIGURES = ("accuracy", "precision", "recall", "f1", "npv", "auc", "fbeta_mean", "g", "specificity")
"""Specificity stands beside mean Fβ and G, which know nothing of it where a subject has no positive segment."""


@click.command("score", epilog=example("ecm-edge score run --data af --target loongson-2k0500"))
@model_argument
@data_option
@rule_option
@form_option()
@subjects_option
@click.option(
    "--out-of-fold",
    "out_of_fold",
    is_flag=True,
    help="All subjects in folds, by the cross-validation of a candidate's recipe.",
)
@click.option(
    "--source",
    "sources",
    multiple=True,
    metavar="SOURCE",
    help="Of a merged data set, score the subjects of this source alone; may be repeated.",
)
@click.option(
    "--latency", "latency_file", type=PATH, help="A JSON latency record of the board.  [default: an estimate]"
)
@json_option
def command(
    model: Path,
    data: Path,
    target: str | None,
    form: Form | None,
    subjects: str | None,
    sources: tuple[str, ...],
    latency_file: Path | None,
    *,
    out_of_fold: bool,
    as_json: bool,
) -> None:
    """Score MODEL, a candidate's folder or any ONNX file, on labelled segments.

    The record is kept in a candidate's folder as score.json where its test subjects were scored, or where it has none
    and --out-of-fold was given. An entry of a registry is not changed. On any other data set all subjects are scored:
    external validation.
    """
    from ecm_edge import targets
    from ecm_edge.base.records import Latency
    from ecm_edge.candidate import candidate
    from ecm_edge.evaluate.score import parse_subjects, score_model, score_out_of_fold

    if out_of_fold and subjects is not None:
        raise click.UsageError("--out-of-fold scores all subjects; leave out --subjects")
    board = targets.load(target) if target else None
    form = choose_form(model, form, board)
    dataset = open_data(data)
    latency = Latency.load(latency_file) if latency_file else None
    if out_of_fold:
        record = score_out_of_fold(model, dataset, target=board, sources=sources, form=form, latency=latency)
    else:
        chosen = parse_subjects(subjects)
        record = score_model(model, dataset, target=board, subjects=chosen, sources=sources, form=form, latency=latency)
    if _is_kept(record, model):
        record.save(model / candidate.SCORE)
    emit(record, as_json=as_json, render=lambda: _render(record))


def _is_kept(record: ScoreRecord, model: Path) -> bool:
    """Whether a candidate keeps it: of its own data set, its test subjects, or out of fold where it has none.

    One of some sources alone is kept out of fold only, where folds.json has the figures of all of them.
    """
    from ecm_edge.candidate.candidate import load_config

    if not keeps_records(model) or (record.sources and record.part != "out_of_fold"):
        return False
    config = load_config(model)
    part = "test" if config.split.test else "out_of_fold"
    return (record.dataset_sha256, record.part) == (config.dataset_sha256, part)


def _render(record: ScoreRecord) -> None:
    from ecm_edge.base.numbers import figure, with_positives
    from ecm_edge.base.tables import say, show
    from ecm_edge.evaluate.score import undefined

    scores = record.scores
    tell([], record.warnings)
    made_up = " SYNTHETIC DATA" if record.synthetic else ""
    part = "all subjects out of fold" if record.part == "out_of_fold" else f"{record.part} subjects"
    part += f" of {', '.join(record.sources)}" if record.sources else ""
    counted = with_positives(scores.subjects, scores.positive_subjects, record.label)
    title = f"{record.model} on {record.dataset}, {part}: {scores.segments:,} segments of {counted}{made_up}"
    if record.statement:
        say(record.statement)
    elif record.origin and record.origin.relation != "own":
        say(f"{record.origin.statement}{'; all its subjects are scored' if record.part == 'all' else ''}")
    averaged = dict(scores.averaged)
    columns = {"pooled": dict(scores), "mean over subjects": averaged}
    if record.even_odds:
        columns["at even odds"] = dict(record.even_odds)
    rows = [[name, *(figure(of[name]) if name in of else "" for of in columns.values())] for name in _FIGURES]
    show(title, ["figure", *(f"{column} (95 %)" for column in columns)], rows)
    say(_calibration(scores.calibration))
    if scores.by_source:
        _show_sources(scores.by_source, record.label)
    _show_rhythms(scores, record.label)
    _show_subjects(scores, record.label)
    if record.board:
        _render_board(record.board, record.task)
    if record.even_odds and record.even_odds.board_points is not None and record.board and record.board.board_score:
        points = record.even_odds.board_points
        say(f"at even odds {points:.2f}; the threshold adds {record.board.board_score.total - points:+.2f}")
    if missing := undefined(scores, record.label):
        say(missing)


def _calibration(calibration: Calibration | None) -> str:
    from ecm_edge.base.numbers import figure, ratio

    if calibration is None:
        return "calibration: not known; no record says which threshold is in these scores"
    return (
        f"calibration: Brier score {figure(calibration.brier)}, skill {figure(calibration.skill)} against a base rate "
        f"of {ratio(calibration.base_rate)}, expected error {ratio(calibration.expected_error)}"
    )


def _show_rhythms(scores: Scores, label: str) -> None:
    from ecm_edge.base.numbers import NONE, figure, whole
    from ecm_edge.base.tables import show

    show(
        "By rhythm (95 %)",
        ["rhythm", "subjects", "segments", f"called {label}", "sensitivity", "specificity"],
        [
            [
                r.rhythm,
                *map(whole, (r.subjects, r.segments, r.called_positive)),
                *(figure(r.interval) if share is not None else NONE for share in (r.sensitivity, r.specificity)),
            ]
            for r in scores.by_rhythm
        ],
    )


def _show_subjects(scores: Scores, label: str) -> None:
    from ecm_edge.base.numbers import ratio, whole
    from ecm_edge.base.tables import Column, say, show
    from ecm_edge.metrics.worst import left_out, shown

    show(
        "By subject, worst first",
        [
            "subject",
            "segments",
            "tp",
            "fp",
            "tn",
            "fn",
            "sensitivity",
            "specificity",
            Column("ppv", drop=1),
            "fbeta",
        ],
        [
            [
                s.subject,
                *map(whole, (s.segments, s.tp, s.fp, s.tn, s.fn)),
                *map(ratio, (s.sensitivity, s.specificity, s.ppv, s.fbeta)),
            ]
            for s in shown(scores.by_subject)
        ],
    )
    if others := left_out(scores.by_subject, label=label):
        say(others)


def _show_sources(sources: Sequence[SourceScore], label: str) -> None:
    from ecm_edge.base.numbers import figure
    from ecm_edge.base.tables import show

    show(
        "By source, pooled (95 %)",
        ["figure", *(source.source for source in sources)],
        [
            ["subjects", *(f"{source.subjects:,}" for source in sources)],
            [f"with {label}", *(f"{source.positive_subjects:,}" for source in sources)],
            ["segments", *(f"{source.segments:,}" for source in sources)],
            *([name, *(figure(getattr(source, name)) for source in sources)] for name in _FIGURES),
            ["brier", *(figure(s.calibration.brier if s.calibration else None) for s in sources)],
        ],
    )


def _render_board(board: BoardResult, task: str) -> None:
    from ecm_edge.base.tables import say, show

    say(f"latency {board.latency_ms.mean_ms:.3f} ms ({board.latency_ms.evidence}: {board.latency_ms.source})")
    say(f"flash {board.flash_bytes:,} B ({board.flash_evidence})")
    if board.board_score is None:
        say(f"no points: there is no rule of score for the task {task} on {board.target}")
        return
    score = board.board_score
    terms = [[t.name, _term(t), f"{t.normalised:.3f}", f"{t.points:.2f}"] for t in score.terms]
    show(f"{score.title} score: {score.total:.2f} of {score.most:g}", ["term", "value", "normalised", "points"], terms)


def _term(term: BoardTerm) -> str:
    """The value of a term; a size as everywhere, with one decimal."""
    return f"{term.value:,.1f} KiB" if term.unit == "KiB" else f"{term.value:.4g} {term.unit}"
