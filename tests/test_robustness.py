"""Robustness: what each disturbance does to a segment, and what the command makes of a model under all of them."""

from __future__ import annotations

import json

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from ecm_edge.base.errors import DatasetError
from ecm_edge.candidate import candidate
from ecm_edge.evaluate import disturbances, disturbed, robustness
from ecm_edge.evaluate.disturbances import DISTURBANCES, Block
from ecm_edge.evaluate.disturbed import UNDISTURBED
from ecm_edge.evaluate.robustness import RobustnessRecord, check_robustness
from ecm_edge.forms import onnx_model
from ecm_edge.registry import entries
from tests import tiny

RATE_HZ = 250.0
T = 1250
LENGTH_KEPT = [name for name in DISTURBANCES if name.startswith("recorded at")]


@pytest.fixture
def dataset(tmp_path):
    return tiny.graded(tmp_path / "data")


def block(samples, *, seed=0, rows=None):
    rows = np.arange(len(samples)) if rows is None else rows
    return Block(np.asarray(samples, np.float32), np.asarray(rows), RATE_HZ, seed)


def ecg_like(count=3):
    """Segments (count, T) with one peak a second over a little noise, an offset and a scale of their own."""
    generator = np.random.default_rng(1)
    beat = np.exp(-0.5 * ((np.arange(T) % 250 - 125) / 5) ** 2)
    return (0.5 + np.arange(1, count + 1))[:, None] * (beat + 0.02 * generator.standard_normal((count, T))) + 0.1


def normalising(samples=tiny.T):
    """scores = [0, z[0]], z being the segment less its mean and by its standard deviation: no unit, gain or offset."""
    weight = np.zeros((samples, 2), np.float32)
    weight[0, 1] = 1
    one, floor = np.array([1], np.int64), np.array([1e-12], np.float32)
    nodes = [
        helper.make_node("Flatten", ["samples"], ["x"]),
        helper.make_node("ReduceMean", ["x", "axis"], ["mean"]),
        helper.make_node("Sub", ["x", "mean"], ["centred"]),
        helper.make_node("ReduceL2", ["centred", "axis"], ["length"]),
        helper.make_node("Max", ["length", "floor"], ["spread"]),
        helper.make_node("Div", ["centred", "spread"], ["z"]),
        helper.make_node("MatMul", ["z", "w"], ["scores"]),
    ]
    value = helper.make_tensor_value_info
    graph = helper.make_graph(
        nodes,
        "normalising",
        [value("samples", TensorProto.FLOAT, (1, 1, samples))],
        [value("scores", TensorProto.FLOAT, (1, 2))],
        [numpy_helper.from_array(array, name) for name, array in {"w": weight, "axis": one, "floor": floor}.items()],
    )
    proto = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10)
    onnx.checker.check_model(proto, full_check=True)
    return proto


@pytest.mark.parametrize("name", DISTURBANCES)
def test_every_disturbance_changes_segments_and_keeps_their_shape(name):
    given = block(ecg_like())
    before = given.samples.copy()
    found = DISTURBANCES[name](given)
    assert found.shape == given.samples.shape
    assert np.isfinite(found).all()
    assert (found != before).any(axis=1).all()
    assert (given.samples == before).all()


@pytest.mark.parametrize("name", DISTURBANCES)
def test_it_is_the_same_by_seed_and_row_whatever_the_block(name):
    samples = ecg_like()
    whole, part = DISTURBANCES[name](block(samples)), DISTURBANCES[name](block(samples[1:], rows=[1, 2]))
    assert (whole[1:] == part).all()


def test_another_seed_is_other_noise():
    disturbance = DISTURBANCES["white noise, 0.3 σ"]
    assert (disturbance(block(ecg_like())) != disturbance(block(ecg_like(), seed=1))).any()


def test_inverting_twice_is_nothing():
    once = DISTURBANCES["inverted leads"](block(ecg_like()))
    assert (DISTURBANCES["inverted leads"](block(once)) == block(ecg_like()).samples).all()


