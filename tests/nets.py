"""A small network with every kind of block, a candidate made of it, and QDQ graphs written by hand."""

from __future__ import annotations

import numpy as np
import onnx
import torch
from onnx import TensorProto, helper, numpy_helper
from safetensors.torch import save_file
from torch import nn

from ecm_edge.base import trust_list
from ecm_edge.candidate import candidate
from ecm_edge.data.splits import Split

T = 160


class SqueezeExcite(nn.Module):
    def __init__(self, channels):
        super().__init__()
        self.squeeze, self.excite = nn.Linear(channels, 2), nn.Linear(2, channels)

    def forward(self, x):
        gate = torch.sigmoid(self.excite(nn.functional.silu(self.squeeze(x.mean(-1)))))
        return x * gate.unsqueeze(-1)


class Small(nn.Module):
    """Strided, SiLU then batch norm; squeeze-excite; depthwise, batch norm then ReLU; dilated residual; statistics."""

    def __init__(self):
        super().__init__()
        self.stem = nn.Sequential(nn.Conv1d(1, 6, 7, 4), nn.SiLU(), nn.BatchNorm1d(6))
        self.mix = nn.Sequential(nn.Conv1d(6, 6, 3), nn.BatchNorm1d(6), nn.SiLU(), nn.BatchNorm1d(6))
        self.gate = SqueezeExcite(6)
        self.depthwise = nn.Conv1d(6, 6, 3, padding=1, groups=6, bias=False)
        self.norm, self.act = nn.BatchNorm1d(6), nn.ReLU()
        self.dilated = nn.Conv1d(6, 6, 3, padding=2, dilation=2)
        self.head = nn.Linear(18, 2)

    def forward(self, x):
        x = self.act(self.norm(self.depthwise(self.gate(self.mix(self.stem(x))))))
        x = x + torch.relu(self.dilated(x))
        return self.head(torch.cat([x.mean(-1), x.amax(-1), x.std(-1)], 1))


def build(_params=None, _samples=T):
    """An untrained network, as a factory for candidates."""
    torch.manual_seed(1)
    return Small()


def trained(seed=2):
    """A network whose batch norms are not the identity."""
    network, generator = build(), torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, value in network.state_dict().items():
            if "running" in name or (value.ndim == 1 and value.is_floating_point()):
                value.add_(torch.rand(value.shape, generator=generator) * 0.5)
    return network.eval()


def segments(count, seed=0):
    """Smooth noise (count, T)."""
    noise = np.random.default_rng(seed).normal(size=(count, T + 4))
    return sum(noise[:, k : k + T] for k in range(5)).astype(np.float32)


def dataset(folder):
    """Six subjects of twenty segments, half of them AF."""
    from ecm_edge.data.dataset import Description, SegmentBlock, Source, open_dataset
    from ecm_edge.data.dataset_writer import write_dataset

    names = [f"S{s}-{'AFIB' if i % 2 else 'N'}-{i}" for s in range(6) for i in range(20)]
    block = SegmentBlock(
        segments(len(names)),
        names,
        [n.split("-")[0] for n in names],
        [n.split("-")[1] for n in names],
        names,
        [""] * len(names),
    )
    description = Description(
        sampling_rate_hz=250, samples_per_segment=T, unit="mV", synthetic=True, source=Source(format="test")
    )
    write_dataset(folder, description, [block])
    return open_dataset(folder)


def make_candidate(folder, data, network=None):
    """A trained candidate without any export, in a folder whose factory may be called."""
    folder.mkdir()
    trust_list.mark(folder)
    candidate.CandidateConfig(
        family="small",
        factory="tests.nets:build",
        network={},
        training=candidate.TrainingConfig(),
        seed=0,
        split=Split(train=["S0", "S1", "S2"], validation=["S3", "S4"], test=["S5"]),
        dataset_sha256=data.header.content_sha256,
        synthetic=True,
        sampling_rate_hz=250,
        samples_per_segment=T,
    ).save(folder / candidate.CONFIG)
    save_file(candidate.network_state(network or trained()), folder / candidate.CHECKPOINT)
    return folder


