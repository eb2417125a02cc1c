"""The commands `gate` and `simplify`, and the functions behind them."""

import json

import numpy as np
import pytest

from ecm_edge import api
from ecm_edge.base.errors import CandidateError, ModelError, OutputError, SpaceError
from ecm_edge.candidate import candidate, space
from ecm_edge.cli import main
from ecm_edge.data import splits
from ecm_edge.data.dataset import open_dataset
from ecm_edge.forms import export, onnx_model, simplify
from ecm_edge.search.gate import gate_candidate

from . import own_nets, report_records

SMALL = {"channels": 6, "depth": 2, "kernel": 5}
SET = [word for name, value in SMALL.items() for word in ("--set", f"{name}={value}")]


def run(arguments, capsys):
    """The exit code of a command, its stdout and its stderr."""
    with pytest.raises(SystemExit) as ended:
        main([*map(str, arguments)])
    said = capsys.readouterr()
    return ended.value.code, said.out, said.err


@pytest.fixture(scope="module")
def dataset(tmp_path_factory):
    folder = tmp_path_factory.mktemp("gate") / "d"
    report_records.dataset(folder)
    return open_dataset(folder)


@pytest.fixture(scope="module")
def config(dataset):
    training = space.training_config({"epochs": 1})
    return candidate.configure(dataset, splits.holdout(dataset, seed=0), "separable", SMALL, training, seed=3)


@pytest.fixture
def exported(config, tmp_path):
    """A candidate with an exported model, untrained: what simplify does is the same."""
    folder = tmp_path / "c"
    folder.mkdir()
    config.save(folder / candidate.CONFIG)
    export.export_onnx(
        candidate.build_network(config),
        config.samples_per_segment,
        folder / candidate.EXPORTED,
        log_path=folder / candidate.EXPORT_LOG,
        metadata=export.candidate_facts(config),
    )
    return folder


def test_gate_says_what_training_would_be_told(config, dataset):
    """Without a data set and with another seed the figures are those of the gate before a training.

    The command builds the counterpart of the form that ships as well.
    """
    board, length = api.load_target("nucleo-l432kc"), config.samples_per_segment
    _, told = gate_candidate(config, board, np.asarray(dataset.samples[:1]))
    shown = api.gate(board, "separable", SMALL, samples_per_segment=length)
    assert [form.form for form in shown.also] == ["float32"]
    assert shown.model_copy(update={"also": []}) == told


def test_gate_without_a_family_is_of_the_network_that_train_takes(capsys):
    _, out, _ = run(("gate", "--target", "host", "--json"), capsys)
    assert json.loads(out) == json.loads(api.gate("host").model_dump_json())
    assert json.loads(out)["verdict"] == "PASS"


def test_gate_says_by_how_much_and_which_layer(capsys):
    code, out, _ = run(
        ("gate", "--family", "separable", *SET, "--set", "channels=64", "--target", "nucleo-l432kc"), capsys
    )
    assert code == 1
    assert out.startswith("FAIL: int8 on nucleo-l432kc, untrained: separable, channels=64, depth=2, kernel=5")
    over = next(line for line in out.splitlines() if line.startswith("- MACs: "))
    assert " over; heaviest: " in over
    assert "- parameters: " in out


def test_gate_takes_a_candidates_network_and_changes_it(exported, capsys):
    target = ("--target", "host", "--json")
    code, out, _ = run(("gate", exported, *target), capsys)
    _, changed, _ = run(("gate", exported, "--set", "channels=8", *target), capsys)
    assert code == 0
    assert json.loads(changed)["parameters"] > json.loads(out)["parameters"]
    record = api.gate("host", like=str(exported), network={"channels": 8})
    assert record.parameters == json.loads(changed)["parameters"]
    assert not (exported / candidate.COST).exists()


def test_gate_takes_the_length_of_a_tasks_segment(capsys):
    words = ("gate", "--family", "separable", *SET, "--target", "host", "--json")
    _, five, _ = run(words, capsys)
    _, ten, _ = run((*words, "--task", "af-10s"), capsys)
    assert 1.9 < json.loads(ten)["macs"] / json.loads(five)["macs"] < 2.1


