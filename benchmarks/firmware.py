"""Generated firmware against other runtimes: instructions, sizes, memory, and time on this host.

    python -m benchmarks.firmware          prints the table
    python -m benchmarks.firmware --write  and puts it into benchmarks/README.md

Every figure is taken from a build whose answers were compared first: with the reference, to the bit where it is int8.
The best peers' figures are those that were measured once on the same nets (KiB are stripped executables).
"""

from __future__ import annotations

import ctypes
import shutil
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from onnx import numpy_helper

from benchmarks import firmware_nets as nets
from ecm_edge import targets
from ecm_edge.firmware import build, count, emulate, fit, generate, make, toolchain
from ecm_edge.forms import onnx_model, reference

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    import onnx

    from ecm_edge.base.records import Form

README = Path(__file__).parent / "README.md"
BEGIN, END = "<!-- firmware table: python -m benchmarks.firmware --write -->", "<!-- end of the firmware table -->"
_KIB = 1024
_INPUT_BYTES = 4 * nets.T
_FLOAT_ATOL = 1e-5
_TIMED, _WARM = 2000, 200
_COUNTED = 2  # segments; SiLU's instructions do not depend on them, but that is what is checked


@dataclass(frozen=True)
class Row:
    """One figure beside the best peer's, its bar and its aim; lower is better everywhere."""

    what: str
    peer: str
    ours: float
    unit: str
    bar: float
    aim: float | None

    @property
    def meets_bar(self) -> bool:
        """Whether the bar is met."""
        return self.ours <= self.bar


@dataclass(frozen=True)
class Built:
    """A model built for a target, its answers checked: instructions of one inference, image and arena bytes."""

    instructions: int
    image_bytes: int
    arena_bytes: int


def built(model: onnx.ModelProto, target_name: str) -> Built:
    """Generate, build, compare and count.

    Raises:
        AssertionError: an answer of the emulated board differs.
    """
    target = targets.load(target_name)
    with tempfile.TemporaryDirectory() as folder:
        sources = make.make_sources(model, target, Path(folder))
        shipped = make.make_image(sources, "serial", Path(folder, "serial"))
        image = make.make_image(sources, "batch", Path(folder, "batch"), emulated=True)
        samples = nets.segments(16)
        answers = emulate.run_batch(image, samples)
        expected = reference.scores(reference.load(model), samples)
        exact = any(node.op_type == "QuantizeLinear" for node in model.graph.node)
        np.testing.assert_allclose(answers, expected, rtol=0, atol=0 if exact else _FLOAT_ATOL)
        np.testing.assert_array_equal(answers, emulate.run_batch(sources.host, samples))
        counts = count.count(image, samples[:_COUNTED])
        return Built(counts.total, shipped.shipped.stat().st_size, sources.generated.plan.arena_bytes)


def host_times_us() -> dict[str, float]:
    """Least time of one run of the demo net, in µs, by runtime; all in this process, taking turns."""
    model, samples = nets.demo(), nets.segments(8)
    expected = reference.scores(reference.load(model), samples)
    with tempfile.TemporaryDirectory() as folder:
        runs = {
            "onnxruntime": _onnxruntime(model),
            "triple loop, -O3": _triple_loop(model, Path(folder)),
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


def fit_seconds() -> float:
    """Seconds of `fit` for one candidate, both precisions, both boards."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "model.onnx")
        onnx_model.save(nets.demo(), path)
        begin = time.perf_counter()
        for name in ("loongson-2k0500", "nucleo-l432kc"):
            fit.fit_model(path, targets.load(name), ("float32", "int8"))
        return time.perf_counter() - begin


def rows() -> Iterator[Row]:
    """Every line of the table, in order."""
    demo, se_s = nets.demo(), nets.se(3)
    la64, m4 = "loongson-2k0500", "nucleo-l432kc"
    forms: dict[Form, Built] = {form: built(nets.form(demo, form), la64) for form in ("float32", "float16", "int8")}
    single = forms["float32"]
    yield Row("demo float32, LoongArch64, instructions", "597,808", single.instructions, "", 350_000, 265_000)
    kib = {form: each.image_bytes / _KIB for form, each in forms.items()}
    yield Row("the same, serial image, float32 weights", "48, no protocol", kib["float32"], "KiB", 54, 48)
    yield Row("the same, serial image, float16 weights", "–", kib["float16"], "KiB", 34, 28)
    yield Row("the same, arena, input included", "14,956", single.arena_bytes + _INPUT_BYTES, "B", 12_500, 6_000)
    yield Row(
        "se-s float32, LoongArch64, instructions", "1,591,391", built(se_s, la64).instructions, "", 700_000, 450_000
    )
    int8 = forms["int8"].instructions
    yield Row("demo int8, LoongArch64, bit-exact, instructions", "3,680,000", int8, "", 600_000, single.instructions)
    on_m4 = {form: built(nets.form(demo, form), m4).instructions for form in ("float32", "int8")}
    yield Row("demo float32, Cortex-M4, instructions", "700,260", on_m4["float32"], "", 350_000, 270_000)
    yield Row("demo int8, Cortex-M4, instructions", "1,292,711", on_m4["int8"], "", 350_000, 200_000)
    times = host_times_us()
    peer = ", ".join(f"{name} {us:.1f}" for name, us in times.items() if name != "ours")
    half = times["onnxruntime"] / 2
    yield Row("demo float32, this host, least time of a run", peer, times["ours"], "µs", half, half / 2)
    yield Row("fit of one candidate, both precisions, both boards", "–", fit_seconds(), "s", 15, 5)


def table(found: list[Row]) -> str:
    """The rows as Markdown."""
    lines = ["| what | best peer | ours | bar | aim |", "|---|---|---|---|---|"]
    for row in found:
        aim = "–" if row.aim is None else f"≤ {_said(row.aim, row.unit)}"
        missed = "" if row.meets_bar else " **missed**"
        lines.append(
            f"| {row.what} | {row.peer} | {_said(row.ours, row.unit)}{missed} | ≤ {_said(row.bar, row.unit)} | {aim} |"
        )
    return "\n".join(lines)


def _said(value: float, unit: str) -> str:
    number = f"{value:,.0f}" if unit in {"", "B"} else f"{value:.1f}"
    return f"{number} {unit}".strip()


def main(arguments: list[str]) -> None:
    """Print the table, and write it into the README if asked to."""
    shown = table(list(rows()))
    sys.stdout.write(f"{shown}\n")
    if "--write" in arguments:
        before, rest = README.read_text(encoding="utf-8").split(BEGIN)
        README.write_text(f"{before}{BEGIN}\n\n{shown}\n\n{END}{rest.split(END)[1]}", encoding="utf-8")


if __name__ == "__main__":
    if shutil.which("qemu-loongarch64") is None or shutil.which("qemu-system-arm") is None:
        sys.exit("the emulators are missing: install Debian's qemu-user and qemu-system-arm")
    main(sys.argv[1:])
