"""Robustness: what a model answers when its input is not as clean as a data set's.

The same segments are answered as they are and under each disturbance: units, gain, sign, offset, noise, faults of
electrode and amplifier, recorders of another rate. N segments, n of a block, T samples; σ is a segment's own standard
deviation. Noise is drawn anew for each segment, by seed, row and kind: two strengths of a kind differ in nothing else.
"""

from __future__ import annotations

import math
import zlib
from dataclasses import dataclass
from fractions import Fraction
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

import numpy as np

from ecm_edge import metrics
from ecm_edge.base import files, provenance
from ecm_edge.base.errors import DatasetError
from ecm_edge.base.records import Form, Gate, Interval, Provenance, Record, Verdict, at_most, verdict_of_what_ran
from ecm_edge.base.tables import track
from ecm_edge.candidate.row_sampling import spread
from ecm_edge.data import disturb
from ecm_edge.evaluate import score
from ecm_edge.evaluate.score import Part, Subjects
from ecm_edge.forms import onnx_model
from ecm_edge.forms.model_file import open_model
from ecm_edge.metrics.rows import score_rows

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from numpy.typing import NDArray

    from ecm_edge.data.dataset import Dataset
    from ecm_edge.forms.onnx_model import Classifier, Floats
    from ecm_edge.metrics import Scores
    from ecm_edge.targets import Target

    Samples = NDArray[np.floating[Any]]
    Noise = Callable[[np.random.Generator, int, float], Samples]

ROBUSTNESS = "robustness.json"
SEGMENTS = 5000
"""So many segments are disturbed, unless others are asked for."""

UNDISTURBED = "undisturbed"
CLIP_AT = 0.6
"""Where the amplifier clips: this share of a segment's largest deviation from its median."""

FULL_SCALE = 5.0
"""mV: where the degenerate segments' amplifier ends; ±5 mV is a monitor's usual range."""

NOT_FINITE = "no model gets it: imports leave it out, and a board's serial line answers label 0 without an inference"

_BLOCK = 500  # segments read at a time
_CUT_OUT_S = 1.0


class RobustnessRow(Record):
    """The figures of all segments under one disturbance; the first row is of the segments as they are.

    labels_changed, share_changed: segments whose label differs from the undisturbed answer.
    fbeta_change:                  mean Fβ less the undisturbed one, the same resampled subjects on both sides.
    not_finite:                    answers that were NaN or infinite; a NaN counts as not AF, as it does on the board.
    """

    name: str
    fbeta_mean: Interval
    fbeta_change: Interval
    g: Interval
    f1: Interval | None
    sensitivity: Interval | None
    specificity: Interval | None
    labels_changed: int
    share_changed: float
    not_finite: int


class RhythmAnswers(Record):
    """The undisturbed segments of one rhythm ("blank" where it had no name) and one label; ratios as in RhythmScore."""

    rhythm: str
    label: int
    subjects: int
    segments: int
    called_af: int
    sensitivity: Interval | None
    specificity: Interval | None


class DegenerateAnswer(Record):
    """What a segment that is no ECG is answered; `margin` is None where not finite, both where it is refused."""

    name: str
    label: int | None
    margin: float | None
    refused: str = ""


class RobustnessRecord(Record):
    """A model under disturbances; `verdict` is FAIL if any of its answers was not finite.

    part, trained_on, warnings: as in ScoreRecord. segments: scored under each disturbance, evenly spread over subjects.
    """

    verdict: Verdict
    gates: list[Gate]
    model: str
    model_sha256: str
    form: Form | None
    config_sha256: str | None
    target: str | None
    dataset: str
    dataset_sha256: str
    synthetic: bool
    blank: str
    part: Part | Literal["chosen"]
    trained_on: list[str] | None
    warnings: list[str]
    seed: int
    segments: int
    subjects: int
    beta: float
    good_subject_above: float
    rows: list[RobustnessRow]
    by_rhythm: list[RhythmAnswers]
    degenerate: list[DegenerateAnswer]
    provenance: Provenance


