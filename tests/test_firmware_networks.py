"""Generated C of drawn networks against the reference: float within a stated bound, integers to the byte.

Dead bytes of the arena are filled with garbage before every layer, so that the plan of the arena is tested on each
network too; sanitised builds poison whatever a layer has no business with.
"""

import tempfile
import warnings
from pathlib import Path
from typing import get_args

import numpy as np
import pytest
from hypothesis import HealthCheck, Phase, given, settings

from ecm_edge.firmware import plan as planning
from ecm_edge.forms import reference
from ecm_edge.targets.kernels import Kernels

from . import drawn, firmware_c, nets, running_error

INT8_KERNELS = get_args(Kernels.model_fields["int8"].annotation)
FLOAT_KERNELS = [Kernels(), Kernels(accumulators=1), Kernels(accumulators=9), Kernels(outputs=8)]
SEGMENTS = 3


def few(examples):
    """The same networks every time. One that fails is not made smaller, which takes minutes of compiling."""
    return settings(
        max_examples=examples,
        deadline=None,
        derandomize=True,
        database=None,
        phases=[Phase.generate],
        suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
    )


def programs(proto, kernels, **options):
    """The graph, its C for several cores in one program, and the folder that has to stay until the program has run."""
    graph = reference.load(proto)
    made = [firmware_c.generate(graph, f"k{i}", each) for i, each in enumerate(kernels)]
    folder = tempfile.TemporaryDirectory()
    return graph, folder, firmware_c.build(Path(folder.name), made, **options)


def assert_same(found):
    """All of these arrays have the same bytes."""
    assert len({np.ascontiguousarray(each).tobytes() for each in found}) == 1


def assert_within_bounds(graph, model, samples, traces):
    """Every tensor that the C has shown is as near to the reference's as running_error says."""
    shown = [dict(firmware_c.traced(model, each)) for each in traces]
    traced = {name: np.stack([each[name] for each in shown]) for name in shown[0]}
    given_ = reference.execute(graph, samples, traced)
    for name, bound in running_error.bounds(graph, given_, traced).items():
        difference = np.abs(traced[name].astype(np.float64) - given_[name])
        assert (difference <= bound).all(), (name, float((difference / bound).max()))


@few(16)
@given(drawn.networks())
def test_float_networks_are_within_the_bound_of_every_layer(proto):
    samples = drawn.segments(proto, SEGMENTS, seed=2)
    graph, folder, program = programs(proto, FLOAT_KERNELS, trace=True)
    with folder:
        answers = program.run_all([(i, samples) for i in range(len(FLOAT_KERNELS))])
        assert_within_bounds(graph, program.models[0], samples, answers[0][1])
        assert_same([scores for scores, _ in answers])


@pytest.mark.parametrize("kind", INT8_KERNELS)
@few(14)
@given(proto=drawn.quantised_networks())
def test_quantised_networks_have_the_references_bytes(kind, proto):
    samples = drawn.segments(proto, SEGMENTS, seed=2)
    kernels = [Kernels(int8=kind), Kernels(int8=kind, int8_accumulators=5, outputs=8)]
    graph, folder, program = programs(proto, kernels, trace=True)
    with folder:
        wanted = reference.execute(graph, samples, {})
        for model, (scores, traces) in zip(program.models, program.run_all([(0, samples), (1, samples)]), strict=True):
            np.testing.assert_array_equal(scores, wanted[graph.output_name].reshape(SEGMENTS, -1))
            for segment, trace in enumerate(traces):
                for name, values in firmware_c.traced(model, trace):
                    if wanted[name].dtype != np.float32:
                        np.testing.assert_array_equal(values, wanted[name][segment % len(wanted[name])], err_msg=name)


