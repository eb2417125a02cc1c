"""The score command's function: which rows, which warnings, which costs."""

from __future__ import annotations

import dataclasses
import re
from types import SimpleNamespace

import numpy as np
import pytest

from ecm_edge import metrics
from ecm_edge.base import files
from ecm_edge.base.errors import CandidateError, DatasetError, ModelError
from ecm_edge.base.records import Evidence, Latency
from ecm_edge.candidate.candidate import TRAINING, load_config
from ecm_edge.evaluate.score import ScoreRecord, like_a_guess, parse_subjects, score_model, score_out_of_fold
from ecm_edge.forms import model_file, onnx_model
from tests import report_records, tiny
from tests.folds import relabelled, write_folds

EVERYONE = [f"S{i}" for i in range(6)]


@pytest.fixture
def dataset(tmp_path):
    return tiny.graded(tmp_path / "data")


def test_a_candidate_is_scored_on_its_test_subjects(tmp_path, dataset):
    folder = tiny.make_candidate(tmp_path / "c", dataset, column=2)
    record = score_model(folder, dataset)
    assert (record.part, record.form, record.model) == ("test", "float32", "model.simplified.onnx")
    assert [s.subject for s in record.scores.by_subject] == ["S3", "S4", "S5"]
    assert record.scores.confusion.model_dump() == {"tp": 24, "fp": 0, "tn": 30, "fn": 6}
    assert record.model_sha256 == files.sha256_file(folder / "model.simplified.onnx")
    assert (record.trained_on, record.warnings, record.synthetic) == ([], [], True)


def test_scoring_trained_subjects_warns(tmp_path, dataset):
    folder = tiny.make_candidate(tmp_path / "c", dataset)
    record = score_model(folder, dataset, subjects="all")
    assert record.trained_on == ["S0", "S1", "S2"]
    assert record.warnings[0].startswith("the model was trained or tuned on 3 of these 6 subjects")
    assert score_model(folder, dataset, subjects=["S2", "S3"]).part == "chosen"


def test_a_bare_file_is_scored_on_all_subjects_and_warns(tmp_path, dataset):
    path = tmp_path / "any.onnx"
    onnx_model.save(tiny.model(dataset_sha256=dataset.header.content_sha256), path)
    record = score_model(path, dataset)
    assert (record.part, record.scores.segments, record.config_sha256) == ("all", 120, None)
    assert record.trained_on is None
    assert record.warnings[0].startswith("the file does not say which subjects it was trained on")
    onnx_model.save(tiny.model(dataset_sha256="0" * 64), path)
    assert score_model(path, dataset).trained_on == []


def test_board_score_from_the_candidates_cost(tmp_path, dataset):
    folder = tiny.make_candidate(tmp_path / "c", dataset)
    board = score_model(folder, dataset, target=tiny.TARGET).board
    assert board.latency_ms.evidence == Evidence.ESTIMATED
    assert board.latency_ms.mean_ms == pytest.approx(16 * 13 / 500e6 * 1e3)  # 8 x 2 MACs at 13 cycles
    assert board.flash_bytes == 62_669 + 16 * 4
    points = [term.points for term in board.board_score.terms]
    assert points == pytest.approx([25, 15, 35, 5 * (1 - (62_733 / 1024 - 50) / 950)])


def test_a_files_cost_is_counted_and_a_measured_latency_takes_its_place(tmp_path, dataset):
    path = tmp_path / "any.onnx"
    onnx_model.save(tiny.model(layers=2), path)
    latency = Latency(evidence=Evidence.MEASURED, source="board", mean_ms=25.25)
    board = score_model(path, dataset, target=tiny.TARGET, latency=latency).board
    assert board.board_score.terms[2].points == pytest.approx(17.5)
    assert board.flash_bytes == 62_669 + (2 * 64 + 16) * 4
    assert board.latency_ms.evidence == Evidence.MEASURED


def test_the_time_of_an_emulator_is_no_boards(tmp_path, dataset):
    folder = tiny.make_candidate(tmp_path / "c", dataset)
    latency = Latency(evidence=Evidence.EMULATED, source="an emulator's clock", mean_ms=0.1)
    with pytest.raises(CandidateError, match="an emulator's clock"):
        score_model(folder, dataset, target=tiny.TARGET, latency=latency)


