"""Answers: generated C on this host against the reference, on noise, before anybody is told that it is right.

It is what `ecm-edge verify` does with labelled segments, on a few seeded ones: wrong code is wrong on noise too.
N segments, S scores.
"""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from ecm_edge.base.errors import FirmwareError, ModelError
from ecm_edge.base.records import at_most, not_run
from ecm_edge.firmware import emulate, generate, make, toolchain
from ecm_edge.forms import reference

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from ecm_edge.base.records import Gate
    from ecm_edge.firmware.build import Image
    from ecm_edge.firmware.generate import Generated
    from ecm_edge.forms.onnx_model import Floats
    from ecm_edge.forms.reference import Graph
    from ecm_edge.targets import Target

GATE = "answers_as_reference"
SEGMENTS = 8
_SEED = 13


def of_generated(generated: Generated, graph: Graph, target: Target) -> Gate:
    """The gate of C that is not on disk yet; NOT RUN without a compiler for this host.

    Raises:
        FirmwareError: the compiler fails.
    """
    with tempfile.TemporaryDirectory(prefix="ecm-edge-") as folder:
        generate.write(generated, Path(folder, make.SOURCES))
        return of_folder(Path(folder), graph, target)


def of_folder(out: Path, graph: Graph, target: Target) -> Gate:
    """The gate of the sources in `out`/src; they are built into `out`/host. Raises as `of_generated`."""
    try:
        toolchain.compiler("cc")
    except FirmwareError as problem:
        return not_run(GATE, f"{problem.rule}; {problem.found}")
    return of_image(make.host_image(out / make.SOURCES, out / make.HOST), graph, target)


def of_image(host: Image, graph: Graph, target: Target) -> Gate:
    """The gate of a batch program for this host: on how many segments of noise its scores differ.

    Floats differ by more than the target's `max_abs`, of the largest score where that is above 1; scores that come from
    integers differ at all. A value that is not finite has to be the same one.

    Raises:
        FirmwareError: the program fails.
    """
    refusal = ""
    noise = np.random.default_rng(_SEED).standard_normal((SEGMENTS, host.model.samples)).astype(np.float32)
    for samples in (noise, np.abs(noise)):  # a graph may refuse what gives a NaN
        try:
            with np.errstate(all="ignore"):  # noise may divide by zero where a heart does not
                scores = reference.run(graph, samples, [graph.output_name])[graph.output_name]
        except ModelError as problem:
            refusal = f"{problem.rule}; {problem.found}"
            continue
        wanted = scores.reshape(len(samples), -1).astype(np.float32)
        apart = _apart(wanted, emulate.run_batch(host, samples), _limit(graph, target))
        return at_most(GATE, int(apart.any(axis=1).sum()), 0, "segments", f"of {SEGMENTS} of noise, on this host")
    return not_run(GATE, refusal)


def _limit(graph: Graph, target: Target) -> float:
    """The largest difference of two scores that is rounding: none where they come from integers."""
    last = next((step.op for step in graph.steps if graph.output_name in step.outputs), None)
    return 0.0 if last is not None and last.op == "DequantizeLinear" else target.parity.float32.max_abs


def _apart(wanted: Floats, found: Floats, limit: float) -> NDArray[np.bool_]:
    """Which scores (N, S) differ."""
    with np.errstate(invalid="ignore"):
        finite = np.isfinite(wanted)
        scale = max(1.0, float(np.abs(wanted[finite]).max(initial=0)))
        near = np.abs(wanted - found) <= limit * scale
    same: NDArray[np.bool_] = np.where(finite, near, (wanted == found) | (np.isnan(wanted) & np.isnan(found)))
    return ~same
