"""Robustness: the accuracy of a model when its input is not as clean as a data set's.

The same segments are answered as they are and under each disturbance; each is compared with the undisturbed answers.
A model answers by itself, or out of fold: each subject is answered by the network of a cross-validation that has not
seen it, under every disturbance too. N segments.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np
from pydantic import AliasChoices, Field

from ecm_edge import metrics
from ecm_edge.base import provenance
from ecm_edge.base.errors import CandidateError
from ecm_edge.base.progress import doing
from ecm_edge.base.records import Form, Gate, Interval, Provenance, Record, Verdict, at_most, verdict_of_all
from ecm_edge.candidate.candidate import check_task
from ecm_edge.candidate.row_sampling import spread_by_source
from ecm_edge.data.sources import rows_in
from ecm_edge.evaluate import score
from ecm_edge.evaluate.broadened_figures import Broadened, broadened_figures
from ecm_edge.evaluate.disturbed import (
    UNDISTURBED,
    DegenerateAnswer,
    answer_degenerate,
    by_model,
    disturbed_margins,
    labels_of,
)
from ecm_edge.evaluate.external import Origin, origin, trained_on
from ecm_edge.evaluate.fold_answers import by_folds, difference
from ecm_edge.evaluate.score import Part, Subjects
from ecm_edge.forms.model_file import open_detector
from ecm_edge.metrics.rows import score_rows
from ecm_edge.targets import score_rule
from ecm_edge.training import out_of_fold
from ecm_edge.training.out_of_fold import MARGINS as FOLD_MARGINS

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from ecm_edge.data.dataset import Dataset
    from ecm_edge.evaluate.disturbed import Answer
    from ecm_edge.forms.model_file import ModelFile
    from ecm_edge.metrics import RhythmScore
    from ecm_edge.targets import Target

ROBUSTNESS = "robustness.json"
SEGMENTS = 5000
"""At most so many segments are disturbed by default."""


REPRODUCED_WITHIN = 1e-3
"""Of a margin: undisturbed answers out of fold lie so near to those on record; other machines round otherwise."""


class SourceChange(Record):
    """The figures of the segments of one source of a merged data set, as in RobustnessRow."""

    source: str
    fbeta_mean: Interval
    fbeta_change: Interval
    sensitivity: Interval | None
    specificity: Interval | None


class RobustnessRow(Record):
    """The figures of all segments under one disturbance; the first row is of the segments as they are.

    labels_changed, share_changed: segments whose label differs from the undisturbed answer.
    fbeta_change:                  mean Fβ less the undisturbed one, the same resampled subjects on both sides.
    not_finite:                    answers that were NaN or infinite; a NaN counts as not AF, as on the board.
    by_source:                     empty where the segments are of one source.
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
    by_source: list[SourceChange] = Field(default_factory=list)


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

    part, sources, statement, trained_on, origin, warnings: as in ScoreRecord. Out of fold `rows`, `by_rhythm` and
              `broadened` are those of the networks of the folds, and `degenerate` is of the candidate's own; `verdict`
              is FAIL too if the networks do not answer what is on record.
    segments: scored under each disturbance, evenly spread over the sources, and in each over subjects.
    positive_subjects: those of `subjects` with a positive segment; the others have Fβ = 1 by the contest's rule.
    broadened: the regular sinus rhythm among the segments, with broadened beats; absent in records of earlier versions.
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
    part: Part | Literal["chosen", "out_of_fold"]
    sources: list[str] = Field(default_factory=list)
    statement: str | None = None
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
    broadened: Broadened | None = None
    provenance: Provenance


