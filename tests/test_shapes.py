"""Classifiers of any fixed shape and number of scores, from the file to C, against onnxruntime."""

import json
import shutil
import subprocess
import zipfile

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper
from onnx.reference import ReferenceEvaluator

from ecm_edge import targets
from ecm_edge.base.errors import DatasetError, ModelError
from ecm_edge.evaluate import bench
from ecm_edge.evaluate.verify import verify_model
from ecm_edge.firmware import emulate, generate, known_answer, make, protocol
from ecm_edge.firmware.fit import fit_model
from ecm_edge.firmware.literals import float_literal
from ecm_edge.forms import cost, decision, onnx_model, quantize, sample_file
from ecm_edge.forms.facts import facts_of
from ecm_edge.forms.model_file import open_detector

from . import nets
from .tiny import run, run_for_output

HOST = targets.load("host")


def model(shape, scores, *, end=(), free=False, kind=TensorProto.FLOAT):
    """A convolution over all axes behind the channels, a ReLU and a matrix; `end` names operators behind it."""
    draw = np.random.default_rng(7)
    spatial = len(shape) - 2
    kernel = draw.normal(size=(3, shape[1], *[3] * spatial))
    flat = 3 * int(np.prod([length - 2 for length in shape[2:]]))
    weights = {"k": kernel, "w": draw.normal(size=(flat, scores)) / np.sqrt(flat), "b": draw.normal(size=scores)}
    dtype = helper.tensor_dtype_to_np_dtype(kind)
    nodes = [
        helper.make_node("Conv", ["samples", "k"], ["c"], kernel_shape=[3] * spatial),
        helper.make_node("Relu", ["c"], ["r"]),
        helper.make_node("Flatten", ["r"], ["f"]),
        helper.make_node("Gemm", ["f", "w", "b"], ["y0"]),
    ]
    nodes += [helper.make_node(op, [f"y{n}"], [f"y{n + 1}"]) for n, op in enumerate(end)]
    batch = "batch" if free else 1
    graph = helper.make_graph(
        nodes,
        "g",
        [helper.make_tensor_value_info("samples", kind, [batch, *shape[1:]])],
        [helper.make_tensor_value_info(f"y{len(end)}", kind, [batch, scores])],
        [numpy_helper.from_array(value.astype(dtype), name) for name, value in weights.items()],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


CASES = {
    "twelve_leads": ((1, 12, 40), 5, {}),
    "one_sigmoid": ((1, 1, 60), 1, {"end": ["Sigmoid"]}),
    "one_logit": ((1, 3, 30), 1, {}),
    "picture": ((1, 1, 12, 10), 10, {"free": True}),
    "colours": ((1, 3, 8, 8), 2, {}),
    "in_float64": ((1, 2, 20), 3, {"kind": TensorProto.DOUBLE}),
    "in_float16": ((1, 2, 20), 2, {"kind": TensorProto.FLOAT16}),
}
RULES = {
    "twelve_leads": "the label is the number of the largest score, the first on a tie",
    "one_sigmoid": "label 1 (positive) iff scores[0] >= 0.5",
    "one_logit": "label 1 (positive) iff scores[0] >= 0.0",
    "colours": "label 1 (positive) iff scores[1] >= scores[0]",
}


@pytest.fixture
def saved(tmp_path):
    def save(name):
        shape, scores, options = CASES[name]
        onnx.save(model(shape, scores, **options), tmp_path / f"{name}.onnx")
        return tmp_path / f"{name}.onnx"

    return save


def as_given(path, samples):
    """What onnx's own evaluator gives for the file itself, in its own type; onnxruntime has no float64 convolution."""
    proto = onnx.load(path)
    dtype = helper.tensor_dtype_to_np_dtype(proto.graph.input[0].type.tensor_type.elem_type)
    evaluator = ReferenceEvaluator(proto)
    return np.concatenate([evaluator.run(None, {"samples": segment[None].astype(dtype)})[0] for segment in samples])


@pytest.mark.parametrize("name", CASES)
def test_the_c_gives_the_scores_of_onnxruntime_and_the_label_of_the_header(name, saved, tmp_path):
    shape, scores, _ = CASES[name]
    path = saved(name)
    classifier = onnx_model.load_classifier(path)
    assert (classifier.input_shape, classifier.decision.count) == (shape, scores)
    samples = np.random.default_rng(1).normal(size=(6, *shape[1:])).astype(np.float32)
    flat = samples.reshape(6, -1)
    sources = make.make_sources(classifier.proto, HOST, tmp_path)
    answers = emulate.run_batch(sources.host, flat)
    close = 2e-2 if name == "in_float16" else 1e-5
    np.testing.assert_allclose(answers, as_given(path, samples), rtol=close, atol=close)
    np.testing.assert_allclose(answers, onnx_model.run_scores(classifier, flat), rtol=1e-5, atol=1e-5)
    assert labels_in_c(sources.folder, answers) == classifier.decision.labels(answers).tolist()


def labels_in_c(folder, scores):
    """The labels that `model_label` of the header gives, by this host's compiler."""
    rows = ", ".join("{" + ", ".join(map(float_literal, row)) + "}" for row in scores)
    program = folder.parent / "labels.c"
    program.write_text(
        f'#include <stdio.h>\n#include "model.h"\nstatic const float rows[][MODEL_SCORES] = {{{rows}}};\n'
        f"static const int shape[MODEL_INPUT_AXES] = MODEL_INPUT_SHAPE, strides[] = MODEL_INPUT_STRIDES;\n"
        f"int main(void) {{ int size = 1; for (int i = MODEL_INPUT_AXES - 1; i >= 0; i--) {{"
        f" if (strides[i] != size) return 1; size *= shape[i]; }} if (size != MODEL_SAMPLES) return 2;"
        f' for (int i = 0; i < {len(scores)}; i++) printf("%d ", (int)model_label(rows[i])); return 0; }}\n'
    )
    gcc = shutil.which("gcc") or pytest.skip("gcc is not installed")
    flags = ["-std=c99", "-Wall", "-Wextra", "-Werror", "-pedantic"]
    subprocess.run([gcc, *flags, "-I", str(folder), str(program), "-o", str(program.with_suffix(""))], check=True)
    done = subprocess.run([program.with_suffix("")], capture_output=True, check=True, text=True)
    return [int(word) for word in done.stdout.split()]


def chained(first, name, **attributes):
    """An operator between the input and the convolution of a net of 12 leads, whose input has the axes (1, T, C)."""
    proto = model((1, 12, 40), 5)
    proto.graph.node[0].input[0] = "moved"
    proto.graph.node.insert(0, helper.make_node(first, ["samples"], ["moved"], name=name, **attributes))
    shape = (1, 40, 12) if first == "Transpose" else (1, 12, 40)
    proto.graph.input[0].CopyFrom(helper.make_tensor_value_info("samples", TensorProto.FLOAT, shape))
    return proto


def flat(shape):
    """Nothing but a matrix."""
    size = int(np.prod(shape))
    nodes = [
        helper.make_node("Reshape", ["samples", "flat"], ["f"]),
        helper.make_node("MatMul", ["f", "w"], ["scores"]),
    ]
    ends = [("samples", shape), ("scores", (1, 3))]
    values = [[helper.make_tensor_value_info(name, TensorProto.FLOAT, axes)] for name, axes in ends]
    weights = [numpy_helper.from_array(np.int64([1, size]), "flat")]
    weights.append(numpy_helper.from_array(np.ones((size, 3), np.float32), "w"))
    graph = helper.make_graph(nodes, "g", *values, weights)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


def recurrent(layout):
    shape = (1, 20, 4) if layout else (20, 1, 4)
    draw = np.random.default_rng(5)
    weights = {"w": draw.normal(size=(1, 12, 4)), "r": draw.normal(size=(1, 12, 4)), "k": draw.normal(size=(4, 3))}
    nodes = [helper.make_node("GRU", ["samples", "w", "r"], ["", "h"], hidden_size=4, layout=layout)]
    nodes += [helper.make_node("Flatten", ["h"], ["f"]), helper.make_node("MatMul", ["f", "k"], ["scores"])]
    ends = [("samples", shape), ("scores", (1, 3))]
    values = [[helper.make_tensor_value_info(name, TensorProto.FLOAT, axes)] for name, axes in ends]
    constants = [numpy_helper.from_array(value.astype(np.float32), name) for name, value in weights.items()]
    graph = helper.make_graph(nodes, "g", *values, constants)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


@pytest.mark.parametrize(
    ("proto", "letters", "strides"),
    [
        (model((1, 12, 40), 5), "NCT", "{480, 40, 1}"),
        (model((1, 1, 60), 1), "NCT", "{60, 60, 1}"),
        (model((1, 1, 12, 10), 10), "NCHW", "{120, 120, 10, 1}"),
        (chained("Transpose", "turn", perm=[0, 2, 1]), "NTC", "{480, 12, 1}"),
        (chained("Relu", "keep"), "NCT", "{480, 40, 1}"),
        (flat((1, 9)), "NT", "{9, 1}"),
        (flat((1, 3, 9)), "", "{27, 9, 1}"),
        (recurrent(0), "TNC", "{4, 4, 1}"),
    ],
)
def test_the_header_says_what_the_axes_are(proto, letters, strides):
    header = generate.generate(proto, HOST).files["model.h"]
    assert f'#define MODEL_INPUT_LAYOUT "{letters}"\n' in header
    assert f"#define MODEL_INPUT_STRIDES {strides}\n" in header
    facts = facts_of(onnx_model.classifier_of(proto))
    assert facts.layout == letters
    assert (f"({letters})" in facts.text) == bool(letters)


def test_a_long_chain_has_the_axes_of_its_convolution():
    proto = model((1, 12, 40), 5)
    chain = [helper.make_node("Relu", [f"r{n}"], [f"r{n + 1}"]) for n in range(20_000)]
    chain[0].input[0] = "samples"
    proto.graph.node[0].input[0] = chain[-1].output[0]
    nodes = [*chain, *proto.graph.node]
    del proto.graph.node[:]
    proto.graph.node.extend(nodes)
    assert onnx_model.layout_of(proto.graph, "samples", 3) == "NCT"


def test_time_behind_the_batch_of_a_recurrent_layer():
    assert onnx_model.classifier_of(recurrent(1)).layout == "NTC"


@pytest.mark.parametrize(
    ("key", "value", "names"),
    [
        ("classes", '["N", "S", "V", "F", "Q"]', ("N", "S", "V", "F", "Q")),
        ("names", "{0: 'N', 1: 'S', 2: 'V', 4: 'Q', 3: 'F'}", ("N", "S", "V", "F", "Q")),
        ("labels", "N, S, V, F, Q", ("N", "S", "V", "F", "Q")),
        ("class_names", "N\nS\nV\nF\nQ", ("N", "S", "V", "F", "Q")),
        ("classes", "N, S", ()),
        ("classes", "[" * 10_000, ()),
        ("classes", "{[1]: 2}", ()),
        ("classes", '["N", "S", "V", "F", "\\ud800"]', ()),
        ("names", "{1: 'N', 2: 'S', 3: 'V', 4: 'F', 5: 'Q'}", ()),
        ("other", "N, S, V, F, Q", ()),
    ],
)
def test_names_of_labels_in_the_metadata(key, value, names, tmp_path):
    proto = model((1, 12, 40), 5)
    proto.metadata_props.add(key=key, value=value)
    onnx.save(proto, tmp_path / "m.onnx")
    assert onnx_model.load_classifier(tmp_path / "m.onnx").class_names == names


def test_names_of_labels_that_the_user_gives(saved):
    classifier = onnx_model.load_classifier(saved("twelve_leads"), classes=["N", 'S"', "V", "F", "\u00e9"])
    header = generate.generate(classifier.proto, HOST).files["model.h"]
    assert '#define MODEL_CLASS_NAMES {"N", "S\\042", "V", "F", "\\303\\251"}\n' in header
    assert "V, F, \u00e9)" in facts_of(classifier).text
    for names in (["N", "S"], ["N", "S", "V", "F", "N"], [*"NSVF", ""], [*"NSVF", "Q" * 65], [*"NSVF", "\udcff"]):
        with pytest.raises(ModelError, match="no two the same"):
            onnx_model.load_classifier(saved("twelve_leads"), classes=names)


def test_a_detector_with_names_keeps_the_frame_of_the_contest(tmp_path):
    onnx.save(model((1, 1, 30), 2), tmp_path / "m.onnx")
    classifier = onnx_model.load_classifier(tmp_path / "m.onnx", classes=["other", "AF"])
    files = generate.generate(classifier.proto, HOST).files
    assert '#define MODEL_CLASS_NAMES {"other", "AF"}\n' in files["model.h"]
    assert "ECM_MODEL_LABEL" not in files["ecm_model.h"]


def test_a_threshold_travels_with_the_forms(saved, tmp_path):
    path = saved("one_sigmoid")
    samples = sample_file.noise(20, onnx_model.load_classifier(path))
    quantize.quantize_file(path, samples, tmp_path / "q", threshold=0.6)
    for name in ("model.int8.onnx", "model.float16.onnx"):
        assert (
            onnx_model.load_classifier(tmp_path / "q" / name).decision.text == "label 1 (positive) iff scores[0] >= 0.6"
        )
    assert onnx_model.load_classifier(tmp_path / "q" / "model.int8.onnx", 0.7).decision.threshold == np.float32(0.7)


def test_fit_and_bench_say_the_threshold(saved):
    path = saved("one_sigmoid")
    assert fit_model(path, HOST, ["float32"], threshold=0.7).facts.threshold == np.float32(0.7)
    record = bench.bench_candidate(path, threshold=0.7, runs=2, warm_ups=0)
    assert record.facts.threshold == np.float32(0.7)


@pytest.mark.parametrize(("name", "rule"), RULES.items())
def test_the_rule_is_stated(name, rule, saved):
    classifier = onnx_model.load_classifier(saved(name))
    assert classifier.decision.text == rule
    assert rule in generate.generate(classifier.proto, HOST).files["model.h"]
    assert rule in facts_of(classifier).text


def test_rules_by_hand():
    of = decision.decision_of
    scores = np.float32([[1, 2, 2], [3, 3, 0], [np.nan, 0, 1], [5, 4, 5]])
    assert of(3, None, probability=False).labels(scores).tolist() == [1, 0, 2, 0]
    assert of(3, None, probability=False).margins(scores[:2]).tolist() == [0, 0]
    one = np.float32([[0.3], [0.30000001], [0.29999998], [np.nan]])
    assert of(1, 0.3, probability=True).labels(one).tolist() == [1, 1, 0, 0]
    assert of(1, None, probability=False).labels(np.float32([[0.0], [-1e-9]])).tolist() == [1, 0]
    assert decision.TWO_SCORES.labels(np.float32([[1, 1], [2, 1]])).tolist() == [1, 0]


@pytest.mark.parametrize("threshold", [0.0, 1.0, -1.0, float("nan"), float("inf"), 1e39])
def test_a_threshold_that_leaves_one_label_is_refused(threshold, saved):
    with pytest.raises(ModelError, match="threshold"):
        onnx_model.load_classifier(saved("one_sigmoid"), threshold)


def test_a_threshold_in_the_metadata_is_a_number(saved, tmp_path):
    proto = onnx.load(saved("one_sigmoid"))
    onnx_model.stamp(proto, {"score_threshold": "high"})
    onnx.save(proto, tmp_path / "m.onnx")
    with pytest.raises(ModelError, match="'high'"):
        onnx_model.load_classifier(tmp_path / "m.onnx")


def test_a_threshold_is_for_one_score(saved):
    with pytest.raises(ModelError, match="one score"):
        onnx_model.load_classifier(saved("twelve_leads"), 0.5)


def test_a_threshold_is_folded_into_the_c(saved):
    proto = onnx_model.load_classifier(saved("one_sigmoid"), 0.6).proto
    header = generate.generate(proto, HOST).files["model.h"]
    assert "#define MODEL_THRESHOLD 0.6f" in header


def test_the_header_of_a_detector_has_no_labels():
    header = generate.generate(model((1, 1, 30), 2), HOST).files["model.h"]
    assert "LABEL" not in header
    assert "label 1 (positive) iff scores[1] >= scores[0]" in header


def test_an_answer_after_a_sigmoid_is_known_through_a_reshape_and_quantisation():
    proto = model((1, 1, 20), 1, end=["Sigmoid", "Identity"])
    assert onnx_model.classifier_of(proto).decision.probability
    int8 = quantize.quantize_int8(proto, np.random.default_rng(0).normal(size=(4, 20)).astype(np.float32))
    assert onnx_model.classifier_of(int8).decision == decision.Decision(1, 0.5, probability=True)


def test_macs_of_a_picture_with_a_free_batch_by_hand():
    shape, scores, options = CASES["picture"]
    assert cost.count(model(shape, scores, **options)).macs == 3 * 10 * 8 * 9 + 3 * 10 * 8 * 10


def test_weights_beyond_float32_are_refused(tmp_path):
    proto = model((1, 2, 20), 2, kind=TensorProto.DOUBLE)
    proto.graph.initializer[2].CopyFrom(numpy_helper.from_array(np.float64([1e300, 0]), "b"))
    onnx.save(proto, tmp_path / "m.onnx")
    with pytest.raises(ModelError, match="what float32 can hold"):
        onnx_model.load_classifier(tmp_path / "m.onnx")


def test_what_scores_takes_detectors_only(saved):
    for name in ("twelve_leads", "one_sigmoid", "picture"):
        with pytest.raises(ModelError, match="one axis of samples and two scores"):
            open_detector(saved(name))


@pytest.mark.parametrize("name", ["twelve_leads", "one_sigmoid", "picture", "in_float64"])
def test_fit_builds_and_judges(name, saved):
    record = fit_model(saved(name), HOST, ["float32"])
    assert record.forms[0].flash_bytes > 0
    assert record.facts.scores == CASES[name][1]
    assert record.facts.converted_from == ("float64" if name == "in_float64" else "")


@pytest.mark.parametrize("name", ["twelve_leads", "one_sigmoid", "picture"])
def test_verify_on_noise_and_on_a_file(name, saved, tmp_path):
    shape, scores, _ = CASES[name]
    path = saved(name)
    classifier = onnx_model.load_classifier(path)
    record = verify_model(path, sample_file.noise(9, classifier), HOST)
    assert (record.verdict, record.segments, record.dataset, record.synthetic) == ("PASS", 9, "noise", True)
    draw = np.random.default_rng(2)
    labels = draw.integers(0, max(2, scores), 12)
    np.savez(tmp_path / "s.npz", samples=draw.normal(size=(12, *shape[1:])), labels=labels)
    samples = sample_file.read(tmp_path / "s.npz", classifier)
    record = verify_model(path, samples, HOST)
    hop = record.hops[-1]
    assert (record.verdict, record.segments, record.subjects) == ("PASS", 12, [])
    right = float(np.mean(classifier.decision.labels(onnx_model.run_scores(classifier, samples.values)) == labels))
    assert hop.accuracy_after == (pytest.approx(right) if scores > 2 else None)
    assert (hop.f1_after is None) == (scores > 2)
    assert verify_model(path, samples, HOST, segments=5).segments == 5


def test_a_wrong_form_fails_on_noise(saved, monkeypatch):
    from ecm_edge.evaluate.verify import compiled

    path, real = saved("twelve_leads"), emulate.run_batch
    monkeypatch.setattr(compiled.emulate, "run_batch", lambda *given: real(*given)[:, ::-1])
    record = verify_model(path, sample_file.noise(4, onnx_model.load_classifier(path)), HOST)
    assert (record.verdict, record.first_diverging_hop) == ("FAIL", "float32: reference→C")


def test_int8_of_a_file_of_samples_goes_to_the_same_bytes_in_c(saved, tmp_path):
    path = saved("twelve_leads")
    classifier = onnx_model.load_classifier(path)
    np.save(tmp_path / "s.npy", np.random.default_rng(3).normal(size=(20, 12, 40)))
    samples = sample_file.read(tmp_path / "s.npy", classifier)
    record = quantize.quantize_file(path, samples, tmp_path / "q")
    assert (record.calibration_segments, record.calibration_subjects, record.facts.scores) == (20, [], 5)
    assert len(record.bias_correction) == 5
    target = HOST.model_copy(update={"precision": ["float32", "int8"]})
    verified = verify_model(tmp_path / "q" / "model.int8.onnx", samples, target)
    assert {hop.name: hop.verdict for hop in verified.hops}["int8: reference→C"] == "PASS"
    assert verified.verdict == "PASS"


def test_weights_in_constant_nodes_are_quantised_as_weights():
    proto = model((1, 2, 20), 3)
    for tensor in list(proto.graph.initializer):
        proto.graph.node.insert(0, helper.make_node("Constant", [], [tensor.name], value=tensor))
        proto.graph.initializer.remove(tensor)
    onnx.checker.check_model(proto)
    int8 = quantize.quantize_int8(proto, np.random.default_rng(0).normal(size=(4, 40)).astype(np.float32))
    stored = {tensor.name: tensor.data_type for tensor in int8.graph.initializer}
    assert stored["w_quantized"] == TensorProto.INT8
    assert generate.generate(int8, HOST).layers


@pytest.mark.parametrize(
    ("arrays", "match"),
    [
        ({"samples": np.zeros((3, 12, 41))}, "N x 12 x 40; found 3 x 12 x 41"),
        ({"samples": np.zeros((3, 480))}, "N x 12 x 40; found 3 x 480"),
        ({"samples": np.zeros((3, 40, 12))}, "N x 12 x 40"),
        ({"samples": np.full((3, 12, 40), np.inf)}, "row 0"),
        ({"samples": np.full((3, 12, 40), 1e300)}, "finite float32"),
        ({"samples": np.array([["x"]])}, "are numbers"),
        ({"samples": np.zeros((0, 12, 40))}, "one segment at least"),
        ({"samples": np.zeros((3, 12, 40)), "labels": [0, 1, 5]}, "from 0 to 4"),
        ({"samples": np.zeros((3, 12, 40)), "labels": [0, 1]}, "one a segment"),
        ({"samples": np.zeros((3, 12, 40)), "labels": [1, 2, 9]}, "from 1 to 9 for 3 segments"),
        ({"samples": np.zeros((3, 12, 40)), "labels": [0.0, 1, 2]}, "integers"),
        ({"a": np.zeros(3), "b": np.zeros(3)}, "has an array 'samples'"),
        ({"samples": np.array([{}], object)}, "NumPy array"),
    ],
)
def test_files_that_do_not_fit_are_refused(arrays, match, saved, tmp_path):
    np.savez(tmp_path / "s.npz", **arrays)
    with pytest.raises(DatasetError, match=match):
        sample_file.read(tmp_path / "s.npz", onnx_model.load_classifier(saved("twelve_leads")))


def test_files_that_are_no_arrays_are_refused(saved, tmp_path, monkeypatch):
    classifier = onnx_model.load_classifier(saved("twelve_leads"))
    (tmp_path / "s.npy").write_bytes(b"\x93NUMPY nothing")
    for name in ("s.npy", "none.npy", "."):
        with pytest.raises(DatasetError, match="NumPy array"):
            sample_file.read(tmp_path / name, classifier)
    with zipfile.ZipFile(tmp_path / "text.npz", "w") as archive:
        archive.writestr("samples.npy", "nothing")
    with pytest.raises(DatasetError, match="no array in 'samples'"):
        sample_file.read(tmp_path / "text.npz", classifier)
    monkeypatch.setattr(sample_file, "MOST_BYTES", 1000)
    np.savez_compressed(tmp_path / "bytes.npz", samples=np.zeros((1, 12, 40), np.int8))
    with pytest.raises(DatasetError, match="at most 1,000 bytes; found 1,920"):
        sample_file.read(tmp_path / "bytes.npz", classifier)
    monkeypatch.setattr(sample_file, "MOST_BYTES", 100)
    np.savez_compressed(tmp_path / "large.npz", samples=np.zeros((3, 12, 40)))
    np.save(tmp_path / "large.npy", np.zeros((3, 12, 40)))
    for name in ("large.npz", "large.npy"):
        with pytest.raises(DatasetError, match="at most 100 bytes"):
            sample_file.read(tmp_path / name, classifier)


def test_noise_is_bounded_and_the_same_every_time(saved):
    classifier = onnx_model.load_classifier(saved("twelve_leads"))
    first, second = (sample_file.noise(3, classifier) for _ in range(2))
    np.testing.assert_array_equal(first.values, second.values)
    assert first.sha256 == second.sha256
    with pytest.raises(DatasetError, match="in noise"):
        sample_file.noise(1 << 40, classifier)


ONE_SOURCE, FILES_ONLY = "what is compared on, with one of", "are for an ONNX file; a candidate needs its data"
NO_SUBJECTS, TWO_SCORES = "--samples is for an ONNX file, and has no subjects", "one score; a candidate has two"


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ("verify MODEL --target host", ONE_SOURCE),
        ("verify MODEL --target host --noise 2 --samples s.npy", ONE_SOURCE),
        ("verify FOLDER --target host --noise 2", FILES_ONLY),
        ("verify FOLDER --target host --data d --threshold 0.4", TWO_SCORES),
        ("quantize MODEL -o q", "what is calibrated on, with one of"),
        ("quantize MODEL -o q --samples s.npy --subjects S1", NO_SUBJECTS),
        ("quantize FOLDER --samples s.npy", NO_SUBJECTS),
        ("firmware build FOLDER --target host --threshold 0.4", TWO_SCORES),
        ("firmware build FOLDER --target host --classes a,b", "a candidate has the labels of its task"),
        ("firmware generate MODEL --target host -o c --classes a,b", "each of the 5 labels has a name"),
        ("fit FOLDER --target host --threshold 0.4", TWO_SCORES),
        ("bench FOLDER --threshold 0.4", TWO_SCORES),
        ("quantize FOLDER --data d --threshold 0.4", TWO_SCORES),
        ("firmware serve MODEL --target host --threshold 0.4", "a threshold is for a model of one score"),
        ("verify MODEL --target host --samples none.npy", "found nothing at none.npy"),
    ],
)
def test_what_cannot_be_is_refused_by_the_command(words, said, saved, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    places = {"MODEL": saved("twelve_leads"), "FOLDER": tmp_path}
    assert run([places.get(word, word) for word in words.split()]) == 2
    assert said in capsys.readouterr().err


def test_axes_of_one_count_for_nothing(saved, tmp_path):
    classifier = onnx_model.load_classifier(saved("picture"))
    pixels = np.arange(2 * 120, dtype=np.uint8).reshape(2, 12, 10)
    for shaped in (pixels, pixels[:, None], pixels[:, None, None]):
        np.save(tmp_path / "s.npy", shaped)
        np.testing.assert_array_equal(sample_file.read(tmp_path / "s.npy", classifier).values, pixels.reshape(2, -1))


def test_the_serial_program_answers_with_the_scores(saved, tmp_path):
    classifier = onnx_model.load_classifier(saved("twelve_leads"))
    sources = make.make_sources(classifier.proto, HOST, tmp_path)
    image = make.make_image(sources, "serial", tmp_path / "serial")
    segments = known_answer.segments(480)
    broken = segments[3].copy()
    broken[7] = np.nan
    frames = b"".join(protocol.encode_input(values) for values in (*segments, broken))
    done = subprocess.run([image.elf], input=frames, capture_output=True, timeout=60, check=False)
    size = len(done.stdout) // 5
    answers = [protocol.decode_scored(done.stdout[at : at + size], 5) for at in range(0, 5 * size, size)]
    scores = emulate.run_batch(sources.host, segments)
    assert [answer.scores for answer in answers[:4]] == [tuple(row) for row in scores.tolist()]
    assert [answer.label for answer in answers] == [*classifier.decision.labels(scores).tolist(), 0]
    assert answers[4].status == protocol.Status.SAMPLE_NOT_FINITE
    assert answers[4].scores == (0.0,) * 5


def test_an_input_beyond_16_bits_has_its_count_modulo_65536(tmp_path):
    nodes = [helper.make_node("GlobalMaxPool", ["samples"], ["m"]), helper.make_node("Flatten", ["m"], ["scores"])]
    ends = [("samples", (1, 3, 23_000)), ("scores", (1, 3))]
    values = [[helper.make_tensor_value_info(name, TensorProto.FLOAT, shape)] for name, shape in ends]
    proto = helper.make_model(helper.make_graph(nodes, "g", *values), opset_imports=[helper.make_opsetid("", 17)])
    sources = make.make_sources(proto, HOST, tmp_path)
    image = make.make_image(sources, "serial", tmp_path / "serial")
    samples = np.random.default_rng(0).normal(size=(3, 23_000)).astype(np.float32)
    frame = protocol.encode_input(samples)
    assert frame[2:4] == (3 * 23_000 - 65_536).to_bytes(2, "little")
    done = subprocess.run([image.elf], input=frame, capture_output=True, timeout=60, check=False)
    answer = protocol.decode_scored(done.stdout, 3)
    assert (answer.label, answer.scores) == (int(samples.max(axis=1).argmax()), tuple(samples.max(axis=1).tolist()))


def test_sizes_are_bounded():
    with pytest.raises(ModelError, match="at most 1,048,576 values"):
        onnx_model.classifier_of(model((1, 1, (1 << 20) + 1), 2))


def test_bench_refuses_data_of_another_shape(tmp_path):
    classifier = onnx_model.classifier_of(model((1, 2, nets.T // 2), 2))
    with pytest.raises(ModelError, match=f"{nets.T} samples in .* for 1 x 2 x {nets.T // 2}"):
        bench.segments_for(classifier, nets.dataset(tmp_path / "d"))


@pytest.mark.parametrize(("shape", "scores"), [((1, 2, nets.T // 2), 2), ((1, 1, nets.T), 3), ((1, 1, nets.T + 1), 1)])
def test_verify_and_quantize_refuse_data_that_does_not_fit(shape, scores, tmp_path):
    onnx.save(model(shape, scores), tmp_path / "m.onnx")
    data = nets.dataset(tmp_path / "d")
    with pytest.raises(ModelError, match=r"have the length|one or two scores"):
        verify_model(tmp_path / "m.onnx", data, HOST)
    if scores != 3:
        with pytest.raises(ModelError, match=f"{nets.T} samples in .* for {' x '.join(map(str, shape))}"):
            quantize.quantize_file(tmp_path / "m.onnx", data, tmp_path / "q")


def test_one_score_is_verified_on_the_labels_of_a_data_set(tmp_path):
    onnx.save(model((1, 1, nets.T), 1, end=["Sigmoid"]), tmp_path / "m.onnx")
    record = verify_model(tmp_path / "m.onnx", nets.dataset(tmp_path / "d"), HOST)
    assert (record.verdict, record.segments, len(record.subjects)) == ("PASS", 120, 6)
    assert record.hops[-1].f1_after is not None


def test_the_commands(saved, tmp_path):
    path = saved("one_sigmoid")
    code, text = run_for_output("verify", path, "--noise", "4", "--threshold", "0.7", "--target", "host", "--json")
    record = json.loads(text)
    assert (code, record["verdict"]) == (0, "PASS")
    assert record["facts"]["threshold"] == pytest.approx(0.7)
    run_for_output("firmware", "generate", path, "--target", "host", "--threshold", "0.7", "--out", tmp_path / "c")
    assert "MODEL_THRESHOLD 0.7f" in (tmp_path / "c" / "model.h").read_text()
