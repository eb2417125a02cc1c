"""Splits are by subject, disjoint, complete, repeatable, and mixed."""

import numpy as np
import pytest
from pydantic import ValidationError

from ecm_edge.base.errors import DatasetError
from ecm_edge.data import splits
from ecm_edge.data.dataset import open_dataset
from ecm_edge.data.merge import merge
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


def sets(folder):
    """Two sets of 9 and 14 subjects that share names, with shares that tie, and the two as one."""
    one = data(folder / "one", {f"S{i}": [("AFIB", [i])] * (i // 2) + [("N", [-i])] * (6 - i // 2) for i in range(9)})
    two = data(folder / "two", subjects_with(6, 5) | {f"S{i}": [("AFIB", [50 + i]), ("N", [60 + i])] for i in range(3)})
    merge([one, two], folder / "both")
    return one, two, open_dataset(folder / "both")


@pytest.mark.parametrize(("count", "seed"), [(3, 0), (4, 5)])
def test_folds_by_source_are_those_of_each_source_alone(tmp_path, count, seed):
    one, two, both = sets(tmp_path)
    assert both.header.sources[1].renamed == {f"two:S{i}": f"S{i}" for i in range(3)}
    assignment = splits.assign_folds_by_source(both, count=count, seed=seed)
    alone = [splits.assign_folds(made, count=count, seed=seed).folds for made in (one, two)]
    renamed = {f"two:{name}" if name in alone[0] else name: fold for name, fold in alone[1].items()}
    assert assignment.folds == alone[0] | renamed
    assert assignment != splits.assign_folds(both, count=count, seed=seed)
    splits.check_folds(assignment, both)


def test_a_source_in_training_only_is_in_every_training_part(tmp_path):
    one, _, both = sets(tmp_path)
    assignment = splits.assign_folds_by_source(both, count=3, seed=0, train_only=["two"])
    assert assignment.folds == splits.assign_folds(one, count=3, seed=0).folds
    splits.check_folds(assignment, both)
    always = set(both.header.sources[1].subjects)
    for numbers in [(0,), (1, 2)]:
        split = splits.leave_out(both, assignment, numbers, validation_share=0.3)
        assert split.test == sorted(assignment.subjects(*numbers))
        assert len(split.validation) > 0
        assert set(split.train) == (set(both.header.subjects) - {*split.test, *split.validation})
        assert always < set(split.train)
    judged = splits.judging_folds(both, assignment)
    assert {name: judged[name] for name in assignment.folds} == assignment.folds
    assert sorted(judged[name] for name in always) == sorted(place % 3 for place in range(14))
    assert splits.everyone(both, assignment) == splits.everyone(both)


def test_a_source_in_scores_only_is_in_no_training_part(tmp_path):
    _, _, both = sets(tmp_path)
    assignment = splits.assign_folds_by_source(both, count=3, seed=0, score_only=["two"])
    assert assignment.folds == splits.assign_folds_by_source(both, count=3, seed=0).folds
    away = set(both.header.sources[1].subjects)
    for numbers in [(0,), (1, 2)]:
        split = splits.leave_out(both, assignment, numbers, validation_share=0.3)
        assert set(split.test) == set(assignment.subjects(*numbers))
        assert not away & {*split.train, *split.validation}
    everyone = splits.everyone(both, assignment)
    assert (everyone.train, everyone.test) == (sorted(set(both.header.subjects) - away), [])


def test_the_parts_of_a_split_follow_the_use_of_its_sources(tmp_path):
    _, _, both = sets(tmp_path)
    split = splits.holdout(both, seed=0)
    one, two = ({*source.subjects} for source in both.header.sources)
    assert two & {*split.validation}
    assert two & {*split.test}
    assert one & {*split.validation}
    scored = splits.apart(both, split, splits.assign_folds_by_source(both, count=3, seed=0, score_only=["two"]))
    assert {*scored.test} == two | {*split.test}
    assert {*scored.validation} == one & {*split.validation}
    trained = splits.apart(both, split, splits.assign_folds_by_source(both, count=3, seed=0, train_only=["two"]))
    assert {*trained.train} == two | {*split.train}
    assert {*trained.test} == one & {*split.test}
    assert splits.apart(both, split, splits.assign_folds_by_source(both, count=3, seed=0)) is split


def test_one_source_alone_to_score_has_nobody_to_validate_on(tmp_path):
    _, _, both = sets(tmp_path)
    assignment = splits.assign_folds_by_source(both, count=3, seed=0, train_only=["one"], score_only=["two"])
    assert splits.leave_out(both, assignment, (1,), validation_share=0).train == sorted(both.header.sources[0].subjects)
    with pytest.raises(DatasetError, match=r"validation subjects are in a fold.*folds of two alone"):
        splits.leave_out(both, assignment, (1,), validation_share=0.2)


@pytest.mark.parametrize(
    ("uses", "message"),
    [
        ({"train_only": ["three"]}, "merged from; found 'three' for .*Its sources are one, two"),
        ({"train_only": ["one"], "score_only": ["one"]}, "in training only or in scores only; found 'one' in both"),
        ({"train_only": ["one", "two"]}, "some source is left .*found none to score"),
        ({"score_only": ["two", "one"]}, "some source is left .*found none to train on"),
        ({"count": 10}, "10 folds for 9 subjects of one"),
    ],
)
def test_uses_of_sources_that_cannot_be(tmp_path, uses, message):
    _, _, both = sets(tmp_path)
    with pytest.raises(DatasetError, match=message):
        splits.assign_folds_by_source(both, **{"count": 3, "seed": 0, **uses})


def test_a_source_of_two_subjects_can_be_trained_on_only(tmp_path):
    one = data(tmp_path / "one", subjects_with(2, 2))
    merge([one, data(tmp_path / "two", {"X": [("N", [5.0])], "Y": [("N", [6.0])]})], tmp_path / "both")
    both = open_dataset(tmp_path / "both")
    with pytest.raises(DatasetError, match=r"3 folds for 2 subjects of two. Have it in training only: --train-only"):
        splits.assign_folds_by_source(both, count=3, seed=0)
    assert splits.assign_folds_by_source(both, count=3, seed=0, train_only=["two"]).train_only == ["two"]


def test_only_a_merged_set_has_folds_by_source(dataset, tmp_path, capsys):
    assert run(["data", "folds", dataset.folder, "--by-source", "-o", tmp_path / "f.json"]) == 2
    assert "only a merged data set has sources" in capsys.readouterr().err
    assert run(["data", "folds", dataset.folder, "--train-only", "one", "-o", tmp_path / "f.json"]) == 2
    assert "go with --by-source" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


def test_the_command_divides_by_source_and_says_so(tmp_path, capsys):
    _, _, both = sets(tmp_path)
    arguments = ["data", "folds", both.folder, "--by-source", "--count", 3, "--score-only", "two"]
    assert run([*arguments, "-o", tmp_path / "f.json"]) == 0
    lines = [" ".join(line.split()) for line in capsys.readouterr().out.splitlines()]
    assert {"one training and scores 3 3 3", "two scores only 5 4 5"} < set(lines)
    assignment = FoldAssignment.load(tmp_path / "f.json")
    assert assignment == splits.assign_folds_by_source(both, count=3, seed=0, score_only=["two"])
    other = assignment.model_copy(update={"score_only": ["elsewhere"]})
    with pytest.raises(DatasetError, match="'elsewhere' for"):
        splits.check_folds(other, both)
    with pytest.raises(DatasetError, match="every subject that has a label, and no other"):
        splits.check_folds(assignment.model_copy(update={"train_only": ["one"]}), both)


def test_an_assignment_without_uses_of_sources_is_written_without_them(dataset):
    fields = splits.assign_folds(dataset, count=3, seed=0).model_dump(mode="json")
    assert list(fields) == ["seed", "count", "dataset_sha256", "folds"]
    for uses in ({"train_only": ["a"], "score_only": ["a"]}, {"train_only": ["a", "a"]}):
        with pytest.raises(ValidationError, match="stands in train_only or in score_only"):
            FoldAssignment.model_validate({**fields, **uses})