@pytest.mark.parametrize("strategy", [drawn.networks(), drawn.quantised_networks()], ids=["float", "int8"])
def test_sanitised_networks_touch_only_what_is_theirs(strategy):
    @few(6)
    @given(strategy)
    def hold(proto):
        samples = drawn.segments(proto, 1, seed=2)
        odd = np.stack([samples[0], samples[0] * np.float32(1e30)])
        odd[1, :3] = np.nan, np.inf, -np.inf
        kernels = [Kernels(int8=kind, outputs=8 if kind == "plain" else 1) for kind in INT8_KERNELS]
        _, folder, program = programs(proto, kernels, sanitise=True)
        with folder:
            filled = [program.run_all([(i, odd) for i in range(len(kernels))], fill=f) for f in firmware_c.GARBAGE]
            for scores in zip(*filled, strict=True):
                assert_same([found[:1] for found, _ in scores])
            assert_same([scores[:1] for scores, _ in filled[0]])

    hold()


@few(40)
@given(drawn.networks() | drawn.quantised_networks())
def test_no_two_live_buffers_meet(proto):
    model = firmware_c.generate(reference.load(proto))
    layers, placed = model.layers, model.plan
    assert placed.arena_bytes % planning.ALIGNMENT == 0
    for number, layer in enumerate(layers):
        assert all(placed.offsets[b] % planning.ALIGNMENT == 0 for b in layer.buffers if b.place == "arena")
        alive = [b for b, life in placed.lifetimes.items() if life.first <= number <= life.last]
        written = [tensor.buffer for tensor in layer.writes]
        for i, one in enumerate(alive):
            for other in alive[i + 1 :]:
                meet = _bytes(placed, one) & _bytes(placed, other)
                dying = [b for b in (one, other) if placed.lifetimes[b].last == number and b in layer.overlap]
                born = [b for b in (one, other) if placed.lifetimes[b].first == number and b in written]
                assert not meet or (dying and born), (number, one, other)
    assert max(planning.live_bytes(layers, placed), default=0) <= placed.arena_bytes


ROWS = np.array([1, 6, 8])
"""Of a segment of 48 samples."""


def _of_rows(nodes, **weights):
    """A network on the rows of a segment: samples → x (1, 6, 8) → … → y → scores."""
    generator = np.random.default_rng(3)
    drawn_weights = {name: generator.uniform(0.5, 1, shape).astype(np.float32) for name, shape in weights.items()}
    whole = [nets.node("Reshape", ["samples", "rows"], "x"), *nodes]
    return nets.graph(whole, {"rows": ROWS, "first": np.array([1]), **drawn_weights}, shape=(1, 1, 48))


def _mean(name):
    return nets.node("ReduceMean", [name, "first"], "scores", keepdims=0)


@pytest.mark.parametrize(
    "proto",
    [
        _of_rows([nets.node("MatMul", ["x", "w"], "y"), _mean("y")], w=(8, 2)),
        _of_rows(
            [
                nets.node("MatMul", ["x", "w"], "y"),
                nets.node("BatchNormalization", ["y", *"abcd"], "n"),  # of a row, not of a sum
                nets.node("MatMul", ["n", "v"], "z"),
                _mean("z"),
            ],
            w=(8, 6), v=(6, 2), a=6, b=6, c=6, d=6,
        ),
        _of_rows(
            [
                nets.node("Conv", ["x", "k"], "y"),
                nets.node("Flatten", ["y"], "f", axis=1),  # time-major, so shuffled
                nets.node("GlobalAveragePool", ["y"], "p"),
                nets.node("Flatten", ["p"], "c", axis=1),
                nets.node("Gemm", ["f", "w", "c"], "scores"),
            ],
            k=(2, 6, 3), w=(12, 2),
        ),
    ],
    ids=["rows", "norm of rows", "shuffled row to a loop"],
)  # fmt: skip
def test_products_of_many_rows_and_of_tensors(proto):
    graph, folder, program = programs(proto, FLOAT_KERNELS, sanitise=True)
    samples = drawn.segments(proto, SEGMENTS, seed=2)
    with folder:
        answers = [scores for scores, _ in program.run_all([(i, samples) for i in range(len(FLOAT_KERNELS))])]
    assert_same(answers)
    np.testing.assert_allclose(answers[0], reference.scores(graph, samples), rtol=1e-5, atol=1e-5)


