"""Files and graphs that are classifiers, and those that are not."""

from math import prod
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from ecm_edge.base import files
from ecm_edge.base.errors import ModelError
from ecm_edge.forms import cost, onnx_graph, onnx_model
from ecm_edge.forms.float16 import to_float16_weights

from . import nets


def matmul(shape=(1, 1, nets.T), **options):
    weight = np.zeros((nets.T, 2), np.float32)
    weight[3, 1] = 1
    return nets.graph([nets.node("Reshape", ["samples", "flat"], "x"), nets.node("MatMul", ["x", "w"], "scores")],
                      {"w": weight, "flat": np.array([1, nets.T])}, shape=shape, **options)  # fmt: skip


@pytest.mark.parametrize("shape", [(1, 1, nets.T), (1, nets.T), (1, 1, nets.T, 1), (nets.T,), ("batch", 1, nets.T)])
def test_any_shape_of_one_segment_is_taken(shape, tmp_path):
    onnx_model.save(matmul(shape), tmp_path / "m.onnx")
    classifier = onnx_model.load_classifier(tmp_path / "m.onnx")
    samples = nets.segments(3)
    assert classifier.samples_per_segment == nets.T
    assert onnx_model.run_scores(classifier, samples)[:, 1] == pytest.approx(samples[:, 3])


def test_an_old_file_that_lists_its_weights_as_inputs_is_counted_and_halved(tmp_path):
    old = matmul()
    old.graph.input.append(helper.make_tensor_value_info("w", TensorProto.FLOAT, (nets.T, 2)))
    old.ir_version = 3
    onnx_model.save(old, tmp_path / "m.onnx")
    classifier = onnx_model.load_classifier(tmp_path / "m.onnx")
    counted = cost.count(classifier.proto)
    assert (classifier.input_name, counted.macs, counted.parameters) == ("samples", 2 * nets.T, 2 * nets.T)
    halved = onnx_model.classifier_of(to_float16_weights(classifier.proto))
    assert onnx_model.run_scores(halved, nets.segments(2)) == pytest.approx(
        onnx_model.run_scores(classifier, nets.segments(2))
    )


@pytest.mark.parametrize("content", [b"", b"not a model at all\n", b"\x08\x0a\x12\xff\xff\xff", b"label,Filename\n1,a"])
def test_empty_text_and_corrupt_files_are_refused(content, tmp_path):
    (tmp_path / "m.onnx").write_bytes(content)
    with pytest.raises(ModelError, match=r"m\.onnx"):
        onnx_model.load_classifier(tmp_path / "m.onnx")


@pytest.mark.parametrize(
    "scopes",
    ["5", "{1: 2, 3: 4}", "['a',", "['a'] * 9", "{'a', 'b', 'c'}", "(" * 5000, "9" * 5000, "-" * 100_000, "[]", "x"],
)
def test_foreign_scopes_of_a_node_name_no_module(scopes):
    node = helper.make_node("Relu", ["x"], ["y"])
    node.metadata_props.add(key=onnx_model.SCOPES, value=scopes)
    assert onnx_model.module_path(node) == ""


def test_the_hash_of_a_model_is_that_of_what_was_read(tmp_path):
    onnx_model.save(matmul(), tmp_path / "m.onnx")
    classifier = onnx_model.load_classifier(tmp_path / "m.onnx")
    before = files.sha256_file(tmp_path / "m.onnx")
    (tmp_path / "m.onnx").write_bytes(b"another")
    assert classifier.sha256 == before


