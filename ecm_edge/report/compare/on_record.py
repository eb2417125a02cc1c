"""The accuracy of two models from what is on record: without the data set, the counts of their subjects are compared.

score.json and folds.json have the counts of every subject. Two models are paired over the subjects that both records
have, by name and with as many segments of each label, where the records are about the same data or share a source.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from ecm_edge.candidate.candidate import SCORE
from ecm_edge.registry.comparison import Rows
from ecm_edge.report.compare.accuracy import COST_ONLY, Answered, pair_of
from ecm_edge.report.compare.records import FiguresOfRows, NotCompared, RecordedFigures
from ecm_edge.targets import score_rule
from ecm_edge.training.out_of_fold import FOLDS

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from ecm_edge.metrics import Scores, SubjectScore
    from ecm_edge.metrics.evaluate import SourceScore
    from ecm_edge.registry.contender import Basis
    from ecm_edge.report.candidate_records import CandidateRecords
    from ecm_edge.report.compare.sides import Side
    from ecm_edge.targets import Target
    from ecm_edge.tasks.score import ScoreRule

_NO_PARTS = "counts on record do not tell the network's part from the threshold's: give the data set with --data"


@dataclass(frozen=True)
class _Known:
    """The subjects of one record that the model was not fitted to, and the content hashes of the record's data."""

    basis: Basis
    data: frozenset[str]
    subjects: dict[str, SubjectScore]


def compare_records(sides: Sequence[Side], target: Target | None) -> Answered:
    """Each model against the first, by the counts on record; `target` gives the rule of points."""
    found, (first, *others) = Answered(), sides
    known = {side.letter: _known(side.records) if side.records else COST_ONLY for side in sides}
    for letter, records in known.items():
        if isinstance(records, str):
            found.missing.append(NotCompared(model=letter, what="accuracy", reason=records))
    theirs = known[first.letter]
    if isinstance(theirs, str) or first.records is None:
        return found
    rule = score_rule(target, first.records.config.task)
    for side in others:
        ours = known[side.letter]
        if isinstance(ours, str):
            continue
        rows, bases = _paired_rows(ours, theirs, rule)
        if rows is None:
            found.missing.append(NotCompared(model=side.letter, what="accuracy", reason=_NO_SUBJECTS))
            continue
        pair = pair_of(rows, (side.letter, bases[0]), (first.letter, bases[1]), source=None, on_record=True)
        found.pairs.append(pair)
        found.missing.append(NotCompared(model=side.letter, what="parts", reason=_NO_PARTS))
        mixed = sorted(_sources(side.records) & _sources(first.records))
        if len(mixed) > 1:
            reason = f"counts on record do not tell {' and '.join(mixed)} apart: give the data set with --data"
            found.missing.append(NotCompared(model=side.letter, what="sources", reason=reason))
    return found


def _sources(records: CandidateRecords | None) -> set[str]:
    """The sources that the figures out of fold are about."""
    folds = records.stages.folds if records else None
    return {source.source for source in folds.scores.by_source} if folds else set()


_NO_SUBJECTS = (
    "its records and those of A have no subject in common, by name and number of segments, that neither was fitted to: "
    "give a data set with --data"
)


def _known(records: CandidateRecords) -> list[_Known] | str:
    """What a model's records say about subjects that it was not fitted to, its own answers first."""
    data = {records.config.dataset_sha256, *records.config.source_sha256}
    found = []
    score, folds = records.stages.score, records.stages.folds
    if score and score.trained_on is not None and score.part != "out_of_fold":
        seen = set(score.trained_on)
        unseen = {s.subject: s for s in score.scores.by_subject if s.subject not in seen}
        about = data if score.dataset_sha256 == records.config.dataset_sha256 else {score.dataset_sha256}
        found.append(_Known("test", frozenset(about), unseen))
    if folds:
        every = {s.subject: s for s in folds.scores.by_subject}
        found.append(_Known("out_of_fold", frozenset(data), every))
    elif score and score.part == "out_of_fold":
        every = {s.subject: s for s in score.scores.by_subject}
        found.append(_Known("out_of_fold", frozenset(data), every))
    return found or f"there is no {SCORE} and no {FOLDS}: run `ecm-edge score`, or give a data set with --data"


def _paired_rows(
    ours: Sequence[_Known], theirs: Sequence[_Known], rule: ScoreRule | None
) -> tuple[Rows | None, tuple[Basis, Basis]]:
    """The rows of the first records that share subjects, of the same basis where there are such."""
    both = sorted(((a, b) for a in ours for b in theirs), key=lambda pair: pair[0].basis != pair[1].basis)
    for one, other in both:
        names = [name for name, score in one.subjects.items() if _alike(score, other.subjects.get(name))]
        if names and one.data & other.data:
            return _rows([one.subjects[n] for n in names], [other.subjects[n] for n in names], rule), (
                one.basis,
                other.basis,
            )
    return None, ("test", "test")


def _alike(one: SubjectScore, other: SubjectScore | None) -> bool:
    return other is not None and (one.tp + one.fn, one.fp + one.tn) == (other.tp + other.fn, other.fp + other.tn)


def _rows(ours: Sequence[SubjectScore], theirs: Sequence[SubjectScore], rule: ScoreRule | None) -> Rows:
    """Segments with these counts: figures by subject need no more, and the order within a subject does not matter."""
    positive = [s.tp + s.fn for s in ours]
    negative = [s.fp + s.tn for s in ours]
    names = np.repeat([s.subject for s in ours], np.add(positive, negative))
    labels = np.concatenate([[1] * p + [0] * n for p, n in zip(positive, negative, strict=True)]).astype(np.int8)
    return Rows(labels, names, (None, _margins(ours)), (None, _margins(theirs)), rule)


def _margins(subjects: Sequence[SubjectScore]) -> np.ndarray[tuple[int], np.dtype[np.float32]]:
    parts = [[1] * s.tp + [-1] * s.fn + [1] * s.fp + [-1] * s.tn for s in subjects]
    return np.concatenate(parts).astype(np.float32)


def recorded_figures(sides: Sequence[Side]) -> Iterator[RecordedFigures]:
    """What score.json, or folds.json where there is no score, says of each model: on its own subjects, unpaired."""
    for side in sides:
        stages = side.records.stages if side.records else None
        if stages and stages.score:
            score = stages.score
            yield from _recorded(side.letter, SCORE, score.dataset, score.part, score.scores)
        elif stages and stages.folds:
            folds = stages.folds
            yield from _recorded(side.letter, FOLDS, folds.dataset_sha256[:12], "out_of_fold", folds.scores)


def _recorded(letter: str, file: str, dataset: str, part: str, scores: Scores) -> Iterator[RecordedFigures]:
    each: list[tuple[str | None, Scores | SourceScore]] = [(None, scores)]
    each += [(source.source, source) for source in scores.by_source]
    for source, figures in each:
        yield RecordedFigures(
            model=letter,
            file=file,
            dataset=dataset,
            part=part,
            source=source,
            subjects=figures.subjects,
            figures=FiguresOfRows(**{name: getattr(figures, name, None) for name in FiguresOfRows.model_fields}),
        )
