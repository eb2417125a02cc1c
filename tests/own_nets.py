"""Four classifiers such as people bring, and segments for them, all from a seed.

`python -m tests.own_nets FOLDER` writes NAME.onnx and NAME.npz (`samples`, `labels`) of each. Hidden layers are random,
their batch norms have seen the segments, and the last layer is fitted to the labels by least squares.
"""

from __future__ import annotations

import sys
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import onnx
import torch
from onnx import TensorProto, helper, numpy_helper
from torch import nn

if TYPE_CHECKING:
    from collections.abc import Callable

    Arrays = tuple[np.ndarray, np.ndarray]

SEGMENTS = 96
SPREAD = 8.0
"""Scores before a softmax or a sigmoid are about as far apart: most segments are clear, some are not."""


def segments(shape: tuple[int, ...], classes: int, seed: int) -> Arrays:
    """Segments (N, …) of N(0, 0.5²) over the wave of their class, each with its own frequencies; and labels (N)."""
    draw = np.random.default_rng(seed)
    labels = np.arange(SEGMENTS) % classes
    grids = np.meshgrid(*(np.linspace(0, 2 * np.pi, length) for length in shape), indexing="ij")
    waves = [np.sin(sum(draw.uniform(0.5, 9) * grid for grid in grids) + draw.uniform(0, 6)) for _ in range(classes)]
    noise = draw.normal(scale=0.5, size=(SEGMENTS, *shape))
    return (np.stack(waves)[labels] + noise).astype(np.float32), labels


def fit_last(features: np.ndarray, labels: np.ndarray) -> Arrays:
    """Weights (F, scores) and bias of a last layer whose largest score is the label's; one score for two labels."""
    wanted = np.eye(labels.max() + 1)[labels] if labels.max() > 1 else labels[:, None].astype(float)
    inputs = np.hstack([features, np.ones((len(features), 1))])
    ridge = 1e-3 * len(features) * np.diag(inputs.var(axis=0) + 1e-6)
    solved = np.linalg.solve(inputs.T @ inputs + ridge, inputs.T @ (wanted - 0.5)) * SPREAD
    return solved[:-1].astype(np.float32), solved[-1].astype(np.float32)


def fitted(body: nn.Sequential, end: nn.Module, given: Arrays) -> nn.Module:
    """`body`, a last layer and `end`."""
    samples, labels = torch.from_numpy(given[0]), given[1]
    with torch.no_grad():
        for layer in body.modules():
            if isinstance(layer, nn.BatchNorm1d | nn.BatchNorm2d):
                layer.momentum = None
        body.train()(samples)
        weights, bias = fit_last(body.eval()(samples).numpy(), labels)
    last = nn.Linear(*weights.shape)
    last.load_state_dict({"weight": torch.from_numpy(weights.T.copy()), "bias": torch.from_numpy(bias)})
    return nn.Sequential(body, last, end).eval()


def exported(network: nn.Module, path: Path, shape: tuple[int, ...], *, dynamo: bool, free: bool = False) -> None:
    """By either exporter of torch; with `free`, of any batch."""
    options = {"dynamo": True} if dynamo else {"dynamo": False, "opset_version": 13}
    if free:
        options["dynamic_axes"] = {"samples": {0: "batch"}, "scores": {0: "batch"}}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.onnx.export(
            network, (torch.zeros(1, *shape),), str(path), input_names=["samples"], output_names=["scores"], **options
        )


def conv(inputs: int, outputs: int, kernel: object, end: nn.Module, **options: object) -> nn.Sequential:
    """A convolution, its batch norm and `end`."""
    return nn.Sequential(nn.Conv2d(inputs, outputs, kernel, bias=False, **options), nn.BatchNorm2d(outputs), end)


def keyword(path: Path, width: int = 64) -> Arrays:
    """The DS-CNN of MLPerf Tiny: 49 frames of 10 coefficients to twelve words; torch's default exporter."""
    given = segments((1, 49, 10), 12, seed=1)
    torch.manual_seed(1)
    separable = [
        conv(width, width, kernel, nn.ReLU(), padding=padding, groups=groups)
        for _ in range(4)
        for kernel, padding, groups in ((3, 1, width), (1, 0, 1))
    ]
    first = conv(1, width, (10, 4), nn.ReLU(), stride=2, padding=(5, 1))
    body = nn.Sequential(first, *separable, nn.AvgPool2d((25, 5)), nn.Flatten())
    exported(fitted(body, nn.Softmax(1), given), path, (1, 49, 10), dynamo=True)
    return given