def test_gate_says_that_nothing_is_trained(capsys):
    words = ("gate", "--family", "separable", *SET, "--set", "training.epochs=6", "--target", "host")
    assert "note: training.epochs changes nothing here" in run(words, capsys)[2]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("{c}", "--family", "tcn"), "brings its own family"),
        (("{c}", "--factory", "a:b"), "brings its own family"),
        (("--set", "channels"), "NAME=VALUE"),
        (("{c}/none",), "a candidate is a folder"),
    ],
)
def test_gate_refuses(words, said, exported, capsys):
    code, _, err = run(("gate", *(word.format(c=exported) for word in words), "--target", "host"), capsys)
    assert code == 2
    assert said in err


def test_gate_in_python_refuses_an_unknown_parameter():
    with pytest.raises(SpaceError, match="Did you mean 'channels'"):
        api.gate("host", "separable", {**SMALL, "chanels": 8})


def test_gate_in_python_refuses_a_family_beside_a_candidate(exported):
    with pytest.raises(SpaceError, match="'tcn' beside it"):
        api.gate("host", "tcn", like=exported)


def test_simplify_leaves_the_model_and_its_record(exported, dataset, capsys):
    code, out, _ = run(("simplify", exported, "--data", dataset.folder, "--json"), capsys)
    record = simplify.SimplifyRecord.load(exported / candidate.SIMPLIFY)
    assert code == 0
    assert json.loads(out) == json.loads(record.model_dump_json())
    assert record.parity.segments > 0
    form = onnx_model.load_classifier(exported / candidate.FORM_FILES["float32"])
    assert len(form.proto.graph.node) == record.nodes_after <= record.nodes_before


def test_simplify_wants_the_model_that_the_configuration_made(exported, dataset, config):
    config.model_copy(update={"seed": 4}).save(exported / candidate.CONFIG)
    with pytest.raises(CandidateError, match=r"changed since model\.onnx was exported"):
        api.simplify(exported, dataset)
    (exported / candidate.EXPORTED).unlink()
    with pytest.raises(CandidateError, match="Run `ecm-edge export`"):
        api.simplify(exported, dataset)


def test_simplify_of_a_file(tmp_path, capsys):
    samples, _ = own_nets.keras_lstm(tmp_path / "mynet.onnx")
    np.save(tmp_path / "mynet.npy", samples)
    words = ("simplify", tmp_path / "mynet.onnx", "--samples", tmp_path / "mynet.npy", "-o", tmp_path / "small.onnx")
    code, out, _ = run((*words, "--json"), capsys)
    assert code == 0
    assert json.loads(out)["parity"]["segments"] == min(len(samples), simplify.SEGMENTS)
    before, after = (onnx_model.load_classifier(tmp_path / name) for name in ("mynet.onnx", "small.onnx"))
    rows = np.asarray(samples, np.float32).reshape(len(samples), -1)[:5]
    assert onnx_model.run_scores(after, rows) == pytest.approx(onnx_model.run_scores(before, rows), abs=1e-4)
    with pytest.raises(OutputError, match="exists"):
        api.simplify_file(tmp_path / "mynet.onnx", tmp_path / "small.onnx")


def test_a_file_whose_answers_change_is_not_written(tmp_path, monkeypatch, capsys):
    own_nets.keras_lstm(tmp_path / "mynet.onnx")
    monkeypatch.setattr(simplify.simplify, "__kwdefaults__", {"max_abs": -1.0})
    code, out, _ = run(("simplify", tmp_path / "mynet.onnx", "-o", tmp_path / "small.onnx"), capsys)
    assert code == 1
    assert out.splitlines()[-1].startswith("FAIL: ")
    assert not (tmp_path / "small.onnx").exists()


def test_simplify_takes_no_quantised_file(tmp_path):
    own_nets.keras_lstm(tmp_path / "mynet.onnx")
    api.quantize_file(
        tmp_path / "mynet.onnx", api.noise_samples(8, api.load_classifier(tmp_path / "mynet.onnx")), tmp_path / "q"
    )
    with pytest.raises(ModelError, match=r"QuantizeLinear in .* Simplify the float32 file"):
        api.simplify_file(tmp_path / "q" / "model.int8.onnx", tmp_path / "small.onnx")


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("{c}",), "--data"),
        (("{c}", "--data", "d", "--out", "x.onnx"), "for an ONNX file"),
        (("{c}/model.onnx", "--data", "d", "-o", "x.onnx"), "--samples"),
        (("{c}/model.onnx",), "--out FILE"),
    ],
)
def test_simplify_refuses(words, said, exported, capsys):
    code, _, err = run(("simplify", *(word.format(c=exported) for word in words)), capsys)
    assert code == 2
    assert said in err
