"""Every operator on integers, of both 8-bit types: C gives the reference's bytes; scales that are none are refused."""

import ml_dtypes
import numpy as np
import pytest
from onnx import helper

from ecm_edge.base.errors import ModelError
from ecm_edge.forms import reference
from ecm_edge.forms.reference.graph import graph_of

from . import firmware_c
from .test_rewriting import graph, noise

MICROSOFT = "com.microsoft"
X, Y = ["xq", "xs", "xz"], ["ys", "yz"]
QLINEAR = {
    "QLinearConv": ([*X, "k", "ks", "kz", *Y, "kb"], {"pads": [1, 1]}, ""),
    "QLinearMatMul": ([*X, "w", "ws", "wz", *Y], {}, ""),
    "QGemm": (["fq", "xs", "xz", "g", "gs", "gz", "gb", *Y], {"transB": 1}, MICROSOFT),
    "QLinearAdd": ([*X, "c", "cs", "cz", *Y], {}, MICROSOFT),
    "QLinearMul": ([*X, "c", "cs", "cz", *Y], {}, MICROSOFT),
    "QLinearConcat": ([*Y, *X, "c", "cs", "cz"], {"axis": 1}, MICROSOFT),
    "QLinearGlobalAveragePool": ([*X, *Y], {}, MICROSOFT),
    "QLinearAveragePool": ([*X, *Y], {"kernel_shape": [3], "pads": [1, 1]}, MICROSOFT),
    "QLinearSigmoid": ([*X, *Y], {}, MICROSOFT),
    "QLinearLeakyRelu": ([*X, *Y], {"alpha": 0.1}, MICROSOFT),
    "QLinearSoftmax": ([*X, *Y], {"axis": -1, "opset": 13}, MICROSOFT),
}
SHAPE = (1, 3, 12)


def constants(activations, weights):
    """Parameters of all operators above; weights are by channel where an operator takes them so, and asymmetric."""

    def stored(dtype, *shape):
        limits = np.iinfo(dtype)
        return np.random.default_rng(4).integers(limits.min, limits.max + 1, shape).astype(dtype)

    middle = {np.int8: 0, np.uint8: 128}
    zeros = {"xz": activations(middle[activations] + 7), "yz": activations(middle[activations] - 9)}
    zeros |= {"cz": activations(middle[activations] + 3)}
    zeros |= {name: weights(middle[weights] + 5) for name in ("wz", "gz")}
    several = middle[weights] + np.arange(4)
    scales = {"xs": 0.03, "ys": 0.02, "cs": 0.025, "ws": 0.01, "gs": 0.004}
    return {
        **zeros,
        **{name: np.float32(value) for name, value in scales.items()},
        "c": stored(activations, *SHAPE),
        "k": stored(weights, 4, 3, 3),
        "ks": np.float32([0.01, 0.012, 0.007, 0.02]),
        "kz": several.astype(weights),
        "kb": np.int32([50, -700, 0, 1234]),
        "w": stored(weights, 12, 5),
        "g": stored(weights, 6, 36),
        "gb": np.int32([5, -7, 100, 0, 3, 900]),
    }


def net(op, activations=np.int8, weights=np.int8, **changed):
    """Samples, quantised, one operator, and its integers as floats."""
    inputs, attributes, domain = QLINEAR[op]
    made = helper.make_node
    nodes = [
        made("QuantizeLinear", ["samples", "xs", "xz"], ["xq"], name="in"),
        made("Flatten", ["xq"], ["fq"], name="flat"),
        made(op, inputs, ["yq"], name="own", domain=domain, **attributes),
        made("DequantizeLinear", ["yq", *Y], ["y"], name="out"),
    ]
    values = {**constants(activations, weights), **changed}
    return graph(nodes, SHAPE, values, opset=21, domains=[MICROSOFT])


TYPES = [(np.int8, np.int8), (np.uint8, np.int8), (np.uint8, np.uint8), (np.int8, np.uint8)]
CASES = [(op, *types) for op in QLINEAR for types in TYPES]


