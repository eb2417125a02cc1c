"""Models that take and give int8 or uint8: the second entry of their C, and what commands make of such files."""

import shutil
import subprocess

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper, numpy_helper

from ecm_edge import targets
from ecm_edge.base.errors import ModelError
from ecm_edge.evaluate.verify import verify_model
from ecm_edge.firmware import build, emulate, generate, make
from ecm_edge.firmware.fit import fit_model
from ecm_edge.firmware.sources import generate_model
from ecm_edge.forms import onnx_model, quantize, reference, sample_file
from ecm_edge.forms.facts import facts_of
from ecm_edge.forms.model_file import open_model

from .tiny import run_for_output

HOST, LOONGSON, CORTEX = (targets.load(name) for name in ("host", "loongson-2k0500", "nucleo-l432kc"))
SANITIZERS = ("-fsanitize=address,undefined", "-fno-sanitize-recover=all")
INT8, UINT8, FLOAT = TensorProto.INT8, TensorProto.UINT8, TensorProto.FLOAT
TYPES = {INT8: np.int8, UINT8: np.uint8, FLOAT: np.float32}
IN, HIDDEN, OUT = (0.031, 5), (0.05, -128), (0.04, 3)


def quantised(shape, scores, *, ends=(INT8, INT8), kind=INT8, sigmoid=False):
    """A convolution, a ReLU and a matrix on integers; `ends` are the types of its input and output."""
    draw = np.random.default_rng(11)
    dtype, lift = TYPES[kind], 128 if kind == UINT8 else 0
    spatial = len(shape) - 2
    flat = 3 * int(np.prod([length - 2 for length in shape[2:]]))
    out = (1 / 256, -128) if sigmoid else OUT
    values = {
        "k": draw.integers(-127, 128, (3, shape[1], *[3] * spatial)).astype(np.int8),
        "w": draw.integers(-127, 128, (flat, scores)).astype(np.int8),
        "w_scale": np.float32(0.004),
        "w_zero": np.int8(0),
        "k_scale": np.float32(0.004),
        "k_zero": np.int8(0),
    }
    for name, (scale, zero) in {"x": IN, "h": HIDDEN, "y": out}.items():
        values |= {f"{name}_scale": np.float32(scale), f"{name}_zero": dtype(zero + lift)}

    def node(op, name, *inputs, **attributes):
        return helper.make_node(op, inputs, [name], **attributes)

    def pair(name, scale):
        return [node("DequantizeLinear", f"{name}_real", name, f"{scale}_scale", f"{scale}_zero")]

    nodes = [node("QuantizeLinear", "x", "samples", "x_scale", "x_zero")] if ends[0] == FLOAT else []
    nodes += [*pair("x", "x"), *pair("k", "k"), node("Conv", "c", "x_real", "k_real", kernel_shape=[3] * spatial)]
    nodes += [node("Relu", "r", "c"), node("QuantizeLinear", "h", "r", "h_scale", "h_zero"), *pair("h", "h")]
    nodes += [node("Flatten", "f", "h_real"), node("QuantizeLinear", "g", "f", "h_scale", "h_zero")]
    nodes += [*pair("g", "h"), *pair("w", "w"), node("MatMul", "m", "g_real", "w_real")]
    nodes += [node("Sigmoid", "s", "m")] if sigmoid else []
    nodes += [node("QuantizeLinear", "y", "s" if sigmoid else "m", "y_scale", "y_zero")]
    nodes += [node("DequantizeLinear", "scores", "y", "y_scale", "y_zero")] if ends[1] == FLOAT else []
    first = helper.make_tensor_value_info("samples" if ends[0] == FLOAT else "x", ends[0], shape)
    last = helper.make_tensor_value_info("scores" if ends[1] == FLOAT else "y", ends[1], (1, scores))
    constants = [numpy_helper.from_array(np.asarray(value), name) for name, value in values.items()]
    graph = helper.make_graph(nodes, "g", [first], [last], constants)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


