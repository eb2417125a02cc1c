"""The answers of a model to segments under each disturbance, and to segments that are no ECG.

N segments, n of a block, T samples.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np

from ecm_edge.base.errors import DatasetError
from ecm_edge.base.progress import track
from ecm_edge.base.records import Record
from ecm_edge.evaluate.disturbances import DISTURBANCES, Block
from ecm_edge.forms import onnx_model

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    from ecm_edge.data.dataset import Dataset
    from ecm_edge.evaluate.disturbances import Samples
    from ecm_edge.forms.onnx_model import Classifier

Answer: TypeAlias = "Callable[[Samples, NDArray[np.int64]], NDArray[np.float32]]"
"""Samples (n, T) made of the segments of rows (n,) to their margins (n,); the rows say whose they are."""

UNDISTURBED = "undisturbed"

FULL_SCALE = 5.0
"""mV: where the amplifier of the segments without an ECG ends; ±5 mV is a monitor's usual range."""

NOT_FINITE = "no model gets it: imports leave it out, and a board's serial line answers label 0 without an inference"

_BLOCK = 500  # segments read at a time


class DegenerateAnswer(Record):
    """The answer to a segment that is not an ECG; a refused one has no label.

    `margin` is None where it is not finite.
    """

    name: str
    label: int | None
    margin: float | None
    refused: str = ""


def by_model(classifier: Classifier) -> Answer:
    """The answers of one model in onnxruntime, whosever the segments are; they raise ModelError where that fails."""
    session = onnx_model.open_session(classifier.proto)
    return lambda samples, _rows: _margins(session, classifier, samples)


def disturbed_margins(
    answer: Answer, dataset: Dataset, rows: NDArray[np.int64], seed: int
) -> dict[str, NDArray[np.float32]]:
    """The margins (N,) of these rows as they are and under each disturbance, by its name.

    Raises:
        DatasetError: a sample that is not finite.
        ModelError: the answer fails.
    """
    margins = {name: np.zeros(len(rows), np.float32) for name in (UNDISTURBED, *DISTURBANCES)}
    for start in track(range(0, len(rows), _BLOCK), "disturb segments"):
        here = slice(start, start + _BLOCK)
        block = Block(np.asarray(dataset.samples[rows[here]]), rows[here], dataset.header.sampling_rate_hz, seed)
        if not np.isfinite(block.samples).all():
            raise DatasetError("segments are finite", f"NaN or infinity in {dataset.folder}", "Leave those out.")
        margins[UNDISTURBED][here] = answer(block.samples, block.rows)
        for name, disturbance in DISTURBANCES.items():
            margins[name][here] = answer(disturbance(block), block.rows)
    return margins


def _margins(session: Any, classifier: Classifier, samples: Samples) -> NDArray[np.float32]:  # noqa: ANN401 - onnxruntime ships no types
    """scores[:, 1] - scores[:, 0] of samples (n, T); NaN where both are infinite."""
    named = [classifier.output_name]
    scores = onnx_model.run_session(session, classifier, samples.astype(np.float32), named)[0].reshape(-1, 2)
    with np.errstate(invalid="ignore", over="ignore"):
        margins: NDArray[np.float32] = scores[:, 1] - scores[:, 0]
    return margins


def labels_of(margins: NDArray[np.float32]) -> NDArray[np.float32]:
    """Margins (N,) reduced to their labels, 1 for AF and -1; a NaN is not AF, so that every figure is defined."""
    return np.where(margins >= 0, np.float32(1), np.float32(-1))


def answer_degenerate(classifier: Classifier, sampling_rate_hz: float) -> list[DegenerateAnswer]:
    """The model's answers to segments without an ECG: all zero, constant, a square wave of 1 Hz, one spike.

    Raises:
        ModelError: onnxruntime fails.
    """
    count = classifier.samples_per_segment
    spike = np.zeros(count, np.float32)
    spike[count // 2] = FULL_SCALE
    square = np.where(np.arange(count) / sampling_rate_hz % 1 < 0.5, FULL_SCALE, -FULL_SCALE)  # noqa: PLR2004 - half
    segments = {
        "all zero": np.zeros(count),
        f"constant, +{FULL_SCALE:g}": np.full(count, FULL_SCALE),
        f"constant, −{FULL_SCALE:g}": np.full(count, -FULL_SCALE),
        f"square of 1 Hz, ±{FULL_SCALE:g}": square,
        f"one spike of +{FULL_SCALE:g}": spike,
    }
    margins = by_model(classifier)(np.stack([*segments.values()]), np.arange(len(segments)))
    answered = [
        DegenerateAnswer(name=name, label=int(margin >= 0), margin=float(margin) if np.isfinite(margin) else None)
        for name, margin in zip(segments, margins, strict=True)
    ]
    refused = [DegenerateAnswer(name=name, label=None, margin=None, refused=NOT_FINITE) for name in ("NaN", "infinity")]
    return [*answered, *refused]
