"""The record of a report: a candidate's records and what follows from them, side by side; nothing is measured again."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from ecm_edge.base import provenance
from ecm_edge.base.errors import SearchError
from ecm_edge.candidate import candidate
from ecm_edge.candidate.candidate import FORM_FILES, RUN_SETTINGS
from ecm_edge.data.dataset import check_content
from ecm_edge.data.sources import rows_in
from ecm_edge.forms.model_file import margins, open_detector
from ecm_edge.registry import registry
from ecm_edge.report.candidate_records import load_records
from ecm_edge.report.commands import Commands
from ecm_edge.report.mistakes import Answers, find_curves, find_mistakes
from ecm_edge.report.records import DataFacts, ReportRecord, RunRecords
from ecm_edge.report.stages import promotion, stages, verdict_of_stages
from ecm_edge.search.runs import SearchRecord, SearchSettings
from ecm_edge.training import out_of_fold

if TYPE_CHECKING:
    from pathlib import Path

    from ecm_edge.data.dataset import Dataset
    from ecm_edge.forms.onnx_model import Classifier
    from ecm_edge.registry.events import Event
    from ecm_edge.registry.registry import HistoryRecord
    from ecm_edge.report.candidate_records import CandidateRecords


@dataclass(frozen=True)
class Decisions:
    """What a registry decided: a target's history, and its last event about one candidate's files."""

    history: HistoryRecord | None
    about_this: Event | None


def gather(path: Path, dataset: Dataset, registry_folder: Path | None = None) -> ReportRecord:
    """The record of a report.

    Args:
        path: a candidate's folder, or a run's, which stands for its best candidate.
        dataset: the one that the candidate was made from.
        registry_folder: the registry whose decisions are shown.

    Raises:
        CandidateError: not a candidate, one made from another data set, a damaged record in it, or a run without a
            verified candidate.
        SearchError: a run that is damaged.
        DatasetError: the data set changed since it was written.
        RegistryError: the registry is not there or is damaged.
        ModelError: the model is corrupt.
    """
    run = load_run(path)
    records = load_records(candidate.locate(path))
    candidate.check_dataset(records.config, dataset)
    check_content(dataset)
    name = records.folder.name
    target = run.summary.target if run else records.target
    answers = _answers(records, dataset)
    mistakes = find_mistakes(dataset, answers) if answers else None
    decisions = load_decisions(registry_folder, target, set(records.model_sha256.values()))
    commands = Commands(records.folder, str(dataset.folder), target or "TARGET")
    outcome = stages(records, commands, mistakes)
    return ReportRecord(
        verdict=verdict_of_stages(outcome),
        candidate=f"{path.name}/{name}" if run else name,
        target=target,
        synthetic=dataset.header.synthetic or records.synthetic,
        form=records.form,
        model_sha256=records.model_sha256,
        config=records.config,
        config_sha256=records.config.sha256,
        data=facts(dataset),
        stages=outcome,
        promotion=promotion(commands, decisions.about_this, registry=registry_folder),
        records=records.stages,
        mistakes=mistakes,
        curves=find_curves(dataset, answers) if answers else None,
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


def load_decisions(folder: Path | None, target: str | None, hashes: set[str]) -> Decisions:
    """What the registry decided for a target, and about a model with one of these hashes.

    Raises:
        RegistryError: there is no such registry, or it is damaged.
    """
    if folder is None or target is None:
        return Decisions(None, None)
    history = registry.history_record(folder / target, target)
    return Decisions(history, next((event for event in reversed(history.events) if event.model_sha256 in hashes), None))


def _answers(records: CandidateRecords, dataset: Dataset) -> Answers | None:
    """On the test subjects, or out of fold where there are none; None without that, or without a model of the form."""
    exported = (records.folder / FORM_FILES[records.form]).is_file()
    classifier = open_detector(records.folder, records.form).classifier if exported else None
    if not records.config.split.test:
        return _out_of_fold(records, dataset, classifier) if out_of_fold.has_folds(records.folder) else None
    if classifier is None:
        return None
    rows = dataset.rows_of(records.config.split.test)
    return Answers(rows, margins(classifier, dataset, rows), records.form, classifier)


def _out_of_fold(records: CandidateRecords, dataset: Dataset, classifier: Classifier | None) -> Answers:
    """Of the sources that were scored; of all where the score does not say."""
    loaded = out_of_fold.load(records.folder, records.config, dataset)
    rows = out_of_fold.answered_rows(dataset, loaded.record.assignment)
    chosen = rows_in(rows, dataset, records.stages.score.sources if records.stages.score else [])
    return Answers(rows[chosen], loaded.after[chosen], "float32", classifier)


def facts(dataset: Dataset) -> DataFacts:
    """What a page says of the data set that it was made with."""
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