def bare(shape, scores, kind):
    return quantised(shape, scores, ends=(kind, kind), kind=kind)


CASES = {
    "int8": (bare((1, 1, 40), 2, INT8), (np.int8, np.int8), "i8"),
    "uint8": (bare((1, 12, 30), 5, UINT8), (np.uint8, np.uint8), "u8"),
    "picture": (bare((1, 3, 8, 9), 10, INT8), (np.int8, np.int8), "i8"),
    "one_score": (quantised((1, 1, 30), 1, sigmoid=True), (np.int8, np.int8), "i8"),
    "float_ends": (quantised((1, 2, 30), 3, ends=(FLOAT, FLOAT)), (np.int8, np.int8), "i8"),
    "float_scores": (quantised((1, 2, 30), 3, ends=(INT8, FLOAT)), (np.int8, np.int8), "i8"),
    "float_samples": (quantised((1, 2, 30), 3, ends=(FLOAT, INT8)), (np.int8, np.int8), "i8"),
}


@pytest.fixture
def loaded(tmp_path):
    def load(name):
        onnx.save(CASES[name][0], tmp_path / "m.onnx")
        return onnx_model.load_classifier(tmp_path / "m.onnx")

    return load


def bytes_for(classifier, dtype, count=12):
    limits = np.iinfo(dtype)
    shape = (count, classifier.samples_per_segment)
    return np.random.default_rng(3).integers(limits.min, limits.max + 1, shape).astype(dtype)


def meaning(classifier, name):
    constants = {t.name: numpy_helper.to_array(t) for t in classifier.proto.graph.initializer}
    return constants[f"{name}_scale"], int(constants[f"{name}_zero"])


def expected(classifier, samples, dtype):
    """The integers that the reference computes of these bytes, and its scores."""
    graph = reference.load(classifier.proto)
    (scale, zero), rows = meaning(classifier, "x"), len(samples)
    floats = (samples.astype(np.float32) - zero) * scale
    tensors = reference.run(graph, floats, ["x", "y"])
    np.testing.assert_array_equal(tensors["x"].reshape(rows, -1), samples)
    assert tensors["y"].dtype == dtype
    return tensors["y"].reshape(rows, -1), reference.scores(graph, floats), floats


def byte_image(sources, target, out, *flags):
    return build.build(sources.folder, target, "batch", out, emulated=True, extra_flags=("-DECM_BYTES", *flags))


@pytest.mark.parametrize("name", CASES)
def test_bytes_are_those_of_the_reference(name, loaded, tmp_path):
    _, (taken, given), suffix = CASES[name]
    classifier = loaded(name)
    samples = bytes_for(classifier, taken)
    integers, scores, floats = expected(classifier, samples, given)
    assert len(np.unique(integers)) > 3
    sources = make.make_sources(classifier.proto, HOST, tmp_path)
    assert sources.generated.byte_entry.suffix == suffix
    image = byte_image(sources, HOST, tmp_path / "bytes", *SANITIZERS)
    np.testing.assert_array_equal(emulate.run_bytes(image, samples, given), integers)
    np.testing.assert_array_equal(emulate.run_batch(sources.host, floats), scores)


@pytest.mark.parametrize("target", [LOONGSON, CORTEX], ids=lambda target: target.name)
@pytest.mark.parametrize("name", ["int8", "uint8", "picture"])
def test_bytes_are_the_same_on_both_boards(name, target, loaded, tmp_path):
    _, (taken, given), _ = CASES[name]
    classifier = loaded(name)
    samples = bytes_for(classifier, taken)
    sources = make.make_sources(classifier.proto, target, tmp_path)
    image = byte_image(sources, target, tmp_path / "bytes")
    np.testing.assert_array_equal(emulate.run_bytes(image, samples, given), expected(classifier, samples, given)[0])


