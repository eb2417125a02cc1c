"""The smaller forms: what is quantised, on what, and what it costs."""

import numpy as np
import onnx
import pytest
from onnx import numpy_helper

from ecm_edge.base.errors import CandidateError, ModelError, OutputError
from ecm_edge.candidate import candidate
from ecm_edge.forms import bias_correction, export, onnx_model, parity, quantize, reference, simplify

from . import nets


@pytest.fixture(scope="module")
def simplified():
    return simplify.simplify(export.to_onnx(nets.trained(), nets.T), nets.segments(4))[0]


@pytest.fixture(scope="module")
def made(simplified):
    return quantize.quantize(simplified, nets.segments(64), subjects=["S2", "S1"])


def scores(proto, samples):
    return onnx_model.run_scores(onnx_model.classifier_of(proto), samples)


def test_weights_are_signed_symmetric_and_per_channel(made):
    forms, _ = made
    arrays = {t.name: numpy_helper.to_array(t) for t in forms["int8"].graph.initializer}
    names = [name for name in arrays if name.endswith("weight_zero_point")]
    assert names
    for name in names:
        assert arrays[name].dtype == np.int8
        assert not arrays[name].any()
        assert arrays[name.replace("_zero_point", "_scale")].size == len(
            arrays[name.replace("_zero_point", "_quantized")]
        )


def test_every_convolution_and_product_runs_on_integers(made):
    forms, _ = made
    steps = reference.load(forms["int8"]).steps
    groups = [step.op.op for step in steps if step.quantizer is not None]
    assert sorted(groups) == ["Add"] + ["Conv"] * 4 + ["Gemm"] * 3 + ["Mul"]
    assert not [step.op.name for step in steps if step.op.op in {"Conv", "Gemm"} and step.quantizer is None]


def test_activation_functions_and_statistics_stay_float(simplified, made):
    kinds = {node.name: node.op_type for node in simplified.graph.node}
    producers = {name: node.op_type for node in simplified.graph.node for name in node.output}
    silus = [n for n in simplified.graph.node if n.op_type == "Mul" and producers.get(n.input[1]) == "Sigmoid"]
    squares = [n for n in simplified.graph.node if n.op_type == "Mul" and n.input[0] == n.input[1]]
    assert {kinds[name] for name in made[1].float_nodes} == {"Mul"}
    assert {n.name for n in silus + squares} <= set(made[1].float_nodes)
    assert len(silus) == 3
    assert len(squares) == 1


def test_int8_stays_near_the_float_form(simplified, made):
    found = parity.compare(
        scores(simplified, nets.segments(64, seed=5)), scores(made[0]["int8"], nets.segments(64, seed=5))
    )
    assert found.cos > 0.99
    assert found.label_flips <= 4


def test_float16_halves_the_weights_and_computes_in_float32(simplified, made):
    forms, record = made
    found = parity.compare(scores(simplified, nets.segments(16)), scores(forms["float16"], nets.segments(16)))
    assert found.max_abs < 0.01
    assert record.weight_bytes["float16"] < 0.6 * record.weight_bytes["float32"]
    stored = {t.data_type for t in forms["float16"].graph.initializer if len(t.dims) and t.dims[0] > 1}
    assert onnx.TensorProto.FLOAT not in stored


@pytest.mark.parametrize(("value", "fits"), [(65504.0, True), (-65504.0, True), (65505.0, False), (np.nan, False)])
def test_float16_refuses_what_does_not_fit(simplified, value, fits):
    proto = onnx.ModelProto()
    proto.CopyFrom(simplified)
    tensor = next(t for t in proto.graph.initializer if t.name == "head.weight")
    weights = numpy_helper.to_array(tensor).copy()
    weights[0, 0] = value
    tensor.CopyFrom(numpy_helper.from_array(weights, tensor.name))
    if fits:
        assert quantize.to_float16_weights(proto)
    else:
        with pytest.raises(ModelError, match=r"float16 weights lie within .*head\.weight"):
            quantize.to_float16_weights(proto)


def test_record_says_who_calibrated_and_every_form_carries_its_parent(simplified, made):
    forms, record = made
    assert (record.calibration_subjects, record.calibration_segments) == (["S1", "S2"], 64)
    for form in ("int8", "float16"):
        facts = onnx_model.provenance(forms[form])
        assert facts["form"] == form
        assert facts["parent_sha256"] == onnx_model.sha256(simplified)
        assert record.sha256[form] == onnx_model.sha256(forms[form])


