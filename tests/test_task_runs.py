"""Other tasks than AF in 5 s, from their recordings to a score on a board."""

from __future__ import annotations

import shutil

import numpy as np
import pytest

from ecm_edge import targets, tasks
from ecm_edge.base.errors import CandidateError, RecordingError, TaskError
from ecm_edge.candidate import candidate
from ecm_edge.candidate.training_config import TrainingConfig
from ecm_edge.data import splits
from ecm_edge.data.dataset import open_dataset
from ecm_edge.data.info import info
from ecm_edge.data.recordings.importer import import_recordings
from ecm_edge.data.recordings.options import Options
from ecm_edge.data.synthetic import synthesise
from ecm_edge.evaluate import verify
from ecm_edge.evaluate.score import score_model
from ecm_edge.forms import export
from ecm_edge.search.train_one import train_candidate
from tests.tiny import run_for_output

BOARDS = {
    name: targets.load(name).model_copy(update={"firmware": None}) for name in ("nucleo-l432kc", "loongson-2k0500")
}
NETWORK = {"channels": 4, "depth": 2, "kernel": 5}
OWN = """
name = "vt-10s"
title = "ventricular tachycardia in 10 s of an intracardiac lead"
label = "VT"
positive = ["VT"]
window_s = 10
sampling_rate_hz = 200
"""
OWN_RULE = """
[score.loongson-2k0500]
title = "mine"
beta = 1.0
fbeta = { weight = 10.0, zero = 0.0, one = 1.0 }
"""


def task_named(name, folder):
    if name != "vt-10s":
        return tasks.load(name)
    path = folder / "mine.toml"
    path.write_text(OWN + OWN_RULE)
    return tasks.load(str(path))


@pytest.fixture(scope="module", params=["af-10s", "va-5s", "vt-10s"])
def made(request, tmp_path_factory):
    """Task, data set and trained candidate of one task: text files of synthetic signals, imported and trained on."""
    folder = tmp_path_factory.mktemp(request.param)
    task = task_named(request.param, folder)
    synthesise(folder / "texts", subjects=6, seed=1, segments_per_subject=8, file_format="iesd", task=task)
    options = Options(sampling_rate_hz=task.sampling_rate_hz)
    import_recordings(folder / "texts", folder / "data", file_format="iesd", options=options, task=task, synthetic=True)
    dataset = open_dataset(folder / "data")
    training = TrainingConfig(epochs=1, keep="last", batch_size=8)
    split = splits.Split(train=["P0", "P1"], validation=["P3"], test=["P2", "P4", "P5"])
    config = candidate.configure(dataset, split, "separable", NETWORK, training, seed=0)
    target = BOARDS["nucleo-l432kc"]
    assert train_candidate(folder / "candidate", config, dataset, target).verdict == "PASS"
    export.export_candidate(folder / "candidate", dataset)
    return task, dataset, folder / "candidate"


def test_the_task_goes_into_the_data_set_and_the_candidate(made):
    task, dataset, folder = made
    assert dataset.header.task == candidate.load_config(folder).task == task
    assert dataset.samples.shape == (48, task.samples_per_segment)
    assert dataset.header.sampling_rate_hz == task.sampling_rate_hz
    assert len(np.unique(dataset.table["episode"])) == 48  # nobody says that neighbouring files join
    labels = info(dataset).counts.labels
    assert labels["positive"] == dataset.labels.sum() == 24
    assert {r for r in dataset.header.rhythms if r in task.positive} <= {"AFIB", "VT", "VFb", "VFt"}


def test_every_form_that_is_there_is_verified(made, tmp_path):
    task, dataset, folder = made
    copy = shutil.copytree(folder, tmp_path / "c")
    record = verify.verify_candidate(copy, dataset, BOARDS["nucleo-l432kc"])
    hops = {hop.name: hop.verdict for hop in record.hops}
    assert (hops["pytorch→onnx"], hops["onnx→simplified"]) == ("PASS", "PASS")
    assert (record.task, record.label) == (task.name, task.label)


@pytest.mark.parametrize("board", BOARDS)
def test_a_score_is_the_tasks_own_on_the_board(made, board):
    task, dataset, folder = made
    record = score_model(folder, dataset, target=BOARDS[board])
    points = record.board.board_score
    expected = {("va-5s", "nucleo-l432kc"): "TinyML 2022", ("vt-10s", "loongson-2k0500"): "mine"}
    assert (points.title if points else None) == expected.get((task.name, board))
    assert (record.task, record.label) == (task.name, task.label)
    if points and board == "nucleo-l432kc":
        c = record.scores.confusion
        pooled = 5 * c.tp / (5 * c.tp + 4 * c.fn + c.fp)
        assert points.terms[0].points == pytest.approx(100 * pooled)
    if points and board == "loongson-2k0500":
        assert (record.scores.beta, points.most) == (1.0, 10.0)


def test_the_words_are_the_tasks(made, tmp_path):
    task, dataset, folder = made
    code, text = run_for_output("score", folder, "--data", dataset.folder, "--target", "host")
    assert code == 0
    assert f"there is no rule of score for the task {task.name} on host" in text
    assert f"called {task.label}" in text
    code, text = run_for_output("data", "info", dataset.folder)
    assert f"24 {task.label}" in text
    assert task.title in text
    code, text = run_for_output("card", folder, "--data", dataset.folder, "-o", tmp_path / "card.md")
    card = (tmp_path / "card.md").read_text()
    assert f"whether it shows {task.label}" in card
    assert f"| segments | {task.label} | not {task.label} | no label |" in card
    assert "| 24 |" in card
    assert ("AF " in card) == (task.label == "AF")
    assert run_for_output("report", folder, "--data", dataset.folder, "-o", tmp_path / "page.html")[0] == 0
    page = (tmp_path / "page.html").read_text()
    assert page.count(f"A {task.window_s:g} s flag is not a diagnosis") == 2
    assert f"segments of one lead that look like {task.label} ({task.title})" in page
    assert ("atrial" in page) == (task.label == "AF")


