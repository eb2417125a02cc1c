"""The last hops of a form: from the reference to its C on this host, and from there to the same C on the board.

On the emulated board every score has to be the same to the bit, float or int8: all multiply-adds are explicit.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from ecm_edge import targets
from ecm_edge.base.errors import FirmwareError, ModelError
from ecm_edge.base.records import Verdict, at_least, at_most
from ecm_edge.evaluate.verify import hops, traces
from ecm_edge.evaluate.verify import segments as seg
from ecm_edge.evaluate.verify.layers import SEGMENTS
from ecm_edge.evaluate.verify.records import TO_C, is_this_host, to_target
from ecm_edge.firmware import build, emulate, toolchain

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from ecm_edge.base.records import Form
    from ecm_edge.evaluate.verify.compiled import Workshop
    from ecm_edge.evaluate.verify.forms import FormFile
    from ecm_edge.evaluate.verify.records import Hop, LayerDifference, VerifiedFirmware
    from ecm_edge.evaluate.verify.segments import Segments
    from ecm_edge.forms.onnx_model import Floats
    from ecm_edge.forms.reference import Graph
    from ecm_edge.targets import Target

_LAYER_L2R = 1e-4  # float32 rounding leaves some 1e-6
_HERE = "C on this host"


def cannot_build(target: Target, compiler_of: Target) -> str:
    """The reason why no C of a target can be built with the compiler of another one; empty if it can."""
    if target.firmware is None:
        return f"{target.name} has no [firmware]"
    try:
        toolchain.compiler(build.firmware_of(compiler_of).compiler)
    except FirmwareError as problem:
        return _without_hint(problem)
    return ""


class CHops:
    """The hops of one form's C.

    Args:
        shop: builds it; begins now unless nothing is to be compared.
        form: its name.
        file: its ONNX file.
        target: the board.
        segments: for the host.
        unwanted: the reason to compare nothing; empty if there is none.
        emulated: the largest number of segments for the emulator.
        ship: whether the image for the board is built too.
    """

    def __init__(
        self,
        shop: Workshop,
        form: Form,
        file: FormFile,
        target: Target,
        segments: Segments,
        unwanted: str,
        *,
        emulated: int,
        ship: bool,
    ) -> None:
        self._segments, self._target = segments, target
        self._no_c = unwanted or file.missing or cannot_build(target, targets.load("host"))
        self._compiled = shop.compiled(form, file, target, segments, ship=ship, begin=not self._no_c)
        self._chosen, self._few = seg.positions(segments, emulated), seg.few(segments, emulated)

    def verified(self) -> VerifiedFirmware | None:
        """What was built; None where nothing was."""
        return self._compiled.verified()

    @property
    def steps(self) -> list[Callable[[], Hop]]:
        """The hops, in order; on a target that is this host the first one is the last."""
        return [self.on_host] if is_this_host(self._target) else [self.on_host, self.on_target]

    def on_host(self) -> Hop:
        """The reference against C on this host, on all segments."""
        compiled, file = self._compiled, self._compiled.file
        name, sides = TO_C[compiled.form], (f"{file.path.name} in the reference", _HERE)
        if self._no_c:
            return hops.skipped(name, sides, self._no_c)
        if isinstance(file.graph, str):
            return hops.skipped(name, sides, file.graph)
        if isinstance(file.judged, str):
            return hops.failed(name, sides, file.judged)
        try:
            scores = (file.judged, compiled.host_scores)
            compare = self._exact if compiled.form == "int8" else self._close
            return compare(name, sides, scores, file.graph)
        except (ModelError, FirmwareError) as problem:
            return hops.failed(name, sides, _without_hint(problem))

    def on_target(self) -> Hop:
        """C on this host against the same C on the emulated board, on some segments."""
        target = self._target
        name, sides = to_target(self._compiled.form, target.name), (_HERE, f"C on {target.name}, emulated")
        if reason := self._no_c or cannot_build(target, target) or _no_emulator(target):
            return hops.skipped(name, sides, reason)
        try:
            here = self._compiled.host_scores[self._chosen]
            there = self._compiled.emulated_scores(self._few.samples)
            return hops.exact_hop(
                name, sides, (here, there), self._few, locate=lambda: self._between_cores(here, there)
            )
        except (ModelError, FirmwareError) as problem:
            return hops.failed(name, sides, _without_hint(problem))

    def _close(self, name: str, sides: tuple[str, str], scores: tuple[Floats, Floats], graph: Graph) -> Hop:
        """Floats: the target's thresholds for float32, also for weights that are stored as float16."""
        limits = self._target.parity.float32

        def locate() -> list[LayerDifference]:
            worst = _worst(*scores, SEGMENTS)
            return traces.differences(self._with_reference(graph, worst), self._names(worst))

        return hops.float_hop(name, sides, scores, self._segments, limits, locate=locate, layer_l2r=_LAYER_L2R)

    def _exact(self, name: str, sides: tuple[str, str], scores: tuple[Floats, Floats], graph: Graph) -> Hop:
        """Integers: equal bytes in every layer that C keeps, and scores equal to the bit if they are quantised."""
        chosen = seg.positions(self._segments, hops.LAYER_SEGMENTS)
        pairs = self._with_reference(graph, chosen) if len(chosen) else []
        layers = traces.integer_layers(pairs)
        wrong = sum(layer.mismatches for layer in layers)
        of = f"of {len(graph.quantised)} quantised tensors; the others exist inside fused layers only"
        gates = [
            at_least("layers_compared", len(layers), 1, "tensors", of),
            at_most("layer_bytes_differing", wrong, 0, "B"),
        ]

        def locate() -> LayerDifference | None:
            where = chosen if wrong else _worst(*scores, SEGMENTS)
            seen = pairs if wrong else self._with_reference(graph, where)
            integers = [pair for pair in seen if pair.is_integer]
            return traces.first_to_differ(integers, self._names(where)) or traces.first_to_differ(
                seen, self._names(where)
            )

        if hops.score_step(graph) is None:  # the end of the graph is float, and so is its rounding
            limits, l2r = self._target.parity.float32, _LAYER_L2R
            hop = hops.float_hop(
                name, sides, scores, self._segments, limits, other_gates=gates, locate=list, layer_l2r=l2r
            )
            if hop.verdict == Verdict.FAIL and len(self._segments.samples):
                hop = hop.model_copy(update={"first_diverging": locate()})
        else:
            hop = hops.exact_hop(name, sides, scores, self._segments, locate=locate, other_gates=gates)
        return hop.model_copy(update={"layers": layers, "layer_segments": len(chosen)})

    def _with_reference(self, graph: Graph, chosen: np.ndarray) -> list[traces.Pair]:
        samples = self._segments.samples[chosen]
        shown = self._compiled.shown(self._compiled.host_trace(), samples)
        return traces.with_reference(self._compiled.sources().generated, graph, samples, shown)

    def _between_cores(self, here: Floats, there: Floats) -> LayerDifference | None:
        """The first tensor that two trace builds do not show alike."""
        worst = _worst(here, there, SEGMENTS)
        samples, compiled = self._few.samples[worst], self._compiled
        host, board = (compiled.shown(image(), samples) for image in (compiled.host_trace, compiled.emulated_trace))
        pairs = traces.between_cores(compiled.sources().generated, host, board)
        return traces.first_to_differ(pairs, [self._few.names[row] for row in worst])

    def _names(self, chosen: Sequence[int] | np.ndarray) -> list[str]:
        return [self._segments.names[row] for row in chosen]


def _no_emulator(target: Target) -> str:
    missing = emulate.available(target)
    return missing.reason if missing else ""


def _worst(reference: Floats, other: Floats, count: int) -> np.ndarray:
    """Positions of the segments whose scores (n, S) differ most, those that are no numbers first."""
    with np.errstate(invalid="ignore"):
        apart = np.abs(reference - other).max(axis=1)
    return np.argsort(-np.where(np.isnan(apart), np.inf, apart), kind="stable")[:count]


def _without_hint(problem: ModelError | FirmwareError) -> str:
    """The text of an error without its hint, which names a temporary folder."""
    return f"{problem.rule}; found {problem.found}"