@pytest.mark.parametrize("name", ["int8", "uint8", "picture", "one_score"])
def test_a_file_of_bytes_answers_as_onnxruntime_answers_the_file(name, loaded):
    proto, (taken, given), _ = CASES[name]
    classifier = loaded(name)
    samples = bytes_for(classifier, taken, 4)
    options = onnxruntime.SessionOptions()
    options.add_session_config_entry("session.x64quantprecision", "1")
    session = onnxruntime.InferenceSession(proto.SerializeToString(), options)
    theirs = [session.run(None, {"x": segment.reshape(classifier.input_shape)})[0] for segment in samples]
    ours, _, floats = expected(classifier, samples, given)
    assert np.abs(np.concatenate(theirs).astype(int) - ours).max() <= 1
    scale, zero = meaning(classifier, "y")
    real = (np.concatenate(theirs).astype(np.float32) - zero) * scale
    np.testing.assert_array_equal(onnx_model.run_scores(classifier, floats), real)


def test_the_header_says_what_bytes_stand_for(loaded):
    header = generate.generate(loaded("uint8").proto, HOST).files["model.h"]
    for line in ("INPUT_SCALE 0.031f", "INPUT_ZERO_POINT 133", "OUTPUT_SCALE 0.04f", "OUTPUT_ZERO_POINT 131"):
        assert f"#define MODEL_{line}\n" in header
    assert "void model_run_u8(const uint8_t *samples, uint8_t *scores);" in header
    header = generate.generate(loaded("one_score").proto, HOST).files["model.h"]
    assert "#define MODEL_OUTPUT_ZERO_POINT (-128)\n" in header
    assert "#define MODEL_BYTE_THRESHOLD (0)\n" in header


@pytest.mark.parametrize("threshold", [0.3, 0.5, 0.50001, 0.999])
def test_labels_of_bytes_are_those_of_floats(threshold, loaded, tmp_path):
    loaded("one_score")
    classifier = onnx_model.load_classifier(tmp_path / "m.onnx", threshold)
    generated = generate.generate(classifier.proto, HOST)
    generate.write(generated, tmp_path / "c")
    (tmp_path / "labels.c").write_text(
        '#include <stdio.h>\n#include "model.h"\nint main(void) { for (int i = -128; i < 128; i++) {'
        " const int8_t byte = (int8_t)i; const float real = (float)(i - MODEL_OUTPUT_ZERO_POINT) * MODEL_OUTPUT_SCALE;"
        ' if (model_label(&real) != model_label_i8(&byte)) { printf("%d", i); return 1; } } return 0; }\n'
    )
    gcc = shutil.which("gcc") or pytest.skip("gcc is not installed")
    flags = ["-std=c99", "-Wall", "-Wextra", "-Werror", "-pedantic", "-I", str(tmp_path / "c")]
    subprocess.run([gcc, *flags, str(tmp_path / "labels.c"), "-o", str(tmp_path / "labels")], check=True)
    assert subprocess.run([tmp_path / "labels"], check=False).returncode == 0


@pytest.mark.parametrize("name", ["float_ends", "float_scores", "float_samples"])
def test_floats_that_are_only_quantised_are_bytes_in_the_entry(name, loaded):
    assert generate.generate(loaded(name).proto, HOST).byte_entry.types == ("int8_t", "int8_t")


def softmax_behind(proto):
    """The same with a Softmax of its real scores: bytes in and floats out."""
    for node in proto.graph.node:
        node.output[:] = ["real" if name == "scores" else name for name in node.output]
    proto.graph.node.append(helper.make_node("Softmax", ["real"], ["scores"]))
    return proto


def scaled_in_front(proto):
    """The same with a Mul of its samples: floats in."""
    proto.graph.node[0].input[0] = "scaled"
    proto.graph.node.insert(0, helper.make_node("Mul", ["samples", "w_scale"], ["scaled"]))
    return proto


