"""What was decided about a candidate: the record of it, and the way into the registry."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from ecm_edge.base.records import GATE_COLUMNS, Form, Gate, Latency, Provenance, Record, Verdict
from ecm_edge.base.shown import Tables
from ecm_edge.metrics.rows import score_rows
from ecm_edge.registry import entries, registry
from ecm_edge.registry.comparison import Comparison
from ecm_edge.registry.entries import Manifest, ShippedImage
from ecm_edge.registry.registry import Event

if TYPE_CHECKING:
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


def shipped_image(record: VerifyRecord, challenger: Contender) -> ShippedImage | None:
    """The image that ships; None where there is none, or verify did not run its C."""
    verified, image = record.firmware_of(challenger.sha256), challenger.fit.image if challenger.fit else None
    if verified is None or image is None or verified.model_object is None or verified.compiler is None:
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


def write(shelf: Path, challenger: Contender, decision: Decision, hashes: dict[str, str]) -> PromoteRecord:
    """Install the candidate if it passed, and write the decision into the history."""
    entry = manifest_sha256 = None
    if decision.verdict == Verdict.PASS:
        manifest = _manifest(challenger, decision, hashes)
        entry, manifest_sha256 = entries.add_entry(shelf / registry.ENTRIES, challenger.folder, manifest)
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
        provenance=decision.provenance,
    )
    keep = registry.install if entry else registry.log
    keep(shelf, _event(record, manifest_sha256))
    return record


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
        files=hashes,
        provenance=decision.provenance,
    )


def _event(record: PromoteRecord, manifest_sha256: str | None) -> Event:
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
    )
