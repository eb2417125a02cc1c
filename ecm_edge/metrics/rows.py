"""The scores of margins for rows of a data set."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from ecm_edge.base.progress import doing
from ecm_edge.metrics.evaluate import SourceScore, evaluate
from ecm_edge.targets import score_rule

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from ecm_edge.data.dataset import Dataset
    from ecm_edge.metrics.evaluate import Scores
    from ecm_edge.targets import Target


@doing("score and resample subjects")
def score_rows(
    margin: NDArray[np.float32],
    dataset: Dataset,
    rows: NDArray[np.int64],
    target: Target | None,
    log_odds: NDArray[np.float32] | None = None,
) -> Scores:
    """The scores of these rows' margins (n,), with beta and G's limit from the rule of their task on the target.

    Where the rows are of several sources, each source has its figures beside the whole. `log_odds` (n,) as in
    `evaluate`.
    """
    whole = _scores(margin, dataset, rows, target, log_odds)
    names = np.array(dataset.source_names(rows))
    sources = [source.name for source in dataset.header.sources if (names == source.name).any()]
    if len(sources) < 2:  # noqa: PLR2004 - the figures of one source are those of the whole
        return whole
    each = [
        _scores(margin[own], dataset, rows[own], target, None if log_odds is None else log_odds[own])
        for own in (names == name for name in sources)
    ]
    by_source = [_of_source(name, scores) for name, scores in zip(sources, each, strict=True)]
    return whole.model_copy(update={"by_source": by_source})


def _scores(
    margin: NDArray[np.float32],
    dataset: Dataset,
    rows: NDArray[np.int64],
    target: Target | None,
    log_odds: NDArray[np.float32] | None,
) -> Scores:
    rule = score_rule(target, dataset.header.task)
    rhythms = np.array(dataset.header.rhythms)[dataset.table["rhythm"][rows]]
    labels, subjects = dataset.labels[rows], np.array(dataset.subject_names(rows))
    return evaluate(labels, margin, subjects, rhythms, rule, log_odds)


def _of_source(name: str, scores: Scores) -> SourceScore:
    return SourceScore(
        source=name, **{key: getattr(scores, key) for key in SourceScore.model_fields if key != "source"}
    )