@pytest.mark.parametrize(("name", "share"), [(n, float(n.split()[-2])) for n in DISTURBANCES if n.endswith("σ")])
def test_noise_is_as_strong_as_its_name_says(name, share):
    given = block(ecg_like())
    noise = DISTURBANCES[name](given) - given.samples
    strength = np.abs(noise.mean(axis=1)) if "DC" in name else noise.std(axis=1)
    assert strength == pytest.approx(share * given.samples.std(axis=1), rel=0.02)


@pytest.mark.parametrize("hertz", [50, 60])
def test_hum_is_of_its_frequency(hertz):
    given = block(ecg_like())
    noise = DISTURBANCES[f"{hertz} Hz hum, 0.5 σ"](given) - given.samples
    assert (np.abs(np.fft.rfft(noise)).argmax(axis=1) == hertz * T / RATE_HZ).all()


def test_clipping_holds_its_bound():
    given = block(ecg_like())
    middle = np.median(given.samples, axis=1, keepdims=True)
    most = np.abs(given.samples - middle).max(axis=1)
    found = np.abs(disturbances.clipped(given) - middle).max(axis=1)
    assert found == pytest.approx(0.6 * most, rel=1e-5)


@pytest.mark.parametrize("name", LENGTH_KEPT)
def test_resampling_keeps_a_sine(name):
    sine = np.sin(2 * np.pi * 5 * np.arange(T) / RATE_HZ + 0.3)[None]
    found = DISTURBANCES[name](block(sine))
    assert np.abs(found - sine)[:, 50:-50].max() < 0.01


def test_a_slow_recorder_loses_what_is_fast():
    fast = np.sin(2 * np.pi * 90 * np.arange(T) / RATE_HZ)[None]
    assert np.abs(DISTURBANCES["recorded at 125 Hz"](block(fast)))[:, 100:-100].max() < 0.05


def test_a_second_is_cut_out():
    flat = np.diff(disturbances.cut_out(block(ecg_like())), axis=1) == 0
    runs = [max(map(len, "".join(map(str, row.astype(int))).split("0"))) for row in flat]
    assert runs == [249, 249, 249]


def test_a_table_beside_the_undisturbed_row(tmp_path, dataset):
    folder = tiny.make_candidate(tmp_path / "c", dataset, column=2)
    record = check_robustness(folder, dataset, target=tiny.TARGET)
    assert [row.name for row in record.rows] == [UNDISTURBED, *DISTURBANCES]
    rows = {row.name: row for row in record.rows}
    clean, inverted = rows[UNDISTURBED], rows["inverted leads"]
    assert (clean.labels_changed, clean.fbeta_change.value, clean.sensitivity.value) == (0, 0, 24 / 30)
    assert (inverted.share_changed, inverted.sensitivity.value, inverted.specificity.value) == (1, 6 / 30, 0)
    assert rows["gain ×2"].labels_changed == 0
    assert (record.part, record.trained_on, record.warnings, record.subjects) == ("test", [], [], 3)
    assert record.verdict == "PASS"
    rhythms = {r.rhythm: r for r in record.by_rhythm}
    assert (rhythms["N"].specificity.value, rhythms["N"].specificity.low, rhythms["N"].segments) == (1, 1, 30)
    assert (rhythms["AFIB"].sensitivity.value, rhythms["AFIB"].called_positive) == (24 / 30, 24)


def test_units_gain_and_offset_are_nothing_to_a_model_that_normalises(tmp_path, dataset):
    onnx_model.save(normalising(), tmp_path / "m.onnx")
    record = check_robustness(tmp_path / "m.onnx", dataset)
    changed = {row.name: row.labels_changed for row in record.rows}
    same = ["µV for mV (×1000)", "V for mV (×0.001)", "gain ×0.5", "gain ×2", "DC offset, 10 σ"]
    assert [changed[name] for name in same] == [0] * 5
    assert changed["inverted leads"] > 0


