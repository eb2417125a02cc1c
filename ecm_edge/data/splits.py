"""Splits of a data set by subject, and never by segment: two segments of one subject are nearly one segment.

train:      what the weights are fitted to, and what quantisation is calibrated on.
validation: early stopping, the decision threshold and the search's objective.
test:       the reported figures; touched by score, robustness, promote and report only.

Subjects are ordered by source in a merged data set, then by their share of AF, and by name where shares are equal. They
are drawn by `seed` within bands of neighbours, so that every part and every fold is mixed alike. Folds by source are
those of each source by itself.
"""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

import numpy as np
from pydantic import Field, model_validator

from ecm_edge.base.errors import DatasetError
from ecm_edge.base.records import Record
from ecm_edge.data import sources
from ecm_edge.data.dataset import natural_key

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence

    from ecm_edge.data.dataset import Dataset

_FEWEST_SUBJECTS = 3
_FEWEST_FOLDS = 3  # two of them away, there is one left to train on


class Split(Record):
    """Names of subjects, each in one part only."""

    train: list[str]
    validation: list[str]
    test: list[str]

    @model_validator(mode="after")
    def _disjoint(self) -> Split:
        everyone = [*self.train, *self.validation, *self.test]
        if len(set(everyone)) != len(everyone):
            raise ValueError("a subject stands in two parts of the split")
        return self


class FoldAssignment(Record):
    """Which fold each subject of a data set is in: `folds` maps its name to a number from 0 to count - 1.

    `train_only` and `score_only` name sources of a merged data set. The subjects of the former are in no fold: every
    network is trained on them, and none answers them out of fold. Those of the latter are in folds, and answered there;
    no network is trained on them, and no epoch and no threshold is chosen on them.
    """

    seed: int
    count: int = Field(ge=_FEWEST_FOLDS)
    dataset_sha256: str
    folds: dict[str, int]
    train_only: list[str] = Field(default_factory=list, exclude_if=lambda names: not names)  # files without stay as is
    score_only: list[str] = Field(default_factory=list, exclude_if=lambda names: not names)

    @model_validator(mode="after")
    def _every_fold(self) -> FoldAssignment:
        if self.seed < 0:
            raise ValueError("a seed is 0 or more")
        named = [*self.train_only, *self.score_only]
        if len(set(named)) != len(named):
            raise ValueError("a source stands in train_only or in score_only, and there once")
        numbers = set(self.folds.values())
        if len(numbers) != self.count or numbers != set(range(len(numbers))):
            raise ValueError(f"every fold from 0 to {self.count - 1} has a subject, and there is no other")
        return self

    def subjects(self, *numbers: int) -> list[str]:
        """The subjects of these folds, in natural order."""
        return sorted((name for name, number in self.folds.items() if number in numbers), key=natural_key)


def holdout(dataset: Dataset, *, seed: int, validation_share: float = 0.2, test_share: float = 0.2) -> Split:
    """Subjects drawn into test, validation and train; in each part the subjects' shares of AF are spread alike.

    Raises:
        DatasetError: fewer than three subjects, or one class only.
    """
    order, generator = _by_af_share(dataset), np.random.default_rng(seed)
    test = _drawn(order, test_share, generator)
    tested = set(test)
    rest = [name for name in order if name not in tested]
    return _checked(dataset, _train_and_validation(rest, validation_share / (1 - test_share), test, generator))


def assign_folds(dataset: Dataset, *, count: int, seed: int) -> FoldAssignment:
    """Every labelled subject in one of `count` folds: each band of `count` neighbours is permuted over the folds.

    Raises:
        DatasetError: fewer than three folds or subjects, or more folds than subjects.
    """
    return _assignment(dataset, count, seed, _dealt(_by_af_share(dataset), count, seed))


def assign_folds_by_source(
    dataset: Dataset, *, count: int, seed: int, train_only: Sequence[str] = (), score_only: Sequence[str] = ()
) -> FoldAssignment:
    """The subjects of each source in folds on their own, as `assign_folds` gives them for that source's data set.

    They are so as long as the merge neither left out a segment nor changed a label.

    Args:
        dataset: a merged one.
        count: folds of each source.
        seed: the same one for every source.
        train_only: sources whose subjects are in no fold; see `FoldAssignment`.
        score_only: sources that no network is trained on.

    Raises:
        DatasetError: the data set was not merged, an unknown source or one in both lists, no source left to train on or
            to score, or, for a source, as `assign_folds`.
    """
    sources.check(dataset, [*train_only, *score_only])
    for other, use in ((score_only, "train on"), (train_only, "score")):
        if set(other) >= set(sources.names(dataset)):
            raise DatasetError(
                "some source is left to train on, and one to score", f"none to {use}", "Name fewer sources."
            )
    if both := set(train_only) & set(score_only):
        raise DatasetError("a source is in training only or in scores only", f"{min(both)!r} in both", "Name it once.")
    merged = dataset.header.sources
    former = {name: before for source in merged for name, before in source.renamed.items()}
    order = _by_af_share(dataset, former)
    folds: dict[str, int] = {}
    for source in merged:
        if source.name not in train_only:
            own = set(source.subjects)
            folds |= _dealt([name for name in order if name in own], count, seed, source=source.name)
    return _assignment(dataset, count, seed, folds, sorted(set(train_only)), sorted(set(score_only)))


