"""Weights that stay integers in flash: 4 bits two a byte, scales by tensor, channel and block; C is the reference."""

import subprocess

import ml_dtypes
import numpy as np
import pytest
from onnx import helper

from ecm_edge.base.errors import ModelError
from ecm_edge.forms import reference
from ecm_edge.forms.reference.graph import graph_of

from . import firmware_c
from .test_rewriting import answers, graph, noise

INT4, UINT4, INT2 = (np.dtype(each) for each in (ml_dtypes.int4, ml_dtypes.uint4, ml_dtypes.int2))
TYPES = [np.dtype(np.int8), np.dtype(np.uint8), np.dtype(np.int16), np.dtype(np.uint16), INT4, UINT4, INT2]


def integers(dtype, *shape, seed=5):
    """Every value of a type, the limits too."""
    bits = int(dtype.name.removeprefix("u").removeprefix("int"))
    low = 0 if dtype.name.startswith("u") else -(2 ** (bits - 1))
    values = np.random.default_rng(seed).integers(low, low + 2**bits, shape)
    values.flat[0], values.flat[-1] = low, low + 2**bits - 1
    return values.astype(dtype)


def near_middle(dtype, *shape):
    """Zero points near the middle of a type's range, not all alike."""
    bits = int(dtype.name.removeprefix("u").removeprefix("int"))
    middle = 2 ** (bits - 1) if dtype.name.startswith("u") else 0
    return (middle - np.random.default_rng(6).integers(0, 2 ** (bits - 2) + 1, shape)).astype(dtype)


def scales(*shape):
    return (np.abs(noise(*shape)) / 50 + 0.01).astype(np.float32)


def weighted(op, q, scale, zero, shape, *, op_attributes=None, **attributes):
    """A net of one product by dequantised weights, with a zero point or without."""
    constants = {"q": q, "s": scale} | ({} if zero is None else {"z": zero})
    nodes = [
        helper.make_node("DequantizeLinear", list(constants), ["w"], name="weights", **attributes),
        helper.make_node(op, ["samples", "w"], ["y"], name="product", **(op_attributes or {})),
    ]
    return graph(nodes, shape, constants, opset=21)


def holds(proto, folder, samples):
    theirs, ours, c = answers(proto, folder, samples)
    np.testing.assert_allclose(ours, theirs, rtol=1e-4, atol=1e-4 * np.abs(theirs).max())
    np.testing.assert_allclose(c, ours, rtol=2e-6, atol=2e-6 * np.abs(ours).max())