def graph(nodes, initializers, *, inputs=None, shape=(1, 1, T), output=("scores", (1, 2))):
    """A checked model of `nodes` with initializers name -> array."""
    value = helper.make_tensor_value_info
    given = inputs or [value("samples", TensorProto.FLOAT, shape)]
    tensors = [numpy_helper.from_array(np.asarray(array), name) for name, array in initializers.items()]
    body = helper.make_graph(nodes, "hand", given, [value(output[0], TensorProto.FLOAT, output[1])], tensors)
    proto = helper.make_model(body, opset_imports=[helper.make_opsetid("", 20)], ir_version=10)
    onnx.checker.check_model(proto)
    return proto


def node(op, inputs, output, **attributes):
    return helper.make_node(op, inputs, [output], name=f"node_{output}", **attributes)


def quantised(name, scale, zero_point):
    """QuantizeLinear and DequantizeLinear of tensor `name` -> `name`_f, and their constants."""
    constants = {f"{name}_s": np.float32(scale), f"{name}_z": np.int8(zero_point)}
    pair = [
        node("QuantizeLinear", [name, f"{name}_s", f"{name}_z"], f"{name}_q"),
        node("DequantizeLinear", [f"{name}_q", f"{name}_s", f"{name}_z"], f"{name}_f"),
    ]
    return pair, constants


def weight(name, q, scale):
    """DequantizeLinear of int8 weights, scale one a row -> `name`_f."""
    constants = {name: q.astype(np.int8), f"{name}_s": scale.astype(np.float32), f"{name}_z": np.zeros(len(q), np.int8)}
    return [node("DequantizeLinear", [name, f"{name}_s", f"{name}_z"], f"{name}_f", axis=0)], constants


def bias(name, q, scale):
    """DequantizeLinear of an int32 bias -> `name`_f."""
    constants = {name: q.astype(np.int32), f"{name}_s": scale.astype(np.float32)}
    return [node("DequantizeLinear", [name, f"{name}_s"], f"{name}_f", axis=0)], constants


def qdq_net(rng, *, channels=3, kernel=3, stride=1, dilation=1, middle="Relu"):
    """samples -> Q -> Conv -> Q -> `middle` -> Q -> Flatten -> Gemm -> Q -> scores, all numbers drawn."""
    out = (T - (kernel - 1) * dilation - 1) // stride + 1
    flat = channels * (out if middle != "ReduceMean" else 1)
    w_scale, g_scale = rng.uniform(0.005, 0.02, channels), rng.uniform(0.005, 0.02, 2) / np.sqrt(flat)
    parts = [
        quantised("samples", 0.08, int(rng.integers(-20, 20))),
        weight("w", rng.integers(-127, 128, (channels, 1, kernel)), w_scale),
        bias("b", rng.integers(-500, 500, channels), np.float32(0.08) * w_scale.astype(np.float32)),
        quantised("conv", 0.11, int(rng.integers(-40, 40))),
        quantised("mid", 0.05, int(rng.integers(-100, 0))),
        weight("g", rng.integers(-127, 128, (2, flat)), g_scale),
        bias("h", rng.integers(-500, 500, 2), np.float32(0.05) * g_scale.astype(np.float32)),
        quantised("raw", 0.03, 5),
    ]
    (q_in, *_), (w, _), (b, _), (q_conv, _), (q_mid, _), (g, _), (h, _), (q_out, _) = parts
    middle_inputs = {"Mul": ["conv_f", "conv_f"], "Add": ["conv_f", "conv_f"], "ReduceMean": ["conv_f", "axes"]}
    nodes = [
        *w, *b, *g, *h, *q_in,
        node("Conv", ["samples_f", "w_f", "b_f"], "conv", strides=[stride], dilations=[dilation]),
        *q_conv,
        node(middle, middle_inputs.get(middle, ["conv_f"]), "mid"),
        *q_mid[:1],
        node("Flatten", ["mid_q"], "flat_q"),
        node("DequantizeLinear", ["flat_q", "mid_s", "mid_z"], "flat_f"),
        node("Gemm", ["flat_f", "g_f", "h_f"], "raw", transB=1),
        *q_out[:1],
        node("DequantizeLinear", ["raw_q", "raw_s", "raw_z"], "scores"),
    ]  # fmt: skip
    constants = {name: value for _, part in parts for name, value in part.items()}
    if middle == "ReduceMean":
        constants["axes"] = np.array([2])
    return graph(nodes, constants)
