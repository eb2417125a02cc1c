"""Answers out of fold of two candidates, paired by row, also where they were measured on different data sets.

A merged data set has the rows of its sources one source after the other, each in its own order. So what a candidate
answered about a source stands together in its folds.npz, whichever data set held the source. The content hashes say
that the sources are the same. That the rows are the same is checked: subject by subject, the answers have to give the
counts that the candidate's record has.
"""

from __future__ import annotations

from itertools import accumulate, pairwise
from typing import TYPE_CHECKING

from ecm_edge import metrics
from ecm_edge.registry.contender import Answers
from ecm_edge.training import out_of_fold

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy as np
    from numpy.typing import NDArray

    from ecm_edge.data.dataset import Dataset, SourceSet
    from ecm_edge.metrics import SubjectScore
    from ecm_edge.registry.contender import Contender
    from ecm_edge.training.out_of_fold import CrossValidationRecord

_Counts = tuple[int, int, int, int]


def answers_of(side: Contender) -> Answers | str:
    """What a side answers out of fold, by rows of the challenger's data set; or why these rows are not known.

    Raises:
        CandidateError: what it answered out of fold was changed.
    """
    dataset, source = side.dataset, side.source
    if side.config.dataset_sha256 == dataset.header.content_sha256:
        return side.out_of_fold
    wanted = source.content_sha256 if source else dataset.header.content_sha256
    if wanted not in {side.config.dataset_sha256, *side.config.source_sha256}:
        return "was measured out of fold on another data set" + (f", without {source.name}" if source else "")
    known = out_of_fold.load_elsewhere(side.folder, side.config)
    rows = rows_of_source(dataset, source)
    whole = wanted == side.config.dataset_sha256
    for start, stop in [(0, len(known.after))] if whole else _blocks(known.record):
        if stop - start == len(rows) and _same_rows(known.after[start:stop], dataset, rows, source, known.record):
            before, after = known.before[start:stop], known.after[start:stop]
            return Answers("out_of_fold", rows, after, before, dataset, side.target)
    return (
        f"was measured out of fold on other rows of {source.name if source else 'this data set'}: their number, labels "
        f"or subjects are not those of the {len(rows):,} here, as where a merge drops duplicates or maps rhythms"
    )


def rows_of_source(dataset: Dataset, source: SourceSet | None) -> NDArray[np.int64]:
    """The labelled rows of a source, ascending; those of the whole data set for None."""
    return dataset.rows_of(source.subjects) if source else dataset.rows_of(dataset.header.subjects)


def _blocks(record: CrossValidationRecord) -> list[tuple[int, int]]:
    """Start and stop of the answers about each source, in their order."""
    sizes = [source.segments for source in record.scores.by_source] or [record.scores.segments]
    return list(pairwise(accumulate(sizes, initial=0)))


def _same_rows(
    margins: NDArray[np.float32],
    dataset: Dataset,
    rows: NDArray[np.int64],
    source: SourceSet | None,
    record: CrossValidationRecord,
) -> bool:
    """Whether the margins (n,), read as of these rows (n,), give the counts on record for each subject."""
    former = source.renamed if source else {}
    subjects = [former.get(name, name) for name in dataset.subject_names(rows)]
    counts, known = metrics.count_by_subject(dataset.labels[rows], margins, subjects), _known(record.scores.by_subject)
    here = zip(*(column.tolist() for column in (counts.tp, counts.fp, counts.tn, counts.fn)), strict=True)
    return all(found in known.get(name, ()) for name, found in zip(counts.subjects, here, strict=True))


def _known(subjects: Sequence[SubjectScore]) -> dict[str, set[_Counts]]:
    """The counts on record by name, and by what a name was before a merge put sources before it ("af:S1")."""
    known: dict[str, set[_Counts]] = {}
    for subject in subjects:
        parts = subject.subject.split(":")
        for start in range(len(parts)):
            name = ":".join(parts[start:])
            known.setdefault(name, set()).add((subject.tp, subject.fp, subject.tn, subject.fn))
    return known
