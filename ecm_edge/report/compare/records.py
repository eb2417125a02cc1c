"""The record of a comparison: models side by side, and each of them against the first.

Models are named by letters, A first. A difference is always the model less A: above 0, the model is better in a figure
of accuracy, and dearer in a cost.
"""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from ecm_edge.base.records import Evidence, Form, Interval, Latency, Provenance, Record, Verdict
from ecm_edge.metrics import GainParts, PairedStatistic
from ecm_edge.registry.contender import Basis
from ecm_edge.report.records import DataFacts

Kind = Literal["candidate", "run", "entry", "file"]


class ComparedModel(Record):
    """One model: its letter, what was given, and what it is.

    path:           as it was given; a run stands for its best candidate, whose number `name` ends in.
    target:         the board that the records in its folder are about; None where none names one, and of a file.
    config_sha256:  and `dataset_sha256`, that of the data set it was made from: None of a file.
    """

    letter: str
    name: str
    path: str
    kind: Kind
    form: Form | None
    family: str | None
    model_sha256: str | None
    config_sha256: str | None
    dataset_sha256: str | None
    target: str | None
    synthetic: bool | None


class FiguresOfRows(Record):
    """What one model answers to the segments of a comparison; None where a ratio is 0 / 0, or was not recorded.

    All but `fbeta_mean` and `g` are of all segments together.
    """

    fbeta_mean: Interval
    g: Interval
    f1: Interval | None
    recall: Interval | None
    specificity: Interval | None
    accuracy: Interval | None
    fbeta_pooled: Interval | None


class SubjectPair(Record):
    """One subject of a comparison: Fβ of the model and of A, and how many segments each of them answers right."""

    subject: str
    segments: int
    positive_segments: int
    fbeta: float
    against_fbeta: float
    right: int
    against_right: int


class PairComparison(Record):
    """A model less A on the same segments, of subjects that neither of them was fitted to.

    evidence:   "answers" to the data set that was given, or the counts by subject "on record".
    source:     of a merged data set; None where the segments are of the whole data set.
    basis:      whether the model itself answered, or the networks of its cross-validation; `against_basis` that of A.
    statistic:  what `difference` is in: points of the board's rule for Fβ and G, or mean Fβ where there is no rule; of
                the Fβ of all segments where most subjects have segments of one class only.
    parts:      how much of the difference is the network's, and how much the threshold's; None where a threshold, or
                what the network answered before it, is not known.
    others:     further differences, by name.
    by_subject: those with the largest difference first; `subjects_left_out` are the rest.
    """

    model: str
    against: str
    evidence: Literal["answers", "on record"]
    source: str | None
    basis: Basis
    against_basis: Basis
    statistic: PairedStatistic
    difference: Interval
    significant: bool | None
    parts: GainParts | None
    others: dict[str, Interval]
    figures: FiguresOfRows
    against_figures: FiguresOfRows
    segments: int
    subjects: int
    positive_subjects: int
    by_subject: list[SubjectPair]
    subjects_left_out: int


class RecordedFigures(Record):
    """What a model's own record says, on the record's own subjects; `source` is None for all of them together."""

    model: str
    file: str
    dataset: str
    part: str
    source: str | None
    subjects: int
    figures: FiguresOfRows


class ModelCost(Record):
    """What a model costs on the board.

    made:   from the model's own "record", "built" and counted here, or "counted" in the graph alone.
    reason: why a figure is missing; empty where all are there.
    """

    model: str
    made: Literal["record", "built", "counted"]
    reason: str
    form: Form | None
    verdict: Verdict
    macs: int | None = None
    parameters: int | None = None
    flash_bytes: int | None = None
    ram_bytes: int | None = None
    stack_bytes: int | None = None
    size_evidence: Evidence | None = None
    instructions: int | None = None
    latency_ms: Latency | None = None


class LayerCost(Record):
    """One layer of one model.

    Instructions are counted in the emulator. Milliseconds are an estimate from them; None where there is none.
    """

    name: str
    macs: int
    instructions: int | None
    ms: float | None
    flash_bytes: int
    live_bytes: int


class LayerRow(Record):
    """Layers of the same kind at the same place, one for each model; None where a model has no such layer."""

    layers: list[LayerCost | None]


class HopOutcome(Record):
    """One step of a chain of `verify`."""

    name: str
    verdict: Verdict
    label_flips: int
    max_abs: float | None
    reason: str


class ModelParity(Record):
    """What verify.json of a model says; `of_model` is whether it is about the model as it lies there now."""

    model: str
    verdict: Verdict
    reason: str
    target: str | None = None
    segments: int | None = None
    of_model: bool | None = None
    hops: list[HopOutcome] = Field(default_factory=list)


class Setting(Record):
    """A parameter whose value is not the same in all candidates; `values` has one for each model, None for none."""

    name: str
    values: list[bool | int | float | str | None]


class NotCompared(Record):
    """What of a model was not compared, and why; `what` is accuracy, parts, sources, cost, parity and the like."""

    model: str
    what: str
    reason: str


class CompareRecord(Record):
    """Models side by side.

    board:        whose images the costs are of; None where no model has one and none was named.
    rule:         the board by whose rule Fβ, G and points are; None where beta is 2 and there are no points.
    label:        the word of the first model's task for a positive segment.
    data:         the data set that was answered; None where accuracy is from what is on record.
    not_compared: everything that could not be compared, with its reason.
    """

    models: list[ComparedModel]
    board: str | None
    rule: str | None
    label: str
    synthetic: bool
    data: DataFacts | None
    accuracy: list[PairComparison]
    recorded: list[RecordedFigures]
    costs: list[ModelCost]
    layers: list[LayerRow]
    parity: list[ModelParity]
    settings: list[Setting]
    not_compared: list[NotCompared]
    notes: list[str]
    provenance: Provenance