def test_of_another_data_set_all_subjects_are_scored_and_names_in_common_are_told(tmp_path, dataset):
    folder = tiny.make_candidate(tmp_path / "c", dataset)
    other = tiny.graded(tmp_path / "other", subjects=7)
    record = score_model(folder, other)
    assert (record.part, record.scores.subjects, record.trained_on) == ("all", 7, [])
    assert (record.origin.relation, record.origin.training_sha256) == ("external", [dataset.header.content_sha256])
    assert len(record.warnings) == 1
    assert record.warnings[0].startswith("3 of these subjects have names of subjects that the model was trained or")
    with pytest.raises(DatasetError, match="a part of a candidate's split is one of the data set"):
        score_model(folder, other, subjects="test")


@pytest.mark.parametrize(
    ("subjects", "message"),
    [([], "at least one segment"), (["S9"], "'S9'"), ("test", "a part of a candidate's split")],
)
def test_subjects_that_cannot_be_scored(tmp_path, dataset, subjects, message):
    path = tmp_path / "any.onnx"
    onnx_model.save(tiny.model(), path)
    with pytest.raises(DatasetError, match=message):
        score_model(path, dataset, subjects=subjects)


def test_one_subject_of_one_class(tmp_path):
    dataset = tiny.data(tmp_path / "data", {"A": [("N", [-1.0]), ("", [1.0])]})
    onnx_model.save(tiny.model(), tmp_path / "m.onnx")
    record = score_model(tmp_path / "m.onnx", dataset)
    assert record.warnings[1] == "one subject: no interval can be given"
    assert record.warnings[2].startswith("no segment with AF: sensitivity and AUC are undefined")
    assert {(r.rhythm, r.specificity) for r in record.scores.by_rhythm} == {("blank", 0.0), ("N", 1.0)}
    assert record.scores.fbeta_mean.value == 1.0


@pytest.mark.parametrize(
    ("rhythm", "says"),
    [
        ("N", ("no segment with AF: sensitivity and AUC are undefined, precision and F1 say nothing, and mean F2 and G "
              "are 1 by the contest's rule, whatever the model answers")),
        ("AFIB", ("no segment without AF: specificity and AUC are undefined, NPV says nothing, and precision is 1 "
                 "whatever the model answers")),
    ],
)  # fmt: skip
def test_one_class_is_said_in_the_last_line(tmp_path, rhythm, says):
    dataset = tiny.data(tmp_path / "data", {"A": [(rhythm, [-1.0]), (rhythm, [1.0])], "B": [(rhythm, [1.0])]})
    onnx_model.save(tiny.model(), tmp_path / "m.onnx")
    code, out = tiny.run_for_output("score", tmp_path / "m.onnx", "--data", dataset.folder)
    assert (code, out.splitlines()[-1]) == (0, says)


def test_mean_fbeta_is_shown_beside_specificity_and_the_subjects_with_af(tmp_path):
    wrong = [("N", [1.0]), ("N", [-1.0])]  # half of the answers are false alarms, and Fβ is 1 by rule
    dataset = tiny.data(tmp_path / "data", {"A": [("AFIB", [1.0]), ("N", [-1.0])], "B": wrong, "C": wrong})
    onnx_model.save(tiny.model(), tmp_path / "m.onnx")
    _, out = tiny.run_for_output("score", tmp_path / "m.onnx", "--data", dataset.folder)
    assert "6 segments of 3 subjects, 1 with AF" in out
    named = [line.split()[:2] for line in out.splitlines() if line.strip().startswith(("fbeta_mean", "g ", "specif"))]
    assert named == [["fbeta_mean", "1.000"], ["g", "1.000"], ["specificity", "0.600"]]


def test_scores_that_are_not_finite(tmp_path):
    dataset = tiny.data(tmp_path / "data", {"A": [("N", [-1.0]), ("AFIB", [3e38])]})
    onnx_model.save(tiny.model(scale=10.0), tmp_path / "m.onnx")
    with pytest.raises(ModelError, match="1 of 2 margins are not, the first at row 1"):
        score_model(tmp_path / "m.onnx", dataset)


def test_models_that_cannot_be_scored(tmp_path, dataset):
    folder = tiny.make_candidate(tmp_path / "c", dataset, forms=("float32",))
    with pytest.raises(CandidateError, match=r"no model\.int8\.onnx in"):
        score_model(folder, dataset, form="int8")
    (folder / "model.simplified.onnx").write_bytes(b"not a model")
    with pytest.raises(ModelError, match="a model is an ONNX file"):
        score_model(folder, dataset)
    (tmp_path / "empty").mkdir()
    with pytest.raises(CandidateError, match="a candidate is a folder that"):
        score_model(tmp_path / "empty", dataset)
    with pytest.raises(ModelError, match="No such file"):
        score_model(tmp_path / "absent", dataset)