def twelve_leads(path: Path, width: int = 16, length: int = 1000) -> Arrays:
    """A residual net over 12 leads of `length` samples, to five classes as logits; torch's older exporter."""
    given = segments((12, length), 5, seed=2)
    torch.manual_seed(2)

    class Block(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.inner = nn.Sequential(nn.Conv1d(width, width, 7, padding=3), nn.BatchNorm1d(width))

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return torch.relu(x + self.inner(x))

    first = [nn.Conv1d(12, width, 15, stride=10), nn.BatchNorm1d(width), nn.ReLU(), nn.MaxPool1d(3, 2, 1)]
    body = nn.Sequential(*first, Block(), nn.MaxPool1d(2), Block(), nn.AdaptiveAvgPool1d(1), nn.Flatten())
    exported(fitted(body, nn.Identity(), given), path, (12, length), dynamo=False)
    return given


def keras_lstm(path: Path, width: int = 16) -> Arrays:
    """LSTM and Dense(4, softmax) over (batch, 50, 3), channels last, as tf2onnx writes Keras' layers."""
    given = segments((50, 3), 4, seed=3)
    torch.manual_seed(3)
    lstm = nn.LSTM(3, width, batch_first=True)
    with torch.no_grad():
        state = lstm(torch.from_numpy(given[0]))[1][0][0].numpy()
    kernel, bias = fit_last(state, given[1])
    gates = np.concatenate([np.arange(width) + k * width for k in (0, 3, 1, 2)])  # ONNX: input, output, forget, cell
    weights = {name: value.detach().numpy()[gates] for name, value in lstm.named_parameters()}
    constants = {
        "W": weights["weight_ih_l0"][None],
        "R": weights["weight_hh_l0"][None],
        "B": np.concatenate([weights["bias_ih_l0"], weights["bias_hh_l0"]])[None],
        "kernel": kernel,
        "bias": bias,
        "zero": np.int64([0]),
        "one": np.int64([1]),
        "units": np.int64([width]),
        "nothing": np.float32(0),
        "first": np.int64([0]),
    }
    node = helper.make_node
    nodes = [
        node("Shape", ["lstm_input"], ["shape"], "sequential/lstm/Shape"),
        node("Cast", ["shape"], ["sizes"], "sequential/lstm/Shape__12", to=TensorProto.INT32),
        node("Slice", ["sizes", "zero", "one", "first"], ["batch32"], "sequential/lstm/strided_slice"),
        node("Cast", ["batch32"], ["batch64"], "sequential/lstm/zeros/Cast", to=TensorProto.INT64),
        node("Concat", ["batch64", "units"], ["filled"], "sequential/lstm/zeros/packed", axis=0),
        node("Expand", ["nothing", "filled"], ["zeros"], "sequential/lstm/zeros"),
        node("Unsqueeze", ["zeros", "zero"], ["state"], "sequential/lstm/Unsqueeze__30"),
        node("Transpose", ["lstm_input"], ["by_time"], "sequential/lstm/transpose", perm=[1, 0, 2]),
        node("LSTM", ["by_time", "W", "R", "B", "", "state", "state"], ["", "last", ""],
             "sequential/lstm/PartitionedCall", hidden_size=width, direction="forward"),
        node("Squeeze", ["last", "zero"], ["flat"], "sequential/lstm/Squeeze__38"),
        node("MatMul", ["flat", "kernel"], ["products"], "sequential/dense/MatMul"),
        node("Add", ["products", "bias"], ["logits"], "sequential/dense/BiasAdd"),
        node("Softmax", ["logits"], ["dense"], "sequential/dense/Softmax", axis=-1),
    ]  # fmt: skip
    ends = [("lstm_input", (50, 3)), ("dense", (4,))]
    values = [[helper.make_tensor_value_info(name, TensorProto.FLOAT, ["unk__41", *shape])] for name, shape in ends]
    stored = [numpy_helper.from_array(value, name) for name, value in constants.items()]
    graph = helper.make_graph(nodes, "tf2onnx", *values, stored)
    opsets = [helper.make_opsetid("", 15), helper.make_opsetid("ai.onnx.ml", 2)]
    onnx.save(helper.make_model(graph, opset_imports=opsets, ir_version=8, producer_name="tf2onnx"), path)
    return given


def picture(path: Path, width: int = 8, size: int = 96) -> Arrays:
    """Inverted residuals with ReLU6 over (batch, 3, size, size) to one sigmoid, as MobileNet for a person or none."""
    given = segments((3, size, size), 2, seed=4)
    torch.manual_seed(4)

    def relu6() -> nn.Module:
        return nn.ReLU6()

    class Inverted(nn.Module):
        def __init__(self, inputs: int, outputs: int, stride: int) -> None:
            super().__init__()
            inner, self.added = 3 * inputs, stride == 1 and inputs == outputs
            self.inner = nn.Sequential(
                conv(inputs, inner, 1, relu6()),
                conv(inner, inner, 3, relu6(), stride=stride, padding=1, groups=inner),
                conv(inner, outputs, 1, nn.Identity()),
            )

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return x + self.inner(x) if self.added else self.inner(x)

    sizes = [(width, width, 1), (width, 2 * width, 2), (2 * width, 2 * width, 1), (2 * width, 3 * width, 2)]
    first = conv(3, width, 3, relu6(), stride=4, padding=1)
    blocks = [Inverted(*size) for size in sizes]
    body = nn.Sequential(first, *blocks, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Dropout(0.2))
    exported(fitted(body, nn.Sigmoid(), given), path, (3, size, size), dynamo=False, free=True)
    return given


@dataclass(frozen=True, slots=True)
class Net:
    """How one is made; `smaller` are arguments for one of a small board, whose shape, scores and labels follow."""

    write: Callable[..., Arrays]
    smaller: dict[str, int]
    shape: tuple[int, ...]
    scores: int
    labels: int


NETS = {
    "keyword": Net(keyword, {"width": 16}, (1, 1, 49, 10), 12, 12),
    "twelve_leads": Net(twelve_leads, {"length": 500}, (1, 12, 500), 5, 5),
    "keras_lstm": Net(keras_lstm, {}, (1, 50, 3), 4, 4),
    "picture": Net(picture, {"size": 48}, (1, 3, 48, 48), 1, 2),
}

if __name__ == "__main__":
    folder = Path(sys.argv[1])
    folder.mkdir(parents=True, exist_ok=True)
    for name, net in NETS.items():
        samples, labels = net.write(folder / f"{name}.onnx")
        np.savez(folder / f"{name}.npz", samples=samples, labels=labels)