def _dealt(order: Sequence[str], count: int, seed: int, *, source: str = "") -> dict[str, int]:
    """The fold of each name: each band of `count` neighbours is permuted over the folds."""
    if not _FEWEST_FOLDS <= count <= len(order):
        fewer = "Ask for fewer folds." if len(order) >= _FEWEST_FOLDS else "Have it in training only: --train-only."
        raise DatasetError(
            f"folds lie between {_FEWEST_FOLDS} and the number of subjects",
            f"{count} folds for {len(order)} subjects{f' of {source}' if source else ''}",
            fewer if count > len(order) else "Ask for more folds: two take turns to be left out.",
        )
    generator = np.random.default_rng(seed)
    folds: dict[str, int] = {}
    for start in range(0, len(order), count):
        band = order[start : start + count]
        folds.update(zip(band, generator.permutation(count).tolist(), strict=False))  # the last band may be short
    return folds


def _assignment(
    dataset: Dataset,
    count: int,
    seed: int,
    folds: Mapping[str, int],
    train_only: Sequence[str] = (),
    score_only: Sequence[str] = (),
) -> FoldAssignment:
    return FoldAssignment(
        seed=seed,
        count=count,
        dataset_sha256=dataset.header.content_sha256,
        folds={name: folds[name] for name in sorted(folds, key=natural_key)},
        train_only=list(train_only),
        score_only=list(score_only),
    )


def check_folds(assignment: FoldAssignment, dataset: Dataset) -> None:
    """Check that an assignment was made for this data set, and names every subject in it that has a label.

    Subjects of sources in training only are not named.

    Raises:
        DatasetError: it was not, or does not.
    """
    here = dataset.header.content_sha256
    if assignment.dataset_sha256 != here:
        raise DatasetError(
            "folds go with the data set that they were made for",
            f"content {here[:12]} in {dataset.folder}, not {assignment.dataset_sha256[:12]}",
            "Make them anew with `ecm-edge data folds`.",
        )
    if named := [*assignment.train_only, *assignment.score_only]:
        sources.check(dataset, named)
    without = sources.subjects_of(dataset, assignment.train_only)
    if different := set(assignment.folds) ^ (set(_by_af_share(dataset)) - without):
        raise DatasetError(
            "folds hold every subject that has a label, and no other",
            f"{min(different, key=natural_key)!r} in only one of the two",
            "Make them anew with `ecm-edge data folds`.",
        )


def leave_out(
    dataset: Dataset, assignment: FoldAssignment, numbers: Collection[int], *, validation_share: float
) -> Split:
    """A split that tests the folds `numbers` and trains on the others, of which it may draw validation subjects.

    Sources in training only are in the training part, and sources in scores only are not. Nothing in the split depends
    on a label of a subject that is left out.

    Raises:
        DatasetError: the training part holds one class only, or nobody is there to draw validation subjects of.
    """
    away = sources.subjects_of(dataset, assignment.score_only)
    order = [name for name in _by_af_share(dataset) if name not in away]
    rest = [name for name in order if name in assignment.folds and assignment.folds[name] not in numbers]
    if validation_share and not rest:
        raise DatasetError(
            "validation subjects are in a fold, and of a source that is trained on",
            f"folds of {', '.join(assignment.score_only)} alone, in scores only",
            "Say --set training.keep=last, or make folds of another source too.",
        )
    generator = np.random.default_rng([assignment.seed, *numbers])
    split = _train_and_validation(rest, validation_share, assignment.subjects(*numbers), generator)
    always = [name for name in order if name not in assignment.folds]
    return _checked(dataset, split.model_copy(update={"train": sorted([*split.train, *always])}))


def judging_folds(dataset: Dataset, assignment: FoldAssignment) -> dict[str, int]:
    """The fold of every labelled subject, also of those of sources in training only: they take turns.

    A network that judges the labels of some subjects must not have seen them, so it is trained without their fold.
    """
    always = (name for name in _by_af_share(dataset) if name not in assignment.folds)
    return {**assignment.folds, **{name: place % assignment.count for place, name in enumerate(always)}}


