"""Data sets and models so small that their scores can be worked by hand.

A segment has 8 samples. A model reads one of them, its `column`, as the margin: the data decide what it scores.
"""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from ecm_edge import candidate, cost, gate, onnx_model, targets
from ecm_edge.cli import main
from ecm_edge.dataset import Description, SegmentBlock, Source, open_dataset, write_dataset
from ecm_edge.splits import Split

T = 8
TARGET = targets.load("loongson-2k0500")


def data(folder, subjects, *, synthetic=True):
    """A data set of `subjects`: name -> list of (rhythm, margins in columns 0, 1, …)."""
    blocks = []
    for name, segments in subjects.items():
        samples = np.zeros((len(segments), T), np.float32)
        for row, (_, columns) in enumerate(segments):
            samples[row, : len(columns)] = columns
        names = [f"{name}-{rhythm}-{i}" for i, (rhythm, _) in enumerate(segments)]
        rhythms = [rhythm for rhythm, _ in segments]
        blocks.append(SegmentBlock(samples, names, [name] * len(names), rhythms, names, [""] * len(names)))
    description = Description(
        sampling_rate_hz=250, samples_per_segment=T, unit="mV", synthetic=synthetic, source=Source(format="test")
    )
    write_dataset(folder, description, blocks)
    return open_dataset(folder)


def graded(folder, subjects=6, **options):
    """Subjects S0, S1, … of ten AF and ten other segments; column k is wrong in k tenths of the AF."""
    generator = np.random.default_rng(0)

    def columns(positive):
        wrong = generator.permutation(10)
        sign = 1 if positive else -1
        return [[-sign if positive and wrong[i] < k else sign for k in range(T)] for i in range(10)]

    rows = {
        f"S{s}": [*(("AFIB", c) for c in columns(positive=True)), *(("N", c) for c in columns(positive=False))]
        for s in range(subjects)
    }
    return data(folder, rows, **options)


def model(column=0, layers=0, scale=1.0, form="float32", **facts):
    """scores = [0, scale x samples[column]], with `layers` needless multiplications that cost MACs and weights."""
    weight = np.zeros((T, 2), np.float32)
    weight[column, 1] = scale
    initializers = [numpy_helper.from_array(weight, "w"), numpy_helper.from_array(np.eye(T, dtype=np.float32), "eye")]
    nodes = [helper.make_node("Flatten", ["samples"], ["h0"])]
    nodes += [helper.make_node("MatMul", [f"h{i}", "eye"], [f"h{i + 1}"], name=f"extra{i}") for i in range(layers)]
    nodes.append(helper.make_node("MatMul", [f"h{layers}", "w"], ["scores"], name="head"))
    value = helper.make_tensor_value_info
    graph = helper.make_graph(
        nodes,
        "tiny",
        [value("samples", TensorProto.FLOAT, (1, 1, T))],
        [value("scores", TensorProto.FLOAT, (1, 2))],
        [tensor for tensor in initializers if layers or tensor.name != "eye"],
    )
    proto = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10)
    onnx.checker.check_model(proto, full_check=True)
    onnx_model.stamp(proto, {"form": form, **facts})
    return proto


def config(dataset, train=("S0", "S1"), validation=("S2",), test=("S3", "S4", "S5"), seed=0):
    """The configuration of a candidate made from `dataset`."""
    return candidate.CandidateConfig(
        family="tiny",
        network={},
        training=candidate.TrainingConfig(),
        seed=seed,
        split=Split(train=list(train), validation=list(validation), test=list(test)),
        dataset_sha256=dataset.header.content_sha256,
        synthetic=dataset.header.synthetic,
        sampling_rate_hz=250,
        samples_per_segment=T,
    )


def make_candidate(folder, dataset, *, column=0, layers=0, forms=("float32", "int8"), target=TARGET, **split):
    """A candidate folder with its configuration, cost and the ONNX file of each form."""
    folder.mkdir(parents=True)
    config(dataset, **split).save(folder / candidate.CONFIG)
    for form in forms:
        onnx_model.save(model(column, layers, form=form), folder / candidate.FORM_FILES[form])
    gate.check_cost(cost.count(model(column, layers)), target).save(folder / candidate.COST)
    return folder


def run(arguments):
    """The exit code of the command line."""
    with pytest.raises(SystemExit) as stopped:
        main([str(argument) for argument in arguments])
    return stopped.value.code
