"""Weights in a file beside the model: read from the model's own folder only, and part of its hash."""

import numpy as np
import onnx
import pytest
import torch
from onnx import TensorProto, helper, numpy_helper

from ecm_edge import targets
from ecm_edge.base.errors import ModelError
from ecm_edge.evaluate.verify import verify_model
from ecm_edge.forms import external_data, onnx_model, reference, sample_file
from ecm_edge.registry.bundle import bundle

WEIGHT = np.arange(32, dtype=np.float32).reshape(16, 2)


def saved(folder, location="weights.bin", **entries):
    """A model whose matrix lies at `location`; `entries` replace what it says of its place."""
    tensor = numpy_helper.from_array(WEIGHT, "w")
    tensor.ClearField("raw_data")
    tensor.data_location = TensorProto.EXTERNAL
    for key, value in {"location": location, "offset": "0", "length": str(WEIGHT.nbytes), **entries}.items():
        tensor.external_data.add(key=key, value=value)
    values = [
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, shape)]
        for name, shape in (("samples", (1, 16)), ("scores", (1, 2)))
    ]
    graph = helper.make_graph([helper.make_node("MatMul", ["samples", "w"], ["scores"])], "g", *values, [tensor])
    folder.mkdir(exist_ok=True)
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), folder / "m.onnx")
    return folder / "m.onnx"


def test_weights_beside_the_model_are_read_and_hashed(tmp_path):
    path = saved(tmp_path / "model")
    (path.parent / "weights.bin").write_bytes(WEIGHT.tobytes())
    classifier = onnx_model.load_classifier(path)
    assert [beside.name for beside in classifier.beside] == ["weights.bin"]
    samples = np.eye(16, dtype=np.float32)
    np.testing.assert_array_equal(onnx_model.run_scores(classifier, samples), WEIGHT)
    before = classifier.sha256
    (path.parent / "weights.bin").write_bytes((WEIGHT + 1).tobytes())
    assert onnx_model.load_classifier(path).sha256 != before


def test_a_folder_below_is_the_models_own(tmp_path):
    path = saved(tmp_path / "model", "parts/w.bin", offset="8")
    (path.parent / "parts").mkdir()
    (path.parent / "parts" / "w.bin").write_bytes(bytes(8) + WEIGHT.tobytes())
    held = onnx_model.load_proto(path).graph.initializer[0]
    np.testing.assert_array_equal(numpy_helper.to_array(held), WEIGHT)


@pytest.mark.parametrize(("kind", "size"), [(TensorProto.INT4, 3), (TensorProto.UINT2, 2)])
def test_integers_of_few_bits_are_packed(kind, size, tmp_path):
    values = [0, 1, 1, 0, 1]
    tensor = helper.make_tensor("w", kind, [5], values)
    packed = numpy_helper.from_array(numpy_helper.to_array(tensor), "w").raw_data
    assert len(packed) == size
    (tmp_path / "w.bin").write_bytes(packed)
    outside = TensorProto(name="w", dims=[5], data_type=kind, data_location=TensorProto.EXTERNAL)
    outside.external_data.add(key="location", value="w.bin")
    proto = onnx.ModelProto()
    proto.graph.initializer.append(outside)
    external_data.bring_in(proto, tmp_path / "m.onnx")
    assert numpy_helper.to_array(proto.graph.initializer[0]).astype(int).tolist() == values


@pytest.mark.parametrize("location", ["../weights.bin", "/etc/hostname", "a/../../weights.bin", "C:\\w", "", ".", "no"])
def test_files_elsewhere_are_never_read(location, tmp_path):
    (tmp_path / "weights.bin").write_bytes(WEIGHT.tobytes())
    with pytest.raises(ModelError, match="weights in its own folder"):
        onnx_model.load_classifier(saved(tmp_path / "model", location))


def test_a_link_that_leads_out_is_not_followed(tmp_path):
    (tmp_path / "weights.bin").write_bytes(WEIGHT.tobytes())
    path = saved(tmp_path / "model")
    (path.parent / "weights.bin").symlink_to(tmp_path / "weights.bin")
    with pytest.raises(ModelError, match="weights in its own folder"):
        onnx_model.load_classifier(path)


def test_links_in_a_circle_and_long_names_are_refused(tmp_path):
    (tmp_path / "weights.bin").symlink_to("weights.bin")
    for location in ("weights.bin", "weights.bin/w", "w" * 300):
        with pytest.raises(ModelError, match="weights in its own folder"):
            onnx_model.load_classifier(saved(tmp_path, location))


@pytest.mark.parametrize(
    "entries", [{"length": "127"}, {"offset": "8"}, {"offset": "-1"}, {"offset": "x"}, {"length": str(1 << 62)}]
)
def test_places_that_do_not_fit_are_refused(entries, tmp_path):
    path = saved(tmp_path / "model", **entries)
    (path.parent / "weights.bin").write_bytes(WEIGHT.tobytes())
    with pytest.raises(ModelError, match=r"weights beside it|bytes of each weight"):
        onnx_model.load_classifier(path)


def test_the_bytes_are_bounded_before_they_are_read(tmp_path, monkeypatch):
    path = saved(tmp_path / "model")
    (path.parent / "weights.bin").write_bytes(WEIGHT.tobytes())
    monkeypatch.setattr(external_data, "MOST_BYTES", WEIGHT.nbytes - 1)
    with pytest.raises(ModelError, match="at most 127 bytes"):
        onnx_model.load_classifier(path)


@pytest.mark.filterwarnings("ignore")  # torch warns of its own use of itself
def test_torchs_default_export_is_taken_as_it_is(tmp_path):
    torch.manual_seed(0)
    network = torch.nn.Sequential(
        torch.nn.Conv1d(3, 4, 5), torch.nn.ReLU(), torch.nn.Flatten(), torch.nn.Linear(64, 5)
    ).eval()
    batch = torch.randn(2, 3, 20)
    free = ({0: torch.export.Dim.DYNAMIC},)
    torch.onnx.export(network, (batch,), tmp_path / "m.onnx", dynamo=True, dynamic_shapes=free, verbose=False)
    classifier = onnx_model.load_classifier(tmp_path / "m.onnx")
    assert classifier.beside == (tmp_path / "m.onnx.data",)
    assert classifier.input_shape == (1, 3, 20)
    with torch.inference_mode():
        wanted = network(batch).numpy()
    scores = reference.scores(reference.load(classifier.proto), batch.numpy().reshape(2, -1))
    np.testing.assert_allclose(scores, wanted, rtol=1e-4, atol=1e-5)


def test_the_firmware_of_weights_beside_the_model_names_both_files(tmp_path):
    path = saved(tmp_path / "model")
    (path.parent / "weights.bin").write_bytes(WEIGHT.tobytes())
    host = targets.load("host")
    record = verify_model(path, sample_file.noise(3, onnx_model.load_classifier(path)), host)
    assert (record.verdict, [*record.model_sha256]) == ("PASS", ["m.onnx", "weights.bin"])
    packed = bundle(path, host, tmp_path / "b")
    assert {"model/m.onnx", "model/weights.bin"} <= set(packed.manifest.files)
    assert onnx_model.load_classifier(tmp_path / "b" / "model" / "m.onnx").sha256 == packed.manifest.model_sha256
