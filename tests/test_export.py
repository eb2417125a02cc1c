"""PyTorch to ONNX: names, weights by name, and nothing said aloud."""

import contextlib

import pytest
import torch
from torch import nn

from ecm_edge.base import files
from ecm_edge.base.errors import CandidateError, ModelError
from ecm_edge.candidate import candidate
from ecm_edge.forms import export, onnx_model, parity

from . import nets


def torch_scores(network, samples):
    with torch.inference_mode():
        return network(torch.from_numpy(samples)[:, None]).numpy()


@pytest.fixture(scope="module")
def template():
    """The graph of the untrained network."""
    return export.to_onnx(nets.build(), nets.T)


def agrees(network, proto):
    samples = nets.segments(8)
    found = parity.compare(
        torch_scores(network, samples), onnx_model.run_scores(onnx_model.classifier_of(proto), samples)
    )
    return found.max_abs < 1e-5


def test_untrained_network_keeps_every_tensor_by_name(template):
    network = nets.build().eval()
    held = {tensor.name for tensor in template.graph.initializer}
    assert {n for n, v in network.state_dict().items() if v.is_floating_point()} <= held
    assert agrees(network, template)


def test_graph_of_the_untrained_network_serves_the_trained_one(template, tmp_path):
    network = nets.trained()
    options = {"log_path": tmp_path / "log", "metadata": {"seed": "7"}}
    record = export.export_onnx(network, nets.T, tmp_path / "m.onnx", template=template, **options)
    proto = onnx_model.load_proto(tmp_path / "m.onnx")
    assert record.reused_graph
    assert agrees(network, proto)
    assert onnx_model.provenance(proto)["seed"] == "7"
    assert record.sha256 == files.sha256_file(tmp_path / "m.onnx")


def test_weights_of_another_network_are_not_taken(template):
    wider = nets.build()
    wider.head = nn.Linear(18, 3)
    assert export.with_weights(template, wider) is None
    wider.head = nn.Linear(18, 2, bias=False)
    assert export.with_weights(template, wider) is None


class Shared(nn.Module):
    """One weight under two names, and one that is never used: not one to one with the graph."""

    def __init__(self):
        super().__init__()
        self.head = nn.Linear(nets.T, 2)
        self.never = nn.Linear(3, 3)

    def forward(self, x):
        return self.head(x[:, 0])


def test_network_that_does_not_match_by_name_is_exported_afresh():
    torch.manual_seed(0)
    network = Shared().eval()
    assert agrees(network, export.to_onnx(network, nets.T))


def test_what_the_exporter_says_goes_to_the_log_alone(tmp_path, capfd, recwarn):
    record = export.export_onnx(nets.trained(), nets.T, tmp_path / "m.onnx", log_path=tmp_path / "log", metadata={})
    said = capfd.readouterr()
    assert (said.out, said.err, len(recwarn)) == ("", "", 0)
    assert record.log_lines == len((tmp_path / "log").read_text().splitlines()) > 0


def test_an_export_is_the_same_to_the_byte_and_names_no_place(template):
    again = export.to_onnx(nets.build(), nets.T)
    assert onnx_model.sha256(again) == onnx_model.sha256(template)
    assert b"nets.py" not in again.SerializeToString()


class Three(nn.Module):
    def forward(self, x):
        return x[:, 0, :3]


class Branch(nn.Module):
    def forward(self, x):
        return x[:, 0, :2] if x.sum() > 0 else x[:, 0, 2:4]


@pytest.mark.parametrize("network", [Three(), Branch()])
def test_networks_that_are_no_classifiers_are_refused(network):
    with pytest.raises(ModelError):
        export.to_onnx(network, nets.T)


def test_the_operators_that_are_kept_change_no_graph_and_are_given_back(monkeypatch):
    from torch.onnx._internal.exporter import _registration

    apis = _registration.onnxscript_apis
    network = nets.build()
    kept = [export.to_onnx(network, nets.T).SerializeToString() for _ in range(2)]
    assert _registration.onnxscript_apis is apis
    monkeypatch.setattr(export, "_tables_kept", contextlib.nullcontext)
    assert kept == [export.to_onnx(network, nets.T).SerializeToString()] * 2


def test_candidate_is_exported_and_simplified_with_its_provenance(tmp_path, template):
    data = nets.dataset(tmp_path / "d")
    folder = nets.make_candidate(tmp_path / "c", data)
    record = export.export_candidate(folder, data, template=template)
    proto = onnx_model.load_proto(folder / candidate.FORM_FILES["float32"])
    facts = onnx_model.provenance(proto)
    assert record.verdict == "PASS"
    assert facts["dataset_sha256"] == data.header.content_sha256
    assert facts["parent_sha256"] == record.export.sha256
    assert facts["config_sha256"] == candidate.load_config(folder).sha256
    assert agrees(candidate.load_network(folder), proto)


def test_candidate_of_another_data_set_is_refused(tmp_path):
    data = nets.dataset(tmp_path / "d")
    folder = nets.make_candidate(tmp_path / "c", data)
    text = (folder / candidate.CONFIG).read_text()
    (folder / candidate.CONFIG).write_text(text.replace(data.header.content_sha256, "0" * 64))
    with pytest.raises(CandidateError, match="the data set it was made from"):
        export.export_candidate(folder, data)


def test_ctrl_c_inside_the_exporter_is_an_interrupt_and_no_failure(monkeypatch):
    def fails(*_arguments, **_options):
        raise RuntimeError("failed to export") from KeyboardInterrupt()

    monkeypatch.setattr(torch.onnx, "export", fails)
    with pytest.raises(KeyboardInterrupt):
        export.to_onnx(nets.build(), nets.T)