@dataclass(frozen=True)
class Block:
    """Segments (n, T) to be disturbed, and their rows (n,) in the data set, which with `seed` decide on their noise."""

    samples: Floats
    rows: NDArray[np.int64]
    sampling_rate_hz: float
    seed: int

    def generators(self, kind: str) -> list[np.random.Generator]:
        """One for each segment; the same for the same seed, row and kind."""
        return [np.random.default_rng([self.seed, int(row), zlib.crc32(kind.encode())]) for row in self.rows]


Disturbance: TypeAlias = "Callable[[Block], Samples]"
"""A block to its disturbed samples, (n, T)."""


def check_robustness(
    path: Path,
    dataset: Dataset,
    *,
    target: Target | None = None,
    subjects: Subjects | None = None,
    form: Form = "float32",
    segments: int = SEGMENTS,
    seed: int = 0,
) -> RobustnessRecord:
    """Score a candidate's folder or any ONNX file under every disturbance; a block of segments is in memory at a time.

    Args:
        path: the folder, or the file.
        dataset: the segments; unlabelled ones are left out.
        target: gives beta and the limit of G.
        subjects: by default those that `score` takes.
        form: which form of a candidate; a file is what it is.
        segments: at most so many, evenly spread over the subjects.
        seed: of the noise.

    Raises:
        CandidateError: the folder is no candidate or lacks the form.
        ModelError: the file is not a classifier of these segments.
        DatasetError: no labelled segment among the subjects, an unknown subject, a part of a split that the data set
            does not have, or a sample that is not finite.
    """
    model = open_model(path, form)
    if subjects is None:
        subjects = score.default_subjects(model, dataset)
    rows = spread(dataset, dataset.rows_of(score.subject_names(subjects, model, dataset)), segments)
    answers = _answers(model.classifier, dataset, rows, seed)
    table = [_row(name, answers, dataset, rows, target) for name in answers]
    undisturbed = _labels(answers[UNDISTURBED])
    clean = score_rows(undisturbed, dataset, rows, target)
    degenerate = answer_degenerate(model.classifier, dataset.header.sampling_rate_hz)
    gates = [
        at_most("answers_not_finite", sum(row.not_finite for row in table), 0, "answers"),
        at_most("degenerate_not_finite", sum(a.margin is None and not a.refused for a in degenerate), 0, "answers"),
    ]
    seen = score.trained_on(model, dataset, [subject.subject for subject in clean.by_subject])
    return RobustnessRecord(
        verdict=verdict_of_what_ran(gates),
        gates=gates,
        model=model.path.name,
        model_sha256=files.sha256_file(model.path),
        form=model.form,
        config_sha256=model.config.sha256 if model.config else None,
        target=target.name if target else None,
        dataset=dataset.folder.name,
        dataset_sha256=dataset.header.content_sha256,
        synthetic=dataset.header.synthetic or score.is_synthetic(model),
        blank=dataset.header.blank,
        part="chosen" if isinstance(subjects, list) else subjects,
        trained_on=seen,
        warnings=score.warnings_of(seen, clean),
        seed=seed,
        segments=len(rows),
        subjects=clean.subjects,
        beta=clean.beta,
        good_subject_above=clean.good_subject_above,
        rows=table,
        by_rhythm=_by_rhythm(undisturbed, dataset, rows, clean),
        degenerate=degenerate,
        provenance=provenance.collect(),
    )


def scaled(factor: float, offset: float = 0.0) -> Disturbance:
    """Another unit, gain or sign, and an offset in σ."""
    return lambda block: block.samples * np.float32(factor) + offset * _deviation(block)


def added(kind: str, strength: float, noise: Noise) -> Disturbance:
    """Noise of `strength` σ; `noise` gives (T,) of unit standard deviation."""

    def disturbance(block: Block) -> Samples:
        count, rate = block.samples.shape[1], block.sampling_rate_hz
        drawn = [noise(generator, count, rate) for generator in block.generators(kind)]
        return block.samples + strength * _deviation(block) * np.stack(drawn)

    return disturbance


