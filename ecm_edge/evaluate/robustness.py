"""Robustness: the accuracy of a model when its input is not as clean as a data set's.

The same segments are answered as they are and under each disturbance; each is compared with the undisturbed answers.
N segments.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

import numpy as np
from pydantic import AliasChoices, Field

from ecm_edge import metrics
from ecm_edge.base import provenance
from ecm_edge.base.records import Form, Gate, Interval, Provenance, Record, Verdict, at_most, verdict_of_all
from ecm_edge.candidate.candidate import check_task
from ecm_edge.candidate.row_sampling import spread
from ecm_edge.evaluate import score
from ecm_edge.evaluate.disturbed import UNDISTURBED, DegenerateAnswer, answer_degenerate, disturbed_margins, labels_of
from ecm_edge.evaluate.external import Origin, origin, trained_on
from ecm_edge.evaluate.score import Part, Subjects
from ecm_edge.forms.model_file import open_detector
from ecm_edge.metrics.rows import score_rows
from ecm_edge.targets import score_rule

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

    from ecm_edge.data.dataset import Dataset
    from ecm_edge.metrics import RhythmScore
    from ecm_edge.targets import Target

ROBUSTNESS = "robustness.json"
SEGMENTS = 5000
"""At most so many segments are disturbed by default."""


class RobustnessRow(Record):
    """The figures of all segments under one disturbance; the first row is of the segments as they are.

    labels_changed, share_changed: segments whose label differs from the undisturbed answer.
    fbeta_change:                  mean Fβ less the undisturbed one, the same resampled subjects on both sides.
    not_finite:                    answers that were NaN or infinite; a NaN counts as not AF, as on the board.
    """

    name: str
    fbeta_mean: Interval
    fbeta_change: Interval
    g: Interval
    f1: Interval | None
    sensitivity: Interval | None
    specificity: Interval | None
    labels_changed: int
    share_changed: float
    not_finite: int


class RhythmAnswers(Record):
    """The undisturbed segments of one rhythm ("blank" where it had no name) and one label; ratios as in RhythmScore."""

    rhythm: str
    label: int
    subjects: int
    segments: int
    called_positive: int = Field(validation_alias=AliasChoices("called_positive", "called_af"))
    sensitivity: Interval | None
    specificity: Interval | None


class RobustnessRecord(Record):
    """A model under disturbances; `verdict` is FAIL if any of its answers was not finite.

    part, trained_on, origin, warnings: as in ScoreRecord.
    segments: scored under each disturbance, evenly spread over subjects.
    positive_subjects: those of `subjects` with a positive segment; the others have Fβ = 1 by the contest's rule.
    """

    verdict: Verdict
    gates: list[Gate]
    model: str
    model_sha256: str
    form: Form | None
    config_sha256: str | None
    target: str | None
    dataset: str
    dataset_sha256: str
    synthetic: bool
    blank: str
    task: str = "af-5s"
    label: str = "AF"
    part: Part | Literal["chosen"]
    trained_on: list[str] | None
    origin: Origin | None = None
    warnings: list[str]
    seed: int
    segments: int
    subjects: int
    positive_subjects: int | None = None
    beta: float
    good_subject_above: float
    rows: list[RobustnessRow]
    by_rhythm: list[RhythmAnswers]
    degenerate: list[DegenerateAnswer]
    provenance: Provenance


def check_robustness(
    path: Path,
    dataset: Dataset,
    *,
    target: Target | None = None,
    subjects: Subjects | None = None,
    form: Form = "float32",
    segments: int = SEGMENTS,
    seed: int = 0,
) -> RobustnessRecord:
    """Score a candidate's folder or any ONNX file under every disturbance; a block of segments is in memory at a time.

    Args:
        path: the folder, or the file.
        dataset: the segments; unlabelled ones are left out.
        target: gives beta and the limit of G.
        subjects: by default those that `score` takes.
        form: which form of a candidate; a file is what it is.
        segments: at most so many, evenly spread over the subjects.
        seed: of the noise.

    Raises:
        CandidateError: the folder is no candidate or lacks the form, or the data set is of another task.
        ModelError: the file is not a classifier of these segments.
        DatasetError: no labelled segment among the subjects, an unknown subject, a part of a split that the data set
            does not have, or a sample that is not finite.
    """
    # Above 40 lines: half of them are the fields of the one record that it makes.
    model = open_detector(path, form)
    if model.config:
        check_task(model.config, dataset)
    if subjects is None:
        subjects = score.default_subjects(model, dataset)
    rows = spread(dataset, dataset.rows_of(score.subject_names(subjects, model, dataset)), segments)
    margins = disturbed_margins(model.classifier, dataset, rows, seed)
    table = [_row(name, margins, dataset, rows, target) for name in margins]
    undisturbed = labels_of(margins[UNDISTURBED])
    clean = score_rows(undisturbed, dataset, rows, target)
    degenerate = answer_degenerate(model.classifier, dataset.header.sampling_rate_hz)
    gates = [
        at_most("answers_not_finite", sum(row.not_finite for row in table), 0, "answers"),
        at_most("degenerate_not_finite", sum(a.margin is None and not a.refused for a in degenerate), 0, "answers"),
    ]
    seen = trained_on(model, dataset, [subject.subject for subject in clean.by_subject])
    return RobustnessRecord(
        verdict=verdict_of_all(gates),
        gates=gates,
        **score.model_and_data(model, dataset),
        target=target.name if target else None,
        part="chosen" if isinstance(subjects, list) else subjects,
        trained_on=seen,
        origin=origin(model, dataset),
        warnings=[
            *score.data_warnings(model, dataset, clean),
            *score.warnings_of(seen, clean, dataset.header.task.label),
        ],
        seed=seed,
        segments=len(rows),
        subjects=clean.subjects,
        positive_subjects=clean.positive_subjects,
        beta=clean.beta,
        good_subject_above=clean.good_subject_above,
        rows=table,
        by_rhythm=[_answers(rhythm) for rhythm in clean.by_rhythm],
        degenerate=degenerate,
        provenance=provenance.collect(),
    )


def _row(
    name: str,
    margins: dict[str, NDArray[np.float32]],
    dataset: Dataset,
    rows: NDArray[np.int64],
    target: Target | None,
) -> RobustnessRow:
    clean, called = labels_of(margins[UNDISTURBED]), labels_of(margins[name])
    scores = score_rows(called, dataset, rows, target)
    changed = int((called != clean).sum())
    labels, subjects = dataset.labels[rows], dataset.subject_names(rows)
    rule = score_rule(target, dataset.header.task)
    return RobustnessRow(
        name=name,
        fbeta_mean=scores.fbeta_mean,
        fbeta_change=metrics.paired_difference(labels, called, clean, subjects, "fbeta_mean", rule=rule),
        g=scores.g,
        f1=scores.f1,
        sensitivity=scores.recall,
        specificity=scores.specificity,
        labels_changed=changed,
        share_changed=changed / len(rows),
        not_finite=int((~np.isfinite(margins[name])).sum()),
    )


def _answers(rhythm: RhythmScore) -> RhythmAnswers:
    counts = rhythm.model_dump(exclude={"sensitivity", "specificity", "interval"})
    sensitivity, specificity = (rhythm.interval, None) if rhythm.label else (None, rhythm.interval)
    return RhythmAnswers(**counts, sensitivity=sensitivity, specificity=specificity)
