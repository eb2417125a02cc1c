"""Row sampling: rows of the parts of a candidate's split, and samples of them, spread evenly over the subjects."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from ecm_edge.candidate.candidate import check_dataset

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from ecm_edge.candidate.candidate import CandidateConfig
    from ecm_edge.data.dataset import Dataset


def training_rows(config: CandidateConfig, dataset: Dataset, count: int | None = None) -> NDArray[np.int64]:
    """At most `count` labelled rows of the training subjects, as `spread` picks them.

    Raises:
        CandidateError: the candidate was made from another data set.
    """
    check_dataset(config, dataset)
    return spread(dataset, dataset.rows_of(config.split.train), count)


def verification_rows(config: CandidateConfig, dataset: Dataset, count: int | None = None) -> NDArray[np.int64]:
    """At most `count` labelled rows to compare forms on, as `spread` picks them; raises as `training_rows`."""
    check_dataset(config, dataset)
    return spread(dataset, dataset.rows_of(verification_subjects(config)), count)


def verification_subjects(config: CandidateConfig) -> list[str]:
    """The validation subjects, or those of training where there are none: parity does not need unseen subjects."""
    return config.split.validation or config.split.train


def spread(dataset: Dataset, rows: NDArray[np.int64], count: int | None) -> NDArray[np.int64]:
    """At most `count` of `rows`, ascending, evenly over subjects and within each; all of them where `count` is None.

    Every subject gives equally many, or all it has; of the surplus by rounding, evenly spaced rows are left out.
    """
    return rows if count is None else rows[spread_over(dataset.table["subject"][rows], count)]


def spread_by_source(dataset: Dataset, rows: NDArray[np.int64], count: int) -> NDArray[np.int64]:
    """At most `count` of `rows`, ascending, evenly over the sources of a merged data set, and in each as by `spread`.

    A source of few subjects is not lost among thousands of another. One with fewer rows than its part gives them all,
    and the others have its rest.
    """
    place = dataset.sources[dataset.table["subject"][rows]]  # (n,)
    parts = sorted((rows[place == number] for number in np.unique(place)), key=len)
    chosen, left = [rows[:0]], count
    for number, part in enumerate(parts):
        chosen.append(spread(dataset, part, left // (len(parts) - number)))
        left -= len(chosen[-1])
    return np.sort(np.concatenate(chosen))


def spread_over(subjects: NDArray[Any], count: int) -> NDArray[np.int64]:
    """At most `count` positions, ascending, in an array (n,) of each row's subject; chosen as by `spread`."""
    rows = np.arange(len(subjects))
    if count >= len(rows):
        return rows
    if count < 1:
        return rows[:0]
    present = np.unique(subjects)
    quota = -(-count // len(present))
    chosen = np.concatenate([_evenly(rows[subjects == subject], quota) for subject in present])
    if len(chosen) < count:  # subjects with few rows gave all; the others fill up
        chosen = np.concatenate([chosen, _evenly(np.setdiff1d(rows, chosen), count - len(chosen))])
    return np.sort(_evenly(chosen, count))


def _evenly(rows: NDArray[np.int64], count: int) -> NDArray[np.int64]:
    if count >= len(rows):
        return rows
    picked: NDArray[np.int64] = rows[(np.arange(count) * len(rows)) // count]
    return picked
