"""The record of a validation: a model's answers on a data set that it was not made from, scored here."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ecm_edge import targets
from ecm_edge.base import provenance
from ecm_edge.candidate import candidate
from ecm_edge.data.dataset import check_content
from ecm_edge.evaluate.external import origin
from ecm_edge.evaluate.score import record_of_margins
from ecm_edge.forms.model_file import margins, open_detector
from ecm_edge.report.candidate_records import load_records
from ecm_edge.report.mistakes import Answers, find_curves, find_mistakes
from ecm_edge.report.records import ValidationRecord
from ecm_edge.report.report_record import facts

if TYPE_CHECKING:
    from pathlib import Path

    from ecm_edge.base.records import Form
    from ecm_edge.data.dataset import Dataset


def is_validation(path: Path, dataset: Dataset) -> bool:
    """Whether a report on this data set validates: of a file, and of a candidate that was made from another data set.

    Raises:
        CandidateError: as for `candidate.locate`, or the folder is no candidate.
    """
    if path.is_file():
        return True
    config = candidate.load_config(candidate.locate(path))
    return config.dataset_sha256 != dataset.header.content_sha256


def validate(path: Path, dataset: Dataset) -> ValidationRecord:
    """Score a candidate, an entry of a registry or an ONNX file on all subjects of a data set.

    Beta and the limit of G are those of the board that a candidate was made for, if it is one that ships.

    Raises:
        CandidateError: no candidate, or one without the form that its records are about.
        ModelError: the file is not a classifier of these segments, or its scores are not finite.
        DatasetError: no labelled segment, or the data set changed since it was written.
    """
    check_content(dataset)
    folder = path if path.is_file() else candidate.locate(path)
    board, form = _made_for(folder)
    model = open_detector(folder, form)
    if model.config:
        candidate.check_task(model.config, dataset)
    rows = dataset.rows_of(dataset.header.subjects)
    margin = margins(model.classifier, dataset, rows)
    answers = Answers(rows, margin, model.form, model.classifier)
    rule = targets.load(board) if board in targets.names() else None
    score = record_of_margins(model, dataset, rows, margin, "all", rule)
    beside = score.even_odds and score.even_odds.model_copy(update={"board_points": None})
    return ValidationRecord(
        model=folder.name,
        target=board,
        synthetic=score.synthetic,
        data=facts(dataset),
        origin=origin(model, dataset),
        score=score.model_copy(update={"board": None, "even_odds": beside}),
        mistakes=find_mistakes(dataset, answers),
        curves=find_curves(dataset, answers),
        provenance=provenance.collect(),
    )


def _made_for(folder: Path) -> tuple[str | None, Form]:
    """The board of a candidate and the form that its records are about."""
    if folder.is_file():
        return None, "float32"
    records = load_records(folder)
    return records.target, records.form