def test_a_shuffled_row_of_integers_to_a_product_in_float():
    """A Gemm with an alpha is none on integers: what it reads is copied to floats, so it has to lie in order."""
    x, x_constants = nets.quantised("samples", 0.05, 0)
    k, k_constants = nets.weight("k", np.arange(-4, 5).reshape(3, 1, 3), np.full(3, 0.05))
    y, y_constants = nets.quantised("y", 0.05, 0)
    f, f_constants = nets.quantised("f", 0.05, 0)
    w, w_constants = nets.weight("w", np.arange(-18, 18).reshape(18, 2), np.full(18, 0.05))
    nodes = [
        *(*x, *k, nets.node("Conv", ["samples_f", "k_f"], "y"), *y, nets.node("Flatten", ["y_f"], "f", axis=1)),
        *(*f, *w, nets.node("Gemm", ["f_f", "w_f"], "scores", alpha=0.5)),
    ]
    net = nets.graph(nodes, x_constants | k_constants | y_constants | f_constants | w_constants, shape=(1, 1, 8))
    graph, folder, program = programs(net, [Kernels(int8=kind) for kind in INT8_KERNELS])
    samples = drawn.segments(net, SEGMENTS, seed=2)
    with folder:
        answers = [scores for scores, _ in program.run_all([(i, samples) for i in range(len(INT8_KERNELS))])]
    assert_same(answers)
    np.testing.assert_allclose(answers[0], reference.scores(graph, samples), rtol=1e-6, atol=1e-6)


def test_integers_convolved_over_two_axes():
    """Plain loops, with padding that adds nothing whatever the zero point is."""
    x, x_constants = nets.quantised("samples", 0.05, 3)
    r, r_constants = nets.quantised("r", 0.05, 3)
    k, k_constants = nets.weight("k", np.arange(-9, 9).reshape(2, 1, 3, 3), np.full(2, 0.05))
    y, y_constants = nets.quantised("y", 0.2, -5)
    w, w_constants = nets.weight("w", np.arange(-48, 48).reshape(2, 48), np.full(2, 0.05))
    f, f_constants = nets.quantised("f", 0.2, -5)
    o, o_constants = nets.quantised("o", 0.5, 0)
    nodes = [
        *(*x, nets.node("Reshape", ["samples_f", "s"], "r"), *r),
        *(*k, nets.node("Conv", ["r_f", "k_f"], "y", pads=[1, 1, 1, 1]), *y),
        *(nets.node("Flatten", ["y_f"], "f", axis=1), *f, *w, nets.node("Gemm", ["f_f", "w_f"], "o", transB=1), *o),
        nets.node("Identity", ["o_f"], "scores"),
    ]
    constants = x_constants | r_constants | k_constants | y_constants | f_constants | w_constants | o_constants
    net = nets.graph(nodes, constants | {"s": np.array([1, 1, 4, 6])}, shape=(1, 1, 24))
    graph, folder, program = programs(net, [Kernels(int8=kind) for kind in INT8_KERNELS], sanitise=True)
    samples = drawn.segments(net, SEGMENTS, seed=2)
    with folder:
        answers = [scores for scores, _ in program.run_all([(i, samples) for i in range(len(INT8_KERNELS))])]
    assert_same([reference.scores(graph, samples), *answers])


def _bytes(placed, buffer):
    return set(range(placed.offsets[buffer], placed.offsets[buffer] + buffer.size_bytes))


def test_a_plan_that_forgets_a_buffer_is_noticed(monkeypatch):
    """The net of the two tests above: with lifetimes one layer too short, garbage reaches the answers."""
    together = planning.cost.alive_together
    short = lambda lives: together({buffer: (first, max(first, last - 1)) for buffer, (first, last) in lives.items()})  # noqa: E731 - one line
    monkeypatch.setattr(planning.cost, "alive_together", short)
    noticed = []

    @settings(few(6), phases=[Phase.generate])
    @given(drawn.networks())
    def hold(proto):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            _, folder, program = programs(proto, [Kernels()])
            samples = drawn.segments(proto, SEGMENTS, seed=2)
            with folder:
                scores, _ = program.run(0, samples)
        wanted = reference.scores(reference.load(proto), samples)
        noticed.append(not np.allclose(scores, wanted, rtol=1e-3, atol=1e-4))

    hold()
    assert any(noticed)
