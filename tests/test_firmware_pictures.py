"""Convolutions over pictures: right answers for every geometry, margins as they are drawn, and few instructions."""

import numpy as np
import pytest

from benchmarks import firmware_nets
from ecm_edge import targets
from ecm_edge.firmware import count, emulate, known_answer, make
from ecm_edge.firmware.margins import Room, around, with_margin
from ecm_edge.forms import onnx_model, quantize, reference
from ecm_edge.targets.kernels import Kernels

from . import drawn, drawn_pictures, firmware_c
from .test_firmware_networks import assert_same, assert_within_bounds

NETS, SANITISED = 24, 12
KERNELS = [Kernels(), Kernels(accumulators=5), Kernels(outputs=8)]


def made(seed):
    """A drawn net's graph, its C for several cores, and segments for it."""
    proto = drawn_pictures.network(seed)
    graph = reference.load(proto)
    models = [firmware_c.generate(graph, f"s{seed}k{i}", each) for i, each in enumerate(KERNELS)]
    return graph, models, drawn.segments(proto, 2, seed=2)


@pytest.mark.parametrize("first", range(0, NETS, 8))
def test_pictures_are_within_the_bound_of_every_layer(tmp_path, first):
    nets = [made(seed) for seed in range(first, first + 8)]
    program = firmware_c.build(tmp_path, [model for _, models, _ in nets for model in models], trace=True)
    requests = [(i * len(KERNELS) + k, nets[i][2]) for i in range(len(nets)) for k in range(len(KERNELS))]
    answers = program.run_all(requests)
    for i, (graph, models, samples) in enumerate(nets):
        of_net = answers[i * len(KERNELS) : (i + 1) * len(KERNELS)]
        assert_within_bounds(graph, models[0], samples, of_net[0][1])
        assert_same([scores for scores, _ in of_net])


def test_sanitised_pictures_touch_only_what_is_theirs(tmp_path):
    nets = [made(seed) for seed in range(NETS, NETS + SANITISED)]
    program = firmware_c.build(tmp_path, [model for _, models, _ in nets for model in models], sanitise=True)
    requests = [(i * len(KERNELS) + k, nets[i][2]) for i in range(len(nets)) for k in range(len(KERNELS))]
    filled = [program.run_all(requests, fill=fill) for fill in firmware_c.GARBAGE]
    for found in zip(*filled, strict=True):
        assert_same([scores for scores, _ in found])


BOARDS = ("loongson-2k0500", "nucleo-l432kc")
MOST = 2.2
"""Instructions of a multiply-accumulate."""


@pytest.mark.parametrize("board", BOARDS)
@pytest.mark.parametrize("model", [firmware_nets.picture, drawn_pictures.small], ids=["MNIST-8", "small"])
def test_a_multiply_accumulate_over_a_picture_takes_few_instructions(tmp_path, model, board):
    target, proto = targets.load(board), model()
    if missing := emulate.available(target):
        pytest.skip(missing.reason)
    sources = make.make_sources(proto, target, tmp_path / "sources")
    image = make.make_image(sources, "batch", tmp_path / "image", emulated=True)
    samples = known_answer.segments(sources.generated.samples)
    session = onnx_model.open_session(proto)
    given, shape = session.get_inputs()[0].name, session.get_inputs()[0].shape
    wanted = [session.run(None, {given: each.reshape(shape)})[0].ravel() for each in samples]
    np.testing.assert_allclose(emulate.run_batch(image, samples), wanted, rtol=1e-5, atol=1e-5)
    layers = zip(count.count(image, samples[:1]).layers, sources.generated.layers, strict=True)
    ratios = [counted.total / layer.macs for counted, layer in layers if layer.op.startswith("Conv")]
    assert len(ratios) == sum(node.op_type == "Conv" for node in proto.graph.node)
    assert max(ratios) <= MOST, ratios


def test_the_margin_of_a_picture_is_shared_by_its_lines():
    margined = with_margin((1, 2, 2, 3), Room(((1, 0), (2, 1))), fill=0)
    line = (3 + 2) * 2
    assert margined.steps == (line, 2)
    assert margined.index[0, :, 0, 0].tolist() == [line + 4, line + 5]
    assert margined.index[0, 0, 1].tolist() == [2 * line + 4, 2 * line + 6, 2 * line + 8]
    assert margined.size == 2 * line + 4 + 3 * 2 + 2
    assert set(np.flatnonzero(margined.filled)) == set(range(margined.size)) - set(margined.index.ravel().tolist())


def test_places_around_a_picture_are_those_that_taps_read_for_padding():
    room = Room(((1, 1), (1, 1)))
    margined = with_margin((1, 1, 2, 3), room, fill=0)
    found = around(margined.index, margined.steps, room)
    assert sorted(found.tolist()) == sorted([*range(5), 4, 8, 8, 12, *range(12, 17)])
    assert margined.holds(found)


def test_a_turned_picture_has_not_the_room_of_the_upright_one():
    room = Room(((2, 2), (0, 0)))
    margined = with_margin((1, 1, 4, 3), room, fill=0)
    turned = np.swapaxes(margined.index, 2, 3)
    assert margined.holds(around(margined.index, margined.steps, room))
    assert not margined.holds(around(turned, margined.steps[::-1], room))


def test_weights_in_float16_are_expanded_once_for_all_lines(tmp_path):
    proto = quantize.to_float16_weights(drawn_pictures.small())
    graph, samples = reference.load(proto), drawn.segments(proto, 2, seed=2)
    models = [firmware_c.generate(graph, f"k{i}", each) for i, each in enumerate(KERNELS)]
    program = firmware_c.build(tmp_path, models, sanitise=True)
    found = [scores for scores, _ in program.run_all([(i, samples) for i in range(len(models))])]
    assert_same(found)
    np.testing.assert_allclose(found[0], reference.scores(graph, samples), rtol=1e-5, atol=1e-6)
    assert models[0].files["k0.c"].count("ecm_halves(") == sum(node.op_type == "Conv" for node in proto.graph.node)


@pytest.mark.parametrize(
    ("shape", "taps", "attributes"),
    [
        ((1, 2, 3, 3), (3, 2), {}),
        ((1, 3, 1, 9), (1, 5), {"dilations": [1, 2]}),
    ],
)
def test_one_window_of_several_runs_takes_float16_weights(tmp_path, shape, taps, attributes):
    net = drawn_pictures.Picture(np.random.default_rng(9), two_axes=True, first_time=0, channels=shape[1])
    net.add("Conv", "samples", net.normal(4, shape[1], *taps), strides=[9, 9], **attributes)
    net.add("Flatten", net.now)
    net.add("MatMul", net.now, net.normal(4, 2))
    proto = quantize.to_float16_weights(net.model(shape))
    graph, samples = reference.load(proto), drawn.segments(proto, 2, seed=2)
    models = [firmware_c.generate(graph, f"k{i}", each) for i, each in enumerate(KERNELS)]
    program = firmware_c.build(tmp_path, models, sanitise=True)
    for number in range(len(models)):
        found, _ = program.run(number, samples)
        np.testing.assert_allclose(found, reference.scores(graph, samples), rtol=1e-5, atol=1e-6)