def test_truncated_file_is_refused(tmp_path):
    onnx_model.save(matmul(), tmp_path / "m.onnx")
    whole = (tmp_path / "m.onnx").read_bytes()
    for size in (1, len(whole) // 3, len(whole) - 1):
        (tmp_path / "m.onnx").write_bytes(whole[:size])
        with pytest.raises(ModelError):
            onnx_model.load_classifier(tmp_path / "m.onnx")


def test_missing_file_folder_and_device_are_refused(tmp_path):
    for path in (tmp_path / "none.onnx", tmp_path, Path("/dev/zero")):
        with pytest.raises(ModelError, match="a model is an ONNX file"):
            onnx_model.load_classifier(path)


def test_a_model_without_the_standard_operators_is_refused(tmp_path):
    node = helper.make_node("Scaler", ["samples"], ["scores"], domain="ai.onnx.ml", offset=[0.0], scale=[1.0])
    values = [[helper.make_tensor_value_info(name, TensorProto.FLOAT, (1, 2))] for name in ("samples", "scores")]
    proto = helper.make_model(
        helper.make_graph([node], "g", *values), opset_imports=[helper.make_opsetid("ai.onnx.ml", 1)], ir_version=8
    )
    onnx_model.save(proto, tmp_path / "m.onnx")
    with pytest.raises(ModelError, match=r"imports ONNX's standard operators; found 'ai.onnx.ml' in .*m\.onnx"):
        onnx_model.load_classifier(tmp_path / "m.onnx")


def test_an_initializer_with_too_many_bytes_is_refused(tmp_path):
    proto = matmul()
    proto.graph.initializer[0].raw_data += bytes(8)
    onnx_model.save(proto, tmp_path / "m.onnx")
    with pytest.raises(ModelError, match="has the bytes of its shape"):
        onnx_model.load_classifier(tmp_path / "m.onnx")


def test_two_inputs_are_named():
    value = helper.make_tensor_value_info
    inputs = [value("samples", TensorProto.FLOAT, (1, 2)), value("age", TensorProto.FLOAT, (1, 2))]
    proto = nets.graph([nets.node("Add", ["samples", "age"], "scores")], {}, inputs=inputs)
    with pytest.raises(ModelError, match=r"exactly one input.*samples, age"):
        onnx_model.classifier_of(proto)


@pytest.mark.parametrize("shape", [(1, 1, "time"), (1, 1, 0), (1, "leads", nets.T), ("batch",)])
def test_the_shape_has_to_be_fixed_but_for_the_batch(shape):
    proto = matmul()
    dims = proto.graph.input[0].type.tensor_type.shape
    dims.CopyFrom(helper.make_tensor_value_info("x", TensorProto.FLOAT, shape).type.tensor_type.shape)
    with pytest.raises(ModelError, match="its shape is fixed"):
        onnx_model.classifier_of(proto)


def test_integers_are_no_input():
    proto = matmul()
    proto.graph.input[0].type.tensor_type.elem_type = TensorProto.INT64
    with pytest.raises(ModelError, match=r"of floats.*INT64"):
        onnx_model.classifier_of(proto)


@pytest.mark.parametrize("shape", [(1, 2, nets.T), (2, 1, 2), (1, "n", 2)])
def test_output_has_to_be_one_row_of_scores(shape):
    proto = nets.graph([nets.node("Identity", ["samples"], "y")], {}, shape=shape[:1] + shape, output=("y", shape))
    with pytest.raises(ModelError, match=r"one row|its shape is fixed|one segment"):
        onnx_model.classifier_of(proto)


@pytest.mark.parametrize("scores", [(4, 1), (4, 6), (4,)])
def test_a_batch_of_segments_is_not_taken_for_classes(scores):
    weights = {"w": np.ones((prod(scores[1:]), 3, 1), np.float32), "shape": np.array(scores)}
    nodes = [
        nets.node("Conv", ["samples", "w"], "c"),
        nets.node("GlobalAveragePool", ["c"], "p"),
        nets.node("Reshape", ["p", "shape"], "scores"),
    ]
    proto = nets.graph(nodes, weights, shape=(4, 3, nets.T), output=("scores", scores))
    with pytest.raises(ModelError, match=r"one segment at a time.*first axis of 4"):
        onnx_model.classifier_of(proto)


def test_segments_of_another_length_are_refused():
    with pytest.raises(ModelError, match="length of the model's input"):
        onnx_model.run_scores(onnx_model.classifier_of(matmul()), np.zeros((2, nets.T + 1), np.float32))


def test_no_segments_give_no_scores():
    assert onnx_model.run_scores(onnx_model.classifier_of(matmul()), nets.segments(0)).shape == (0, 2)


def test_provenance_is_kept_replaced_and_part_of_the_hash():
    proto = matmul()
    before = onnx_model.sha256(proto)
    onnx_model.stamp(proto, {"form": "float32", "seed": "1"})
    onnx_model.stamp(proto, {"seed": "2"})
    assert onnx_model.provenance(proto) == {"form": "float32", "seed": "2"}
    assert onnx_model.sha256(proto) != before


def test_counts_and_bytes_are_those_of_the_graph():
    proto = matmul()
    assert onnx_model.op_counts(proto) == {"MatMul": 1, "Reshape": 1}
    assert onnx_model.weight_bytes(proto) == nets.T * 2 * 4 + 2 * 8
    assert onnx_graph.opset(proto) == 20


def test_a_graph_that_onnx_refuses_is_refused():
    proto = matmul()
    proto.graph.node[1].op_type = "MatMulOfMine"
    with pytest.raises(ModelError, match="onnx's checker"):
        onnx_model.check(proto, "mine")
    with pytest.raises(ModelError, match="operators"):
        onnx_model.check(onnx.ModelProto(), "mine")


def test_int8_sums_are_exact_where_a_processor_would_clip_them():
    session = onnx_model.open_session(matmul())
    assert session.get_session_options().get_session_config_entry("session.x64quantprecision") == "1"
