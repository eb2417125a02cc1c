"""Score: accuracy of one model on labelled segments, by subject and by rhythm, and the board's score.

Reported figures are of subjects that the model was neither trained nor tuned on; where they are not, the record names
those subjects and warns.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar, Literal, cast, get_args

import numpy as np
from pydantic import Field

from ecm_edge import metrics
from ecm_edge.base import files, provenance
from ecm_edge.base.errors import CandidateError, DatasetError
from ecm_edge.base.numbers import KIB
from ecm_edge.base.records import Drawable, Evidence, Form, Latency, Provenance, Record
from ecm_edge.base.shown import Tables
from ecm_edge.candidate.candidate import check_task
from ecm_edge.data.sources import rows_in
from ecm_edge.evaluate.board_cost import board_cost
from ecm_edge.evaluate.even_odds import EvenOdds, even_odds, folded_threshold
from ecm_edge.evaluate.external import Origin, origin, same_names, trained_on
from ecm_edge.evaluate.units import input_warnings
from ecm_edge.forms import onnx_model
from ecm_edge.forms.model_file import ModelFile, margins, open_detector
from ecm_edge.metrics import BoardScore, Scores
from ecm_edge.metrics.drawing import draw_subjects, subjects_height_in
from ecm_edge.metrics.rows import score_rows
from ecm_edge.targets import score_rule
from ecm_edge.training import out_of_fold

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from matplotlib.axes import Axes
    from numpy.typing import NDArray

    from ecm_edge.base.plots import Colours
    from ecm_edge.data.dataset import Dataset
    from ecm_edge.targets import Target
    from ecm_edge.tasks import Task

Part = Literal["train", "validation", "test", "all"]
Subjects = Part | list[str]
"""A part of the candidate's split, every subject of the data set, or subjects by name."""

_GUESS = 1.1  # sensitivity and specificity of a guess have a sum of 1


class BoardResult(Record):
    """Latency and size on the board with their evidence, and the score where their task has a rule there."""

    target: str
    board_score: BoardScore | None
    latency_ms: Latency
    flash_bytes: int
    flash_evidence: Evidence


class ScoreRecord(Drawable):
    """The scores of a model, the data that they are of, and warnings.

    `part` is "chosen" where subjects were named. It is "out_of_fold" where the networks of a cross-validation answered
    (see `statement`): then `scores` are those of the recipe, and model and costs those of the candidate trained by it.
    Of a merged data set, `sources` are those whose subjects alone were scored; empty where that was not asked for.
    `trained_on` are the scored subjects that the answering network was trained or tuned on; None where the file does
    not name them. `task` is that of the data set, and `label` its word for a positive segment. `origin` says whether
    the data set is external to the model. `even_odds` are figures before the threshold was taken off; absent where
    the threshold is not known, as that of a bare file.
    """

    model: str
    model_sha256: str
    form: Form | None
    config_sha256: str | None
    dataset: str
    dataset_sha256: str
    synthetic: bool
    blank: str
    task: str = "af-5s"
    label: str = "AF"
    part: Part | Literal["chosen", "out_of_fold"]
    sources: list[str] = Field(default_factory=list)
    statement: str | None = None
    trained_on: list[str] | None
    origin: Origin | None = None
    warnings: list[str]
    scores: Scores
    even_odds: EvenOdds | None = None
    board: BoardResult | None
    provenance: Provenance
    KEYS = ("model", "dataset", "scores.fbeta_mean", "scores.specificity")
    TABLES: ClassVar[Tables] = {f"scores.{name}": columns for name, columns in Scores.TABLES.items()}

    def draw(self, axes: Axes, colours: Colours) -> None:
        """The scores by subject; `scores.calibration` has a drawing of its own."""
        draw_subjects(self.scores, axes, colours)

    def _height_in(self) -> float:
        return subjects_height_in(self.scores)


def score_model(
    path: Path,
    dataset: Dataset,
    *,
    target: Target | None = None,
    subjects: Subjects | None = None,
    sources: Sequence[str] = (),
    form: Form = "float32",
    latency: Latency | None = None,
) -> ScoreRecord:
    """Score a candidate's folder or any ONNX file.

    Args:
        path: the folder, or the file.
        dataset: the segments; unlabelled ones are left out.
        target: gives beta, the limit of G, and the board's score.
        subjects: by default a candidate's test subjects on its own data set, and else all of them.
        sources: of a merged data set, score these alone; all of them where none is named.
        form: which form of a candidate; a file is what it is.
        latency: that of the board, in place of the estimate; the time of an emulator is none.

    Raises:
        CandidateError: the folder is no candidate or lacks the form, the latency is an emulator's, or the data set is
            of another task (`check_task`).
        ModelError: the file is not a classifier of these segments, or its scores are not finite.
        DatasetError: no labelled segment among the subjects, an unknown subject or source, or a part of a split that
            the data set does not have.
    """
    _check_latency(latency)
    model = open_detector(path, form)
    if model.config:
        check_task(model.config, dataset)
    if subjects is None:
        subjects = default_subjects(model, dataset)
    rows = dataset.rows_of(subject_names(subjects, model, dataset))
    rows = rows[rows_in(rows, dataset, sources)]
    margin = margins(model.classifier, dataset, rows)
    return record_of_margins(model, dataset, rows, margin, subjects, target, latency, sources)