def mains(frequency_hz: float) -> Noise:
    """The hum of one mains frequency; `disturb.hum` draws one of the two."""

    def hum(generator: np.random.Generator, samples: int, sampling_rate_hz: float) -> Samples:
        cycles = frequency_hz * np.arange(samples) / sampling_rate_hz + generator.uniform()
        wave: Samples = math.sqrt(2) * np.sin(2 * np.pi * cycles)
        return wave

    return hum


def clipped(block: Block) -> Samples:
    """Held within `CLIP_AT` of the largest deviation from the median."""
    middle = np.median(block.samples, axis=1, keepdims=True)
    most = CLIP_AT * np.abs(block.samples - middle).max(axis=1, keepdims=True)
    return np.clip(block.samples, middle - most, middle + most)


def recorded_at(rate_hz: float) -> Disturbance:
    """Resampled, polyphase, to a recorder's rate and back; what lies above half of it is lost."""

    def disturbance(block: Block) -> Samples:
        from scipy import signal

        ratio = Fraction(rate_hz / block.sampling_rate_hz).limit_denominator(10_000)
        up, down, count = ratio.numerator, ratio.denominator, block.samples.shape[1]
        there = signal.resample_poly(block.samples.astype(np.float64), up, down, axis=1, padtype="line")
        back: Samples = signal.resample_poly(there, down, up, axis=1, padtype="line")
        return back[:, :count]

    return disturbance


def cut_out(block: Block) -> Samples:
    """One second, anywhere, flat at the value before it; all of a segment that is shorter."""
    found = block.samples.copy()
    length = min(found.shape[1], round(_CUT_OUT_S * block.sampling_rate_hz))
    for segment, generator in zip(found, block.generators("cut out"), strict=True):
        start = int(generator.integers(found.shape[1] - length + 1))
        segment[start : start + length] = segment[start]
    return found


DISTURBANCES: dict[str, Disturbance] = {
    "µV for mV (×1000)": scaled(1000.0),
    "V for mV (×0.001)": scaled(0.001),
    "gain ×0.5": scaled(0.5),
    "gain ×2": scaled(2.0),
    "inverted leads": scaled(-1.0),
    "DC offset, 10 σ": scaled(1.0, offset=10.0),
    "baseline wander, 0.5 σ": added("wander", 0.5, disturb.wander),
    "baseline wander, 1 σ": added("wander", 1.0, disturb.wander),
    "50 Hz hum, 0.2 σ": added("hum", 0.2, mains(50.0)),
    "50 Hz hum, 0.5 σ": added("hum", 0.5, mains(50.0)),
    "60 Hz hum, 0.2 σ": added("hum", 0.2, mains(60.0)),
    "60 Hz hum, 0.5 σ": added("hum", 0.5, mains(60.0)),
    "white noise, 0.1 σ": added("white", 0.1, disturb.white),
    "white noise, 0.3 σ": added("white", 0.3, disturb.white),
    "muscle noise, 0.3 σ": added("muscle", 0.3, disturb.muscle),
    "motion, 1 σ": added("motion", 1.0, disturb.motion),
    "steps, 1 σ": added("steps", 1.0, disturb.steps),
    "in-band noise, 0.5 σ": added("in_band", 0.5, disturb.in_band),
    f"clipped at {CLIP_AT:.0%}": clipped,
    "recorded at 125 Hz": recorded_at(125.0),
    "recorded at 200 Hz": recorded_at(200.0),
    "recorded at 360 Hz": recorded_at(360.0),
    "recorded at 500 Hz": recorded_at(500.0),
    "cut out for 1 s": cut_out,
}
"""Every disturbance by its name, in the order of the table."""