def test_segments_of_another_length(tmp_path):
    narrow = tiny.data(tmp_path / "data", {"A": [("N", [1.0])]})
    wide = dataclasses.replace(narrow, samples=np.zeros((1, tiny.T + 1), np.float32))
    onnx_model.save(tiny.model(), tmp_path / "m.onnx")
    with pytest.raises(ModelError, match="segments have the length of the model's input"):
        score_model(tmp_path / "m.onnx", wide)


@pytest.mark.parametrize(
    ("text", "subjects"), [("test", "test"), ("all", "all"), ("S1, S2", ["S1", "S2"]), ("S1", ["S1"]), (",", [])]
)
def test_subjects_as_text(text, subjects):
    assert parse_subjects(text) == subjects


def test_command_keeps_the_record_of_the_test_subjects(tmp_path, dataset, capsys):
    folder = tiny.make_candidate(tmp_path / "c", dataset, column=1)
    arguments = ["score", str(folder), "--data", str(dataset.folder), "--target", "loongson-2k0500"]
    assert tiny.run([*arguments, "--subjects", "all"]) == 0
    assert not (folder / "score.json").exists()
    assert "warning: the model was trained or tuned on 3" in capsys.readouterr().err
    assert tiny.run([*arguments, "--json"]) == 0
    assert ScoreRecord.model_validate_json(capsys.readouterr().out) == ScoreRecord.load(folder / "score.json")
    assert tiny.run([*arguments[:-2], "--subjects", "S9"]) == 2


@pytest.fixture
def trained_on_all(tmp_path, dataset):
    """A candidate without an error on anybody, as it has seen them all; out of fold its recipe misses a tenth."""
    folder = tiny.make_candidate(tmp_path / "all", dataset, train=EVERYONE, validation=(), test=())
    return write_folds(folder, dataset, column=1)


def test_calibration_is_of_margins_with_the_threshold_put_back(tmp_path, dataset, trained_on_all):
    folder = tiny.make_candidate(tmp_path / "c", dataset, column=2)
    assert score_model(folder, dataset).scores.calibration is None
    config = load_config(folder)
    trained = report_records.training(config)
    assert trained.best.threshold == 0.1
    trained.save(folder / TRAINING)
    margins = model_file.margins(model_file.open_model(folder).classifier, dataset, dataset.rows_of(["S3", "S4", "S5"]))
    found = score_model(folder, dataset).scores.calibration
    errors = 1 / (1 + np.exp(-(margins + 0.1))) - dataset.labels[dataset.rows_of(["S3", "S4", "S5"])]
    assert found.brier.value == pytest.approx((errors**2).mean())
    before = np.load(trained_on_all / "folds.npz")["before"]
    assert score_out_of_fold(trained_on_all, dataset).scores.calibration == metrics.calibrate(
        dataset.labels, before, dataset.subject_names(np.arange(120))
    )


def test_out_of_fold_scores_are_the_recipes_over_all_subjects(dataset, trained_on_all):
    record = score_out_of_fold(trained_on_all, dataset, target=tiny.TARGET, form="int8")
    assert (record.part, record.trained_on, record.warnings) == ("out_of_fold", [], [])
    assert "had not seen it" in record.statement
    assert record.scores.confusion.model_dump() == {"tp": 54, "fp": 0, "tn": 60, "fn": 6}
    assert [s.subject for s in record.scores.by_subject] == EVERYONE
    assert (record.form, record.model) == ("int8", "model.int8.onnx")
    assert record.model_sha256 == files.sha256_file(trained_on_all / "model.int8.onnx")
    points = [term.points for term in record.board.board_score.terms]
    assert points[:2] == pytest.approx([25 * (2 * 45 / 49 - 1), 15])  # Fβ 45/49 of every subject, which is above 0.9


def test_a_candidate_trained_on_all_has_no_test_subjects(dataset, trained_on_all):
    with pytest.raises(DatasetError, match="Score it with --out-of-fold"):
        score_model(trained_on_all, dataset)
    assert score_model(trained_on_all, dataset, subjects="all").warnings[0].startswith("the model was trained")


