"""The record of a report: the records of every stage, and what follows from them together."""

from __future__ import annotations

from pydantic import Field, RootModel

from ecm_edge.base.records import Form, Gate, Provenance, Record, Verdict
from ecm_edge.candidate.candidate import CandidateConfig
from ecm_edge.evaluate.bench import BenchRecord
from ecm_edge.evaluate.external import Origin
from ecm_edge.evaluate.score import ScoreRecord
from ecm_edge.evaluate.verify.records import VerifyRecord
from ecm_edge.firmware.fit_records import FirmwareRecord
from ecm_edge.forms.export_records import ExportRecord
from ecm_edge.forms.gate import CostRecord
from ecm_edge.forms.quantize import QuantizeRecord
from ecm_edge.forms.simplify import SimplifyRecord
from ecm_edge.metrics.curves import Curves
from ecm_edge.registry.events import Event
from ecm_edge.registry.registry import HistoryRecord
from ecm_edge.search.runs import SearchRecord, SearchSettings
from ecm_edge.training.out_of_fold import CrossValidationRecord
from ecm_edge.training.train import TrainingRecord


class StageRecords(Record):
    """The records that lie in a candidate's folder; None where a stage has not run.

    `folds` is there only if the candidate was also measured out of fold.
    """

    cost: CostRecord | None
    training: TrainingRecord | None
    export: ExportRecord | None
    simplify: SimplifyRecord | None
    quantize: QuantizeRecord | None
    verify: VerifyRecord | None
    firmware: FirmwareRecord | None
    bench: BenchRecord | None
    score: ScoreRecord | None
    folds: CrossValidationRecord | None


class Stage(Record):
    """One stage and its outcome.

    `verdict` is None where the stage ran and has no gates of its own. `command` runs a stage that has not run.
    """

    name: str
    verdict: Verdict | None
    detail: str
    gates: list[Gate]
    command: str | None = None


class DataFacts(Record):
    """The data set that the report was made with; `unit` is that of a sample, or "unstated"."""

    name: str
    content_sha256: str
    synthetic: bool
    source: str
    unit: str
    sampling_rate_hz: float
    segments: int
    subjects: int
    blank: str


class Mistake(Record):
    """One segment with a wrong answer; `margin` is scores[1] - scores[0], AF where it is at least 0.

    `parts` are equal steps over the segment: by how much the margin moves towards the right answer when that part is
    hidden (`report/occlusion.py`); empty where no model was at hand.
    """

    row: int
    name: str
    subject: str
    rhythm: str
    is_af: bool
    margin: float
    parts: list[float] = Field(default_factory=list)


class Mistakes(Record):
    """The wrong answers in numbers, and the most confident ones of both kinds.

    They are those of the model on its test subjects, or of its recipe out of fold where it has none; on a data set that
    it was not made from, those of all subjects. `form` is absent where an ONNX file does not say it.
    """

    form: Form | None
    segments: int
    missed_af: int
    false_alarms: int
    examples: list[Mistake]


class RunRecords(Record):
    """The search that a candidate is the best of."""

    settings: SearchSettings
    summary: SearchRecord


class ReportRecord(Record):
    """Everything on the page.

    `verdict` is FAIL if any stage failed, NOT RUN if any has not run, else PASS; the promotion stands for itself, as
    a sound candidate may be refused for not being better. `decision` is the last one about exactly this candidate's
    files; `history` is that of its target. `curves` are of the answers that `mistakes` are of; None where there are
    none, or one class only.
    """

    verdict: Verdict
    candidate: str
    target: str | None
    synthetic: bool
    form: Form
    model_sha256: dict[Form, str]
    config: CandidateConfig
    config_sha256: str
    data: DataFacts
    stages: list[Stage]
    promotion: Stage
    records: StageRecords
    mistakes: Mistakes | None
    curves: Curves | None = None
    run: RunRecords | None
    decision: Event | None
    history: HistoryRecord | None
    provenance: Provenance


class ValidationRecord(Record):
    """Everything on the page about a model on a data set that it was not made from.

    `origin` says whether that data set is external to the model. `curves` are absent where there is one class only.
    """

    model: str
    target: str | None
    synthetic: bool
    data: DataFacts
    origin: Origin
    score: ScoreRecord
    mistakes: Mistakes
    curves: Curves | None = None
    provenance: Provenance


class AnyReport(RootModel[ReportRecord | ValidationRecord]):
    """What `ecm-edge report` prints: the record of either page."""
