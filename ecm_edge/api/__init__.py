"""The verbs of the command line as typed functions, for Python and notebooks.

A path may be text; a board, a task and a search space may be a name; a data set may be its folder's path; and a run's
folder stands for its best candidate. Four subjects of synthetic ECG, to try it:

    >>> from ecm_edge import api
    >>> api.synthesise("af", subjects=4, seed=1)
    <SynthRecord path='af' format='dataset' subjects=4 segments=160>
    >>> api.info("af").header.subjects
    ['P0', 'P1', 'P2', 'P3']
    >>> api.load_target("loongson-2k0500")
    <Target name='loongson-2k0500' title='Loongson 2K0500 (IESD-2024 contest board)'>

With ten times as many, in minutes, a search, and questions about its best candidate:

    >>> run = api.search("af", "loongson-2k0500", "run", space="quick", trials=2)  # doctest: +SKIP
    >>> run.plot()  # doctest: +SKIP
    >>> api.score("run", "af", target="loongson-2k0500").to_frame("by_rhythm")  # doctest: +SKIP
    >>> api.fit("run", "nucleo-l432kc").verdict is api.Verdict.PASS  # doctest: +SKIP

Every verb gives back a record. In a notebook it shows itself as a table; `to_frame()` makes a pandas table of it, and
`plot()`, where there is something to draw, a matplotlib figure. Whatever is wrong with an argument is an
`EcmEdgeError` with the rule, what was found, and what to do next.

    given.py        what arguments may be, and what becomes of them
    datasets.py     tasks, boards and data sets
    searches.py     the search for a candidate
    candidates.py   one candidate: training, ONNX and its other forms
    evaluation.py   verify, score, robustness, bench
    answering.py    answers to recordings, and those of a board
    images.py       fit, C, images and bundles
    decisions.py    the registry, the comparison, the report and the model card

Importing this package imports none of the heavy libraries: each verb imports what it needs when it is called.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

from ecm_edge.api.answering import episodes, measure, predict
from ecm_edge.api.candidates import (
    configure,
    cross_validate,
    export,
    gate,
    load_classifier,
    load_network,
    locate,
    noise_samples,
    quantize,
    quantize_file,
    read_samples,
    simplify,
    simplify_file,
    train,
)
from ecm_edge.api.datasets import (
    assign_folds,
    assign_folds_by_source,
    audit,
    check_content,
    import_recordings,
    info,
    load_target,
    load_task,
    merge,
    open_dataset,
    synthesise,
    targets,
    tasks,
)
from ecm_edge.api.decisions import card, check_registry, compare, history, promote, report, rollback
from ecm_edge.api.evaluation import bench, robustness, score, score_out_of_fold, verify, verify_model
from ecm_edge.api.images import (
    build_firmware,
    build_model,
    bundle,
    doctor,
    fit,
    generate_firmware,
    rank_boards,
    serve,
    sign_firmware,
    trust,
    verify_bundle,
)
from ecm_edge.api.searches import default_settings, load_space, pull, resume_search, scale, search, start_search, work

if TYPE_CHECKING:
    from ecm_edge.base.errors import (
        CandidateError,
        DatasetError,
        EcmEdgeError,
        FirmwareError,
        ModelError,
        OutputError,
        RecordingError,
        RegistryError,
        SearchError,
        SpaceError,
        TargetError,
        TaskError,
        TrustError,
    )
    from ecm_edge.base.records import Form, Gate, Interval, Latency, Record, Verdict
    from ecm_edge.base.trust_list import TrustRecord
    from ecm_edge.candidate.candidate import CandidateConfig
    from ecm_edge.candidate.space import Space
    from ecm_edge.candidate.training_config import TrainingConfig
    from ecm_edge.data.audit import AuditRecord
    from ecm_edge.data.dataset import Blank, Dataset
    from ecm_edge.data.info import InfoRecord
    from ecm_edge.data.merge import MergeRecord
    from ecm_edge.data.merge.agreement import MergeRules
    from ecm_edge.data.recordings.formats import Format
    from ecm_edge.data.recordings.importer import ImportRecord, OnError
    from ecm_edge.data.recordings.options import Options
    from ecm_edge.data.rhythms import RhythmRules
    from ecm_edge.data.splits import FoldAssignment, Split
    from ecm_edge.data.synthetic import SynthFormat, SynthRecord
    from ecm_edge.evaluate.bench import BenchRecord
    from ecm_edge.evaluate.episodes import EpisodesRecord, Reference, Rule
    from ecm_edge.evaluate.exchange import LineOptions
    from ecm_edge.evaluate.measure import MeasureRecord
    from ecm_edge.evaluate.predict import PredictRecord
    from ecm_edge.evaluate.robustness import RobustnessRecord
    from ecm_edge.evaluate.score import ScoreRecord, Subjects
    from ecm_edge.evaluate.verify import VerifyRecord
    from ecm_edge.firmware.boards import BoardFit, BoardRanking
    from ecm_edge.firmware.doctor import DoctorRecord
    from ecm_edge.firmware.fit_records import FirmwareRecord, FitRecord, FormFit
    from ecm_edge.firmware.mcuboot import McubootRecord
    from ecm_edge.firmware.serve import Board
    from ecm_edge.firmware.sources import GenerateRecord
    from ecm_edge.forms.export_records import ExportResult
    from ecm_edge.forms.gate import CostRecord
    from ecm_edge.forms.model_file import ModelFile
    from ecm_edge.forms.onnx_model import Classifier
    from ecm_edge.forms.quantize import QuantizeRecord
    from ecm_edge.forms.sample_file import Samples
    from ecm_edge.forms.simplify import SimplifyRecord
    from ecm_edge.metrics import Calibration, Objective, Scores
    from ecm_edge.registry.bundle import BundleRecord
    from ecm_edge.registry.check import RegistryCheck
    from ecm_edge.registry.decision import PromoteRecord
    from ecm_edge.registry.events import Event
    from ecm_edge.registry.registry import HistoryRecord, RegistryHistory
    from ecm_edge.registry.signatures import SignatureRecord
    from ecm_edge.report.compare import CompareRecord
    from ecm_edge.report.model_card import CardRecord
    from ecm_edge.report.records import ReportRecord, ValidationRecord
    from ecm_edge.search.pull import PulledTrial, PullRecord, TrialChoice
    from ecm_edge.search.runs import SearchRecord, SearchSettings, WorkerRecord
    from ecm_edge.search.scale import ScaleRecord
    from ecm_edge.search.train_one import TrainResult
    from ecm_edge.search.trial_record import TrialRecord
    from ecm_edge.targets import Target, TargetList
    from ecm_edge.tasks import Task, TaskList
    from ecm_edge.training.epochs import Epoch
    from ecm_edge.training.fold_margins import Progress
    from ecm_edge.training.out_of_fold import OutOfFold
    from ecm_edge.training.train import TrainingRecord

RECORDS = {
    "ecm_edge.base.errors": [
        "CandidateError",
        "DatasetError",
        "EcmEdgeError",
        "FirmwareError",
        "ModelError",
        "OutputError",
        "RecordingError",
        "RegistryError",
        "SearchError",
        "SpaceError",
        "TargetError",
        "TaskError",
        "TrustError",
    ],
    "ecm_edge.base.records": ["Form", "Gate", "Interval", "Latency", "Record", "Verdict"],
    "ecm_edge.base.trust_list": ["TrustRecord"],
    "ecm_edge.candidate.candidate": ["CandidateConfig"],
    "ecm_edge.candidate.space": ["Space"],
    "ecm_edge.candidate.training_config": ["TrainingConfig"],
    "ecm_edge.data.audit": ["AuditRecord"],
    "ecm_edge.data.dataset": ["Blank", "Dataset"],
    "ecm_edge.data.info": ["InfoRecord"],
    "ecm_edge.data.merge": ["MergeRecord"],
    "ecm_edge.data.merge.agreement": ["MergeRules"],
    "ecm_edge.data.recordings.formats": ["Format"],
    "ecm_edge.data.recordings.importer": ["ImportRecord", "OnError"],
    "ecm_edge.data.recordings.options": ["Options"],
    "ecm_edge.data.rhythms": ["RhythmRules"],
    "ecm_edge.data.splits": ["FoldAssignment", "Split"],
    "ecm_edge.data.synthetic": ["SynthFormat", "SynthRecord"],
    "ecm_edge.evaluate.bench": ["BenchRecord"],
    "ecm_edge.evaluate.episodes": ["EpisodesRecord", "Reference", "Rule"],
    "ecm_edge.evaluate.exchange": ["LineOptions"],
    "ecm_edge.evaluate.measure": ["MeasureRecord"],
    "ecm_edge.evaluate.predict": ["PredictRecord"],
    "ecm_edge.evaluate.robustness": ["RobustnessRecord"],
    "ecm_edge.evaluate.score": ["ScoreRecord", "Subjects"],
    "ecm_edge.evaluate.verify": ["VerifyRecord"],
    "ecm_edge.firmware.boards": ["BoardFit", "BoardRanking"],
    "ecm_edge.firmware.doctor": ["DoctorRecord"],
    "ecm_edge.firmware.fit_records": ["FirmwareRecord", "FitRecord", "FormFit"],
    "ecm_edge.firmware.serve": ["Board"],
    "ecm_edge.firmware.sources": ["GenerateRecord"],
    "ecm_edge.forms.export_records": ["ExportResult"],
    "ecm_edge.forms.gate": ["CostRecord"],
    "ecm_edge.forms.model_file": ["ModelFile"],
    "ecm_edge.forms.onnx_model": ["Classifier"],
    "ecm_edge.forms.quantize": ["QuantizeRecord"],
    "ecm_edge.forms.sample_file": ["Samples"],
    "ecm_edge.forms.simplify": ["SimplifyRecord"],
    "ecm_edge.metrics": ["Calibration", "Objective", "Scores"],
    "ecm_edge.firmware.mcuboot": ["McubootRecord"],
    "ecm_edge.registry.bundle": ["BundleRecord"],
    "ecm_edge.registry.check": ["RegistryCheck"],
    "ecm_edge.registry.decision": ["PromoteRecord"],
    "ecm_edge.registry.events": ["Event"],
    "ecm_edge.registry.registry": ["HistoryRecord", "RegistryHistory"],
    "ecm_edge.registry.signatures": ["SignatureRecord"],
    "ecm_edge.report.compare": ["CompareRecord"],
    "ecm_edge.report.model_card": ["CardRecord"],
    "ecm_edge.report.records": ["ReportRecord", "ValidationRecord"],
    "ecm_edge.search.pull": ["PulledTrial", "PullRecord", "TrialChoice"],
    "ecm_edge.search.runs": ["SearchRecord", "SearchSettings", "WorkerRecord"],
    "ecm_edge.search.scale": ["ScaleRecord"],
    "ecm_edge.search.train_one": ["TrainResult"],
    "ecm_edge.search.trial_record": ["TrialRecord"],
    "ecm_edge.targets": ["Target", "TargetList"],
    "ecm_edge.tasks": ["Task", "TaskList"],
    "ecm_edge.training.epochs": ["Epoch"],
    "ecm_edge.training.fold_margins": ["Progress"],
    "ecm_edge.training.out_of_fold": ["OutOfFold"],
    "ecm_edge.training.train": ["TrainingRecord"],
}
"""Where the records, types and errors are that verbs take, give and raise: each is imported when it is asked for."""

__all__ = [
    "AuditRecord",
    "BenchRecord",
    "Blank",
    "Board",
    "BoardFit",
    "BoardRanking",
    "BundleRecord",
    "Calibration",
    "CandidateConfig",
    "CandidateError",
    "CardRecord",
    "Classifier",
    "CompareRecord",
    "CostRecord",
    "Dataset",
    "DatasetError",
    "DoctorRecord",
    "EcmEdgeError",
    "EpisodesRecord",
    "Epoch",
    "Event",
    "ExportResult",
    "FirmwareError",
    "FirmwareRecord",
    "FitRecord",
    "FoldAssignment",
    "Form",
    "FormFit",
    "Format",
    "Gate",
    "GenerateRecord",
    "HistoryRecord",
    "ImportRecord",
    "InfoRecord",
    "Interval",
    "Latency",
    "LineOptions",
    "McubootRecord",
    "MeasureRecord",
    "MergeRecord",
    "MergeRules",
    "ModelError",
    "ModelFile",
    "Objective",
    "OnError",
    "Options",
    "OutOfFold",
    "OutputError",
    "PredictRecord",
    "Progress",
    "PromoteRecord",
    "PullRecord",
    "PulledTrial",
    "QuantizeRecord",
    "Record",
    "RecordingError",
    "Reference",
    "RegistryCheck",
    "RegistryError",
    "RegistryHistory",
    "ReportRecord",
    "RhythmRules",
    "RobustnessRecord",
    "Rule",
    "Samples",
    "ScaleRecord",
    "ScoreRecord",
    "Scores",
    "SearchError",
    "SearchRecord",
    "SearchSettings",
    "SignatureRecord",
    "SimplifyRecord",
    "Space",
    "SpaceError",
    "Split",
    "Subjects",
    "SynthFormat",
    "SynthRecord",
    "Target",
    "TargetError",
    "TargetList",
    "Task",
    "TaskError",
    "TaskList",
    "TrainResult",
    "TrainingConfig",
    "TrainingRecord",
    "TrialChoice",
    "TrialRecord",
    "TrustError",
    "TrustRecord",
    "ValidationRecord",
    "Verdict",
    "VerifyRecord",
    "WorkerRecord",
    "assign_folds",
    "assign_folds_by_source",
    "audit",
    "bench",
    "build_firmware",
    "build_model",
    "bundle",
    "card",
    "check_content",
    "check_registry",
    "compare",
    "configure",
    "cross_validate",
    "default_settings",
    "doctor",
    "episodes",
    "export",
    "fit",
    "gate",
    "generate_firmware",
    "history",
    "import_recordings",
    "info",
    "load_classifier",
    "load_network",
    "load_space",
    "load_target",
    "load_task",
    "locate",
    "measure",
    "merge",
    "noise_samples",
    "open_dataset",
    "predict",
    "promote",
    "pull",
    "quantize",
    "quantize_file",
    "rank_boards",
    "read_samples",
    "report",
    "resume_search",
    "robustness",
    "rollback",
    "scale",
    "score",
    "score_out_of_fold",
    "search",
    "serve",
    "sign_firmware",
    "simplify",
    "simplify_file",
    "start_search",
    "synthesise",
    "targets",
    "tasks",
    "train",
    "trust",
    "verify",
    "verify_bundle",
    "verify_model",
    "work",
]


def __getattr__(name: str) -> object:
    for module, names in RECORDS.items():
        if name in names:
            return getattr(importlib.import_module(module), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