def test_floats_at_one_end(tmp_path):
    shape = (1, 2, 30)
    proto = softmax_behind(quantised(shape, 3, ends=(FLOAT, FLOAT)))
    assert generate.generate(proto, HOST).byte_entry.types == ("int8_t", "float")
    sources = make.make_sources(proto, HOST, tmp_path)
    samples = np.random.default_rng(3).integers(-128, 128, (5, 60)).astype(np.int8)
    scores = reference.scores(reference.load(proto), (samples.astype(np.float32) - IN[1]) * np.float32(IN[0]))
    answers = emulate.run_bytes(byte_image(sources, HOST, tmp_path / "bytes"), samples, np.float32)
    np.testing.assert_array_equal(
        answers, emulate.run_batch(sources.host, (samples - np.float32(IN[1])) * np.float32(IN[0]))
    )
    np.testing.assert_allclose(answers, scores, atol=1e-6)


def test_scores_alone_have_an_entry_where_the_file_gives_bytes(tmp_path):
    shape = (1, 2, 30)
    assert generate.generate(scaled_in_front(quantised(shape, 3, ends=(FLOAT, FLOAT))), HOST).byte_entry is None
    onnx.save(scaled_in_front(quantised(shape, 3, ends=(FLOAT, INT8))), tmp_path / "m.onnx")
    classifier = onnx_model.load_classifier(tmp_path / "m.onnx")
    entry = generate.generate(classifier.proto, HOST).byte_entry
    assert (entry.types, entry.suffix) == (("float", "int8_t"), "i8")


def cast_in_front():
    """Bytes that a Cast reads, so that no scale is stated."""
    proto = quantised((1, 1, 30), 2)
    node = next(node for node in proto.graph.node if "x" in node.input)
    node.CopyFrom(helper.make_node("Cast", ["x"], ["x_real"], to=FLOAT, name="first"))
    return proto


def two_scales():
    proto = quantised((1, 1, 30), 2)
    proto.graph.initializer.append(numpy_helper.from_array(np.float32(7), "other"))
    proto.graph.node.insert(0, helper.make_node("DequantizeLinear", ["x", "other", "x_zero"], ["unused"]))
    return proto


def output_of_labels():
    proto = quantised((1, 1, 30), 2, ends=(INT8, FLOAT))
    proto.graph.node.append(helper.make_node("Cast", ["scores"], ["cast"], to=INT8))
    proto.graph.output[0].CopyFrom(helper.make_tensor_value_info("cast", INT8, (1, 2)))
    return proto


@pytest.mark.parametrize(
    ("proto", "match"),
    [
        (cast_in_front(), r"none is stated, for the int8 input 'x', read by Cast 'first'.*DequantizeLinear"),
        (two_scales(), r"scale 7.0, zero point 5 and scale 0.031, zero point 5, for the int8 input 'x'"),
        (output_of_labels(), r"none is stated for the int8 output 'cast'.*QuantizeLinear"),
    ],
)
def test_integers_that_stand_for_nothing_are_refused(proto, match, tmp_path):
    onnx.save(proto, tmp_path / "m.onnx")
    with pytest.raises(ModelError, match=match):
        onnx_model.load_classifier(tmp_path / "m.onnx")


def test_what_integers_stand_for_is_found_in_operators_on_integers(tmp_path):
    values = {
        "xs": np.float32(0.1), "xz": np.uint8(3), "ws": np.float32(0.02), "wz": np.uint8(128), "ys": np.float32(0.5),
        "yz": np.uint8(9), "w": np.random.default_rng(0).integers(0, 256, (30, 2)).astype(np.uint8),
    }  # fmt: skip
    nodes = [
        helper.make_node("Flatten", ["x"], ["f"]),
        helper.make_node("QLinearMatMul", ["f", "xs", "xz", "w", "ws", "wz", "ys", "yz"], ["y"]),
    ]
    ends = [[helper.make_tensor_value_info(n, UINT8, s)] for n, s in (("x", (1, 1, 30)), ("y", (1, 2)))]
    constants = [numpy_helper.from_array(np.asarray(value), name) for name, value in values.items()]
    graph = helper.make_graph(nodes, "g", *ends, constants)
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), tmp_path / "m.onnx")
    classifier = onnx_model.load_classifier(tmp_path / "m.onnx")
    said = "uint8 input, scale 0.1, zero point 3; uint8 output, scale 0.5, zero point 9"
    assert classifier.byte_ends == said
    assert said in facts_of(classifier).text
    samples = bytes_for(classifier, np.uint8)
    centred = (samples.astype(int) - 3) @ (values["w"].astype(int) - 128)
    wanted = np.clip(np.rint(centred * (0.1 * 0.02 / 0.5)) + 9, 0, 255)
    sources = make.make_sources(classifier.proto, HOST, tmp_path)
    answers = emulate.run_bytes(byte_image(sources, HOST, tmp_path / "bytes"), samples, np.uint8)
    assert np.abs(answers.astype(int) - wanted).max() <= 1
    integers = reference.run(reference.load(classifier.proto), (samples - np.float32(3)) * np.float32(0.1), ["y"])["y"]
    np.testing.assert_array_equal(answers, integers.reshape(-1, 2))