@pytest.fixture(scope="module")
def program(tmp_path_factory):
    """All of them in one program that stops at an overflow."""
    graphs = [graph_of(net(*case), "samples", SHAPE, "y") for case in CASES]
    generated = [firmware_c.generate(each, f"m{number}") for number, each in enumerate(graphs)]
    return graphs, firmware_c.build(tmp_path_factory.mktemp("operators"), generated, sanitise=True)


@pytest.mark.parametrize("number", range(len(CASES)), ids=[f"{op}-{a.__name__}-{w.__name__}" for op, a, w in CASES])
def test_an_operator_on_integers_is_the_reference_to_the_byte(program, number):
    graphs, compiled = program
    samples = np.concatenate([noise(4, 36), 1e5 * noise(2, 36)])
    own = reference.run(graphs[number], samples, ["y"])["y"].reshape(len(samples), -1)
    np.testing.assert_array_equal(compiled.run(number, samples)[0], own)
    assert len(np.unique(own)) > 3


@pytest.mark.parametrize("op", QLINEAR)
def test_the_reference_is_what_the_operator_says(op):
    """The integers are those of the operator on real values, in float64: rounding by at most 1 (a half, either way)."""
    proto = net(op, np.uint8, np.int8)
    samples = noise(4, 36)
    loaded = graph_of(proto, "samples", SHAPE, "y")
    found = reference.run(loaded, samples, ["xq", "y"])
    c = constants(np.uint8, np.int8)
    real = {name: (c[name].astype(np.float64) - c[zero]) * np.float64(c[scale]) for name, zero, scale in REAL}
    real["k"] = (c["k"].astype(np.float64) - c["kz"].reshape(4, 1, 1)) * c["ks"].astype(np.float64).reshape(4, 1, 1)
    x = (found["xq"].astype(np.float64) - float(c["xz"])) * np.float64(c["xs"])[None]
    wanted = np.stack([BY_HAND[op](each[0], real, c) for each in x])
    limits = [(limit - float(c["yz"])) * float(c["ys"]) for limit in (0, 255)]
    off = found["y"].reshape(len(x), -1) - np.clip(wanted.reshape(len(x), -1), *limits)
    assert np.abs(off).max() <= 0.5001 * float(c["ys"])


REAL = [("c", "cz", "cs"), ("w", "wz", "ws"), ("g", "gz", "gs")]


def _conv(x, real, c):
    padded = np.pad(x, ((0, 0), (1, 1)))
    windows = np.stack([padded[:, t : t + 3] for t in range(x.shape[1])])
    bias = c["kb"] * np.float64(c["xs"]) * c["ks"].astype(np.float64)
    return (np.einsum("tck,ock->ot", windows, real["k"]) + bias[:, None])[None]


def _average(x, *_):
    padded, counted = (np.pad(each, ((0, 0), (1, 1))) for each in (x, np.ones_like(x)))
    return sum(padded[:, k : k + 12] for k in range(3)) / sum(counted[:, k : k + 12] for k in range(3))


def _softmax(x, *_):
    return np.exp(x) / np.exp(x).sum(-1, keepdims=True)


BY_HAND = {
    "QLinearConv": _conv,
    "QLinearMatMul": lambda x, real, _: x @ real["w"],
    "QGemm": lambda x, real, c: real["g"] @ x.ravel() + c["gb"] * np.float64(c["xs"]) * np.float64(c["gs"]),
    "QLinearAdd": lambda x, real, _: x + real["c"],
    "QLinearMul": lambda x, real, _: x * real["c"],
    "QLinearConcat": lambda x, real, _: np.concatenate([x, real["c"][0]]),
    "QLinearGlobalAveragePool": lambda x, *_: x.mean(-1),
    "QLinearAveragePool": _average,
    "QLinearSigmoid": lambda x, *_: 1 / (1 + np.exp(-x)),
    "QLinearLeakyRelu": lambda x, *_: np.where(x < 0, np.float64(np.float32(0.1)) * x, x),
    "QLinearSoftmax": _softmax,
}

BAD = [np.nan, np.inf, 0.0, -0.02]
SCALES = [
    (op, name) for op, (inputs, *_) in QLINEAR.items() for name in inputs if name in {"xs", "ys", "cs", "ws", "gs"}
]


