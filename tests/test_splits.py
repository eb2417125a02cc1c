"""Splits are by subject, disjoint, complete, repeatable, and mixed."""

import numpy as np
import pytest

from ecm_edge import splits
from ecm_edge.errors import DatasetError
from ecm_edge.splits import Split

from .tiny import data


def subjects_with(af, other):
    """`af` subjects with AF and N, `other` with N only; two segments each."""
    rows = {f"A{i}": [("AFIB", [1]), ("N", [-1])] for i in range(af)}
    return rows | {f"B{i}": [("N", [-1]), ("N", [-1])] for i in range(other)}


def test_holdout_puts_every_subject_in_one_part(dataset):
    split = splits.holdout(dataset, seed=0)
    assert sorted([*split.train, *split.validation, *split.test]) == sorted(dataset.header.subjects)


def test_holdout_is_repeatable_and_depends_on_the_seed(dataset):
    assert splits.holdout(dataset, seed=0) == splits.holdout(dataset, seed=0)
    assert any(splits.holdout(dataset, seed=0) != splits.holdout(dataset, seed=seed) for seed in range(1, 5))


def test_holdout_shares(tmp_path):
    split = splits.holdout(data(tmp_path / "d", subjects_with(10, 10)), seed=1)
    assert (len(split.train), len(split.validation), len(split.test)) == (12, 4, 4)


def test_every_part_has_subjects_of_both_kinds(tmp_path):
    split = splits.holdout(data(tmp_path / "d", subjects_with(10, 10)), seed=1)
    for part in (split.train, split.validation, split.test):
        assert {name[0] for name in part} == {"A", "B"}


def test_folds_test_every_subject_once(dataset):
    parts = splits.folds(dataset, count=4, seed=0)
    tested = [name for split in parts for name in split.test]
    assert sorted(tested) == sorted(dataset.header.subjects)


@pytest.mark.parametrize("count", [1, 13])
def test_folds_outside_their_limits(dataset, count):
    with pytest.raises(DatasetError, match="between 2 and the number of subjects"):
        splits.folds(dataset, count=count, seed=0)


def test_too_few_subjects(tmp_path):
    two = data(tmp_path / "two", subjects_with(1, 1))
    with pytest.raises(DatasetError, match="at least three subjects; found 2"):
        splits.holdout(two, seed=0)


def test_one_class(tmp_path):
    negative = data(tmp_path / "negative", subjects_with(0, 6))
    with pytest.raises(DatasetError, match="with AF and without; found 0 of"):
        splits.holdout(negative, seed=0)


def test_fixed_needs_the_parts(dataset):
    with pytest.raises(DatasetError, match="needs the parts train and test"):
        splits.fixed(dataset, seed=0)


def test_a_subject_in_two_parts_is_refused():
    with pytest.raises(ValueError, match="stands in two parts"):
        Split(train=["S1"], validation=["S1"], test=[])


def test_rows_of_a_part_belong_to_its_subjects(dataset):
    split = splits.holdout(dataset, seed=0)
    rows = dataset.rows_of(split.test)
    assert set(dataset.subject_names(rows)) == set(split.test)
    assert not np.isin(rows, dataset.rows_of(split.train)).any()
