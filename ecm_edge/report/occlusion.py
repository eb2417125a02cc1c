"""Which part of a segment spoke for its wrong answer: each part is hidden in turn, and the model answers again.

A part is hidden by a straight line between its ends. This takes any model, and some ten inferences a second of ECG.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from ecm_edge.forms.onnx_model import run_scores

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from ecm_edge.data.dataset import Dataset
    from ecm_edge.forms.onnx_model import Classifier
    from ecm_edge.report.records import Mistakes

HIDDEN_S = 0.2
_STEP_S = 0.1
_MOST_PARTS = 60  # of a segment: longer segments have longer parts


def explained(mistakes: Mistakes, classifier: Classifier, dataset: Dataset) -> Mistakes:
    """The mistakes with the `parts` of every example, as this model answers.

    Raises:
        ModelError: the model cannot answer these segments.
    """
    rate = dataset.header.sampling_rate_hz
    parts = [
        parts_for(classifier, dataset.samples[one.row], rate, towards=1 if one.is_af else -1)
        for one in mistakes.examples
    ]
    examples = [one.model_copy(update={"parts": part}) for one, part in zip(mistakes.examples, parts, strict=True)]
    return mistakes.model_copy(update={"examples": examples})


def parts_for(
    classifier: Classifier, samples: NDArray[np.float32], sampling_rate_hz: float, *, towards: int
) -> list[float]:
    """By how much the margin goes in one direction, 1 up or -1 down, when each part of samples (T,) is hidden.

    The parts follow each other at equal steps over the whole segment; each is `HIDDEN_S` long or twice the step.
    """
    duration_s = len(samples) / sampling_rate_hz
    count = max(1, min(_MOST_PARTS, math.ceil(duration_s / _STEP_S)))
    edges = np.linspace(0, len(samples), count + 1)  # of the steps, in samples
    reach = max(HIDDEN_S * sampling_rate_hz, 2 * len(samples) / count) / 2
    middles = (edges[:-1] + edges[1:]) / 2
    hidden = [_hide(samples, int(middle - reach), int(middle + reach)) for middle in middles]
    scores = run_scores(classifier, np.stack([samples, *hidden]))  # (1 + count, 2)
    margins = scores[:, 1] - scores[:, 0]
    return [round(float(value), 5) for value in towards * (margins[1:] - margins[0])]


def _hide(samples: NDArray[np.float32], first: int, last: int) -> NDArray[np.float32]:
    """Samples (T,) with a straight line from `first` to `last`, both held inside."""
    first, last = max(first, 0), min(last, len(samples) - 1)
    changed = np.array(samples, np.float32)
    changed[first : last + 1] = np.linspace(samples[first], samples[last], last - first + 1)
    return changed
