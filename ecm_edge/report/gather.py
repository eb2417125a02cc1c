"""Gather what the stages left in a candidate's folder, in its run and in a registry; nothing is measured again."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeVar

from ecm_edge.base import files, provenance
from ecm_edge.base.errors import SearchError
from ecm_edge.base.records import Record
from ecm_edge.candidate import candidate
from ecm_edge.candidate.candidate import FORM_FILES, RUN_SETTINGS, CandidateConfig, load_config
from ecm_edge.data.dataset import check_content
from ecm_edge.evaluate.bench import BenchRecord
from ecm_edge.evaluate.score import ScoreRecord
from ecm_edge.evaluate.verify.records import VerifyRecord
from ecm_edge.firmware.fit_records import FirmwareRecord
from ecm_edge.forms.export import ExportRecord
from ecm_edge.forms.gate import CostRecord
from ecm_edge.forms.model_file import margins, open_model
from ecm_edge.forms.quantize import QuantizeRecord
from ecm_edge.forms.simplify import SimplifyRecord
from ecm_edge.registry import registry
from ecm_edge.report.mistakes import find_mistakes
from ecm_edge.report.records import DataFacts, Mistakes, ReportRecord, RunRecords, StageRecords
from ecm_edge.report.stages import Place, promotion, stages, verdict_of
from ecm_edge.search.runs import SearchRecord, SearchSettings
from ecm_edge.training import out_of_fold
from ecm_edge.training.out_of_fold import CrossValidationRecord
from ecm_edge.training.train import TrainingRecord

if TYPE_CHECKING:
    from pathlib import Path

    from ecm_edge.base.records import Form
    from ecm_edge.data.dataset import Dataset
    from ecm_edge.registry.registry import Event, HistoryRecord

R = TypeVar("R", bound=Record)


@dataclass(frozen=True)
class Decisions:
    """What a registry says: a target's history, and its last event about one candidate's files."""

    history: HistoryRecord | None
    about_this: Event | None


def gather(path: Path, dataset: Dataset, registry_folder: Path | None = None) -> ReportRecord:
    """The record of a report.

    Args:
        path: a candidate's folder, or a run's, which stands for its best candidate.
        dataset: the one that the candidate was made from.
        registry_folder: whose decisions are told; none without it.

    Raises:
        CandidateError: not a candidate, one made from another data set, a damaged record in it, or a run without a
            verified candidate.
        SearchError: a run that is damaged.
        DatasetError: the data set changed since it was written.
        RegistryError: the registry is not there or is damaged.
        ModelError: the model is corrupt.
    """
    run = load_run(path)
    folder = candidate.locate(path)
    config = load_config(folder)
    candidate.check_dataset(config, dataset)
    check_content(dataset)
    records = load_stages(folder)
    target = target_of(records, run)
    form = form_of(records)
    hashes = _hashes(folder)
    mistakes = _mistakes(folder, dataset, config, form)
    decisions = load_decisions(registry_folder, target, set(hashes.values()))
    place = Place(folder, dataset.folder, target or "TARGET")
    outcome = stages(place, config, records, mistakes, form)
    return ReportRecord(
        verdict=verdict_of(outcome),
        candidate=f"{path.name}/{folder.name}" if run else folder.name,
        target=target,
        synthetic=dataset.header.synthetic or config.synthetic,
        form=form,
        model_sha256=hashes,
        config=config,
        config_sha256=config.sha256,
        data=_facts(dataset),
        stages=outcome,
        promotion=promotion(place, decisions.about_this, registry=registry_folder),
        records=records,
        mistakes=mistakes,
        run=run,
        decision=decisions.about_this,
        history=decisions.history,
        provenance=provenance.collect(),
    )


def load_run(path: Path) -> RunRecords | None:
    """The records of the run in `path`; None if it is not a run's folder.

    Raises:
        SearchError: a run without a trial, or a damaged record.
    """
    if not (path / RUN_SETTINGS).is_file():
        return None
    return RunRecords(
        settings=SearchSettings.load(path / RUN_SETTINGS, SearchError),
        summary=SearchRecord.load(path / candidate.RUN_SUMMARY, SearchError),
    )


def load_stages(folder: Path) -> StageRecords:
    """The records that lie in a candidate's folder.

    Raises:
        CandidateError: one of them is damaged.
    """
    return StageRecords(
        cost=_load(CostRecord, folder / candidate.COST),
        training=_load(TrainingRecord, folder / candidate.TRAINING),
        export=_load(ExportRecord, folder / candidate.EXPORT),
        simplify=_load(SimplifyRecord, folder / candidate.SIMPLIFY),
        quantize=_load(QuantizeRecord, folder / candidate.QUANTIZE),
        verify=_load(VerifyRecord, folder / candidate.VERIFY),
        firmware=_load(FirmwareRecord, folder / candidate.FIRMWARE),
        bench=_load(BenchRecord, folder / candidate.BENCH),
        score=_load(ScoreRecord, folder / candidate.SCORE),
        folds=_load(CrossValidationRecord, folder / out_of_fold.FOLDS),
    )


def target_of(records: StageRecords, run: RunRecords | None) -> str | None:
    """The board that the candidate was made for; None where no record says."""
    if run:
        return run.summary.target
    return next((record.target for record in (records.cost, records.verify) if record), None)


def form_of(records: StageRecords) -> Form:
    """The form that was scored, else the one that was gated, else float32."""
    return next((record.form for record in (records.score, records.cost) if record and record.form), "float32")


def load_decisions(folder: Path | None, target: str | None, hashes: set[str]) -> Decisions:
    """What the registry decided for a target, and about a model with one of these hashes.

    Raises:
        RegistryError: there is no such registry, or it is damaged.
    """
    if folder is None or target is None:
        return Decisions(None, None)
    history = registry.history_record(folder / target, target)
    return Decisions(history, next((event for event in reversed(history.events) if event.model_sha256 in hashes), None))


def _load(kind: type[R], path: Path) -> R | None:
    return kind.load(path) if path.is_file() else None


def _hashes(folder: Path) -> dict[Form, str]:
    """SHA-256 of every form that is there."""
    return {form: files.sha256_file(folder / name) for form, name in FORM_FILES.items() if (folder / name).is_file()}


def _mistakes(folder: Path, dataset: Dataset, config: CandidateConfig, form: Form) -> Mistakes | None:
    """On the test subjects, or out of fold where there are none; None without that, or a model of that form."""
    if not config.split.test:
        if not out_of_fold.has_folds(folder):
            return None
        answers = out_of_fold.load(folder, config, dataset).after
        return find_mistakes(dataset, out_of_fold.labelled_rows(dataset), answers, "float32")
    if not (folder / FORM_FILES[form]).is_file():
        return None
    rows = dataset.rows_of(config.split.test)
    return find_mistakes(dataset, rows, margins(open_model(folder, form).classifier, dataset, rows), form)


def _facts(dataset: Dataset) -> DataFacts:
    header = dataset.header
    return DataFacts(
        name=dataset.folder.name,
        content_sha256=header.content_sha256,
        synthetic=header.synthetic,
        source=header.source.format,
        unit=header.unit,
        sampling_rate_hz=header.sampling_rate_hz,
        segments=header.segments,
        subjects=len(header.subjects),
        blank=header.blank,
    )
