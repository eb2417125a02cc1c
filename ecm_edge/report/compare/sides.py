"""The sides of a comparison: what was given, opened once."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from ecm_edge.base.errors import CandidateError, EcmEdgeError
from ecm_edge.candidate import candidate
from ecm_edge.forms.model_file import open_model
from ecm_edge.report.candidate_records import load_records
from ecm_edge.report.compare.records import ComparedModel

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from ecm_edge.base.records import Form
    from ecm_edge.forms.model_file import ModelFile
    from ecm_edge.report.candidate_records import CandidateRecords
    from ecm_edge.report.compare.records import Kind
    from ecm_edge.targets import Target

LETTERS = "ABCDEFGH"
"""At most so many models: a table has a column for each."""


@dataclass(frozen=True)
class Side:
    """One model. `model` is the reason where a candidate has no file of its form; `records` is None of a file."""

    letter: str
    given: Path
    path: Path
    form: Form | None
    model: ModelFile | str
    records: CandidateRecords | None

    @property
    def kind(self) -> Kind:
        """What was given."""
        if self.records is None:
            return "file"
        if self.given != self.path:
            return "run"
        return "entry" if self.records.manifest else "candidate"

    @property
    def name(self) -> str:
        """The name of the folder or the file; of a run, with that of its best candidate."""
        return f"{self.given.name}/{self.path.name}" if self.kind == "run" else self.path.name

    def record(self) -> ComparedModel:
        """What the record says of it."""
        config = self.records.config if self.records else None
        return ComparedModel(
            letter=self.letter,
            name=self.name,
            path=str(self.given),
            kind=self.kind,
            form=self.form,
            family=config.family if config else None,
            model_sha256=None if isinstance(self.model, str) else self.model.sha256,
            config_sha256=config.sha256 if config else None,
            dataset_sha256=config.dataset_sha256 if config else None,
            target=self.records.target if self.records else None,
            synthetic=self.records.synthetic if self.records else None,
        )


def open_sides(paths: Sequence[Path], against: Path | None, form: Form | None, target: Target | None) -> list[Side]:
    """The models, the one to be compared against first.

    Raises:
        CandidateError: too few or too many models, one of them twice, or a folder that is no candidate.
        ModelError: a file that is no classifier.
        RegistryError: an entry's manifest is damaged.
    """
    given = [*([against] if against else []), *(path for path in paths if not (against and _same(path, against)))]
    _check_number(given)
    return [_open(letter, path, form, target) for letter, path in zip(LETTERS, given, strict=False)]


def _check_number(given: Sequence[Path]) -> None:
    if not 1 < len(given) <= len(LETTERS):
        raise CandidateError(
            f"a comparison is of 2 to {len(LETTERS)} models",
            f"{len(given)}: {', '.join(map(str, given[: len(LETTERS)]))}",
            "Name candidates, runs, entries of a registry or ONNX files; the first is compared against.",
        )
    twice = [path for number, path in enumerate(given) if any(_same(path, other) for other in given[:number])]
    if twice:
        raise CandidateError("a comparison is of different models", f"{twice[0]} twice", "Name each model once.")


def _same(one: Path, other: Path) -> bool:
    return candidate.locate(one).resolve() == candidate.locate(other).resolve()


def _open(letter: str, given: Path, form: Form | None, target: Target | None) -> Side:
    path = candidate.locate(given)
    if not path.is_dir():
        model = open_model(path)
        return Side(letter, given, path, model.form, model, None)
    records = load_records(path)
    shipped = records.manifest.form if records.manifest else target.precision[0] if target else records.form
    chosen = form or shipped
    return Side(letter, given, path, chosen, _model(path, chosen), records)


def _model(folder: Path, form: Form) -> ModelFile | str:
    """The file of a form, or why there is none; the rest of a candidate can be compared without it."""
    if not (folder / candidate.FORM_FILES[form]).is_file():
        return f"it has no {candidate.FORM_FILES[form]}: run `ecm-edge export`, and `ecm-edge quantize` for other forms"
    return open_model(folder, form)


def reason_of(problem: EcmEdgeError) -> str:
    """Why something was not compared, in one sentence."""
    return f"{problem.rule}; found {problem.found}"
