"""What a model answers to recordings and data sets; a model that reads one sample, so that answers are known."""

from __future__ import annotations

import json
import os
from dataclasses import replace

import pytest

from ecm_edge.base.errors import (
    ModelError,
    OutputError,
    RecordingError,
    TaskError,
)
from ecm_edge.data.recordings.formats import BY_SUFFIX, FORMATS
from ecm_edge.data.recordings.options import Options
from ecm_edge.data.recordings.windows import Span
from ecm_edge.evaluate.predict import predict
from ecm_edge.forms import onnx_model
from tests import tiny
from tests.one_sample import OPTIONS, TASK, write


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    path = tmp_path_factory.mktemp("model") / "m.onnx"
    onnx_model.save(tiny.model(), path)
    return path


def answers(model, source, out, **options):
    record = predict(model, source, out, **{"task": TASK, "options": OPTIONS, **options})
    return record, out.read_text().splitlines()


def test_every_window_has_its_margin_and_label(model, tmp_path):
    record, lines = answers(model, write(tmp_path / "r.csv", [1.5, -2.25, 0.0, 3]), tmp_path / "a.csv")
    assert lines == ["start_s,score,label,reason", "0,1.5,1,", "1,-2.25,0,", "2,0.0,1,", "3,3.0,1,"]
    assert (record.recordings, record.windows, record.answered, record.positive) == (1, 4, 4, 3)
    assert (record.task, record.label, record.form) == ("tiny", "AF", "float32")


def test_a_window_that_cannot_be_used_has_a_reason(model, tmp_path):
    source = write(tmp_path / "r.csv", [1, None, "flat", None, -1], rest=[0.1, 0.2])
    record, lines = answers(model, source, tmp_path / "a.csv")
    missing, flat = "samples are missing or not finite", "flat: every sample is the same"
    assert lines[1:] == ["0,1.0,1,", f"1,,,{missing}", f"2,,,{flat}", f"3,,,{missing}", "4,-1.0,0,"]
    assert (record.windows, record.answered, record.positive) == (5, 2, 1)
    told = [(one.reason, one.windows) for one in record.left_out]
    assert told == [(missing, 2), (flat, 1), ("the rest at the end is shorter than a window", 0)]


def test_a_folder_names_its_recordings(model, tmp_path):
    folder = tmp_path / "in"
    (folder / "b").mkdir(parents=True)
    write(folder / "b" / "r10.csv", [1])
    write(folder / "r2.csv", [-1, 2])
    record, lines = answers(model, folder, tmp_path / "a.csv")
    assert lines == [
        "name,subject,start_s,score,label,reason",
        "b/r10.csv,r10,0,1.0,1,",
        "r2.csv,r2,0,-1.0,0,",
        "r2.csv,r2,1,2.0,1,",
    ]
    assert record.recordings == 2


def test_a_data_set_is_answered_labelled_or_not(model, tmp_path):
    data = tiny.data(tmp_path / "d", {"S1": [("AFIB", [0.5]), ("", [-1])], "S2": [("N", [2])]})
    record, lines = answers(model, data.folder, tmp_path / "a.csv", task=None, options=None)
    assert lines == ["name,subject,score,label", "S1-AFIB-0,S1,0.5,1", "S1--1,S1,-1.0,0", "S2-N-0,S2,2.0,1"]
    assert (record.windows, record.positive, record.synthetic, record.warnings) == (3, 2, True, [])


def test_without_a_unit_there_is_a_warning(model, tmp_path):
    source = write(tmp_path / "r.csv", [1])
    record, _ = answers(model, source, tmp_path / "a.csv")
    (said,) = record.warnings
    assert said.startswith("r.csv: the samples are in a unit that no one states, and the model was trained on samples")
    data = tiny.data(tmp_path / "d", {"S1": [("AFIB", [0.5])]}, unit="uV")
    (said,) = answers(model, data.folder, tmp_path / "b.csv", task=None, options=None)[0].warnings
    assert said.startswith("the samples are in uV, and the model was trained on samples in mV")


def test_a_wfdb_record_is_known_by_its_name(model, tmp_path):
    recording = FORMATS["csv"].open_one(write(tmp_path / "r.csv", [1, -1]), OPTIONS, TASK)
    FORMATS["wfdb"].write(tmp_path, [replace(recording, name="rec", spans=[Span(0, 2, "N")])], TASK)
    record, lines = answers(model, tmp_path / "rec", tmp_path / "a.csv", options=None)
    assert lines[1:] == ["0,1.0,1,", "1,-1.0,0,"]
    assert record.warnings == []  # it states its unit