def test_out_of_fold_is_refused_where_it_does_not_belong(tmp_path, dataset, trained_on_all):
    with pytest.raises(CandidateError, match="come from a cross-validation"):
        score_out_of_fold(tiny.make_candidate(tmp_path / "c", dataset), dataset)
    with pytest.raises(CandidateError, match="is a candidate's recipe"):
        score_out_of_fold(trained_on_all / "model.int8.onnx", dataset)
    with pytest.raises(CandidateError, match="the data set it was made from"):
        score_out_of_fold(trained_on_all, relabelled(tmp_path / "other", dataset, ["S1"]))
    (trained_on_all / "folds.npz").write_bytes(b"other")
    with pytest.raises(CandidateError, match="stays as it was written"):
        score_out_of_fold(trained_on_all, dataset)


def test_the_command_keeps_the_record_out_of_fold_of_who_has_no_test_subjects(
    tmp_path, dataset, trained_on_all, capsys
):
    tested = write_folds(tiny.make_candidate(tmp_path / "c", dataset), dataset)
    options = ["--data", dataset.folder, "--target", "loongson-2k0500", "--out-of-fold"]
    assert tiny.run(["score", trained_on_all, *options]) == 0
    said = capsys.readouterr()
    assert "warning" not in said.err
    assert "every subject was answered by a float32 network of this recipe that had not seen it" in said.out
    assert "calibration: Brier score 0." in said.out
    assert ScoreRecord.load(trained_on_all / "score.json").part == "out_of_fold"
    assert tiny.run(["score", tested, *options]) == 0
    assert not (tested / "score.json").exists()
    assert tiny.run(["score", tested, *options, "--subjects", "all"]) == 2
    (tested / "folds.npz").unlink()
    assert tiny.run(["score", tested, *options]) == 2
    assert "folds.npz stays as it was written" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("confusion", "said"),
    [
        ((34, 102, 1, 0), "sensitivity 1.000 with specificity 0.010 is hardly better than a guess"),
        ((0, 0, 9, 4), "sensitivity 0.000 with specificity 1.000 is hardly better than a guess"),
        ((30, 40, 60, 4), ""),
    ],
)
def test_answers_of_one_class_only_are_told_whatever_fbeta_is(confusion, said):
    tp, fp, tn, fn = confusion
    scores = SimpleNamespace(confusion=SimpleNamespace(tp=tp, fp=fp, tn=tn, fn=fn), beta=2.0)
    assert like_a_guess(scores)[: len(said) or None] == said


def test_figures_at_even_odds_stand_beside_those_at_the_threshold(tmp_path, dataset):
    folder = tiny.make_candidate(tmp_path / "c", dataset, column=2)
    assert score_model(folder, dataset, target=tiny.TARGET).even_odds is None  # no training.json
    report_records.training(load_config(folder)).save(folder / "training.json")  # a threshold of 0.1
    assert score_model(folder, dataset).even_odds.recall.value == pytest.approx(0.8)
    write_folds(folder, dataset, 1, threshold=1.5)  # at even odds all is called AF
    record = score_out_of_fold(folder, dataset, target=tiny.TARGET)
    beside = record.even_odds
    assert (record.scores.recall.value, record.scores.specificity.value) == (0.9, 1.0)
    assert (beside.recall.value, beside.specificity.value, beside.g.value) == (1.0, 0.0, 0.0)
    assert beside.fbeta_mean.value == pytest.approx(5 * 10 / (5 * 10 + 10))
    assert beside.f1.value == pytest.approx(2 / 3)
    gained = record.board.board_score.total - beside.board_points
    assert gained == pytest.approx(50 * (45 / 49 - 50 / 60) + 15)  # points for mean Fβ, and for G from 0 to 1


def test_the_command_shows_even_odds(tmp_path, dataset):
    folder = write_folds(tiny.make_candidate(tmp_path / "c", dataset), dataset, 1, threshold=1.5)
    code, out = tiny.run_for_output(
        "score", folder, "--data", dataset.folder, "--target", tiny.TARGET.name, "--out-of-fold"
    )
    assert code == 0
    assert "at even odds (95 %)" in out
    assert re.search(r"at even odds [0-9.]+; the threshold adds \+[0-9.]+", out)
    code, out = tiny.run_for_output("score", folder, "--data", dataset.folder)
    assert (code, "at even odds" in out) == (0, False)


def test_a_record_without_even_odds_still_loads(tmp_path, dataset):
    record = score_model(tiny.make_candidate(tmp_path / "c", dataset), dataset)
    older = {name: value for name, value in record.model_dump(mode="json").items() if name != "even_odds"}
    assert ScoreRecord.model_validate(older) == record
