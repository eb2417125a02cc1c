"""The audit of a data set before anything is trained on it.

The verdict is FAIL where a split by subject cannot keep training and test data apart:

    1. a subject, or a pair of duplicates, lies in more than one fixed split
    2. duplicates belong to two subjects, or have two labels
    3. there is one class, or one subject, only

All else is a finding for a person to look at: duplicates within a subject, flat or clipped segments, an amplitude that
is none of an ECG or has no unit, blank rhythms, rhythms that one subject alone has, and labels that out-of-fold
predictions contradict.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from ecm_edge.base.progress import doing
from ecm_edge.base.records import Gate, Record, Verdict, at_least, at_most, verdict_of_all
from ecm_edge.data.audit.duplicates import NEAR, duplicates
from ecm_edge.data.audit.predictions import (
    CONFIDENT,
    LOOKED_AT,
    Contradiction,
    auc,
    contradicted,
    contradictions,
    out_of_fold,
)
from ecm_edge.data.audit.signals import CLIPPED_S, ECG_MV, FLAT_S, FLAT_SHARE, faults, spans
from ecm_edge.data.dataset import BLANK_RHYTHM, UNSTATED
from ecm_edge.data.recordings.units import to_millivolts, voltage
from ecm_edge.data.rhythms import one_class

if TYPE_CHECKING:
    from ecm_edge.data.dataset import Dataset

RULE = (
    "A data set passes where no subject and no duplicate lies in more than one fixed split, duplicates have one "
    "subject and one label, and there are two classes and two subjects with a label."
)

CLASSES = "classes"
"""The gate whose detail says which class is missing."""

_MEANINGS = ("negative", "positive")  # by label
_EXAMPLES = 10
_EVEN = 0.5


class Finding(Record):
    """Something for a person to look at: the number of segments, the meaning, and the first few names."""

    kind: str
    segments: int
    detail: str
    examples: list[str]


class AuditRecord(Record):
    """The audit of a data set. `contradictions` are by share; a high `out_of_fold_auc` makes them credible.

    Where a data set has more than `LOOKED_AT` segments, labels are checked in that many of them, and a finding says so.
    """

    dataset: str
    content_sha256: str
    synthetic: bool
    verdict: Verdict
    rule: str
    gates: list[Gate]
    findings: list[Finding]
    contradictions: list[Contradiction]
    out_of_fold_auc: float | None


def audit(dataset: Dataset) -> AuditRecord:
    """Audit a data set; reads all of it twice, a block at a time."""
    pairs = duplicates(dataset)
    probabilities = out_of_fold(dataset)
    gates = _gates(dataset, pairs)
    findings = [*_signal_findings(dataset, pairs), *_amplitude(dataset), *_rhythm_findings(dataset, probabilities)]
    if probabilities is not None:
        findings += [_contradicted(dataset, probabilities), _not_looked_at(dataset, probabilities)]
    return AuditRecord(
        dataset=str(dataset.folder),
        content_sha256=dataset.header.content_sha256,
        synthetic=dataset.header.synthetic,
        verdict=verdict_of_all(gates),
        rule=RULE,
        gates=gates,
        findings=[finding for finding in findings if finding.segments],
        contradictions=[] if probabilities is None else contradictions(dataset, probabilities),
        out_of_fold_auc=None if probabilities is None else auc(dataset.labels, probabilities),
    )


def _gates(dataset: Dataset, pairs: np.ndarray) -> list[Gate]:
    table, labels = dataset.table, dataset.labels
    split, subject = table["split"], table["subject"]
    fixed = split >= 0
    places = np.unique(np.column_stack([subject[fixed], split[fixed]]), axis=0)  # (p, 2)
    of_splits = np.bincount(places[:, 0], minlength=len(dataset.header.subjects))
    torn = [dataset.header.subjects[place] for place in np.flatnonzero(of_splits > 1)]
    left, right = pairs[:, 0], pairs[:, 1]
    across = (split[left] != split[right]) & (split[left] >= 0) & (split[right] >= 0)
    unlike = (labels[left] != labels[right]) & (labels[left] >= 0) & (labels[right] >= 0)
    other = subject[left] != subject[right]
    classes = [name for label, name in enumerate(_MEANINGS) if (labels == label).any()]
    return [
        at_most("subjects in more than one split", len(torn), 0, "subjects", ", ".join(torn[:_EXAMPLES])),
        at_most("duplicates across splits", int(across.sum()), 0, "pairs", _first_pairs(dataset, pairs[across])),
        at_most("duplicates across subjects", int(other.sum()), 0, "pairs", _first_pairs(dataset, pairs[other])),
        at_most("duplicates with two labels", int(unlike.sum()), 0, "pairs", _first_pairs(dataset, pairs[unlike])),
        at_least(CLASSES, len(classes), 2, "classes", one_class(classes)),
        at_least("subjects with a label", len(np.unique(subject[labels >= 0])), 2, "subjects"),
    ]


def _first_pairs(dataset: Dataset, pairs: np.ndarray) -> str:
    return ", ".join(" = ".join(dataset.names(pair)) for pair in pairs[:_EXAMPLES])


def _finding(dataset: Dataset, kind: str, rows: np.ndarray, detail: str) -> Finding:
    return Finding(kind=kind, segments=len(rows), detail=detail, examples=dataset.names(rows[:_EXAMPLES]))


@doing("look for faults of the signal")
def _signal_findings(dataset: Dataset, pairs: np.ndarray) -> list[Finding]:
    flat, clipped = faults(dataset)
    repeats = f"repeats another segment, or correlates with it above {NEAR}; shifted copies are not looked for"
    return [
        _finding(dataset, "duplicates", np.unique(pairs[:, 1]), repeats),
        _finding(dataset, "flat", flat, f"within {FLAT_SHARE:.0%} of the segment's range for {FLAT_S:g} s or longer"),
        _finding(dataset, "clipped", clipped, f"at an extreme for {CLIPPED_S * 1e3:g} ms or longer"),
    ]


def _amplitude(dataset: Dataset) -> list[Finding]:
    """A finding if most segments are larger or smaller than an ECG, or if nobody says what a sample is."""
    unit = dataset.header.unit
    span = spans(dataset)  # (N,)
    half = f"half of the segments span more than {np.median(span):.3g}"
    if voltage(unit) is None:
        if dataset.header.task.unit == UNSTATED:
            return []
        detail = f"a sample is of unit {unit!r}, which is no voltage: a model learns this amplitude only; {half}"
        return [_finding(dataset, "unit", np.arange(len(span)), detail)]
    low, high = (limit / to_millivolts(unit) for limit in ECG_MV)
    if low <= np.median(span) <= high:
        return []
    detail = f"{half} {unit}, where an ECG spans {low:g} to {high:g} {unit}: check the unit"
    return [_finding(dataset, "amplitude", np.flatnonzero((span < low) | (span > high)), detail)]


def _rhythm_findings(dataset: Dataset, probabilities: np.ndarray | None) -> list[Finding]:
    rhythms, subjects = dataset.table["rhythm"], dataset.table["subject"]
    findings = []
    for place, rhythm in enumerate(dataset.header.rhythms):
        rows = np.flatnonzero(rhythms == place)
        if rhythm == BLANK_RHYTHM:
            findings.append(_finding(dataset, "blank rhythm", rows, _blank_detail(dataset, rows, probabilities)))
        elif len(np.unique(subjects[rows])) == 1:
            only = dataset.header.subjects[subjects[rows[0]]]
            findings.append(_finding(dataset, "rhythm of one subject", rows, f"{rhythm} is seen in {only} only"))
    return findings


def _blank_detail(dataset: Dataset, rows: np.ndarray, probabilities: np.ndarray | None) -> str:
    detail = "counted as negative" if dataset.header.blank == "negative" else "without a label"
    if probabilities is None:
        return detail
    seen = probabilities[rows][~np.isnan(probabilities[rows])]
    if not len(seen):
        return detail
    return f"{detail}; out of fold {np.mean(seen >= _EVEN):.0%} look like {dataset.header.task.label}"


def _contradicted(dataset: Dataset, probabilities: np.ndarray) -> Finding:
    """The contradicted segments, the surest first."""
    rows = np.flatnonzero(contradicted(dataset.labels, probabilities))
    surest = rows[np.argsort(-np.abs(probabilities[rows] - _EVEN), kind="stable")]
    return _finding(dataset, "contradicted labels", surest, f"out of fold the other class has p >= {CONFIDENT}")


def _not_looked_at(dataset: Dataset, probabilities: np.ndarray) -> Finding:
    """The segments whose labels were not checked."""
    detail = f"labels were checked in {LOOKED_AT:,} segments, evenly over the data set"
    return _finding(dataset, "label not checked", np.flatnonzero(np.isnan(probabilities)), detail)
