"""A sound candidate passes every hop; each kind of damage fails at its own hop and layer; nothing passes unseen."""

import json
import shutil
from dataclasses import replace

import numpy as np
import onnx
import pytest
from onnx import numpy_helper

from ecm_edge import targets
from ecm_edge.base import files
from ecm_edge.base.errors import CandidateError, ModelError
from ecm_edge.candidate import candidate
from ecm_edge.evaluate import verify
from ecm_edge.evaluate.verify import hops
from ecm_edge.evaluate.verify import segments as verified
from ecm_edge.evaluate.verify.records import is_proven
from ecm_edge.evaluate.verify.segments import Segments
from ecm_edge.forms import export, onnx_model, quantize, reference

from . import nets
from .tiny import run_for_output as run

STRICT = targets.load("loongson-2k0500").model_copy(update={"firmware": None})  # C is in test_verify_firmware.py
NO_C = ["NOT RUN"] * 2  # the hops of a form's C, where the target has no firmware
LENIENT = STRICT.model_copy(
    update={
        "parity": STRICT.parity.model_copy(
            update={
                "int8": STRICT.parity.int8.model_copy(update={"f1_drop": 1.0, "fbeta_drop": 1.0}),
                "float16": STRICT.parity.float16.model_copy(update={"label_flips": 40}),
            }
        )
    }
)
FLOAT32, FLOAT16, INT8 = (candidate.FORM_FILES[form] for form in ("float32", "float16", "int8"))


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return nets.dataset(tmp_path_factory.mktemp("verify") / "data")


@pytest.fixture(scope="module")
def sound(data, tmp_path_factory):
    """An untrained candidate in all forms; read-only."""
    folder = nets.make_candidate(tmp_path_factory.mktemp("verify") / "candidate", data)
    export.export_candidate(folder, data)
    quantize.quantize_candidate(folder, data)
    return folder


@pytest.fixture
def damaged(sound, tmp_path):
    """A copy to do damage to."""
    return shutil.copytree(sound, tmp_path / "candidate")


def change(path, name, function):
    """Change one initializer of a model file."""
    proto = onnx.load(path)
    tensor = next(tensor for tensor in proto.graph.initializer if tensor.name == name)
    tensor.CopyFrom(numpy_helper.from_array(function(numpy_helper.to_array(tensor)), name))
    onnx_model.save(proto, path)


def overflowing(values):
    """Finite weights whose sums are not."""
    return np.full_like(values, 3e38)


def hop_of(record, name):
    return next(hop for hop in record.hops if hop.name == name)


def broken(hop):
    return [gate.name for gate in hop.gates if gate.verdict == "FAIL"]


def test_sound_candidate_passes_every_hop(sound, data):
    record = verify.verify_candidate(sound, data, LENIENT)
    assert [hop.verdict for hop in record.hops] == [*["PASS"] * 5, *NO_C * 3]
    assert (record.verdict, record.segments, record.subjects) == ("PASS", 40, ["S3", "S4"])
    assert record.first_diverging_hop is None
    assert verify.VerifyRecord.load(sound / candidate.VERIFY) == record
    assert record.model_sha256[INT8] == files.sha256_file(sound / INT8)


def test_every_quantised_tensor_is_compared(sound, data):
    hop = hop_of(verify.verify_candidate(sound, data, LENIENT), "int8: reference→onnxruntime")
    names = reference.load(onnx_model.load_proto(sound / INT8)).quantised
    assert [layer.tensor for layer in hop.layers] == names
    assert all(layer.values >= hop.layer_segments for layer in hop.layers)
    assert max(layer.max_lsb for layer in hop.layers) <= 1


def test_fewer_segments_are_spread_over_the_subjects(sound, data):
    record = verify.verify_candidate(sound, data, LENIENT, segments=6)
    assert (record.segments, record.subjects) == (6, ["S3", "S4"])
    assert [s.segments for s in record.hops[0].by_subject] == [3, 3]


