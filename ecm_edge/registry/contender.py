"""A contender: one form of a candidate, with its costs, its latency and what it answers.

The challenger is the candidate that would be promoted; the incumbent is the entry that it would replace.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING, Literal

import numpy as np

from ecm_edge.base import files
from ecm_edge.base.errors import CandidateError
from ecm_edge.candidate.candidate import FIRMWARE, FORM_FILES, load_config
from ecm_edge.evaluate.board_cost import board_cost
from ecm_edge.evaluate.even_odds import folded_threshold
from ecm_edge.firmware import fit_records
from ecm_edge.firmware.fit_records import FirmwareRecord
from ecm_edge.firmware.form_build import build_form
from ecm_edge.forms import cost, onnx_model
from ecm_edge.forms.model_file import margins, open_detector
from ecm_edge.metrics.rows import score_rows
from ecm_edge.registry import registry
from ecm_edge.training import out_of_fold

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from numpy.typing import NDArray

    from ecm_edge.base.records import Form, Latency
    from ecm_edge.candidate.candidate import CandidateConfig
    from ecm_edge.data.dataset import Dataset, SourceSet
    from ecm_edge.firmware.fit_records import FormFit
    from ecm_edge.forms.gate import CostRecord
    from ecm_edge.forms.model_file import ModelFile
    from ecm_edge.metrics import Scores
    from ecm_edge.registry.events import Event
    from ecm_edge.targets import Target
    from ecm_edge.training.out_of_fold import OutOfFold

Basis = Literal["test", "out_of_fold"]
"""Who answered: the model itself on test subjects, or the networks of its cross-validation."""


@dataclass(frozen=True)
class Answers:
    """Margins (n,) float32 of the rows (n,) int64 of the data set, ascending.

    `before` are those before the threshold was taken off, (n,) float32; None where the threshold is not known.
    """

    basis: Basis
    rows: NDArray[np.int64]
    margins: NDArray[np.float32]
    before: NDArray[np.float32] | None
    dataset: Dataset
    target: Target

    @cached_property
    def scores(self) -> Scores:
        """The scores by the target's rule."""
        return score_rows(self.margins, self.dataset, self.rows, self.target)

    def on(self, rows: NDArray[np.int64]) -> Answers:
        """The answers on those of the rows that have one."""
        chosen = np.isin(self.rows, rows)
        before = None if self.before is None else self.before[chosen]
        return replace(self, rows=self.rows[chosen], margins=self.margins[chosen], before=before)


@dataclass(frozen=True)
class Contender:
    """One side of the decision. Its answers are computed when they are first asked for, and once.

    `fit` is what was found when its firmware was built, and `fit_target_sha256` the hash of the target as it was then;
    absent where the target has no firmware. `source` is the one that the promotion is about, None for the whole data
    set. `dataset` is the challenger's, on both sides.
    """

    folder: Path
    model: ModelFile
    config: CandidateConfig
    form: Form
    sha256: str
    cost: CostRecord
    latency: Latency
    dataset: Dataset
    target: Target
    fit: FormFit | None = None
    fit_target_sha256: str = ""
    source: SourceSet | None = None

    @property
    def synthetic(self) -> bool:
        """Whether the data set or what the candidate was made from is synthetic."""
        return self.dataset.header.synthetic or self.config.synthetic

    @cached_property
    def cross_validation(self) -> OutOfFold:
        """What was measured out of fold.

        Raises:
            CandidateError: nothing was, or it was changed or is another configuration's.
        """
        return out_of_fold.load(self.folder, self.config, self.dataset)

    @property
    def test(self) -> list[str]:
        """Its own test subjects, of the source only."""
        test = self.config.split.test
        if self.source is None:
            return test
        own = set(self.source.subjects)
        return [name for name in test if name in own]

    @property
    def is_measured(self) -> bool:
        """Whether it answers subjects, of the source only, that it has not seen; raises as `cross_validation`."""
        return bool(self.test) if self.config.split.test else self.out_of_fold.rows.size > 0

    @property
    def measured_subjects(self) -> int:
        """How many subjects its own figures rest on: its test subjects, or those in folds; 0 where there are none."""
        if self.config.split.test:
            return len(self.test)
        return self.answers.scores.subjects if out_of_fold.has_folds(self.folder) else 0

    @cached_property
    def answers(self) -> Answers:
        """The answers on its own test subjects; out of fold on all subjects where it has none; of the source only.

        Raises:
            CandidateError: as `cross_validation`, or none of them is of the source.
        """
        answers = self.answers_on(self.dataset.rows_of(self.test)) if self.config.split.test else self.out_of_fold
        if self.source and not answers.rows.size:
            raise CandidateError(
                "a promotion is about a source with answers on subjects that the model has not seen",
                f"none on {self.source.name}, by {self.folder}",
                "Name another source with --source.",
            )
        return answers

    @cached_property
    def out_of_fold(self) -> Answers:
        """The answers out of fold on the subjects in folds, of the source only; raises as `cross_validation`."""
        known = self.cross_validation
        rows = out_of_fold.answered_rows(self.dataset, known.record.assignment)
        answers = Answers("out_of_fold", rows, known.after, known.before, self.dataset, self.target)
        return answers.on(self.dataset.rows_of(self.source.subjects)) if self.source else answers

    def answers_on(self, rows: NDArray[np.int64]) -> Answers:
        """What the model itself answers on these rows."""
        after = margins(self.model.classifier, self.dataset, rows)
        threshold = folded_threshold(self.folder, self.config)
        before = None if threshold is None else after + np.float32(threshold)
        return Answers("test", rows, after, before, self.dataset, self.target)


