"""Generated firmware against other runtimes: the table of counts, and what is timed on this host.

The counts are those of counts.json. The best peers' figures were measured once on the same nets by the same counting
(KiB are stripped executables). A bar is the least that is wanted, an aim what would be good.
"""

from __future__ import annotations

import ctypes
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from onnx import numpy_helper

from benchmarks import firmware_nets as nets
from benchmarks.counts import BOARDS
from ecm_edge import targets
from ecm_edge.base.numbers import KIB
from ecm_edge.firmware import build, fit, generate, toolchain
from ecm_edge.forms import onnx_model, reference

if TYPE_CHECKING:
    from collections.abc import Callable

    import onnx

    from benchmarks.counts import Counts
    from ecm_edge.base.records import Form
    from ecm_edge.firmware.fit_records import FitRecord

_INPUT_BYTES = 4 * nets.T
_FLOAT_ATOL = 1e-5
_TIMED, _WARM = 2000, 200


@dataclass(frozen=True)
class Row:
    """One figure beside the best peer's, its bar and its aim; lower is better everywhere."""

    what: str
    peer: str
    ours: float
    unit: str
    bar: float
    aim: float

    @property
    def meets_bar(self) -> bool:
        """Whether the bar is met."""
        return self.ours <= self.bar


def host_times_us() -> dict[str, float]:
    """Least time of one run of the demo net, in µs, by runtime; all in this process, taking turns."""
    model, samples = nets.load("demo"), nets.segments(8)
    expected = reference.scores(reference.load(model), samples)
    with tempfile.TemporaryDirectory() as folder:
        runs = {
            "onnxruntime": _onnxruntime(model),
            "triple_loop": _triple_loop(model, Path(folder)),
            "ours": _generated(model, Path(folder)),
        }
        for run in runs.values():
            np.testing.assert_allclose([run(s).copy() for s in samples], expected, rtol=0, atol=_FLOAT_ATOL)
        return {name: min(times) for name, times in _in_turns(runs, samples).items()}


def _in_turns(runs: dict[str, Callable[[np.ndarray], np.ndarray]], samples: np.ndarray) -> dict[str, list[float]]:
    times: dict[str, list[float]] = {name: [] for name in runs}
    for turn in range(_TIMED + _WARM):
        segment = samples[turn % len(samples)]
        for name, run in runs.items():
            begin_ns = time.perf_counter_ns()
            run(segment)
            if turn >= _WARM:
                times[name].append((time.perf_counter_ns() - begin_ns) / 1000)
    return times


def _onnxruntime(model: onnx.ModelProto) -> Callable[[np.ndarray], np.ndarray]:
    session = onnx_model.open_session(model)
    return lambda segment: session.run(["scores"], {"samples": segment.reshape(1, 1, -1)})[0][0]


def _library(sources: list[Path], out: Path, flags: list[str]) -> ctypes.CDLL:
    command = [
        *toolchain.compiler("cc"),
        "-std=c99",
        "-shared",
        "-fPIC",
        *flags,
        *map(str, sources),
        "-o",
        str(out),
        "-lm",
    ]
    toolchain.run(command)
    return ctypes.CDLL(str(out))


def _triple_loop(model: onnx.ModelProto, folder: Path) -> Callable[[np.ndarray], np.ndarray]:
    library = _library([Path(__file__).parent / "triple_loop.c"], folder / "triple.so", ["-O3", "-march=native"])
    values = {t.name: np.ascontiguousarray(numpy_helper.to_array(t)) for t in model.graph.initializer}
    ordered = [values[f"{kind}{i}"] for i in range(7) for kind in "wb"]
    table = (ctypes.c_void_p * len(ordered))(*(array.ctypes.data for array in ordered))
    scores, function = np.zeros(2, np.float32), library.triple_loop_run
    function.argtypes = (ctypes.c_void_p, ctypes.c_void_p, ctypes.c_void_p)
    weights, answer = ctypes.addressof(table), scores.ctypes.data

    def run(segment: np.ndarray) -> np.ndarray:
        function(segment.ctypes.data, weights, answer)
        return scores

    run.keeps = (ordered, table)  # type: ignore[attr-defined]  # what the addresses point to
    return run