def answer_degenerate(classifier: Classifier, sampling_rate_hz: float) -> list[DegenerateAnswer]:
    """What the model answers where there is no ECG: nothing, one level, a clipped square wave of 1 Hz, one spike.

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
    margins = _margins(onnx_model.open_session(classifier.proto), classifier, np.stack([*segments.values()]))
    answered = [
        DegenerateAnswer(name=name, label=int(margin >= 0), margin=float(margin) if np.isfinite(margin) else None)
        for name, margin in zip(segments, margins, strict=True)
    ]
    refused = [DegenerateAnswer(name=name, label=None, margin=None, refused=NOT_FINITE) for name in ("NaN", "infinity")]
    return [*answered, *refused]


def _answers(
    classifier: Classifier, dataset: Dataset, rows: NDArray[np.int64], seed: int
) -> dict[str, NDArray[np.float32]]:
    """The margins (N,) of these rows as they are and under each disturbance."""
    session = onnx_model.open_session(classifier.proto)
    found = {name: np.zeros(len(rows), np.float32) for name in (UNDISTURBED, *DISTURBANCES)}
    for start in track(range(0, len(rows), _BLOCK), f"disturbing {classifier.path.name}"):
        here = slice(start, start + _BLOCK)
        block = Block(np.asarray(dataset.samples[rows[here]]), rows[here], dataset.header.sampling_rate_hz, seed)
        if not np.isfinite(block.samples).all():
            raise DatasetError("segments are finite", f"NaN or infinity in {dataset.folder}", "Leave those out.")
        found[UNDISTURBED][here] = _margins(session, classifier, block.samples)
        for name, disturbance in DISTURBANCES.items():
            found[name][here] = _margins(session, classifier, disturbance(block))
    return found


def _margins(session: Any, classifier: Classifier, samples: Samples) -> NDArray[np.float32]:  # noqa: ANN401 - onnxruntime ships no types
    """scores[:, 1] - scores[:, 0] of samples (n, T); NaN where both are infinite."""
    named = [classifier.output_name]
    scores = onnx_model.run_session(session, classifier, samples.astype(np.float32), named)[0].reshape(-1, 2)
    with np.errstate(invalid="ignore", over="ignore"):
        margins: NDArray[np.float32] = scores[:, 1] - scores[:, 0]
    return margins


def _row(
    name: str,
    answers: dict[str, NDArray[np.float32]],
    dataset: Dataset,
    rows: NDArray[np.int64],
    target: Target | None,
) -> RobustnessRow:
    clean, called = _labels(answers[UNDISTURBED]), _labels(answers[name])
    scores = score_rows(called, dataset, rows, target)
    changed = int((called != clean).sum())
    labels, subjects = dataset.labels[rows], dataset.subject_names(rows)
    rule = target.score if target else None
    return RobustnessRow(
        name=name,
        fbeta_mean=scores.fbeta_mean,
        fbeta_change=metrics.paired_difference(labels, called, clean, subjects, "fbeta_mean", rule=rule),
        g=scores.g,
        f1=scores.f1,
        sensitivity=scores.recall,
        specificity=scores.specificity,
        labels_changed=changed,
        share_changed=changed / len(rows),
        not_finite=int((~np.isfinite(answers[name])).sum()),
    )


def _labels(margins: NDArray[np.float32]) -> NDArray[np.float32]:
    """Margins (N,) reduced to what they decide, 1 or -1: a NaN is no AF, and every figure stays defined."""
    return np.where(margins >= 0, np.float32(1), np.float32(-1))


def _by_rhythm(
    margins: NDArray[np.float32], dataset: Dataset, rows: NDArray[np.int64], scores: Scores
) -> list[RhythmAnswers]:
    """The rhythms that `scores` found in these rows, with intervals by resampling their subjects."""
    labels = dataset.labels[rows]
    rhythms = np.array([name or "blank" for name in dataset.header.rhythms])[dataset.table["rhythm"][rows]]
    found = []
    for known in scores.by_rhythm:
        chosen = (rhythms == known.rhythm) & (labels == known.label)
        own = score_rows(margins[chosen], dataset, rows[chosen], None)
        answers = known.model_dump(exclude={"sensitivity", "specificity"})
        found.append(RhythmAnswers(**answers, sensitivity=own.recall, specificity=own.specificity))
    return found


def _deviation(block: Block) -> NDArray[np.float32]:
    """σ of each segment, (n, 1)."""
    deviation: NDArray[np.float32] = block.samples.std(axis=1, keepdims=True)
    return deviation