def test_of_many_subjects_those_stay_whose_labels_flip(sound, data, monkeypatch):
    known = verify.verify_candidate(sound, data, LENIENT)
    monkeypatch.setattr(verified, "MOST_SUBJECTS", 1)
    record = verify.verify_candidate(sound, data, LENIENT)
    flipped = [[s for s in hop.by_subject if s.label_flips] for hop in known.hops]
    assert [hop.by_subject for hop in record.hops] == flipped
    assert record.positive_subjects == known.positive_subjects == 2


@pytest.mark.parametrize("layer", ["stem.0", "depthwise", "dilated", "head"])
def test_damaged_export_is_found_in_its_layer(damaged, data, layer):
    change(damaged / candidate.EXPORTED, f"{layer}.weight", lambda w: w * np.float32(1.5))
    record = verify.verify_candidate(damaged, data, LENIENT)
    hop = hop_of(record, "pytorch→onnx")
    assert (record.verdict, record.first_diverging_hop) == ("FAIL", "pytorch→onnx")
    assert hop.first_diverging.layer == layer


def test_damaged_simplified_form_is_found_in_its_layer(damaged, data):
    proto = onnx.load(damaged / FLOAT32)
    node = next(
        n
        for n in proto.graph.node
        if n.op_type == "Conv" and any(a.name == "dilations" and a.ints[0] == 2 for a in n.attribute)
    )
    change(damaged / FLOAT32, node.input[1], lambda w: w + np.float32(0.2))
    record = verify.verify_candidate(damaged, data, LENIENT)
    hop = hop_of(record, "onnx→simplified")
    assert record.first_diverging_hop == "onnx→simplified"
    assert hop.first_diverging.layer == node.name
    assert "made_from_this_parent" in broken(hop_of(record, "simplified→float16"))


def test_damaged_float16_form_is_found_in_its_layer(damaged, data):
    change(damaged / FLOAT16, "head.weight.float16", lambda w: w * np.float16(3))
    record = verify.verify_candidate(damaged, data, LENIENT)
    assert record.first_diverging_hop == "simplified→float16"
    assert hop_of(record, "simplified→float16").first_diverging.op == "Gemm"


def test_int8_form_with_a_changed_scale_is_found_in_its_layer(damaged, data):
    graph = reference.load(onnx_model.load_proto(damaged / INT8))
    group = next(step for step in graph.steps if step.quantizer and step.op.op == "Conv")
    change(damaged / INT8, group.quantizer.inputs[1], lambda s: s * np.float32(200))
    hop = hop_of(verify.verify_candidate(damaged, data, LENIENT), "simplified→int8")
    assert broken(hop) == ["unchanged_since_written"]
    assert hop.first_diverging.layer == group.op.name


def test_the_verdict_is_about_one_form_and_another_that_fails_is_named(damaged, data):
    change(damaged / FLOAT16, "head.weight.float16", lambda w: w * np.float16(3))
    target = LENIENT.model_copy(update={"precision": ["float32", "float16"]})
    record = verify.verify_candidate(damaged, data, target)
    assert (record.verdict, record.form, record.failing_forms) == ("PASS", "float32", ["float16"])
    assert record.first_diverging_hop == "simplified→float16"
    assert (is_proven(record, "float32", target), is_proven(record, "float16", target)) == (True, False)
    other = verify.verify_candidate(damaged, data, target, form="float16")
    assert (other.verdict, other.form) == ("FAIL", "float16")
    assert is_proven(other, "float32", target)
    assert not is_proven(other.model_copy(update={"verdict": "PASS"}), "float32", target)
    with pytest.raises(CandidateError, match="runs float32, float16"):
        verify.verify_candidate(damaged, data, target, form="int8")


def test_int8_that_decides_worse_than_float_fails():
    labels = np.float32([[1, 0], [0, 1], [1, 0], [0, 1]])
    after = np.float32([[1, 0], [1, 0], [1, 0], [0, 1]])
    options = {"other_gates": [], "locate": lambda: None}
    hop = hops.accuracy_hop("q", ("a", "b"), (labels, after), segments(4), STRICT.parity.int8, **options)
    assert broken(hop) == ["f1_drop", "fbeta_drop"]
    assert (hop.f1_before, hop.f1_after) == (1.0, pytest.approx(2 / 3))
    assert [flip.name for flip in hop.label_flips] == ["S0-1.txt"]
    assert (
        hops.accuracy_hop("q", ("a", "b"), (after, labels), segments(4), STRICT.parity.int8, **options).verdict
        == "PASS"
    )


