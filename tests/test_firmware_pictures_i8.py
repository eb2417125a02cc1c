"""Pictures on integers, and channels by themselves: the reference's bytes for every geometry, and few instructions."""

from typing import get_args

import numpy as np
import pytest

from benchmarks import firmware_nets
from ecm_edge import targets
from ecm_edge.firmware import count, emulate, known_answer, make
from ecm_edge.forms import quantize, reference
from ecm_edge.targets.kernels import Kernels

from . import drawn, drawn_pictures, firmware_c
from .test_firmware_networks import assert_same, assert_within_bounds

INT8_KERNELS = get_args(Kernels.model_fields["int8"].annotation)
NETS, SANITISED = 16, 8


def quantised(seed):
    """A drawn net over pictures with every activation and weight quantised in a drawn way."""
    rng = np.random.default_rng(seed)
    dtype, *ways = (np.int8, np.uint8)[rng.integers(2)], *map(bool, rng.integers(2, size=3))
    return drawn.quantised_as(drawn_pictures.network(seed), dtype, *ways[:2], pass_through=ways[2])


def assert_bytes(graph, program, samples):
    """Every integer that the programs show is the reference's."""
    wanted = reference.execute(graph, samples, {})
    answers = program.run_all([(number, samples) for number in range(len(program.models))])
    for model, (scores, traces) in zip(program.models, answers, strict=True):
        np.testing.assert_array_equal(scores, wanted[graph.output_name].reshape(len(samples), -1))
        for segment, trace in enumerate(traces):
            for name, values in firmware_c.traced(model, trace):
                if wanted[name].dtype != np.float32:
                    np.testing.assert_array_equal(values, wanted[name][segment % len(wanted[name])], err_msg=name)


def kernels(kind):
    return [Kernels(int8=kind), Kernels(int8=kind, int8_accumulators=5)]


@pytest.mark.parametrize("kind", INT8_KERNELS)
def test_quantised_pictures_have_the_references_bytes(tmp_path, kind):
    for seed in range(NETS):
        proto = quantised(seed)
        graph = reference.load(proto)
        made = [firmware_c.generate(graph, f"k{i}", each) for i, each in enumerate(kernels(kind))]
        (folder := tmp_path / str(seed)).mkdir()
        assert_bytes(graph, firmware_c.build(folder, made, trace=True), drawn.segments(proto, 2, seed=2))


@pytest.mark.parametrize("kind", INT8_KERNELS)
def test_a_separable_net_of_quantize_static_has_the_references_bytes(tmp_path, kind):
    proto = firmware_nets.separable()
    samples = drawn.segments(proto, 8, seed=2)
    graph = reference.load(quantize.quantize_int8(proto, samples))
    made = [firmware_c.generate(graph, f"k{i}", each) for i, each in enumerate(kernels(kind))]
    assert_bytes(graph, firmware_c.build(tmp_path, made, trace=True), samples[:2])