def record_of_margins(
    model: ModelFile,
    dataset: Dataset,
    rows: NDArray[np.int64],
    margin: NDArray[np.float32],
    subjects: Subjects,
    target: Target | None = None,
    latency: Latency | None = None,
    sources: Sequence[str] = (),
) -> ScoreRecord:
    """The score of these rows, (n,), given the model's margins for them, (n,); all else as for `score_model`."""
    threshold = folded_threshold(model.folder, model.config) if model.folder and model.config else None
    before = None if threshold is None else margin + np.float32(threshold)  # nothing is known of any other file
    scores = score_rows(margin, dataset, rows, target, before)
    seen = trained_on(model, dataset, [subject.subject for subject in scores.by_subject])
    part = "chosen" if isinstance(subjects, list) else subjects
    record = _record(model, dataset, target, scores, latency, part=part, trained_on=seen, sources=sources)
    return record if before is None else _beside(record, before, dataset, rows, target)


def score_out_of_fold(
    folder: Path,
    dataset: Dataset,
    *,
    target: Target | None = None,
    sources: Sequence[str] = (),
    form: Form = "float32",
    latency: Latency | None = None,
) -> ScoreRecord:
    """Score a candidate's recipe on all subjects in folds, by the margins of its cross-validation out of fold.

    Args:
        folder: the candidate, trained with --folds.
        dataset: the one that it was made from.
        target: as for `score_model`.
        sources: as for `score_model`.
        form: the form whose costs the board's score counts; the answers are those of float32 networks.
        latency: as for `score_model`.

    Raises:
        CandidateError: as for `score_model` and `out_of_fold.load`.
        DatasetError: an unknown source, or one without an answer.
        ModelError: the file is not a classifier.
    """
    _check_latency(latency)
    model = open_detector(folder, form)
    if model.config is None:
        raise CandidateError(
            "out of fold is a candidate's recipe", f"the file {folder}", "Give the folder of a candidate."
        )
    answers = out_of_fold.load(folder, model.config, dataset)
    folds = answers.record.assignment
    rows = out_of_fold.answered_rows(dataset, folds)
    chosen = rows_in(rows, dataset, sources)
    scores = score_rows(answers.after[chosen], dataset, rows[chosen], target, answers.before[chosen])
    statement = out_of_fold.statement(folds)
    record = _record(
        model, dataset, target, scores, latency, part="out_of_fold", trained_on=[], sources=sources, statement=statement
    )
    return _beside(record, answers.before[chosen], dataset, rows[chosen], target)


def _check_latency(latency: Latency | None) -> None:
    if latency and latency.evidence == Evidence.EMULATED:
        raise CandidateError(
            "a board's score takes no time from an emulator",
            f"a latency that is {latency.evidence}: {latency.source}",
            "Measure the board with `ecm-edge measure`, or leave it out: the estimate stands in.",
        )


def _record(
    model: ModelFile,
    dataset: Dataset,
    target: Target | None,
    scores: Scores,
    latency: Latency | None,
    *,
    part: Part | Literal["chosen", "out_of_fold"],
    trained_on: list[str] | None,
    sources: Sequence[str] = (),
    statement: str | None = None,
) -> ScoreRecord:
    return ScoreRecord(
        **model_and_data(model, dataset),
        part=part,
        sources=list(dict.fromkeys(sources)),
        statement=statement,
        trained_on=trained_on,
        origin=origin(model, dataset),
        warnings=[
            *data_warnings(model, dataset, scores),
            *warnings_of(trained_on, scores, dataset.header.task.label),
        ],
        scores=scores,
        board=board_result(model, target, scores, dataset.header.task, latency) if target else None,
        provenance=provenance.collect(),
    )


def _beside(
    record: ScoreRecord,
    before: NDArray[np.float32],
    dataset: Dataset,
    rows: NDArray[np.int64],
    target: Target | None,
) -> ScoreRecord:
    """The record with the figures at even odds of these rows, (n,), given margins before the threshold, (n,)."""
    costs = (record.board.latency_ms.mean_ms, record.board.flash_bytes / KIB) if record.board else None
    return record.model_copy(update={"even_odds": even_odds(before, dataset, rows, target, costs)})


def model_and_data(model: ModelFile, dataset: Dataset) -> dict[str, Any]:
    """The fields of a ScoreRecord that name the model and the data set; a RobustnessRecord has them too."""
    return {
        "model": model.path.name,
        "model_sha256": files.sha256_file(model.path),
        "form": model.form,
        "config_sha256": model.config.sha256 if model.config else None,
        "dataset": dataset.folder.name,
        "dataset_sha256": dataset.header.content_sha256,
        "synthetic": dataset.header.synthetic or is_synthetic(model),
        "blank": dataset.header.blank,
        "task": dataset.header.task.name,
        "label": dataset.header.task.label,
    }