@pytest.mark.parametrize(("steps", "gates"), [(1, []), (2, ["layer_max_lsb"])])
def test_a_runtime_that_is_steps_away_is_found_in_its_layer(steps, gates, monkeypatch):
    proto = nets.qdq_net(np.random.default_rng(0))
    graph, real, scores = reference.load(proto), hops.tensors, np.float32([[0, 2], [2, 0]])
    own = reference.run(graph, nets.segments(2), ["raw_q"])["raw_q"]
    away = np.where(own > 0, own - steps, own + steps).astype(np.int8)
    monkeypatch.setattr(hops, "tensors", lambda *given: real(*given) | {"raw_q": away})
    hop = hops.runtime_hop("r", ("a", "b"), proto, graph, (scores, scores), segments(2), LENIENT.parity.int8)
    assert broken(hop) == gates
    assert {layer.tensor: layer.max_lsb for layer in hop.layers}["raw_q"] == steps
    assert [hop.first_diverging.layer] == ["node_raw"] if gates else hop.first_diverging is None


def test_a_runtime_with_other_kernels_while_it_is_watched_is_said_and_no_failure(monkeypatch):
    proto = nets.qdq_net(np.random.default_rng(0))
    graph, real, scores = reference.load(proto), hops.tensors, np.float32([[0, 2], [2, 0]])

    def watched(*given):
        values = real(*given)
        return values | {graph.output_name: values[graph.output_name] + 1}

    monkeypatch.setattr(hops, "tensors", watched)
    hop = hops.runtime_hop("r", ("a", "b"), proto, graph, (scores, scores), segments(2), LENIENT.parity.int8)
    gate = {gate.name: gate for gate in hop.gates}["scores_same_when_observed"]
    assert (hop.verdict, gate.verdict) == ("PASS", "NOT RUN")
    assert "fuses other layers" in gate.detail


@pytest.mark.filterwarnings("ignore:overflow:RuntimeWarning")
def test_scores_that_are_no_numbers_never_pass(damaged, data):
    for name in (candidate.EXPORTED, FLOAT32):
        change(damaged / name, "head.weight", overflowing)
    record = verify.verify_candidate(damaged, data, LENIENT)
    assert record.verdict == "FAIL"
    assert [hop.verdict for hop in record.hops[:4]] == ["FAIL"] * 4
    assert verify.verify_model(damaged / FLOAT32, data, LENIENT).verdict == "FAIL"


def test_nan_inside_an_int8_model_never_passes(damaged, data):
    proto = onnx.load(damaged / INT8)
    norm = next(node for node in proto.graph.node if node.op_type == "BatchNormalization")
    change(damaged / INT8, norm.input[1], lambda s: s * np.float32(np.nan))
    hop = hop_of(verify.verify_candidate(damaged, data, LENIENT), "int8: reference→onnxruntime")
    assert hop.verdict == "FAIL"
    assert "weights are finite numbers; found NaN" in hop.reason


def test_zero_segments_is_a_failure(sound, data, tmp_path):
    folder = shutil.copytree(sound, tmp_path / "c")
    record = verify.verify_candidate(folder, data, LENIENT, segments=0)
    assert (record.verdict, record.segments) == ("FAIL", 0)
    assert all("segments_compared" in broken(hop) for hop in record.hops if hop.verdict != "NOT RUN")


def test_what_did_not_run_is_said(damaged, data):
    (damaged / INT8).unlink()
    (damaged / candidate.CHECKPOINT).unlink()
    record = verify.verify_candidate(damaged, data, LENIENT)
    skipped = {hop.name: hop.reason for hop in record.hops if hop.verdict == "NOT RUN"}
    assert record.verdict == "PASS"
    assert skipped["pytorch→onnx"] == "there is no checkpoint.safetensors"
    assert skipped["simplified→int8"] == skipped["int8: reference→onnxruntime"] == "there is no model.int8.onnx"


