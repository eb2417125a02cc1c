"""Splits are by subject, disjoint, complete, repeatable, and mixed."""

import numpy as np
import pytest
from pydantic import ValidationError

from ecm_edge.base.errors import DatasetError
from ecm_edge.data import splits
from ecm_edge.data.splits import FoldAssignment, Split

from .tiny import data, run


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


def test_the_seed_matters_where_no_share_ties(tmp_path):
    rows = {f"A{i}": [("AFIB", [1])] * i + [("N", [-1])] * (20 - i) for i in range(20)}
    made = data(tmp_path / "d", rows)
    tests = [splits.holdout(made, seed=seed).test for seed in range(4)]
    assert len({tuple(test) for test in tests}) > 1
    assert all(sorted(int(name[1:]) // 5 for name in test) == [0, 1, 2, 3] for test in tests)  # one of every band


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


@pytest.mark.parametrize("count", [2, 13])
def test_folds_outside_their_limits(dataset, count):
    with pytest.raises(DatasetError, match="between 3 and the number of subjects"):
        splits.folds(dataset, count=count, seed=0)


def test_bands_of_neighbours_are_permuted_over_the_folds(tmp_path):
    rows = {f"S{i}": [("AFIB", [1])] * (i // 2) + [("N", [-1])] * (6 - i // 2) for i in (10, 9, 8, 7, 2, 1, 0)}
    assignment = splits.assign_folds(data(tmp_path / "d", rows), count=3, seed=5)
    drawn = np.random.default_rng(5)
    first, second, third = (drawn.permutation(3).tolist() for _ in range(3))
    # by share of AF: S0 and S1 have none and tie, then S2, S7, S8 and S9, S10
    expected = dict(zip(["S0", "S1", "S2", "S7", "S8", "S9"], first + second, strict=True)) | {"S10": third[0]}
    assert assignment.folds == expected
    assert list(assignment.folds) == sorted(expected, key=lambda name: int(name[1:]))


def test_an_assignment_survives_its_file_and_knows_its_data_set(tmp_path, dataset):
    assert run(["data", "folds", dataset.folder, "--count", "4", "--seed", "2", "-o", tmp_path / "f.json"]) == 0
    assignment = FoldAssignment.load(tmp_path / "f.json")
    assert assignment == splits.assign_folds(dataset, count=4, seed=2) != splits.assign_folds(dataset, count=4, seed=3)
    splits.check_folds(assignment, dataset)
    with pytest.raises(DatasetError, match="the data set that they were made for"):
        splits.check_folds(assignment.model_copy(update={"dataset_sha256": "0" * 64}), dataset)
    fewer = assignment.model_copy(update={"folds": dict(list(assignment.folds.items())[1:])})
    with pytest.raises(DatasetError, match="every subject that has a label"):
        splits.check_folds(fewer, dataset)


def test_an_assignment_fills_every_fold():
    with pytest.raises(ValidationError, match="every fold from 0 to 2 has a subject"):
        FoldAssignment(seed=0, count=3, dataset_sha256="", folds={"S1": 0, "S2": 2})
    with pytest.raises(ValidationError, match="every fold from 0 to"):
        FoldAssignment(seed=0, count=10**18, dataset_sha256="", folds={"S1": 0})
    with pytest.raises(ValidationError, match="a seed is 0 or more"):
        FoldAssignment(seed=-1, count=3, dataset_sha256="", folds={"S1": 0, "S2": 1, "S3": 2})


def test_a_fold_is_left_out_whole(dataset):
    assignment = splits.assign_folds(dataset, count=4, seed=0)
    split = splits.leave_out(dataset, assignment, (1, 3), validation_share=0.25)
    assert set(split.test) == set(assignment.subjects(1, 3))
    assert sorted([*split.train, *split.validation]) == sorted(assignment.subjects(0, 2))
    assert len(split.validation) == 2  # of 6
    assert splits.leave_out(dataset, assignment, (1, 3), validation_share=0).validation == []


def test_everyone_is_trained_on(dataset):
    split = splits.everyone(dataset)
    assert (sorted(dataset.header.subjects), [], []) == (split.train, split.validation, split.test)


def test_too_few_subjects(tmp_path):
    two = data(tmp_path / "two", subjects_with(1, 1))
    with pytest.raises(DatasetError, match="at least three subjects; found 2"):
        splits.holdout(two, seed=0)


def test_one_class(tmp_path):
    negative = data(tmp_path / "negative", subjects_with(0, 6))
    with pytest.raises(DatasetError, match="positive and negative segments; found 0 of"):
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