def is_synthetic(model: ModelFile) -> bool:
    """Whether the model was trained on synthetic data, by the candidate's configuration or the file's metadata."""
    if model.config:
        return model.config.synthetic
    return onnx_model.provenance(model.classifier.proto).get("synthetic") == "true"


def parse_subjects(text: str | None) -> Subjects | None:
    """`test`, `validation`, `train`, `all`, or names with commas between them; None for None."""
    if text is None:
        return None
    return cast("Part", text) if text in get_args(Part) else [name.strip() for name in text.split(",") if name.strip()]


def default_subjects(model: ModelFile, dataset: Dataset) -> Part:
    """A candidate's test part on its own data set; all subjects for a file, and on any other data set."""
    own = model.config is not None and model.config.dataset_sha256 == dataset.header.content_sha256
    return "test" if own else "all"


def subject_names(subjects: Subjects, model: ModelFile, dataset: Dataset) -> Sequence[str]:
    """The names of these subjects.

    Raises:
        DatasetError: a part of a split, where the model is a file without one, or the candidate's part is empty.
    """
    if isinstance(subjects, list):
        return subjects
    if subjects == "all":
        return dataset.header.subjects
    if model.config is None:
        raise DatasetError(
            f"{subjects!r} is a part of a candidate's split",
            f"the file {model.path}",
            "Give the candidate's folder, or name the subjects.",
        )
    if origin(model, dataset).relation == "external":
        raise DatasetError(
            "a part of a candidate's split is one of the data set that it was made from",
            f"{subjects!r} for {dataset.folder}, which is another one",
            "Leave out --subjects for all of its subjects, or name them.",
        )
    names: list[str] = getattr(model.config.split, subjects)
    if not names:
        raise DatasetError(
            f"the {subjects} part of a candidate's split has a subject",
            f"none in {model.folder}, which was trained on {len(model.config.split.train)} subjects",
            "Score it with --out-of-fold, or on subjects of another data set with --subjects.",
        )
    return names


def board_result(
    model: ModelFile, target: Target, scores: Scores, task: Task, latency: Latency | None = None
) -> BoardResult:
    """The score on the board with every term of the task's rule, and the costs that enter it."""
    cost = board_cost(model, target)
    latency = latency or cost.latency_ms
    rule = score_rule(target, task)
    score = metrics.on_board(rule, scores, latency.mean_ms, cost.flash_bytes / KIB) if rule else None
    return BoardResult(
        target=target.name,
        board_score=score,
        latency_ms=latency,
        flash_bytes=cost.flash_bytes,
        flash_evidence=cost.evidence,
    )


def data_warnings(model: ModelFile, dataset: Dataset, scores: Scores) -> list[str]:
    """The warnings about a data set that the model was not made from: its task, unit, rate and names of subjects.

    Raises:
        CandidateError: the data set is of another task (`check_task`).
    """
    other_task = check_task(model.config, dataset) if model.config else []
    named = same_names(model, dataset, [subject.subject for subject in scores.by_subject])
    return [*other_task, *input_warnings(model, dataset), *([named] if named else [])]


def warnings_of(trained_on: list[str] | None, scores: Scores, label: str) -> list[str]:
    """The warnings about these scores; `trained_on` and `label` as in a `ScoreRecord`."""
    warnings = []
    if trained_on is None:
        warnings.append(
            "the file does not say which subjects it was trained on: if any of these, the figures are too good; "
            "a candidate's folder knows its test subjects"
        )
    elif trained_on:
        warnings.append(
            f"the model was trained or tuned on {len(trained_on)} of these {scores.subjects} subjects: "
            "the figures are not those of new subjects"
        )
    if scores.subjects == 1:
        warnings.append("one subject: no interval can be given")
    if missing := undefined(scores, label):
        warnings.append(missing)
    elif guessed := like_a_guess(scores):
        warnings.append(guessed)
    return warnings


def like_a_guess(scores: Scores) -> str:
    """What is to be said of answers that tell the two classes apart no better than a guess; else empty."""
    right = scores.confusion
    sensitivity, specificity = right.tp / (right.tp + right.fn), right.tn / (right.tn + right.fp)
    if sensitivity + specificity > _GUESS:
        return ""
    return (
        f"sensitivity {sensitivity:.3f} with specificity {specificity:.3f} is hardly better than a guess, which has a "
        f"sum of 1, whatever mean F{scores.beta:g} and G are"
    )


def undefined(scores: Scores, label: str = "AF") -> str:
    """What a score of one class says nothing about; empty where both are there."""
    if scores.confusion.tp + scores.confusion.fn == 0:
        return (
            f"no segment with {label}: sensitivity and AUC are undefined, precision and F1 say nothing, and mean "
            f"F{scores.beta:g} and G are 1 by the contest's rule, whatever the model answers"
        )
    if scores.confusion.tn + scores.confusion.fp == 0:
        return (
            f"no segment without {label}: specificity and AUC are undefined, NPV says nothing, and precision is 1 "
            "whatever the model answers"
        )
    return ""
