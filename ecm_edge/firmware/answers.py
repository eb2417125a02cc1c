"""Answers: generated C on this host against the reference, on noise, before anybody is told that it is right.

It is what `ecm-edge verify` does with labelled segments, on a few seeded ones: wrong code is wrong on noise too. But
scores that hardly depend on the samples, such as those of a saturated softmax, are right for any code. Then the C of
what they are made of is compared as well, up to the last tensor that does depend on them, and the gate says so.

N segments, S scores.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from ecm_edge.base import files
from ecm_edge.base.errors import FirmwareError, ModelError
from ecm_edge.base.records import at_most, not_run
from ecm_edge.firmware import emulate, generate, make, toolchain
from ecm_edge.firmware.emit import Origin
from ecm_edge.forms import reference
from ecm_edge.targets.kernels import Kernels

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    from ecm_edge.base.records import Gate
    from ecm_edge.firmware.build import Image
    from ecm_edge.firmware.generate import Generated
    from ecm_edge.forms.onnx_model import Floats
    from ecm_edge.forms.reference import Graph
    from ecm_edge.forms.reference.operators import Array
    from ecm_edge.targets import Target

GATE = "answers_as_reference"
SCALES = (0.1, 1.0, 4.0)
"""Of the noise: what the input of a model is like is not known."""
SEGMENTS = 4
"""Of each scale."""
_SEED = 13
_LEAST_SPREAD = 2.0**-7
"""Of scores that show something: how far they lie apart, of the largest."""
_ROUNDING = 2.0**-17
"""What float32 may make of the largest score."""


def of_generated(generated: Generated, graph: Graph, target: Target) -> Gate:
    """The gate of C that is not on disk yet; NOT RUN without a compiler for this host.

    Raises:
        FirmwareError: the compiler fails.
    """
    with files.scratch_folder() as folder:
        generate.write(generated, Path(folder, make.SOURCES))
        return of_folder(folder, graph, target)


def of_folder(out: Path, graph: Graph, target: Target) -> Gate:
    """The gate of the sources in `out`/src; they are built into `out`/host. Raises as `of_generated`."""
    try:
        toolchain.compiler("cc")
    except FirmwareError as problem:
        return not_run(GATE, f"{problem.rule}; {problem.found}")
    return of_image(make.host_image(out / make.SOURCES, out / make.HOST), graph, target)


def of_image(host: Image, graph: Graph, target: Target) -> Gate:
    """The gate of a batch program for this host: on how many segments of noise its scores differ.

    Floats differ by more than the target's `max_abs`, of how far the scores of a scale lie apart (but no less than
    float32 rounds, and no more than of the largest where that is above 1); scores that come from integers differ at
    all. A value that is not finite has to be the same one.

    Raises:
        FirmwareError: a program or the compiler fails.
    """
    refusal = ""
    noise = np.random.default_rng(_SEED).standard_normal((len(SCALES), SEGMENTS, host.model.samples))
    noise = (noise * np.reshape(SCALES, (-1, 1, 1))).astype(np.float32).reshape(-1, host.model.samples)
    for samples in (noise, np.abs(noise)):  # a graph may refuse what gives a NaN
        try:
            with np.errstate(all="ignore"):  # noise may divide by zero where an ECG does not
                values = reference.execute(graph, samples, {})
        except ModelError as problem:
            refusal = f"{problem.rule}; {problem.found}"
            continue
        return _gate(host, graph, target, samples, values)
    return not_run(GATE, refusal)


def _gate(host: Image, graph: Graph, target: Target, samples: Floats, values: Mapping[str, Array]) -> Gate:
    wanted = _rows(values[graph.output_name], len(samples))
    apart = _apart(wanted, emulate.run_batch(host, samples), _limit(graph, target))
    told = f"of {len(samples)} segments of noise differ, at {len(SCALES)} scales, on this host"
    if not np.isfinite(wanted).all():
        told += f"; {int((~np.isfinite(wanted)).any(axis=1).sum())} of them give NaN or infinity"
    if not _shows(wanted):
        name = _last_that_shows(graph, values, len(samples))
        told += (
            "; these scores hardly depend on noise, so this shows little: `ecm-edge verify` with samples of your own"
        )
        if name is not None:
            told += f"; {name!r}, of which they are made, was compared too"
            apart |= _apart_before(graph.up_to(name), target, samples, _rows(values[name], len(samples)))
    return at_most(GATE, int(apart.sum()), 0, "segments", told)


def _rows(values: Array, count: int) -> Floats:
    """One row for each segment, repeated where all have the same."""
    return np.broadcast_to(values, (count, *values.shape[1:])).reshape(count, -1).astype(np.float32)


def _apart_before(graph: Graph, target: Target, samples: Floats, wanted: Floats) -> NDArray[np.bool_]:
    """For which segments (N,) the C of a part of a graph differs."""
    kernels = target.firmware.kernels if target.firmware else Kernels()
    origin = Origin(graph.output_name, "", "a part of it", target.name, "")
    part = generate.generate_graph(graph, kernels, origin)
    with files.scratch_folder() as folder:
        generate.write(part, Path(folder, make.SOURCES))
        host = make.host_image(Path(folder, make.SOURCES), Path(folder, make.HOST))
        return _apart(wanted, emulate.run_batch(host, samples), _limit(graph, target))


def _last_that_shows(graph: Graph, values: Mapping[str, Array], count: int) -> str | None:
    """The last tensor before the scores that depends on the samples; None where there is none."""
    names = [step.outputs[0] for step in reversed(graph.steps) if step.outputs[0] and not step.sources]
    for name in names:
        value = values[name]
        if value.dtype == np.float32 and len(value) == count and value.size and _shows(_rows(value, count)):
            return name
    return None


def _groups(values: Array) -> Array:
    """Rows (N, S) by their scale of noise: (scales, segments, S)."""
    return values.reshape(len(SCALES), SEGMENTS, -1)


def _spread(wanted: Floats) -> tuple[Array, Array]:
    """How far the finite scores of a scale lie apart, and the largest of them, each (scales, 1, 1)."""
    rows = _groups(np.where(np.isfinite(wanted), wanted, 0)).astype(np.float64)
    spread = np.ptp(rows, axis=1, keepdims=True).max(axis=2, keepdims=True, initial=0)
    return spread, np.abs(rows).max(axis=(1, 2), keepdims=True, initial=0)


def _shows(wanted: Floats) -> bool:
    """Whether scores depend on the samples, for one scale at least."""
    spread, largest = _spread(wanted)
    return bool((spread > _LEAST_SPREAD * largest).any())


def _limit(graph: Graph, target: Target) -> float:
    """The largest difference of two scores that is rounding: none where they come from integers."""
    last = next((step.op for step in graph.steps if graph.output_name in step.outputs), None)
    return 0.0 if last is not None and last.op == "DequantizeLinear" else target.parity.float32.max_abs


def _apart(wanted: Floats, found: Floats, limit: float) -> NDArray[np.bool_]:
    """For which segments (N,) the scores (N, S) differ."""
    spread, largest = _spread(wanted)
    rounding = np.clip(limit * spread, _ROUNDING * largest, limit * np.maximum(1, largest)) if limit else 0.0
    with np.errstate(invalid="ignore"):
        near = (np.abs(_groups(wanted) - _groups(found)) <= rounding).reshape(wanted.shape)
    same = (wanted == found) | (np.isnan(wanted) & np.isnan(found))
    return np.asarray(~np.where(np.isfinite(wanted), near, same).all(axis=1))