def apart(dataset: Dataset, split: Split, assignment: FoldAssignment) -> Split:
    """The split with sources in training only in its training part, and those in scores only in its test part.

    Raises:
        DatasetError: the training part would hold one class only.
    """
    to_train, to_test = (
        sources.subjects_of(dataset, names) & set(_by_af_share(dataset))
        for names in (assignment.train_only, assignment.score_only)
    )
    if not to_train | to_test:
        return split
    return _checked(
        dataset,
        Split(
            train=sorted((set(split.train) | to_train) - to_test),
            validation=[name for name in split.validation if name not in to_train | to_test],
            test=sorted((set(split.test) | to_test) - to_train),
        ),
    )


def folds(dataset: Dataset, *, count: int, seed: int, validation_share: float = 0.2) -> list[Split]:
    """`count` splits whose test parts cover every subject once; validation is drawn from each fold's training subjects.

    Raises:
        DatasetError: as `assign_folds`, or a fold whose training part holds one class only.
    """
    assignment = assign_folds(dataset, count=count, seed=seed)
    return [leave_out(dataset, assignment, [number], validation_share=validation_share) for number in range(count)]


def everyone(dataset: Dataset, assignment: FoldAssignment | None = None) -> Split:
    """Every labelled subject in the training part, but none of a source in scores only; the other parts are empty.

    Raises:
        DatasetError: fewer than three subjects, or one class only.
    """
    away = sources.subjects_of(dataset, assignment.score_only) if assignment else set()
    return _checked(dataset, Split(train=sorted(set(_by_af_share(dataset)) - away), validation=[], test=[]))


def fixed(dataset: Dataset, *, seed: int, validation_share: float = 0.2) -> Split:
    """The data set's own `train` and `test` parts, by subject; validation is drawn from the training subjects.

    Raises:
        DatasetError: the data set has no such parts, or a subject stands in both.
    """
    parts = dataset.header.splits
    if not {"train", "test"} <= set(parts):
        raise DatasetError(
            "a fixed split needs the parts train and test",
            f"parts {parts}",
            "Import with --split train=FILE --split test=FILE.",
        )
    test, rest = (set(_subjects_in(dataset, parts.index(part))) for part in ("test", "train"))
    if both := sorted(test & rest):
        raise DatasetError(
            "a split is by subject",
            f"{len(both)} subjects in train and in test, first {both[0]!r}",
            "Use the default split instead.",
        )
    order = [name for name in _by_af_share(dataset) if name in rest]
    return _checked(dataset, _train_and_validation(order, validation_share, sorted(test), np.random.default_rng(seed)))


def _subjects_in(dataset: Dataset, part: int) -> list[str]:
    codes = np.unique(dataset.table["subject"][dataset.table["split"] == part])
    return [dataset.header.subjects[code] for code in codes]


def _by_af_share(dataset: Dataset, former: Mapping[str, str] | None = None) -> list[str]:
    """The subjects that have a label, by source, then by share of AF, then by name in natural order.

    `former` has the names before a merge of subjects that it renamed; these count for the order.
    """
    before = former or {}
    place = dataset.sources  # (S,)
    labels, subject = dataset.labels, dataset.table["subject"]  # (N,)
    names = dataset.header.subjects
    segments, positives = (Counter(subject[chosen].tolist()) for chosen in (labels >= 0, labels == 1))
    if len(segments) < _FEWEST_SUBJECTS:
        raise DatasetError(
            "a split by subject needs at least three subjects",
            f"{len(segments)} in {dataset.folder}",
            "Import more subjects.",
        )
    codes = sorted(
        segments,
        key=lambda code: (
            place[code],
            positives[code] / segments[code],
            natural_key(before.get(names[code], names[code])),
        ),
    )
    return [names[code] for code in codes]


def _train_and_validation(
    order: Sequence[str], validation_share: float, test: Sequence[str], generator: np.random.Generator
) -> Split:
    """A split of `order` beside the tested subjects; with a share of 0 its validation is empty."""
    validation = _drawn(order, validation_share, generator) if validation_share else []
    train = set(order) - set(validation)
    return Split(train=sorted(train), validation=sorted(validation), test=sorted(test))


def _drawn(order: Sequence[str], share: float, generator: np.random.Generator) -> list[str]:
    """At least one name, `share` of all: `order` is cut into bands of equal length, and one is drawn from each."""
    count = max(1, round(share * len(order)))
    return [str(generator.choice(band)) for band in np.array_split(np.asarray(order), count)]


def _checked(dataset: Dataset, split: Split) -> Split:
    """The split, if its training part holds both classes."""
    labels = dataset.labels[dataset.rows_of(split.train)]
    if not 0 < labels.sum() < len(labels):
        raise DatasetError(
            "training needs positive and negative segments",
            f"{int(labels.sum())} of {len(labels)} training segments positive in {dataset.folder}",
            "Import subjects of both kinds.",
        )
    return split