def _generated(model: onnx.ModelProto, folder: Path) -> Callable[[np.ndarray], np.ndarray]:
    host = targets.load("host")
    generate.write(generate.generate(model, host), folder / "ours")
    firmware = build.firmware_of(host)
    flags = [*firmware.flags, *firmware.model_flags, "-ffp-contract=off", "-fno-math-errno"]
    library = _library([folder / "ours" / "model.c"], folder / "ours.so", flags)
    scores, function = np.zeros(2, np.float32), library.model_run
    function.argtypes = (ctypes.c_void_p, ctypes.c_void_p)
    answer = scores.ctypes.data

    def run(segment: np.ndarray) -> np.ndarray:
        function(segment.ctypes.data, answer)
        return scores

    return run


def fit_demo() -> list[FitRecord]:
    """`fit` of the demo net, both precisions, for each board."""
    model = nets.FOLDER / "demo.onnx"
    return [fit.fit_model(model, targets.load(board), ("float32", "int8")) for board in BOARDS]


def rows(counts: Counts) -> list[Row]:
    """Every line of the table, in order."""
    la64, m4 = BOARDS
    single, half, int8 = (counts.of("demo", la64, form) for form in ("float32", "float16", "int8"))
    se_s = counts.of("se-s", la64, "float32")
    on_m4 = {form: counts.of("demo", m4, form) for form in ("float32", "int8")}
    kib = {"float32": single.image_bytes / KIB, "float16": half.image_bytes / KIB}
    return [
        Row("demo float32, LoongArch64, instructions", "597,808", single.instructions, "", 350_000, 265_000),
        Row("the same, serial image, float32 weights", "48, no protocol", kib["float32"], "KiB", 54, 48),
        Row("the same, serial image, float16 weights", "–", kib["float16"], "KiB", 34, 28),
        Row("the same, arena, input included", "14,956", single.arena_bytes + _INPUT_BYTES, "B", 12_500, 6_000),
        Row("se-s float32, LoongArch64, instructions", "1,591,391", se_s.instructions, "", 700_000, 450_000),
        _of_macs(counts, "picture", "float32", 786_560, (2.2, 1.5), "4,972,073"),
        _of_macs(counts, "picture", "int8", 786_560, (3, 2)),
        _of_macs(counts, "separable", "float32", 215_600, (3, 2)),
        _of_macs(counts, "separable", "int8", 215_600, (3, 2)),
        Row("demo int8, LoongArch64, instructions", "3,680,000", int8.instructions, "", 600_000, single.instructions),
        Row("demo float32, Cortex-M4, instructions", "700,260", on_m4["float32"].instructions, "", 350_000, 270_000),
        Row("demo int8, Cortex-M4, instructions", "1,292,711", on_m4["int8"].instructions, "", 350_000, 200_000),
    ]


_PICTURES = {"picture": "picture (MNIST-8's shape)", "separable": "separable (a small MobileNet)"}


def _of_macs(counts: Counts, net: str, form: Form, macs: int, limits: tuple[float, float], peer: str = "–") -> Row:
    """The instructions of a net over pictures; `limits` are its bar and its aim for one multiply-accumulate."""
    found = counts.of(net, BOARDS[0], form).instructions
    bar, aim = (round(limit * macs) for limit in limits)
    return Row(f"{_PICTURES[net]} {form}, LoongArch64, instructions", peer, found, "", bar, aim)


def table(found: list[Row]) -> str:
    """The rows as Markdown."""
    lines = ["| what | best peer | ours | bar | aim |", "|---|---|---|---|---|"]
    for row in found:
        missed = "" if row.meets_bar else " **missed**"
        bar, aim = (f"≤ {_with_unit(value, row.unit)}" for value in (row.bar, row.aim))
        lines.append(f"| {row.what} | {row.peer} | {_with_unit(row.ours, row.unit)}{missed} | {bar} | {aim} |")
    return "\n".join(lines)


def _with_unit(value: float, unit: str) -> str:
    number = f"{value:.1f}" if unit == "KiB" else f"{value:,.0f}"
    return f"{number} {unit}".strip()
