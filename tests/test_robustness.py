"""Robustness: what each disturbance does to a segment, and what the command makes of a model under all of them."""

from __future__ import annotations

import json

import numpy as np
import onnx
import pytest
import torch
from onnx import TensorProto, helper, numpy_helper
from torch import nn

from ecm_edge.base import files
from ecm_edge.base.errors import DatasetError
from ecm_edge.candidate import candidate
from ecm_edge.candidate.row_sampling import spread_by_source
from ecm_edge.data.dataset import open_dataset
from ecm_edge.data.merge import merge
from ecm_edge.evaluate import disturbances, disturbed, robustness
from ecm_edge.evaluate.disturbances import DISTURBANCES, Block
from ecm_edge.evaluate.disturbed import UNDISTURBED
from ecm_edge.evaluate.robustness import RobustnessRecord, check_out_of_fold, check_robustness
from ecm_edge.forms import onnx_model
from ecm_edge.registry import entries
from ecm_edge.training import fold_networks, out_of_fold
from ecm_edge.training.out_of_fold import CrossValidationRecord
from tests import tiny
from tests.folds import write_folds

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


def linear(column, bias):
    """A network whose margin is `column` of the segment, and `bias`."""
    network = nn.Sequential(nn.Flatten(), nn.utils.skip_init(nn.Linear, tiny.T, 2))
    weight = torch.zeros(2, tiny.T)
    weight[1, column] = 1
    network.load_state_dict({"1.weight": weight, "1.bias": torch.tensor([0.0, bias])})
    return network


def with_networks(folder, columns):
    """Network f answers by column columns[f]; folds.npz has column 0, and 0.5 more before the threshold."""
    networks = {f: candidate.network_state(linear(column, 0.5)) for f, column in enumerate(columns)}
    content = fold_networks.to_bytes(networks)
    (folder / out_of_fold.NETWORKS).write_bytes(content)
    known = CrossValidationRecord.load(folder / out_of_fold.FOLDS)
    known.model_copy(update={"networks_sha256": files.sha256_bytes(content)}).save(folder / out_of_fold.FOLDS)
    return known


@pytest.fixture
def refitted(tmp_path, dataset, monkeypatch):
    """A candidate of all subjects, whose own network errs where those of its folds do not."""
    monkeypatch.setattr(candidate, "build_network", lambda _config: linear(1, 0.0))
    everyone = [f"S{number}" for number in range(6)]
    folder = tiny.make_candidate(tmp_path / "c", dataset, column=4, train=everyone, validation=(), test=())
    return write_folds(folder, dataset)


def test_out_of_fold_the_networks_of_the_folds_answer(refitted, dataset):
    with_networks(refitted, [0, 0, 0])
    record = check_out_of_fold(refitted, dataset, target=tiny.TARGET)
    rows = {row.name: row for row in record.rows}
    assert (record.verdict, record.part, record.trained_on, record.form) == ("PASS", "out_of_fold", [], "float32")
    assert record.statement.startswith("every subject was answered by a float32 network")
    assert (rows[UNDISTURBED].sensitivity.value, rows[UNDISTURBED].specificity.value) == (1, 1)
    assert (rows["inverted leads"].sensitivity.value, rows["inverted leads"].specificity.value) == (0, 0)
    gate = record.gates[-1]
    assert (gate.name, gate.verdict) == ("answers_reproduced", "PASS")
    assert gate.value < 1e-6
    assert check_robustness(refitted, dataset, subjects="all").rows[0].sensitivity.value == 0.6


def test_networks_that_answer_otherwise_than_on_record_fail(refitted, dataset):
    known = with_networks(refitted, [0, 7, 0])
    record = check_out_of_fold(refitted, dataset)
    assert (record.verdict, record.gates[-1].verdict) == ("FAIL", "FAIL")
    wrong = 7 * len(known.folds[1].subjects)  # column 7 is wrong in 7 of 10 segments with AF
    assert record.rows[0].sensitivity.value == pytest.approx(1 - wrong / 60)


def test_out_of_fold_without_networks_is_refused(refitted, dataset, capsys):
    assert tiny.run(["robustness", refitted, "--data", dataset.folder, "--out-of-fold"]) == 2
    assert "Train again with --folds" in capsys.readouterr().err
    for options in (["--subjects", "all"], ["--form", "int8"]):
        assert tiny.run(["robustness", refitted, "--data", dataset.folder, "--out-of-fold", *options]) == 2


def test_the_command_keeps_its_record_out_of_fold(refitted, dataset, capsys):
    with_networks(refitted, [0, 0, 0])
    assert tiny.run(["robustness", refitted, "--data", dataset.folder, "--out-of-fold", "--segments", 24]) == 0
    said = capsys.readouterr().out
    assert "all subjects out of fold: 24 segments of 6 subjects" in said
    assert "QRS not made broad in" in said
    assert RobustnessRecord.load(refitted / robustness.ROBUSTNESS).part == "out_of_fold"


def test_sources_share_the_segments_and_have_rows_of_their_own(tmp_path):
    few = tiny.graded(tmp_path / "few", subjects=2)
    many = tiny.data(tmp_path / "many", {f"T{n}": [("AFIB", [-1, -1]), ("N", [-1, -1])] for n in range(40)})
    merge([few, many], tmp_path / "both")
    both = open_dataset(tmp_path / "both")
    onnx_model.save(tiny.model(), tmp_path / "m.onnx")
    record = check_robustness(tmp_path / "m.onnx", both, segments=60)
    own = {source.source: source for source in record.rows[0].by_source}
    assert (record.segments, record.subjects) == (60, 32)
    assert {name: source.sensitivity.value for name, source in own.items()} == {"few": 1, "many": 0}
    alone = check_robustness(tmp_path / "m.onnx", both, sources=["few"], segments=60)
    assert (alone.sources, alone.segments, alone.rows[0].by_source) == (["few"], 40, [])
    whole = spread_by_source(both, np.arange(120), 200)
    assert whole.tolist() == list(range(120))