def test_ranking_has_every_layer_once_worst_first(made):
    layers = made[1].layers
    assert len({layer.layer for layer in layers}) == len(layers) == len(reference.load(made[0]["int8"]).quantised)
    noise = [layer.sqnr_db for layer in layers]
    assert noise == sorted(noise)


def test_ranking_finds_the_layer_whose_scale_is_spoilt(simplified, made):
    spoilt = onnx.ModelProto()
    spoilt.CopyFrom(made[0]["int8"])
    group = next(
        s for s in reference.load(spoilt).steps if s.op.op == "Conv" and s.op.attributes.get("dilations") == [2]
    )
    tensor = next(t for t in spoilt.graph.initializer if t.name == group.quantizer.inputs[1])
    tensor.CopyFrom(numpy_helper.from_array(numpy_helper.to_array(tensor) * np.float32(20), tensor.name))
    ranked = quantize.rank_layers(simplified, spoilt, nets.segments(16))
    assert ranked[0].layer == group.op.name


def test_ranking_can_be_left_out(simplified):
    assert quantize.quantize(simplified, nets.segments(4), subjects=[], rank_segments=0)[1].layers == []


def test_mean_error_of_the_scores_is_taken_back(simplified):
    samples = nets.segments(64)
    off = onnx.ModelProto()
    off.CopyFrom(quantize.quantize_int8(simplified, samples))
    graph = reference.load(off)
    group = next(s for s in reversed(graph.steps) if s.quantizer is not None)  # the one that gives the scores
    step = graph.constants[group.sources[2].inputs[1]][0]  # (2,) of the bias
    bias = next(t for t in off.graph.initializer if t.name == group.sources[2].inputs[0])
    shifted = numpy_helper.to_array(bias) + np.rint(np.array([0.2, -0.1]) / step).astype(np.int32)
    bias.CopyFrom(numpy_helper.from_array(shifted, bias.name))
    corrected, error = bias_correction.correct_bias(simplified, off, samples)
    assert error == pytest.approx([0.2, -0.1], abs=0.01)
    assert (scores(corrected, samples) - scores(simplified, samples)).mean(axis=0) == pytest.approx([0, 0], abs=1e-3)


@pytest.mark.parametrize("samples", [nets.segments(0), np.full((2, nets.T), np.nan, np.float32)])
def test_calibration_needs_finite_segments(simplified, samples):
    with pytest.raises(ModelError, match="at least one finite segment"):
        quantize.quantize_int8(simplified, samples)


def test_the_float_model_is_not_changed(simplified):
    before = onnx_model.sha256(simplified)
    quantize.quantize(simplified, nets.segments(4), subjects=[])
    assert onnx_model.sha256(simplified) == before


def test_candidate_is_calibrated_on_its_training_subjects_alone(tmp_path, simplified):
    data = nets.dataset(tmp_path / "d")
    folder = nets.make_candidate(tmp_path / "c", data)
    onnx_model.save(simplified, folder / candidate.FORM_FILES["float32"])
    record = quantize.quantize_candidate(folder, data)
    assert record.calibration_subjects == candidate.load_config(folder).split.train
    assert quantize.QuantizeRecord.load(folder / candidate.QUANTIZE) == record
    assert (folder / candidate.FORM_FILES["int8"]).is_file()


def test_a_model_of_another_candidate_is_not_calibrated(tmp_path, simplified):
    data = nets.dataset(tmp_path / "d")
    folder = nets.make_candidate(tmp_path / "c", data)
    onnx_model.save(simplified, folder / candidate.FORM_FILES["float32"])
    other = onnx_model.load_proto(folder / candidate.FORM_FILES["float32"])
    onnx_model.stamp(other, {"config_sha256": "another"})
    onnx_model.save(other, folder / candidate.FORM_FILES["float32"])
    with pytest.raises(CandidateError, match="the one its model was made from"):
        quantize.quantize_candidate(folder, data)


def test_any_file_is_quantised_into_a_new_folder(tmp_path, simplified):
    data = nets.dataset(tmp_path / "d")
    onnx_model.save(simplified, tmp_path / "m.onnx")
    record = quantize.quantize_file(tmp_path / "m.onnx", data, tmp_path / "out", subjects=["S0"])
    assert record.calibration_subjects == ["S0"]
    assert sorted(p.name for p in (tmp_path / "out").iterdir()) == [
        "model.float16.onnx",
        "model.int8.onnx",
        "quantize.json",
    ]
    with pytest.raises(OutputError):
        quantize.quantize_file(tmp_path / "m.onnx", data, tmp_path / "out", subjects=["S0"])