def test_forms_that_the_target_does_not_run_are_not_judged(sound, data, tmp_path):
    folder = shutil.copytree(sound, tmp_path / "c")
    record = verify.verify_candidate(folder, data, LENIENT.model_copy(update={"precision": ["float32"]}))
    assert [hop.verdict for hop in record.hops] == ["PASS", "PASS", *["NOT RUN"] * 3, *NO_C * 3]
    assert record.hops[3].reason == "loongson-2k0500 does not run int8"


def test_a_candidate_without_any_form_names_the_command_that_makes_them(tmp_path, data):
    folder = nets.make_candidate(tmp_path / "c", data)
    with pytest.raises(CandidateError, match="Type `ecm-edge export"):
        verify.verify_candidate(folder, data, LENIENT)


def test_corrupt_form_and_other_data_are_refused(damaged, data, tmp_path):
    (damaged / FLOAT16).write_bytes(b"text")
    with pytest.raises(ModelError, match=r"model\.float16\.onnx"):
        verify.verify_candidate(damaged, data, LENIENT)
    other = nets.make_candidate(tmp_path / "c", data)
    text = (other / candidate.CONFIG).read_text()
    (other / candidate.CONFIG).write_text(text.replace(data.header.content_sha256, "0" * 64))
    with pytest.raises(CandidateError, match="the data set it was made from"):
        verify.verify_candidate(other, data, LENIENT)


def test_any_file_is_held_against_the_reference(sound, data):
    for name, verdicts in ((FLOAT32, ["PASS", "PASS"]), (FLOAT16, ["PASS", "PASS"]), (INT8, ["NOT RUN", "PASS"])):
        record = verify.verify_model(sound / name, data, LENIENT, segments=30)
        assert [hop.verdict for hop in record.hops] == [*verdicts, *NO_C]
        assert record.verdict == "PASS"


def test_operator_that_the_reference_does_not_know_is_said(tmp_path, data):
    nodes = [
        nets.node("RandomNormalLike", ["samples"], "x"),
        nets.node("Slice", ["x", "a", "b", "c"], "y"),
        nets.node("Flatten", ["y"], "scores"),
    ]
    constants = {"a": np.array([0]), "b": np.array([2]), "c": np.array([2])}
    onnx_model.save(nets.graph(nodes, constants), tmp_path / "m.onnx")
    record = verify.verify_model(tmp_path / "m.onnx", data, LENIENT, segments=4)
    assert "RandomNormalLike 'node_x'" in hop_of(record, "reference→onnxruntime").reason


@pytest.mark.parametrize("shape", [("batch", 1, nets.T), (1, nets.T), (1, 1, nets.T, 1)])
def test_files_of_other_makers_and_shapes_are_verified(shape, tmp_path, data):
    weight = np.random.default_rng(0).normal(size=(nets.T, 2)).astype(np.float32)
    nodes = [nets.node("Reshape", ["samples", "s"], "x"), nets.node("MatMul", ["x", "w"], "scores")]
    onnx_model.save(nets.graph(nodes, {"s": np.array([1, nets.T]), "w": weight}, shape=shape), tmp_path / "m.onnx")
    record = verify.verify_model(tmp_path / "m.onnx", data, STRICT)
    assert [hop.verdict for hop in record.hops] == ["PASS", "PASS", *NO_C]
    assert record.segments == 120


def segments(count):
    labels = np.arange(count, dtype=np.int8) % 2
    return Segments(nets.segments(count), labels, ["S0"] * count, [f"S0-{i}.txt" for i in range(count)], 2.0)


def test_flips_are_named_and_counted_against_the_limit():
    before = np.float32([[0, 1e-4], [0, 1], [1, 0]])
    after = np.float32([[0, -1e-4], [0, 1], [1, 0]])
    hop = hops.float_hop(
        "a→b", ("a", "b"), (before, after), segments(3), STRICT.parity.float32, locate=list, layer_l2r=1e-4
    )
    assert broken(hop) == ["label_flips"]
    assert [(flip.name, flip.subject) for flip in hop.label_flips] == [("S0-0.txt", "S0")]
    assert (hop.f1_before, hop.f1_after) == (pytest.approx(2 / 3), 1.0)
    assert hop.by_subject[0].label_flips == 1


