"""What was decided about a candidate: the record of it, and the way into the registry."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from ecm_edge.base import files
from ecm_edge.base.names import is_file_name
from ecm_edge.base.records import GATE_COLUMNS, Form, Gate, Latency, Provenance, Record, Verdict
from ecm_edge.base.shown import Tables
from ecm_edge.firmware.fit_records import target_sha256
from ecm_edge.metrics.rows import score_rows
from ecm_edge.registry import entries, registry, wholeness
from ecm_edge.registry.comparison import Comparison
from ecm_edge.registry.entries import Manifest, ShippedImage
from ecm_edge.registry.events import Event

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from ecm_edge.evaluate.verify.records import VerifyRecord
    from ecm_edge.registry.contender import Contender


IMAGE_GATE = "image_of_verified_sources"
"""The gate that holds where the image is, to the byte, the one that `verify` built of the C that it ran."""


class PromoteRecord(Record):
    """The decision: PASS if the candidate is the incumbent now. `replaces` is the entry that was it before.

    `source` is the source of a merged data set that the decision is about; None for the whole data set. `image` is what
    would ship, if all of it was verified; `board_latency_ms` is an estimate, where there is one.
    """

    verdict: Verdict
    reason: str
    target: str
    form: Form
    candidate: str
    entry: str | None
    replaces: str | None
    model_sha256: str
    config_sha256: str
    dataset_sha256: str
    source: str | None = None
    synthetic: bool
    gates: list[Gate]
    latency_ms: Latency
    board_latency_ms: Latency | None = None
    image: ShippedImage | None = None
    comparison: Comparison | None
    already: bool = False
    proof_s: float | None = None
    provenance: Provenance

    KEYS = ("candidate", "form", "entry", "reason")
    TABLES: ClassVar[Tables] = {"gates": GATE_COLUMNS}


@dataclass(frozen=True)
class Decision:
    """What was decided of a challenger, before it is written down."""

    verdict: Verdict
    reason: str
    gates: list[Gate]
    comparison: Comparison | None
    replaces: str | None
    image: ShippedImage | None
    provenance: Provenance
    proof_s: float | None = None


def shipped_image(record: VerifyRecord, challenger: Contender) -> ShippedImage | None:
    """The image that ships; None where there is none, or verify did not run its C."""
    verified, image = record.firmware_of(challenger.sha256), challenger.fit.image if challenger.fit else None
    if verified is None or image is None or verified.model_object is None or verified.compiler is None:
        return None
    if not is_file_name(image.file):  # it lies outside the candidate
        return None
    return ShippedImage(
        file=image.file,
        sha256=image.sha256,
        sources=verified.sources,
        model_object=verified.model_object,
        compiler=verified.compiler,
        emulated_segments=verified.emulated_segments,
        evidence=verified.evidence,
    )


def write(
    shelf: Path,
    challenger: Contender,
    decision: Decision,
    hashes: dict[str, str],
    sign: Callable[[Path], None] | None = None,
) -> PromoteRecord:
    """Install the candidate if it passed, signed by `sign`, and write the decision into the history."""
    entry = manifest_sha256 = None
    if decision.verdict == Verdict.PASS:
        manifest = _manifest(challenger, decision, hashes)
        entry, manifest_sha256 = entries.add_entry(shelf / wholeness.ENTRIES, challenger.folder, manifest, sign)
    record = PromoteRecord(
        verdict=decision.verdict,
        reason=decision.reason,
        target=challenger.target.name,
        form=challenger.form,
        candidate=challenger.folder.name,
        entry=entry,
        replaces=decision.replaces,
        model_sha256=challenger.sha256,
        config_sha256=challenger.config.sha256,
        dataset_sha256=challenger.dataset.header.content_sha256,
        source=challenger.source.name if challenger.source else None,
        synthetic=challenger.synthetic,
        gates=decision.gates,
        latency_ms=challenger.latency,
        board_latency_ms=challenger.fit.latency_ms if challenger.fit else None,
        image=decision.image,
        comparison=decision.comparison,
        proof_s=decision.proof_s,
        provenance=decision.provenance,
    )
    registry.log(shelf, _event(record, challenger, manifest_sha256))
    return record


def already(shelf: Path, challenger: Contender, former: Event | None, hashes: dict[str, str]) -> PromoteRecord | None:
    """The decision that made a candidate the incumbent, where it is that, file by file; None where it is not.

    So a promotion that was killed at its end can be said again.

    Raises:
        RegistryError: the incumbent's entry was changed.
    """
    if former is None or former.model_sha256 != challenger.sha256:
        return None
    _, manifest = registry.entry_of(shelf, former)
    if (manifest.form, manifest.files) != (challenger.form, hashes):
        return None
    return PromoteRecord(
        verdict=Verdict.PASS,
        reason=former.reason,
        target=manifest.target,
        form=manifest.form,
        candidate=challenger.folder.name,
        entry=former.entry,
        replaces=former.replaces,
        model_sha256=manifest.model_sha256,
        config_sha256=manifest.config_sha256,
        dataset_sha256=manifest.dataset_sha256,
        source=manifest.source,
        synthetic=manifest.synthetic,
        gates=former.gates,
        latency_ms=manifest.latency_ms,
        board_latency_ms=challenger.fit.latency_ms if challenger.fit else None,
        image=manifest.image,
        comparison=None,
        already=True,
        provenance=manifest.provenance,
    )


def _manifest(challenger: Contender, decision: Decision, hashes: dict[str, str]) -> Manifest:
    """The manifest of the new entry, named after the scores by the default rule so that names compare over targets."""
    answers, dataset = challenger.answers, challenger.dataset
    return Manifest(
        entry=entries.entry_name(score_rows(answers.margins, dataset, answers.rows, None)),
        target=challenger.target.name,
        form=challenger.form,
        model_file=challenger.model.path.name,
        model_sha256=challenger.sha256,
        config_sha256=challenger.config.sha256,
        dataset_sha256=dataset.header.content_sha256,
        source=challenger.source.name if challenger.source else None,
        source_sha256=challenger.source.content_sha256 if challenger.source else None,
        synthetic=challenger.synthetic,
        verdicts={gate.name: gate.verdict for gate in decision.gates},
        latency_ms=challenger.latency,
        image=decision.image,
        target_sha256=target_sha256(challenger.target),
        task_sha256=_task_sha256(challenger),
        files=hashes,
        provenance=decision.provenance,
    )


def _task_sha256(challenger: Contender) -> str:
    return files.sha256_json(challenger.config.task.model_dump(mode="json"))


def _event(record: PromoteRecord, challenger: Contender, manifest_sha256: str | None) -> Event:
    return Event(
        event="promoted" if record.entry else "refused",
        date_utc=record.provenance.date_utc,
        reason=record.reason,
        candidate=record.candidate,
        model_sha256=record.model_sha256,
        synthetic=record.synthetic,
        entry=record.entry,
        manifest_sha256=manifest_sha256,
        replaces=record.replaces,
        gates=record.gates,
        source=record.source,
        parts=record.comparison.parts if record.comparison else None,
        target_sha256=target_sha256(challenger.target),
        task_sha256=_task_sha256(challenger),
    )