def check_robustness(
    path: Path,
    dataset: Dataset,
    *,
    target: Target | None = None,
    subjects: Subjects | None = None,
    sources: Sequence[str] = (),
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
        sources: of a merged data set, take these alone; all of them where none is named.
        form: which form of a candidate; a file is what it is.
        segments: at most so many, evenly spread over the sources, and in each over the subjects.
        seed: of the noise.

    Raises:
        CandidateError: the folder is no candidate or lacks the form, or the data set is of another task.
        ModelError: the file is not a classifier of these segments.
        DatasetError: no labelled segment among the subjects, an unknown subject or source, a part of a split that the
            data set does not have, or a sample that is not finite.
    """
    model = open_detector(path, form)
    if model.config:
        check_task(model.config, dataset)
    if subjects is None:
        subjects = score.default_subjects(model, dataset)
    rows = dataset.rows_of(score.subject_names(subjects, model, dataset))
    rows = spread_by_source(dataset, rows[rows_in(rows, dataset, sources)], segments)
    part: Part | Literal["chosen"] = "chosen" if isinstance(subjects, list) else subjects
    seen = trained_on(model, dataset, sorted(set(dataset.subject_names(rows))))
    answers = _answers(by_model(model.classifier), dataset, rows, seed)
    return _record(model, dataset, target, answers, part=part, sources=sources, seen=seen)


def check_out_of_fold(
    folder: Path,
    dataset: Dataset,
    *,
    target: Target | None = None,
    sources: Sequence[str] = (),
    segments: int = SEGMENTS,
    seed: int = 0,
) -> RobustnessRecord:
    """Score a candidate's recipe under every disturbance, each subject by the network that has not seen it.

    Args:
        folder: the candidate, trained with --folds.
        dataset: the one that it was made from.
        target: as for `check_robustness`.
        sources: as for `check_robustness`.
        segments: as for `check_robustness`.
        seed: as for `check_robustness`.

    Raises:
        CandidateError: as `out_of_fold.load`, or the networks of the folds were not kept.
        ModelError: the candidate's own file is not a classifier.
        DatasetError: an unknown source, or one without an answer, or a sample that is not finite.
    """
    model = open_detector(folder)
    if model.config is None:
        raise CandidateError(
            "out of fold is a candidate's recipe", f"the file {folder}", "Give the folder of a candidate."
        )
    known = out_of_fold.load(folder, model.config, dataset)
    answered = out_of_fold.answered_rows(dataset, known.record.assignment)
    rows = spread_by_source(dataset, answered[rows_in(answered, dataset, sources)], segments)
    answers = _answers(by_folds(folder, model.config, dataset, known.record), dataset, rows, seed)
    off = difference(answers.margins[UNDISTURBED], known.after[np.searchsorted(answered, rows)])
    return _record(
        model,
        dataset,
        target,
        answers,
        part="out_of_fold",
        sources=sources,
        seen=[],
        statement=out_of_fold.statement(known.record.assignment),
        gates=[at_most("answers_reproduced", off, REPRODUCED_WITHIN, "of a margin", f"held against {FOLD_MARGINS}")],
    )


@dataclass(frozen=True)
class _Answers:
    """The rows (N,) and their margins (N,) by disturbance, the seed of the noise, and the made set of broad beats."""

    rows: NDArray[np.int64]
    margins: dict[str, NDArray[np.float32]]
    seed: int
    broadened: Broadened


def _answers(answer: Answer, dataset: Dataset, rows: NDArray[np.int64], seed: int) -> _Answers:
    margins = disturbed_margins(answer, dataset, rows, seed)
    return _Answers(rows, margins, seed, broadened_figures(answer, dataset, rows))


@doing("score and resample subjects")
def _record(
    model: ModelFile,
    dataset: Dataset,
    target: Target | None,
    answers: _Answers,
    *,
    part: Part | Literal["chosen", "out_of_fold"],
    sources: Sequence[str],
    seen: list[str] | None,
    statement: str | None = None,
    gates: Sequence[Gate] = (),
) -> RobustnessRecord:
    # Above 40 lines: half of them are the fields of the one record that it makes.
    rows, margins = answers.rows, answers.margins
    undisturbed = labels_of(margins[UNDISTURBED])
    clean = score_rows(undisturbed, dataset, rows, target)
    table = [_row(name, margins, dataset, rows, target) for name in margins]
    degenerate = answer_degenerate(model.classifier, dataset.header.sampling_rate_hz)
    every_gate = [
        at_most("answers_not_finite", sum(row.not_finite for row in table), 0, "answers"),
        at_most("degenerate_not_finite", sum(a.margin is None and not a.refused for a in degenerate), 0, "answers"),
        *gates,
    ]
    return RobustnessRecord(
        verdict=verdict_of_all(every_gate),
        gates=every_gate,
        **score.model_and_data(model, dataset),
        target=target.name if target else None,
        part=part,
        sources=list(dict.fromkeys(sources)),
        statement=statement,
        trained_on=seen,
        origin=origin(model, dataset),
        warnings=[
            *score.data_warnings(model, dataset, clean),
            *score.warnings_of(seen, clean, dataset.header.task.label),
        ],
        seed=answers.seed,
        segments=len(rows),
        subjects=clean.subjects,
        positive_subjects=clean.positive_subjects,
        beta=clean.beta,
        good_subject_above=clean.good_subject_above,
        rows=table,
        by_rhythm=[_of_rhythm(rhythm) for rhythm in clean.by_rhythm],
        degenerate=degenerate,
        broadened=answers.broadened,
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
    sources = np.array(dataset.source_names(rows))
    return RobustnessRow(
        name=name,
        fbeta_mean=scores.fbeta_mean,
        fbeta_change=_change(called, clean, dataset, rows, target),
        g=scores.g,
        f1=scores.f1,
        sensitivity=scores.recall,
        specificity=scores.specificity,
        labels_changed=changed,
        share_changed=changed / len(rows),
        not_finite=int((~np.isfinite(margins[name])).sum()),
        by_source=[
            SourceChange(
                source=own.source,
                fbeta_mean=own.fbeta_mean,
                fbeta_change=_change(called[here], clean[here], dataset, rows[here], target),
                sensitivity=own.recall,
                specificity=own.specificity,
            )
            for own in scores.by_source
            if (here := sources == own.source).any()
        ],
    )


def _of_rhythm(rhythm: RhythmScore) -> RhythmAnswers:
    counts = rhythm.model_dump(exclude={"sensitivity", "specificity", "interval"})
    sensitivity, specificity = (rhythm.interval, None) if rhythm.label else (None, rhythm.interval)
    return RhythmAnswers(**counts, sensitivity=sensitivity, specificity=specificity)


def _change(
    called: NDArray[np.float32],
    clean: NDArray[np.float32],
    dataset: Dataset,
    rows: NDArray[np.int64],
    target: Target | None,
) -> Interval:
    """Mean Fβ of these answers (n,) less that of the undisturbed ones."""
    labels, subjects = dataset.labels[rows], dataset.subject_names(rows)
    rule = score_rule(target, dataset.header.task)
    return metrics.paired_difference(labels, called, clean, subjects, "fbeta_mean", rule=rule)