@pytest.mark.parametrize("name", ["int8", "uint8", "picture", "one_score"])
def test_stages_take_a_file_of_bytes(name, loaded, tmp_path):
    classifier, path = loaded(name), tmp_path / "m.onnx"
    record = fit_model(path, CORTEX)
    assert (record.ships, record.forms[0].verdict) == ("int8", "PASS")
    assert record.facts.byte_ends.startswith("uint8 input" if name == "uint8" else "int8 input")
    record = generate_model(open_model(path), HOST, tmp_path / "c")
    assert record.verdict == "PASS"
    assert f"model_run_{CASES[name][2]}" in (tmp_path / "c" / "model.h").read_text()
    record = verify_model(path, sample_file.noise(5, classifier), HOST, emulated=False)
    assert record.verdict == "PASS"


def test_a_file_of_bytes_is_taken_as_it_is(loaded, tmp_path):
    classifier = loaded("uint8")
    samples = bytes_for(classifier, np.uint8)
    real = (samples.astype(np.float32) - np.float32(IN[1] + 128)) * np.float32(IN[0])
    for values, wanted in ((samples, real), (real, real), (samples.astype(np.int16), samples.astype(np.float32))):
        np.save(tmp_path / "s.npy", values.reshape(-1, 12, 30))
        np.testing.assert_array_equal(sample_file.read(tmp_path / "s.npy", classifier).values, wanted)
    assert "bytes taken as they are" in facts_of(classifier).text


def test_what_is_quantised_already_is_not_quantised_again(loaded, tmp_path):
    noise = sample_file.noise(4, loaded("int8"))
    with pytest.raises(ModelError, match="int8 already"):
        quantize.quantize_file(tmp_path / "m.onnx", noise, tmp_path / "q")


def test_noise_for_a_model_of_bytes_has_them_all(loaded):
    values = sample_file.noise(20, loaded("uint8")).values
    assert len(np.unique(values)) == 256
    assert values.min() == np.float32(IN[0]) * -(IN[1] + 128)


def test_the_command_prints_both_functions(loaded, tmp_path):
    loaded("int8")
    text = run_for_output("firmware", "generate", tmp_path / "m.onnx", "--target", "host", "-o", tmp_path / "c")[1]
    assert "void model_run(const float *samples, float *scores);" in text
    assert "void model_run_i8(const int8_t *samples, int8_t *scores);" in text


def test_the_image_of_the_float_entry_does_not_grow(loaded, tmp_path):
    sources = make.make_sources(loaded("int8").proto, CORTEX, tmp_path)
    image = make.make_image(sources, "serial", tmp_path / "with")
    text = (sources.folder / "model.c").read_text()
    begin, end = text.index("/* (1, 1, 40), bytes as they are */"), text.index("void model_run(")
    (sources.folder / "model.c").write_text(text[:begin] + text[end:])
    without = make.make_image(sources, "serial", tmp_path / "without")
    assert image.shipped.stat().st_size == without.shipped.stat().st_size
    assert not [symbol.name for symbol in image.symbols if "run_i8" in symbol.name or "_bytes_" in symbol.name]