def test_recordings_are_made_with_the_tasks_lead(tmp_path):
    for file_format in ("wfdb", "edf"):
        folder, task = tmp_path / file_format, tasks.load("va-5s")
        synthesise(folder, subjects=1, seed=1, segments_per_subject=2, file_format=file_format, task=task)
        options = Options(labels=folder / "labels.csv" if file_format == "edf" else None)
        record = import_recordings(folder, tmp_path / "d", file_format=file_format, options=options, task=task)
        assert record.leads == {"RVA-Bi": 1}
        shutil.rmtree(tmp_path / "d")


def test_another_task_is_refused_or_told(made, tmp_path):
    task, _, folder = made
    others = {
        "af-5s": tasks.default(),
        "longer": task.model_copy(update={"window_s": 2 * task.window_s}),
        "faster": task.model_copy(
            update={"sampling_rate_hz": task.sampling_rate_hz / 2, "window_s": 2 * task.window_s}
        ),
    }
    for name, other in others.items():
        unfiltered = other.model_copy(update={"band_hz": None})
        synthesise(tmp_path / name, subjects=1, seed=1, segments_per_subject=2, task=unfiltered)
        with pytest.raises(CandidateError, match=f"a candidate answers segments of its task: {task.name}"):
            score_model(folder, open_dataset(tmp_path / name), subjects="all")
    alike = task.model_copy(update={"band_hz": (1.0, 30.0), "positive": [*task.positive, "B"], "negative": []})
    synthesise(tmp_path / "alike", subjects=2, seed=1, segments_per_subject=6, task=alike)
    warnings = score_model(folder, open_dataset(tmp_path / "alike"), subjects="all").warnings
    assert [w.partition(" of the data set")[0] for w in warnings[:2]] == ["the positive rhythms", "the band in Hz"]


def test_the_names_of_the_contest_of_2022(tmp_path):
    folder = tmp_path / "texts"
    folder.mkdir()
    signal = np.random.default_rng(0).normal(size=1250)
    for name in ("S01-VT-1", "S01-SR-1", "S02-VFb-10", "S02-AFb-3", "S03-VFt-2", "S03-VPD-1", "S03-SVT-1", "S03-AFt-1"):
        signal = signal + 1  # copies of one segment would be told
        (folder / f"{name}.txt").write_text("".join(f"{sample:.6f}\n" for sample in signal))
    options = Options(sampling_rate_hz=250.0)
    with pytest.raises(RecordingError, match=r"'VFb' \(1 windows\)"):
        import_recordings(folder, tmp_path / "af", file_format="iesd", options=options)
    record = import_recordings(folder, tmp_path / "va", file_format="iesd", options=options, task=tasks.load("va-5s"))
    meanings = {row.rhythm: row.meaning for row in record.labels}
    assert {rhythm for rhythm, meaning in meanings.items() if meaning == "positive"} == {"VT", "VFb", "VFt"}
    assert {rhythm for rhythm, meaning in meanings.items() if meaning == "negative"} == {
        "SR",
        "AFb",
        "AFt",
        "VPD",
        "SVT",
    }


def test_a_known_code_that_may_be_a_positive_one_has_to_be_stated(tmp_path):
    """VFIB is a rhythm of the vocabulary, and VFb a positive one: VFIB would be a negative without a word."""
    folder = tmp_path / "texts"
    folder.mkdir()
    for k, name in enumerate(("S01-VFIB-1", "S01-SR-1")):
        (folder / f"{name}.txt").write_text("".join(f"{k + sample}\n" for sample in range(1250)))
    options, task = Options(sampling_rate_hz=250.0), tasks.load("va-5s")
    with pytest.raises(RecordingError) as refused:
        import_recordings(folder, tmp_path / "d", file_format="iesd", options=options, task=task)
    assert "--map VFIB=VFb" in refused.value.hint


@pytest.mark.parametrize(
    ("change", "message"),
    [({"positive": ["AFL"]}, "AFL in af-5s"), ({"ignored": ["N"]}, "N among the ignored ones")],
)
def test_synthetic_signals_that_do_not_suit_a_task_are_refused(tmp_path, change, message):
    with pytest.raises(TaskError, match=message):
        synthesise(tmp_path / "d", subjects=1, seed=1, task=tasks.default().model_copy(update=change))
    assert not (tmp_path / "d").exists()


def test_synthetic_electrograms_differ_by_rhythm(tmp_path):
    """Beats a window, by threshold crossings of the envelope: few in sinus rhythm, many in tachycardia."""
    synthesise(tmp_path / "d", subjects=10, seed=2, segments_per_subject=12, task=tasks.load("va-5s"))
    dataset = open_dataset(tmp_path / "d")
    envelope = np.abs(dataset.samples)
    high = envelope > 0.4 * np.quantile(envelope, 0.999, axis=1, keepdims=True)
    merged = np.stack([np.convolve(row, np.ones(30), "same") > 0 for row in high])
    beats = (np.diff(merged.astype(np.int8), axis=1) == 1).sum(axis=1)
    rhythm = np.array(dataset.header.rhythms)[dataset.table["rhythm"]]
    assert np.median(beats[rhythm == "SR"]) < 9
    assert np.median(beats[rhythm == "VT"]) > 10
    assert dataset.header.unit == "mV"
    assert 0.3 < dataset.labels.mean() < 0.7
