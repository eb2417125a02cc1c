"""Timing of ONNX models in onnxruntime on this host: one thread, batch 1, around the inference call alone.

Every timed answer is kept and compared, bit by bit, with an untimed one of the same segment.
"""

from __future__ import annotations

import time
from itertools import cycle
from typing import TYPE_CHECKING

import numpy as np

from ecm_edge.base import machine
from ecm_edge.base.errors import ModelError
from ecm_edge.base.records import Latency
from ecm_edge.forms import onnx_model

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    from ecm_edge.base.records import Evidence
    from ecm_edge.forms.onnx_model import Classifier, Floats


def inference(classifier: Classifier) -> Callable[[Floats], Floats]:
    """One inference as it is timed: a segment in the model's input shape in, the scores out; one thread."""
    session, names = onnx_model.open_session(classifier.proto), [classifier.output_name]

    def run(segment: Floats) -> Floats:
        scores: Floats = session.run(names, {classifier.input_name: segment})[0]
        return scores

    return run


class Timer:
    """Times one model and keeps its answers.

    Raises:
        ModelError: onnxruntime refuses the model, or a score is not finite.
    """

    def __init__(self, classifier: Classifier, segments: Floats) -> None:
        self._run = inference(classifier)
        self._inputs = [np.ascontiguousarray(s).reshape(classifier.input_shape) for s in segments]  # (1, 1, T) or alike
        self._expected = [self._run(segment) for segment in self._inputs]
        self._answers: list[Floats] = []
        self.times_ns: list[int] = []
        if not np.isfinite(self._expected).all():
            scores = f"NaN or infinite ones from {classifier.path}"
            raise ModelError("a model's scores are finite", scores, "Train it again.")

    def warm_up(self, runs: int) -> None:
        """Run without timing."""
        for i in range(runs):
            self._run(self._inputs[i % len(self._inputs)])

    def time(self, runs: int) -> None:
        """Time so many runs; they go on with the segment after the last timed one."""
        for _ in range(runs):
            segment = self._inputs[len(self._answers) % len(self._inputs)]
            begin_ns = time.perf_counter_ns()
            answer = self._run(segment)
            self.times_ns.append(time.perf_counter_ns() - begin_ns)
            self._answers.append(answer)

    def differing(self) -> int:
        """The number of timed answers that are not, bit by bit, the untimed one of the same segment."""
        expected = cycle(self._expected)
        return sum(not np.array_equal(answer, next(expected)) for answer in self._answers)


def summary(times_ms: NDArray[np.float64], evidence: Evidence, source: str, *, warm_ups: int) -> Latency:
    """The figures of the times (runs,) that a clock gave; `source` names whose clock."""
    return Latency(
        evidence=evidence,
        source=source,
        mean_ms=float(times_ms.mean()),
        median_ms=float(np.median(times_ms)),
        p95_ms=float(np.quantile(times_ms, 0.95)),
        min_ms=float(times_ms.min()),
        max_ms=float(times_ms.max()),
        std_ms=float(times_ms.std()),
        runs=times_ms.size,
        warm_ups=warm_ups,
    )


def host() -> str:
    """The processor and runtime of a latency measured here; latencies with equal strings may be compared."""
    import onnxruntime

    return f"{machine.processor()}, onnxruntime {onnxruntime.__version__}, 1 thread, batch 1"
