"""The accuracy of two models on the same segments, of subjects that neither of them was fitted to.

The differences and their intervals are those of promotion (`registry.comparison`). Where the models share subjects that
neither has seen, they answer those themselves. Else a model answers itself where it has seen nothing of a source, and
by what its cross-validation answered out of fold where it has.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

import numpy as np

from ecm_edge import metrics, targets
from ecm_edge.base.errors import EcmEdgeError
from ecm_edge.candidate.candidate import check_task
from ecm_edge.data.dataset import natural_key
from ecm_edge.evaluate.board_cost import board_cost
from ecm_edge.evaluate.external import same_names, trained_on
from ecm_edge.forms.model_file import check_length
from ecm_edge.metrics.counts import criteria, fbeta
from ecm_edge.metrics.resample import interval, resampled, weights_for
from ecm_edge.registry import pairing
from ecm_edge.registry.comparison import paired, rows_of
from ecm_edge.registry.contender import Contender
from ecm_edge.report.compare.records import FiguresOfRows, NotCompared, PairComparison, SubjectPair
from ecm_edge.report.compare.sides import reason_of
from ecm_edge.training import out_of_fold

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from ecm_edge.data.dataset import Dataset, SourceSet
    from ecm_edge.metrics import Counts, PairedStatistic
    from ecm_edge.registry.comparison import Rows
    from ecm_edge.registry.contender import Answers, Basis
    from ecm_edge.report.compare.sides import Side
    from ecm_edge.targets import Target
    from ecm_edge.tasks.score import ScoreRule

OTHERS: tuple[PairedStatistic, ...] = ("fbeta_mean", "g", "f1", "recall", "specificity", "fbeta_pooled", "accuracy")
"""The differences of a comparison, besides the one that promotion decides by."""

MOST_SUBJECTS = 200
"""Of more, a record has those with the largest difference, and the number of the others."""

COST_ONLY = "an ONNX file does not say which subjects it was fitted to: only its cost is compared"


@dataclass
class Answered:
    """What was compared, what was not, and what has to be said; filled by `compare_answers`."""

    pairs: list[PairComparison] = field(default_factory=list)
    missing: list[NotCompared] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


def compare_answers(sides: Sequence[Side], dataset: Dataset, target: Target | None) -> Answered:
    """Each model against the first, on every source of the data set; on the whole where it was not merged.

    Args:
        sides: the first is compared against.
        dataset: labelled segments.
        target: gives the rule of points; without one, mean Fβ is compared.
    """
    found = Answered()
    opened = {side.letter: _open(side, dataset, target or targets.load("host")) for side in sides}
    first, *others = sides
    for letter, contender in opened.items():
        if isinstance(contender, str):
            found.missing.append(NotCompared(model=letter, what="accuracy", reason=contender))
        elif named := same_names(contender.model, dataset, dataset.header.subjects):
            found.notes.append(f"{letter}: {named}")
    theirs = opened[first.letter]
    if isinstance(theirs, str):
        return found
    asked = _Cache()
    for side in others:
        ours = opened[side.letter]
        if not isinstance(ours, str):
            _compare_sources((side.letter, ours), (first.letter, theirs), asked, found)
    return found


def _open(side: Side, dataset: Dataset, target: Target) -> Contender | str:
    """The side as promotion has it, or why it cannot answer this data set."""
    if side.records is None:
        return COST_ONLY
    if isinstance(side.model, str):
        return side.model
    try:
        check_task(side.records.config, dataset)
        check_length(side.model.classifier, dataset)
        costs = board_cost(side.model, target)
    except EcmEdgeError as problem:
        return reason_of(problem)
    form = side.form or "float32"
    return Contender(
        folder=side.path,
        model=side.model,
        config=side.records.config,
        form=form,
        sha256=side.model.sha256,
        cost=costs,
        latency=costs.latency_ms,
        dataset=dataset,
        target=target,
    )


class _Cache:
    """What a model has answered already: A answers the same rows for every other model."""

    def __init__(self) -> None:
        self._known: dict[tuple[str, bytes], Answers] = {}

    def answers(self, letter: str, side: Contender, rows: NDArray[np.int64]) -> Answers:
        """What the model itself answers on these rows, (n,)."""
        key = letter, rows.tobytes()
        if key not in self._known:
            self._known[key] = side.answers_on(rows)
        return self._known[key]


def _compare_sources(
    ours: tuple[str, Contender], theirs: tuple[str, Contender], asked: _Cache, found: Answered
) -> None:
    dataset = ours[1].dataset
    sources: list[SourceSet | None] = [*dataset.header.sources]
    for source in sources or [None]:
        try:
            pair = _compare_on(source, ours, theirs, asked)
        except EcmEdgeError as problem:
            pair = reason_of(problem)
        if isinstance(pair, PairComparison):
            found.pairs.append(pair)
            if pair.parts is None:
                why = f"no threshold is on record for {ours[0]} or {theirs[0]}"
                found.missing.append(NotCompared(model=ours[0], what="parts", reason=why))
        else:
            of_source = f"on {source.name}: " if source else ""
            found.missing.append(NotCompared(model=ours[0], what="accuracy", reason=f"{of_source}{pair}"))


def _compare_on(
    source: SourceSet | None, ours: tuple[str, Contender], theirs: tuple[str, Contender], asked: _Cache
) -> PairComparison | str:
    shared = _shared_answers(source, ours, theirs, asked)
    if isinstance(shared, str):
        return shared
    mine, other = shared
    return pair_of(
        rows_of(mine, other),
        (ours[0], mine.basis),
        (theirs[0], other.basis),
        source=source.name if source else None,
        on_record=False,
    )


def _shared_answers(
    source: SourceSet | None, ours: tuple[str, Contender], theirs: tuple[str, Contender], asked: _Cache
) -> tuple[Answers, Answers] | str:
    """What both answer about subjects that neither has seen, or why there are no such answers."""
    dataset = ours[1].dataset
    names = source.subjects if source else dataset.header.subjects
    seen = {letter: set(trained_on(side.model, dataset, names) or []) for letter, side in (ours, theirs)}
    rows = dataset.rows_of([name for name in names if not any(name in each for each in seen.values())])
    if rows.size:
        return asked.answers(*ours, rows), asked.answers(*theirs, rows)
    found = []
    for letter, side in (ours, theirs):
        answers = _alone(letter, replace(side, source=source), dataset.rows_of(names), asked, seen=bool(seen[letter]))
        if isinstance(answers, str):
            return f"there is no subject that neither was fitted to, and {answers}"
        found.append(answers)
    both = np.intersect1d(found[0].rows, found[1].rows)
    if not both.size:
        return "there is no subject that neither was fitted to, and out of fold no subject was answered by both"
    return found[0].on(both), found[1].on(both)


def _alone(letter: str, side: Contender, rows: NDArray[np.int64], asked: _Cache, *, seen: bool) -> Answers | str:
    """What a model answers about a source: itself where it has seen none of it, else out of fold."""
    if not rows.size:
        return "there is no labelled segment"
    if not seen:
        return asked.answers(letter, side, rows)
    if not out_of_fold.has_folds(side.folder):
        return f"of {letter} nothing is known out of fold: train it with --folds"
    answers = pairing.answers_of(side)
    return f"{letter} {answers}" if isinstance(answers, str) else answers


def pair_of(
    rows: Rows, ours: tuple[str, Basis], theirs: tuple[str, Basis], *, source: str | None, on_record: bool
) -> PairComparison:
    """The comparison of two models on these rows; `ours` and `theirs` are letter and basis."""
    counts, other = (metrics.count_by_subject(rows.labels, m[1], rows.subjects) for m in (rows.ours, rows.theirs))
    found = paired(rows, OTHERS, pooled=_mostly_one_class(counts))
    each = _by_subject(counts, other, rows.rule)
    return PairComparison(
        model=ours[0],
        against=theirs[0],
        evidence="on record" if on_record else "answers",
        source=source,
        basis=ours[1],
        against_basis=theirs[1],
        statistic=found.statistic,
        difference=found.difference,
        significant=found.significant,
        parts=found.parts,
        others=found.others,
        figures=_figures(counts, rows.rule),
        against_figures=_figures(other, rows.rule),
        segments=len(rows.labels),
        subjects=len(each),
        positive_subjects=sum(subject.positive_segments > 0 for subject in each),
        by_subject=each[:MOST_SUBJECTS],
        subjects_left_out=max(0, len(each) - MOST_SUBJECTS),
    )


def _mostly_one_class(counts: Counts) -> bool:
    """Whether most subjects have segments of one class only: the mean of Fβ over subjects says nothing then."""
    both = (counts.tp + counts.fn > 0) & (counts.tn + counts.fp > 0)
    return 2 * int(both.sum()) < len(counts.subjects)


def _figures(counts: Counts, rule: ScoreRule | None) -> FiguresOfRows:
    draws = resampled(counts, weights_for(counts), *criteria(rule))
    return FiguresOfRows.model_validate({name: interval(draws[name]) for name in FiguresOfRows.model_fields})


def _by_subject(ours: Counts, theirs: Counts, rule: ScoreRule | None) -> list[SubjectPair]:
    """Every subject, the largest difference of Fβ first, then that of right answers."""
    beta, _ = criteria(rule)
    mine, other = (fbeta(c.tp, c.fp, c.fn, beta) for c in (ours, theirs))
    pairs = [
        SubjectPair(
            subject=name,
            segments=int(ours.tp[s] + ours.fp[s] + ours.tn[s] + ours.fn[s]),
            positive_segments=int(ours.tp[s] + ours.fn[s]),
            fbeta=float(mine[s]),
            against_fbeta=float(other[s]),
            right=int(ours.tp[s] + ours.tn[s]),
            against_right=int(theirs.tp[s] + theirs.tn[s]),
        )
        for s, name in enumerate(ours.subjects)
    ]
    return sorted(
        pairs,
        key=lambda p: (-abs(p.fbeta - p.against_fbeta), -abs(p.right - p.against_right), natural_key(p.subject)),
    )