def open_challenger(
    folder: Path, form: Form, latencies: Mapping[str, Latency], dataset: Dataset, target: Target
) -> Contender:
    """The candidate's side, with its firmware's figures if the target has any firmware.

    Args:
        folder: the candidate.
        form: what would ship.
        latencies: by the SHA-256 of the model file.
        dataset: the one that it was made from.
        target: the board.

    Raises:
        CandidateError: no latency names its model, or the firmware was not built, or for another target, or without
            this form.
    """
    side = _open(folder, form, latencies, dataset, target)
    if target.firmware is None:
        return side
    record = FirmwareRecord.load(folder / FIRMWARE)
    fit = record.of(form) if record.target == target.name else None
    if fit is None:
        raise CandidateError(
            f"a promotion to {target.name} needs its firmware in the form that would ship",
            f"{FIRMWARE} of {record.target}: {', '.join(built.form for built in record.forms)}",
            f"Run `ecm-edge firmware build` for {target.name}.",
        )
    return _with_fit(side, fit, record.target_sha256)


def open_incumbent(shelf: Path, event: Event, latencies: Mapping[str, Latency], challenger: Contender) -> Contender:
    """The incumbent's side; where `latencies` do not name its model, it has the latency that it was promoted with.

    Its firmware is built anew where the entry has none for the target as it is now, or none whose instructions were
    counted.

    Raises:
        RegistryError: the entry was changed.
    """
    dataset, target = challenger.dataset, challenger.target
    folder, manifest = registry.entry_of(shelf, event)
    known = {manifest.model_sha256: manifest.latency_ms, **latencies}
    side = replace(_open(folder, manifest.form, known, dataset, target), source=challenger.source)
    if target.firmware is None:
        return side
    record = fit_records.load(folder, target)
    fit = record.of(manifest.form) if record else None
    if fit is None or fit.instructions is None:
        rebuilt = _rebuilt(side)
        uncounted = fit.model_copy(update={"reason": rebuilt.reason}) if fit else rebuilt
        fit = rebuilt if rebuilt.instructions else uncounted
    return _with_fit(side, fit, fit_records.target_sha256(target))


def _open(folder: Path, form: Form, latencies: Mapping[str, Latency], dataset: Dataset, target: Target) -> Contender:
    model = open_detector(folder, form)
    sha256 = files.sha256_file(model.path)
    if sha256 not in latencies:
        raise CandidateError(
            "a promotion needs a latency that was taken with exactly this model",
            f"none of {model.path} ({sha256[:12]}…) in the evidence",
            "Run `ecm-edge bench` on it as it is now.",
        )
    costs = board_cost(model, target)
    return Contender(folder, model, load_config(folder), form, sha256, costs, latencies[sha256], dataset, target)


def _with_fit(side: Contender, fit: FormFit, target_sha256: str) -> Contender:
    """The contender with the costs of its image in place of the estimated ones."""
    graph = cost.count(onnx_model.load_proto(side.folder / FORM_FILES["float32"]))
    return replace(side, cost=fit.to_cost(graph, side.target), fit=fit, fit_target_sha256=target_sha256)


def _rebuilt(side: Contender) -> FormFit:
    """What an entry's model needs on the target as it is now."""
    graph = cost.count(onnx_model.load_proto(side.folder / FORM_FILES["float32"]))
    with files.scratch_folder() as scratch:
        return build_form(side.model.classifier.proto, side.target, scratch, form=side.form, counted=graph).record