@pytest.mark.parametrize(("steps", "verdict", "near"), [(1, "PASS", 1), (2, "FAIL", 0)])
def test_without_labels_a_runtime_may_flip_near_ties_only(steps, verdict, near):
    proto = nets.qdq_net(np.random.default_rng(0))
    graph = reference.load(proto)
    step = np.float32(hops.score_step(graph))
    own = np.float32([[0, 0], [0, 10]]) * step
    own[0] = [0, -steps * step]
    runtime = own.copy()
    runtime[0] = [-step, 0] if steps == 1 else [-step, -step]
    unlabelled = replace(segments(2), labels=None)
    hop = hops.runtime_hop("r", ("a", "b"), proto, graph, (own, runtime), unlabelled, LENIENT.parity.int8)
    assert (hop.verdict, hop.near_ties) == (verdict, near)
    assert [flip.name for flip in hop.label_flips] == ["S0-0.txt"]


@pytest.mark.parametrize(("steps", "gates"), [(1, []), (2, ["score_max_lsb"])])
def test_without_labels_a_runtimes_scores_stay_within_one_lsb(steps, gates):
    proto = nets.qdq_net(np.random.default_rng(0))
    graph = reference.load(proto)
    step = np.float32(hops.score_step(graph))
    own = np.float32([[0, 20], [20, 0]]) * step
    runtime = own + np.float32([[0, steps], [0, 0]]) * step
    unlabelled = replace(segments(2), labels=None)
    hop = hops.runtime_hop("r", ("a", "b"), proto, graph, (own, runtime), unlabelled, LENIENT.parity.int8)
    assert (broken(hop), hop.score_max_lsb, hop.label_flips) == (gates, steps, [])


@pytest.mark.parametrize(("flipped", "gates"), [(0, []), (1, ["f1_drop", "fbeta_drop"])])
def test_with_labels_a_runtime_is_judged_by_what_its_scores_are_for(flipped, gates):
    """Differences of single layers add up to several LSB, which change no label or some."""
    proto = nets.qdq_net(np.random.default_rng(0))
    graph = reference.load(proto)
    step, few = np.float32(hops.score_step(graph)), segments(40)
    own = np.where(few.labels[:, None] == [0, 1], 20, 0).astype(np.float32) * step
    runtime = own + np.float32([0, 5]) * step
    runtime[1 : 2 * flipped : 2] = [5 * step, 0]
    hop = hops.runtime_hop("r", ("a", "b"), proto, graph, (own, runtime), few, STRICT.parity.int8)
    assert (broken(hop), hop.score_max_lsb > 1, len(hop.label_flips)) == (gates, True, flipped)


def test_commands_take_a_trained_candidate_through(tmp_path, data):
    folder, given = nets.make_candidate(tmp_path / "c", data), ("--data", data.folder)
    assert run("export", folder, *given)[0] == 0
    assert run("quantize", folder, *given)[0] == 0
    code, text = run("verify", folder, *given, "--target", "loongson-2k0500", "--segments", 8, "--json")
    record = json.loads(text)
    assert code == (1 if record["verdict"] == "FAIL" else 0)
    assert record["segments"] == 8


@pytest.mark.filterwarnings("ignore:overflow:RuntimeWarning")
def test_verify_exits_with_one_on_fail_and_two_on_bad_input(damaged, data):
    given = ("--data", data.folder, "--target", "loongson-2k0500")
    change(damaged / FLOAT32, "head.weight", overflowing)
    code, text = run("verify", damaged / FLOAT32, *given)
    assert (code, "FAIL" in text) == (1, True)
    code, text = run("verify", damaged / "none.onnx", *given, "--json")
    assert (code, json.loads(text)["error"]["rule"]) == (2, "a model is an ONNX file")
    assert run("quantize", damaged / FLOAT32, "--data", data.folder)[0] == 2
    assert run("verify", damaged, *given, "--segments", 0)[0] == 2