def test_sanitised_quantised_pictures_touch_only_what_is_theirs(tmp_path):
    nets = [quantised(seed) for seed in range(NETS, NETS + SANITISED)]
    graphs = [reference.load(proto) for proto in nets]
    made = [
        firmware_c.generate(graph, f"s{i}k{k}", Kernels(int8=kind))
        for i, graph in enumerate(graphs)
        for k, kind in enumerate(INT8_KERNELS)
    ]
    program = firmware_c.build(tmp_path, made, sanitise=True)
    each = len(INT8_KERNELS)
    requests = [(i, drawn.segments(nets[i // each], 2, seed=2)) for i in range(len(made))]
    filled = [program.run_all(requests, fill=fill) for fill in firmware_c.GARBAGE]
    for found in zip(*filled, strict=True):
        assert_same([scores for scores, _ in found])


def test_a_separable_net_in_floats_is_within_the_bound_of_every_layer(tmp_path):
    proto = firmware_nets.separable()
    graph, samples = reference.load(proto), drawn.segments(proto, 2, seed=2)
    made = [firmware_c.generate(graph, f"k{i}", each) for i, each in enumerate((Kernels(), Kernels(outputs=8)))]
    answers = firmware_c.build(tmp_path, made, trace=True).run_all([(0, samples), (1, samples)])
    assert_within_bounds(graph, made[0], samples, answers[0][1])
    assert_same([scores for scores, _ in answers])


KERNELS_OF_ANY_SIZE = [(2, 40), (40, 2), (18, 17), (1, 20), (20, 1), (6, 3)]
"""Taps of depthwise kernels: in straight code on one axis or the other, or in loops."""


@pytest.mark.parametrize("taps", KERNELS_OF_ANY_SIZE)
def test_depthwise_kernels_of_any_size(tmp_path, taps):
    net = drawn_pictures.Picture(np.random.default_rng(7), two_axes=True, first_time=0, channels=2, size=(21, 22))
    drawn_pictures.convolve(net, 4, taps, pads=(taps[0] // 2, taps[1] // 2) * 2, groups=2)
    proto = drawn_pictures.with_head(net, (1, 2, 21, 22))
    graph, samples = reference.load(proto), drawn.segments(proto, 2, seed=2)
    whole = reference.load(drawn.quantised_as(proto, np.int8, per_channel=True, fused=False, pass_through=True))
    floats = firmware_c.generate(graph, "floats", Kernels())
    made = [firmware_c.generate(whole, kind, Kernels(int8=kind)) for kind in INT8_KERNELS]
    (tmp_path / "floats").mkdir()
    program = firmware_c.build(tmp_path / "floats", [floats], trace=True)
    assert_within_bounds(graph, floats, samples, program.run_all([(0, samples)])[0][1])
    (tmp_path / "integers").mkdir()
    assert_bytes(whole, firmware_c.build(tmp_path / "integers", made, trace=True), samples)


LA64, M4 = "loongson-2k0500", "nucleo-l432kc"
MOST = {
    ("float32", LA64): (2.2, 2.2),
    ("float32", M4): (2.2, 2.5),
    ("int8", LA64): (3.0, 3.5),
    ("int8", M4): (3.0, 3.4),
}
"""Instructions of a multiply-accumulate at most: of a convolution, and of one whose channels are by themselves."""


@pytest.mark.parametrize(("form", "board"), MOST)
def test_a_separable_net_takes_few_instructions(tmp_path, form, board):
    target, proto = targets.load(board), firmware_nets.separable()
    if missing := emulate.available(target):
        pytest.skip(missing.reason)
    if form == "int8":
        proto = quantize.quantize_int8(proto, drawn.segments(proto, 8, seed=2))
    sources = make.make_sources(proto, target, tmp_path / "sources")
    image = make.make_image(sources, "batch", tmp_path / "image", emulated=True)
    samples = known_answer.segments(sources.generated.samples)
    np.testing.assert_array_equal(emulate.run_batch(image, samples), emulate.run_batch(sources.host, samples))
    layers = zip(count.count(image, samples[:1]).layers, sources.generated.layers, strict=True)
    ratios = [(counted.total / layer.macs, "depthwise" in layer.note) for counted, layer in layers if _is_conv(layer)]
    assert len(ratios) == sum(node.op_type == "Conv" for node in proto.graph.node)
    for alone, most in zip((False, True), MOST[form, board], strict=True):
        assert max(ratio for ratio, is_alone in ratios if is_alone is alone) <= most, ratios


def _is_conv(layer):
    return layer.op.lower().startswith("conv")


def test_one_sample_with_padding_on_every_side(tmp_path):
    """Its padding lies at the distance of its channels, for the kernel of two products an instruction too."""
    net = drawn_pictures.Picture(np.random.default_rng(11), two_axes=True, first_time=0, channels=1, size=(1, 1))
    net.add("MaxPool", "samples", kernel_shape=[1, 1])
    drawn_pictures.convolve(net, 5, (5, 1), dilations=(3, 1), pads=(10, 0, 6, 0))
    proto = drawn_pictures.with_head(net, (1, 1, 1, 1))
    whole = drawn.quantised_as(proto, np.int8, per_channel=True, fused=False, pass_through=False)
    graph, samples = reference.load(whole), drawn.segments(whole, 2, seed=2)
    made = [firmware_c.generate(graph, f"k{i}", Kernels(int8=kind)) for i, kind in enumerate(INT8_KERNELS)]
    assert_bytes(graph, firmware_c.build(tmp_path, made, trace=True), samples)
