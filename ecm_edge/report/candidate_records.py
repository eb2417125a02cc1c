"""The records in the folder of a candidate or of a registry's entry, read once for the page and for the card."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeVar

from ecm_edge.base import files
from ecm_edge.base.errors import RegistryError
from ecm_edge.base.records import Record
from ecm_edge.candidate import candidate
from ecm_edge.candidate.candidate import FORM_FILES, load_config
from ecm_edge.evaluate.bench import BenchRecord
from ecm_edge.evaluate.robustness import ROBUSTNESS, RobustnessRecord
from ecm_edge.evaluate.score import ScoreRecord
from ecm_edge.evaluate.verify.records import VerifyRecord
from ecm_edge.firmware.fit_records import FirmwareRecord
from ecm_edge.forms.export_records import ExportRecord
from ecm_edge.forms.gate import CostRecord
from ecm_edge.forms.quantize import QuantizeRecord
from ecm_edge.forms.simplify import SimplifyRecord
from ecm_edge.registry.entries import MANIFEST, Manifest
from ecm_edge.report.records import StageRecords
from ecm_edge.training.out_of_fold import FOLDS, CrossValidationRecord
from ecm_edge.training.train import TrainingRecord

if TYPE_CHECKING:
    from pathlib import Path

    from ecm_edge.base.records import Form
    from ecm_edge.candidate.candidate import CandidateConfig

R = TypeVar("R", bound=Record)


@dataclass(frozen=True)
class CandidateRecords:
    """A candidate's configuration and records; None where a stage has not run, or where it is no registry's entry."""

    folder: Path
    config: CandidateConfig
    model_sha256: dict[Form, str]
    stages: StageRecords
    robustness: RobustnessRecord | None
    manifest: Manifest | None

    @property
    def by_file(self) -> dict[str, Record]:
        """The records of the stages that have run, by the names of their files."""
        stages = {f"{name}.json": record for name, record in self.stages}
        return {name: record for name, record in {**stages, ROBUSTNESS: self.robustness}.items() if record}

    @property
    def target(self) -> str | None:
        """The board that an entry was promoted for, or a candidate was made for; None where no record names one."""
        records = (self.manifest, self.stages.cost, self.stages.firmware, self.stages.verify)
        return next((record.target for record in records if record), None)

    @property
    def form(self) -> Form:
        """The form that was scored, else the one that was gated, else float32."""
        stages = (self.stages.score, self.stages.cost)
        return next((record.form for record in stages if record and record.form), "float32")

    @property
    def synthetic(self) -> bool:
        """Whether any of the records rests on synthetic data."""
        records = (self.config, self.stages.score, self.stages.folds, self.robustness)
        return any(record.synthetic for record in records if record)


def load_records(folder: Path) -> CandidateRecords:
    """Read what lies in the folder of a candidate or of an entry.

    Raises:
        CandidateError: not a candidate, or one of its records is damaged.
        RegistryError: an entry's manifest is damaged.
    """
    manifest = folder / MANIFEST
    return CandidateRecords(
        folder=folder,
        config=load_config(folder),
        model_sha256={
            form: files.sha256_file(folder / name) for form, name in FORM_FILES.items() if (folder / name).is_file()
        },
        stages=StageRecords(
            cost=_load(CostRecord, folder / candidate.COST),
            training=_load(TrainingRecord, folder / candidate.TRAINING),
            export=_load(ExportRecord, folder / candidate.EXPORT),
            simplify=_load(SimplifyRecord, folder / candidate.SIMPLIFY),
            quantize=_load(QuantizeRecord, folder / candidate.QUANTIZE),
            verify=_load(VerifyRecord, folder / candidate.VERIFY),
            firmware=_load(FirmwareRecord, folder / candidate.FIRMWARE),
            bench=_load(BenchRecord, folder / candidate.BENCH),
            score=_load(ScoreRecord, folder / candidate.SCORE),
            folds=_load(CrossValidationRecord, folder / FOLDS),
        ),
        robustness=_load(RobustnessRecord, folder / ROBUSTNESS),
        manifest=Manifest.load(manifest, RegistryError) if manifest.is_file() else None,
    )


def model_files(record: Record) -> dict[str, str]:
    """SHA-256 of the models that a record was made from, by file name."""
    if isinstance(record, VerifyRecord):
        return record.model_sha256
    if isinstance(record, FirmwareRecord):
        return {FORM_FILES[form.form]: form.model_sha256 for form in record.forms}
    if isinstance(record, BenchRecord):
        return {form.file: form.model_sha256 for form in record.forms}
    return {record.model: record.model_sha256} if isinstance(record, ScoreRecord | RobustnessRecord) else {}


def changed_files(folder: Path, sha256: dict[str, str]) -> list[str]:
    """The names of the files in `folder` that are gone or do not have their SHA-256 any more."""
    return [
        name
        for name, digest in sha256.items()
        if not (folder / name).is_file() or files.sha256_file(folder / name) != digest
    ]


def _load(kind: type[R], path: Path) -> R | None:
    return kind.load(path) if path.is_file() else None