def test_every_continuous_format_has_a_suffix():
    assert set(BY_SUFFIX.values()) == {name for name, entry in FORMATS.items() if entry.continuous}


@pytest.mark.parametrize(
    ("prepare", "options", "error", "words"),
    [
        (lambda at: at / "none.csv", {}, RecordingError, "none at"),
        (lambda at: os.mkfifo(at / "p.csv") or at / "p.csv", {}, RecordingError, "a file, or a folder"),
        (lambda at: (at / "e").mkdir() or at / "e", {}, RecordingError, "none in"),
        (lambda at: write(at / "r.dat", [1]), {}, RecordingError, "--format"),
        (lambda at: write(at / "r.csv", [1]), {"file_format": "iesd"}, RecordingError, "continuous"),
        (lambda at: write(at / "r.csv", [1]), {"options": Options()}, RecordingError, "--sampling-rate-hz"),
        (lambda at: write(at / "r.csv", [], [1, 2]), {}, RecordingError, "0.25 s long; one window is 1 s"),
        (lambda at: (at / "r.csv").write_text("ECG?\n") and at / "r.csv", {}, RecordingError, "r.csv: "),
        (lambda at: write(at / "r.csv", [1]), {"task": None}, TaskError, "1250 samples at 250 Hz of af-5s"),
    ],
    ids=["missing", "fifo", "empty folder", "suffix", "segments", "no rate", "short", "no numbers", "other length"],
)
def test_bad_input_says_what_is_wrong_and_writes_nothing(model, tmp_path, prepare, options, error, words):
    with pytest.raises(error, match=words):
        answers(model, prepare(tmp_path), tmp_path / "a.csv", **options)
    assert not (tmp_path / "a.csv").exists()


def test_a_recording_that_cannot_be_used_fails_the_folder_or_is_told(model, tmp_path):
    folder = tmp_path / "in"
    folder.mkdir()
    write(folder / "good.csv", [1])
    (folder / "bad.csv").write_text("ECG?\n")
    with pytest.raises(RecordingError, match=r"1 that is not: bad.csv.*--on-error skip"):
        answers(model, folder, tmp_path / "a.csv")
    record, lines = answers(model, folder, tmp_path / "a.csv", on_error="skip")
    assert lines[1:] == ["good.csv,good,0,1.0,1,"]
    assert [one.name for one in record.left_out] == ["bad.csv"]


def test_an_existing_file_stays(model, tmp_path):
    (tmp_path / "a.csv").write_text("mine")
    with pytest.raises(OutputError, match=r"a\.csv exists"):
        answers(model, write(tmp_path / "r.csv", [1]), tmp_path / "a.csv")
    assert (tmp_path / "a.csv").read_text() == "mine"


def test_scores_that_are_not_finite_are_refused(tmp_path):
    onnx_model.save(tiny.model(scale=3e38), tmp_path / "m.onnx")
    with pytest.raises(ModelError, match=r"scores are finite.*r\.csv at 1 s"):
        answers(tmp_path / "m.onnx", write(tmp_path / "r.csv", ["flat", 2]), tmp_path / "a.csv")


def test_a_candidate_at_another_rate_is_refused(tmp_path):
    made = tiny.make_candidate(tmp_path / "c", tiny.graded(tmp_path / "d"))  # made for 250 Hz
    with pytest.raises(TaskError, match="8 samples at 250 Hz"):
        answers(made, write(tmp_path / "r.csv", [1]), tmp_path / "a.csv")


def test_the_command_line(model, tmp_path, capsys):
    (tmp_path / "t.toml").write_text(
        'name = "tiny"\ntitle = "x"\nlabel = "VT"\npositive = ["VT"]\nwindow_s = 1\nsampling_rate_hz = 8\n'
    )
    write(tmp_path / "r.csv", [1, None])
    given = ["predict", model, tmp_path / "r.csv", "--task", tmp_path / "t.toml", "--sampling-rate-hz", "8"]
    assert tiny.run([*given, "-o", tmp_path / "a.csv"]) == 0
    said = capsys.readouterr()
    assert said.out.startswith(f"1 of 2 windows answered, 1 VT, in {tmp_path / 'a.csv'}")
    assert "left out: 1 windows of r.csv: samples are missing or not finite" in said.err
    assert "warning: r.csv: the samples are in a unit that no one states" in said.err
    assert tiny.run([*given, "-o", tmp_path / "b.csv", "--json"]) == 0
    record = json.loads(capsys.readouterr().out)
    assert record["score"].startswith("margin: the model's score for the positive class")
    assert (tmp_path / "a.csv").read_text() == (tmp_path / "b.csv").read_text()
    assert tiny.run([*given, "-o", tmp_path / "a.csv"]) == 2
