"""The answers that a page shows, and the wrong ones among them, most confident first. No stage records them."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from ecm_edge.metrics.curves import curves
from ecm_edge.report.occlusion import explained
from ecm_edge.report.records import Mistake, Mistakes

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from ecm_edge.base.records import Form
    from ecm_edge.data.dataset import Dataset
    from ecm_edge.forms.onnx_model import Classifier
    from ecm_edge.metrics.curves import Curves


@dataclass(frozen=True)
class Answers:
    """The labelled rows, (n,), and their margins, (n,), of a form, or of float32 networks out of fold.

    `classifier` is the model that parts of segments are hidden from; None where there is none.
    """

    rows: NDArray[np.int64]
    margin: NDArray[np.float32]
    form: Form | None
    classifier: Classifier | None


EXAMPLES = 12
EXAMPLES_OF_A_SUBJECT = 2
"""At most, of each kind: the mistakes of one subject are mostly alike."""


def find_mistakes(dataset: Dataset, answers: Answers) -> Mistakes:
    """The wrong ones of these answers; the examples with the parts that spoke for them, where there is a model."""
    rows, margin = answers.rows, answers.margin
    is_af = dataset.labels[rows] == 1  # (n,)
    wrong = is_af != (margin >= 0)  # (n,)
    chosen = [row for kind in (is_af, ~is_af) for row in _worst(dataset, rows, margin, wrong & kind)]
    mistakes = Mistakes(
        form=answers.form,
        segments=len(rows),
        missed_af=int((wrong & is_af).sum()),
        false_alarms=int((wrong & ~is_af).sum()),
        examples=[_mistake(dataset, int(rows[i]), float(margin[i])) for i in chosen],
    )
    return explained(mistakes, answers.classifier, dataset) if answers.classifier else mistakes


def find_curves(dataset: Dataset, answers: Answers) -> Curves | None:
    """ROC and precision-recall of these answers; None where they are of one class."""
    return curves(dataset.labels[answers.rows], answers.margin)


def _worst(
    dataset: Dataset, rows: NDArray[np.int64], margin: NDArray[np.float32], wrong: NDArray[np.bool_]
) -> list[int]:
    """Places in `rows`, most confident first: half of `EXAMPLES`, at most `EXAMPLES_OF_A_SUBJECT` of one subject."""
    places = np.flatnonzero(wrong)
    taken: Counter[int] = Counter()
    chosen: list[int] = []
    for place in places[np.argsort(-np.abs(margin[places]), kind="stable")].tolist():
        subject = int(dataset.table["subject"][rows[place]])
        taken[subject] += 1
        if taken[subject] <= EXAMPLES_OF_A_SUBJECT and len(chosen) < EXAMPLES // 2:
            chosen.append(place)
    return chosen


def _mistake(dataset: Dataset, row: int, margin: float) -> Mistake:
    at = np.array([row])
    return Mistake(
        row=row,
        name=dataset.names(at)[0],
        subject=dataset.subject_names(at)[0],
        rhythm=dataset.header.rhythms[dataset.table["rhythm"][row]],
        is_af=bool(dataset.labels[row] == 1),
        margin=margin,
    )