@pytest.mark.parametrize("bad", BAD)
@pytest.mark.parametrize(("op", "name"), [*SCALES, ("QLinearConv", "ks")])
def test_a_scale_that_is_none_is_refused_by_name(op, name, bad):
    value = np.float32([0.01, bad, 0.007, 0.02]) if name == "ks" else np.float32(bad)
    with pytest.raises(ModelError, match=f"scales are finite and positive float32; found .* in '{name}'"):
        firmware_c.generate(graph_of(net(op, **{name: value}), "samples", SHAPE, "y"))


def test_scales_without_a_finite_ratio_are_refused():
    scales = {"xs": np.float32(1e30), "ws": np.float32(1e20)}
    with pytest.raises(ModelError, match="have a finite ratio"):
        firmware_c.generate(graph_of(net("QLinearMatMul", **scales), "samples", SHAPE, "y"))


@pytest.mark.parametrize("op", ["QuantizeLinear", "DequantizeLinear"])
def test_floats_of_8_bits_are_refused_by_name(op):
    zero = {"z": np.zeros((), ml_dtypes.float8_e4m3fn), "s": np.float32(1)}
    nodes = [helper.make_node("QuantizeLinear", ["samples", "s", "z"], ["q"], name="in")]
    if op == "DequantizeLinear":
        nodes = []
        zero["q"] = np.ones(12, ml_dtypes.float8_e4m3fn)
    nodes += [
        helper.make_node("DequantizeLinear", ["q", "s", "z"], ["r"], name="out"),
        helper.make_node("Add", ["samples", "r"], ["y"], name="add"),
    ]
    with pytest.raises(ModelError, match="integers of 2 to 32 bits; found float8_e4m3fn"):
        firmware_c.generate(graph_of(graph(nodes, SHAPE, zero, opset=21), "samples", SHAPE, "y"))


@pytest.mark.parametrize("weights", [np.int8, np.uint8])
@pytest.mark.parametrize("op", ["ConvInteger", "MatMulInteger"])
def test_sums_of_dynamic_integers_are_exact(tmp_path, op, weights):
    """Products by constant weights that stay integers; 800 of them leave the 24 bits of a float32."""
    shape, kernel = ((1, 8, 120), (5, 8, 100)) if op == "ConvInteger" else ((2, 800), (800, 5))
    limits = np.iinfo(weights)
    w = np.random.default_rng(1).integers(limits.max - 60, limits.max, kernel).astype(weights)
    nodes = [
        helper.make_node("DynamicQuantizeLinear", ["samples"], ["q", "s", "z"], name="dynamic"),
        helper.make_node(op, ["q", "w", "z", "wz"], ["sum"], name="own"),
        helper.make_node("Cast", ["sum"], ["y"], name="real", to=1),
    ]
    proto = graph(nodes, shape, {"w": w, "wz": weights(limits.min + 1)}, opset=21)
    loaded = graph_of(proto, "samples", shape, "y")
    samples = 1 + np.abs(noise(3, int(np.prod(shape)))) / 10  # most of them near 255
    own = reference.run(loaded, samples, ["q", "z", "y"])
    generated = firmware_c.generate(loaded)
    c = firmware_c.build(tmp_path, [generated], sanitise=True).run(0, samples)[0]
    np.testing.assert_array_equal(c, own["y"].reshape(3, -1))
    q = own["q"].astype(np.int64) - own["z"].astype(np.int64).reshape(-1, *(1,) * len(shape))
    centred = w.astype(np.int64) - (limits.min + 1)
    if op == "ConvInteger":
        exact = np.stack([[(q[n, 0, :, t : t + 100] * centred).sum((1, 2)) for t in range(21)] for n in range(3)])
        exact = exact.transpose(0, 2, 1)[:, None]
    else:
        exact = q @ centred
    np.testing.assert_array_equal(own["y"], exact.astype(np.float32))
    assert np.abs(exact).max() > 2**24
    assert sum(array.size_bytes for layer in generated.layers for array in layer.arrays) < w.size + 100