def test_it_is_deterministic_by_seed_and_the_size_of_a_block(tmp_path, dataset, monkeypatch):
    onnx_model.save(normalising(), tmp_path / "m.onnx")
    first = check_robustness(tmp_path / "m.onnx", dataset, seed=3)
    monkeypatch.setattr(disturbed, "_BLOCK", 7)
    again = check_robustness(tmp_path / "m.onnx", dataset, seed=3)
    assert first.model_copy(update={"provenance": again.provenance}) == again


def test_a_subset_is_spread_over_the_subjects(tmp_path, dataset):
    folder = tiny.make_candidate(tmp_path / "c", dataset)
    record = check_robustness(folder, dataset, segments=9)
    assert (record.segments, record.subjects) == (9, 3)


def test_what_is_no_ecg_has_an_answer(tmp_path, dataset):
    folder = tiny.make_candidate(tmp_path / "c", dataset)
    answers = {answer.name: answer for answer in check_robustness(folder, dataset).degenerate}
    assert {name: answer.label for name, answer in answers.items()} == {
        "all zero": 1,  # a tie
        "constant, +5": 1,
        "constant, −5": 0,
        "square of 1 Hz, ±5": 1,
        "one spike of +5": 1,
        "NaN": None,
        "infinity": None,
    }
    assert all(np.isfinite(answer.margin) for answer in answers.values() if not answer.refused)
    assert {name for name, answer in answers.items() if answer.refused} == {"NaN", "infinity"}


def test_an_answer_that_is_not_finite_fails(tmp_path, dataset):
    onnx_model.save(tiny.model(scale=3e38), tmp_path / "m.onnx")
    record = check_robustness(tmp_path / "m.onnx", dataset)
    assert record.verdict == "FAIL"
    assert {row.name: row.not_finite for row in record.rows}["gain ×2"] == 120
    assert {a.name: (a.label, a.margin) for a in record.degenerate}["constant, +5"] == (1, None)


def test_trained_subjects_warn_and_no_subjects_are_refused(tmp_path, dataset):
    everyone = [f"S{number}" for number in range(6)]
    folder = tiny.make_candidate(tmp_path / "c", dataset, train=everyone, validation=(), test=())
    with pytest.raises(DatasetError, match="--subjects"):
        check_robustness(folder, dataset)
    record = check_robustness(folder, dataset, subjects="all")
    assert record.trained_on == everyone
    assert record.warnings[0].startswith("the model was trained or tuned on 6 of these 6 subjects")


def test_the_command_keeps_its_record(tmp_path, dataset, capsys):
    folder = tiny.make_candidate(tmp_path / "c", dataset)
    assert tiny.run(["robustness", folder, "--data", dataset.folder, "--segments", 30]) == 0
    assert "recorded at 360 Hz" in capsys.readouterr().out
    kept = RobustnessRecord.load(folder / robustness.ROBUSTNESS)
    assert (kept.segments, kept.config_sha256) == (30, candidate.load_config(folder).sha256)
    options = ["--form", "int8", "--subjects", "S3,S4", "--json"]
    assert tiny.run(["robustness", folder, "--data", dataset.folder, *options]) == 0
    said = json.loads(capsys.readouterr().out)
    assert (said["form"], said["part"], said["subjects"]) == ("int8", "chosen", 2)


def test_an_entry_is_left_as_it_is(tmp_path, dataset):
    folder = tiny.make_candidate(tmp_path / "c", dataset)
    (folder / entries.MANIFEST).write_text("{}")
    assert tiny.run(["robustness", folder, "--data", dataset.folder]) == 0
    assert not (folder / robustness.ROBUSTNESS).exists()


def test_bad_input_exits_with_2_and_leaves_nothing(tmp_path, dataset, capsys):
    folder = tiny.make_candidate(tmp_path / "c", dataset)
    for options in (["--subjects", "S9"], ["--segments", 0], ["--seed", -1], ["--form", "float16"]):
        assert tiny.run(["robustness", folder, "--data", dataset.folder, *options]) == 2
    assert capsys.readouterr().err.count("error:") == 4
    assert not (folder / robustness.ROBUSTNESS).exists()