@pytest.mark.parametrize("dtype", [each for each in TYPES if each != INT2], ids=str)  # onnxruntime has no kernel
def test_weights_of_every_width_stay_integers(tmp_path, dtype):
    q = integers(dtype, 33, 7)
    proto = weighted("MatMul", q, scales(), integers(dtype, 2)[:1].reshape(()), (1, 33))
    holds(proto, tmp_path, noise(5, 1, 33))
    generated = firmware_c.generate(graph_of(proto, "samples", (1, 33), "y"))
    bits = max(4, int(dtype.name.removeprefix("u").removeprefix("int")))
    assert generated.weight_bytes == -(-q.size * bits // 8) + 7 * 4


@pytest.mark.parametrize("dtype", [np.dtype(np.uint8), INT4, UINT4], ids=str)
@pytest.mark.parametrize("axis", [0, 1])
def test_weights_by_channel_stay_integers(tmp_path, dtype, axis):
    count = (33, 7)[axis]
    proto = weighted("MatMul", integers(dtype, 33, 7), scales(count), integers(dtype, count), (2, 33), axis=axis)
    holds(proto, tmp_path, noise(5, 2, 33))


@pytest.mark.parametrize("dtype", [np.dtype(np.int8), np.dtype(np.uint8), INT4, UINT4], ids=str)
@pytest.mark.parametrize(("axis", "block", "count"), [(0, 16, (3, 7)), (1, 4, (33, 2)), (0, 11, (3, 7))])
def test_weights_by_block_stay_integers(tmp_path, dtype, axis, block, count):
    q, zero = integers(dtype, 33, 7), integers(dtype, *count)
    proto = weighted("MatMul", q, scales(*count), zero, (2, 33), axis=axis, block_size=block)
    holds(proto, tmp_path, noise(5, 2, 33))


@pytest.mark.parametrize("dtype", [np.dtype(np.int8), np.dtype(np.uint8)], ids=str)
def test_weights_by_block_without_a_zero_point(tmp_path, dtype):
    proto = weighted("MatMul", integers(dtype, 32, 7), scales(2, 7), None, (2, 32), axis=0, block_size=16)
    holds(proto, tmp_path, noise(5, 2, 32))


@pytest.mark.parametrize("transposed", [0, 1])
def test_a_fully_connected_layer_by_blocks(tmp_path, transposed):
    q, s, z = integers(INT4, 33, 7), scales(3, 7), integers(INT4, 3, 7)
    if transposed:
        q, s, z = q.T, s.T, z.T
    nodes = [
        helper.make_node("DequantizeLinear", ["q", "s", "z"], ["w"], name="weights", axis=transposed, block_size=16),
        helper.make_node("Gemm", ["samples", "w", "b"], ["g"], name="dense", transB=transposed),
        helper.make_node("Relu", ["g"], ["y"], name="relu"),
    ]
    holds(graph(nodes, (1, 33), {"q": q, "s": s, "z": z, "b": noise(7)}, opset=21), tmp_path, noise(5, 1, 33))


def test_transposed_weights_stay_integers(tmp_path):
    nodes = [
        helper.make_node("DequantizeLinear", ["q", "s", "z"], ["t"], name="weights", axis=1, block_size=16),
        helper.make_node("Transpose", ["t"], ["w"], name="turn"),
        helper.make_node("MatMul", ["samples", "w"], ["y"], name="product"),
    ]
    constants = {"q": integers(INT4, 7, 32), "s": scales(7, 2), "z": integers(INT4, 7, 2)}
    proto = graph(nodes, (3, 32), constants, opset=21)
    holds(proto, tmp_path, noise(5, 3, 32))
    generated = firmware_c.generate(graph_of(proto, "samples", (3, 32), "y"))
    assert generated.weight_bytes == 7 * 16 + 14 * 4 + 14 + 7 * 4


@pytest.mark.parametrize("dtype", [np.dtype(np.int8), UINT4], ids=str)
@pytest.mark.parametrize(("shape", "kernel", "group"), [((1, 4, 30), (6, 4, 5), 1), ((1, 4, 9, 8), (4, 2, 3, 3), 2)])
def test_convolutions_by_integers_in_floats(tmp_path, dtype, shape, kernel, group):
    rank = len(kernel) - 2
    nodes = [
        helper.make_node("DequantizeLinear", ["q", "s", "z"], ["w"], name="weights", axis=0),
        helper.make_node("Conv", ["samples", "w", "b"], ["c"], name="conv", group=group, pads=[1] * 2 * rank),
        helper.make_node("BatchNormalization", ["c", "a", "b", "m", "v"], ["n"], name="norm"),
        helper.make_node("LeakyRelu", ["n"], ["y"], name="leaky"),
    ]
    count = kernel[0]
    constants = {"q": integers(dtype, *kernel), "s": scales(count), "z": integers(dtype, count), "b": noise(count)}
    constants |= {"a": noise(count), "m": noise(count), "v": scales(count)}
    holds(graph(nodes, shape, constants, opset=21), tmp_path, noise(4, *shape))


def between_integers(dtype, activations, *, picture=False):
    """A Conv or a row of products on integers, and a Gemm behind it, of stated types."""
    zero = near_middle(activations)
    nodes = [helper.make_node("QuantizeLinear", ["samples", "xs", "xz"], ["xq"], name="in")]
    nodes.append(helper.make_node("DequantizeLinear", ["xq", "xs", "xz"], ["x"], name="real"))
    nodes.append(helper.make_node("DequantizeLinear", ["q", "s", "z"], ["w"], name="kernel", axis=0))
    nodes.append(helper.make_node("Conv", ["x", "w"], ["c"], name="conv", pads=[1, 1, 1, 1] if picture else [1, 1]))
    nodes.append(helper.make_node("Relu", ["c"], ["r"], name="relu"))
    nodes.append(helper.make_node("QuantizeLinear", ["r", "ys", "xz"], ["yq"], name="between"))
    nodes.append(helper.make_node("DequantizeLinear", ["yq", "ys", "xz"], ["v"], name="again"))
    nodes.append(helper.make_node("Flatten", ["v"], ["f"], name="flat"))
    nodes.append(helper.make_node("DequantizeLinear", ["p", "t", "u"], ["k"], name="matrix", axis=0))
    nodes.append(helper.make_node("Gemm", ["f", "k"], ["g"], name="dense", transB=1))
    nodes.append(helper.make_node("QuantizeLinear", ["g", "zs", "xz"], ["zq"], name="out"))
    nodes.append(helper.make_node("DequantizeLinear", ["zq", "zs", "xz"], ["y"], name="scores"))
    shape, kernel, flat = ((1, 3, 6, 5), (4, 3, 3, 3), 120) if picture else ((1, 3, 20), (4, 3, 3), 80)
    size = 2.0 ** int(activations.name.removeprefix("u").removeprefix("int"))
    weight = 2.0 ** int(dtype.name.removeprefix("u").removeprefix("int"))
    constants = {
        "xs": np.float32(8 / size),
        "xz": zero,
        "q": integers(dtype, *kernel),
        "s": (scales(4) * 20 / weight).astype(np.float32),
        "z": near_middle(dtype, 4),
        "ys": np.float32(8 / size),
        "p": integers(dtype, 5, flat),
        "t": np.float32(1 / weight),
        "u": near_middle(dtype),
        "zs": np.float32(200 / size),
    }
    return graph(nodes, shape, constants, opset=25), shape


WIDTHS = [
    (w, a, p) for w in TYPES for a in map(np.dtype, (np.int8, np.uint8, np.int16, np.uint16)) for p in (False, True)
]


@pytest.fixture(scope="module")
def program(tmp_path_factory):
    """A net of every pair of widths, in one program that stops at an overflow."""
    nets = [between_integers(weights, activations, picture=picture) for weights, activations, picture in WIDTHS]
    graphs = [graph_of(proto, "samples", shape, "y") for proto, shape in nets]
    generated = [firmware_c.generate(each, f"m{number}") for number, each in enumerate(graphs)]
    return graphs, firmware_c.build(tmp_path_factory.mktemp("widths"), generated, sanitise=True, trace=True)


@pytest.mark.parametrize("number", range(len(WIDTHS)), ids=["-".join(map(str, each)) for each in WIDTHS])
def test_sums_of_integers_of_every_width_are_exact(program, number):
    graphs, compiled = program
    loaded = graphs[number]
    samples = noise(5, int(np.prod(loaded.input_shape)))
    samples[3:] *= 1e6  # at the integers' limits
    c, traces = compiled.run(number, samples)
    own = reference.run(loaded, samples, ["y", "xq", "yq", "zq"])
    np.testing.assert_array_equal(c, own["y"].reshape(len(samples), -1))
    for position, trace in enumerate(traces):
        for name, values in firmware_c.traced(compiled.models[number], trace):
            if name in own:
                np.testing.assert_array_equal(values, own[name][position], err_msg=name)
    assert len(np.unique(own["zq"])) > 5


@pytest.mark.parametrize("zero", [-(2**31) + 1, 2**31 - 1])
def test_weights_of_32_bits_whose_zero_point_leaves_int32_are_refused(zero):
    q = np.int32([[2**31 - 1, -(2**31)], [5, -7]])

    def generated(zero_point):
        proto = weighted("MatMul", q, scales(), np.int32(zero_point), (1, 2))
        return firmware_c.generate(graph_of(proto, "samples", (1, 2), "y"))

    assert generated(0)
    with pytest.raises(ModelError, match="zero point fit int32; found larger ones, in DequantizeLinear 'weights'"):
        generated(zero)


def test_sums_that_leave_32_bits_take_64():
    proto, shape = between_integers(np.dtype(np.int16), np.dtype(np.int16))
    wide = firmware_c.generate(graph_of(proto, "samples", shape, "y")).files["model.c"]
    assert "int64_t a = " in wide
    proto, shape = between_integers(INT4, np.dtype(np.int16))
    assert "int64_t a = " not in firmware_c.generate(graph_of(proto, "samples", shape, "y")).files["model.c"]


def test_4_bits_take_half_the_flash_of_8(tmp_path):
    counted, compiled = {}, {}
    for dtype in (np.dtype(np.uint8), UINT4):
        proto, shape = between_integers(dtype, np.dtype(np.int8))
        generated = firmware_c.generate(graph_of(proto, "samples", shape, "y"))
        arrays = [array for layer in generated.layers for array in layer.arrays if array.what == "weights"]
        counted[dtype] = sum(array.size_bytes for array in arrays)
        for name, text in generated.files.items():
            (tmp_path / name).write_text(text)
        compiler, lister = ["gcc", "-std=c99", "-O1", "-c", "model.c"], ["nm", "-S", "model.o"]
        subprocess.run(compiler, cwd=tmp_path, check=True)
        symbols = subprocess.run(lister, cwd=tmp_path, check=True, capture_output=True, text=True).stdout
        sizes = [line.split() for line in symbols.splitlines() if line.endswith("_weights")]
        compiled[dtype] = sum(int(size, 16) for _, size, *_ in sizes)
    assert counted == compiled
    assert counted[UINT4] * 2 == counted[np.dtype(np.uint8)] == 4 * 9 + 5 * 80
