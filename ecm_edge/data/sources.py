"""The sources of a merged data set by their names: their subjects and rows."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from ecm_edge.base.errors import DatasetError
from ecm_edge.base.names import did_you_mean

if TYPE_CHECKING:
    from collections.abc import Collection

    from numpy.typing import NDArray

    from ecm_edge.data.dataset import Dataset


def names(dataset: Dataset) -> list[str]:
    """The names of the sources, in their order; [] if the data set was not merged."""
    return [source.name for source in dataset.header.sources]


def check(dataset: Dataset, chosen: Collection[str]) -> None:
    """Check that a data set was merged, and of sources with these names among others.

    Raises:
        DatasetError: it was not.
    """
    known = names(dataset)
    if not known:
        raise DatasetError(
            "only a merged data set has sources",
            f"{dataset.folder}, which was not merged",
            "Leave the sources out, or merge data sets with `ecm-edge data merge`.",
        )
    if unknown := sorted(set(chosen) - set(known)):
        raise DatasetError(
            "a source is one of those that the data set was merged from",
            f"{unknown[0]!r} for {dataset.folder}",
            f"{did_you_mean(unknown[0], known)}Its sources are {', '.join(known)}.",
        )


def subjects_of(dataset: Dataset, chosen: Collection[str]) -> set[str]:
    """The subjects of the sources with these names, those without a label as well."""
    return {subject for source in dataset.header.sources if source.name in chosen for subject in source.subjects}


def rows_in(rows: NDArray[np.int64], dataset: Dataset, chosen: Collection[str]) -> NDArray[np.bool_]:
    """(n,) which of the rows (n,) are of the sources with these names; all of them where no name is given.

    Raises:
        DatasetError: as `check`, or no row is of one of them.
    """
    if not chosen:
        return np.ones(len(rows), np.bool_)
    check(dataset, chosen)
    place = dataset.sources[dataset.table["subject"][rows]]  # (n,)
    wanted = {number: name for number, name in enumerate(names(dataset)) if name in chosen}
    for number, name in wanted.items():
        if number not in place:
            raise DatasetError(
                "a source to score has a subject among those that are scored",
                f"none of {name}",
                "Leave this source out; or say --subjects all, where the figures are not out of fold.",
            )
    return np.isin(place, list(wanted))
