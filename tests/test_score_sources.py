"""Scores of some sources of a merged data set: their subjects alone, by the model and out of fold."""

import pytest

from ecm_edge.base.errors import DatasetError
from ecm_edge.data import splits
from ecm_edge.data.dataset import open_dataset
from ecm_edge.data.merge import merge
from ecm_edge.evaluate.score import ScoreRecord, score_model, score_out_of_fold

from . import tiny
from .folds import write_folds

ONE, TWO = ([f"S{number}" for number in range(6)], [f"T{number}" for number in range(4)])
TWO_RIGHT = {"tp": 8, "fp": 4, "tn": 8, "fn": 0}  # a third of its other segments are called AF


@pytest.fixture
def both(tmp_path):
    """`one`: 6 subjects, of whose AF column k misses k tenths; `two`: 4 subjects, with a false alarm for each."""
    one = tiny.graded(tmp_path / "one")
    segments = [("AFIB", [5, 5]), ("AFIB", [6, 6]), ("N", [-5, -5]), ("N", [-6, -6]), ("N", [7, 7])]
    merge([one, tiny.data(tmp_path / "two", dict.fromkeys(TWO, segments))], tmp_path / "both")
    return open_dataset(tmp_path / "both")


@pytest.fixture
def trained_on_all(tmp_path, both):
    return tiny.make_candidate(tmp_path / "c", both, train=[*ONE, *TWO], validation=(), test=())


def test_the_score_of_a_source_is_that_of_its_subjects_alone(both, trained_on_all):
    record = score_model(trained_on_all, both, subjects="all", sources=["two"], target=tiny.TARGET)
    assert [subject.subject for subject in record.scores.by_subject] == TWO
    assert (record.sources, record.part, record.scores.by_source) == (["two"], "all", [])
    assert record.scores.confusion.model_dump() == TWO_RIGHT
    named = score_model(trained_on_all, both, subjects=TWO, target=tiny.TARGET)
    assert named.board.board_score == record.board.board_score
    assert named.sources == []
    whole = score_model(trained_on_all, both, subjects="all", sources=["two", "one"])
    assert [source.source for source in whole.scores.by_source] == ["one", "two"]
    assert whole.scores == score_model(trained_on_all, both, subjects="all").scores


def test_a_part_of_a_split_is_scored_by_source(both, tmp_path):
    folder = tiny.make_candidate(tmp_path / "c", both, test=["S3", "T1", "S4"])
    record = score_model(folder, both, sources=["one"])
    assert [subject.subject for subject in record.scores.by_subject] == ["S3", "S4"]
    with pytest.raises(DatasetError, match=r"has a subject among those that are scored; found none of two"):
        score_model(folder, both, subjects=ONE, sources=["two"])


def test_out_of_fold_a_source_is_scored_by_the_same_margins(both, trained_on_all):
    write_folds(trained_on_all, both, column=1)
    record = score_out_of_fold(trained_on_all, both, target=tiny.TARGET, sources=["one"])
    assert (record.part, record.sources) == ("out_of_fold", ["one"])
    assert record.scores.confusion.model_dump() == {"tp": 54, "fp": 0, "tn": 60, "fn": 6}
    whole = score_out_of_fold(trained_on_all, both, target=tiny.TARGET)
    assert [source.confusion.model_dump() for source in whole.scores.by_source][1] == TWO_RIGHT
    assert whole.scores.by_source[0].fbeta_mean == record.scores.fbeta_mean
    assert whole.board.board_score != record.board.board_score


def test_a_source_in_training_only_has_no_score_out_of_fold(both, trained_on_all):
    folds = splits.assign_folds_by_source(both, count=3, seed=0, train_only=["two"])
    write_folds(trained_on_all, both, column=1, assignment=folds)
    record = score_out_of_fold(trained_on_all, both)
    assert [subject.subject for subject in record.scores.by_subject] == ONE
    assert record.statement.endswith("; subjects of two were only trained on, and have no figures")
    with pytest.raises(DatasetError, match="found none of two"):
        score_out_of_fold(trained_on_all, both, sources=["two"])
    folds = splits.assign_folds_by_source(both, count=3, seed=0, score_only=["two"])
    write_folds(trained_on_all, both, column=1, assignment=folds)
    record = score_out_of_fold(trained_on_all, both, sources=["two"])
    assert record.statement.endswith("; nothing was trained, and no threshold chosen, on subjects of two")


def test_sources_that_are_not_there(both, tmp_path, trained_on_all):
    with pytest.raises(DatasetError, match=r"found 'three' for .*Its sources are one, two"):
        score_model(trained_on_all, both, subjects="all", sources=["one", "three"])
    with pytest.raises(DatasetError, match=r"only a merged data set has sources; found .* was not merged"):
        score_model(trained_on_all, open_dataset(tmp_path / "one"), subjects="all", sources=["one"])


def test_the_command_keeps_what_a_source_scores_out_of_fold(both, trained_on_all, capsys):
    write_folds(trained_on_all, both, column=1)
    options = ["score", trained_on_all, "--data", both.folder, "--target", "loongson-2k0500", "--out-of-fold"]
    assert tiny.run([*options, "--source", "two", "--json"]) == 0
    assert ScoreRecord.model_validate_json(capsys.readouterr().out).sources == ["two"]
    assert tiny.run([*options, "--source", "two"]) == 0
    assert "all subjects out of fold of two: 20 segments of 4 subjects" in capsys.readouterr().out
    assert ScoreRecord.load(trained_on_all / "score.json").sources == ["two"]
    assert tiny.run(options) == 0
    assert ScoreRecord.load(trained_on_all / "score.json").sources == []
    assert tiny.run([*options, "--source", "af"]) == 2
    assert "Its sources are one, two" in capsys.readouterr().err
