"""Promote: whether a candidate replaces the incumbent of a target, and why, either way.

1. It fits the target's budgets.
2. `verify` passed on exactly these files, on this data set, for this target.
3. It scores better on subjects that neither model was trained or tuned on: the points that the board's rule gives for
   Fβ and G, or mean Fβ where there is no rule. The difference is paired and has an interval by resampling subjects.
4. Latency, flash and RAM are no worse than the tolerances in the target file; only like evidence is compared, and
   latency has to be measured.
The first candidate of a target has only 1 and 2 to pass. Without any latency evidence nothing is decided.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from ecm_edge import entries, files, provenance, registry
from ecm_edge.candidate import BENCH, VERIFY, load_config
from ecm_edge.comparison import Comparison, Contender, agreed, compare, shown
from ecm_edge.dataset import check_content
from ecm_edge.entries import Manifest
from ecm_edge.errors import CandidateError
from ecm_edge.evidence import read_latencies
from ecm_edge.model_file import board_cost, margins, open_model
from ecm_edge.records import Evidence, Form, Gate, Latency, Provenance, Record, Verdict, at_least, not_run, overall
from ecm_edge.registry import Event
from ecm_edge.score import score_rows
from ecm_edge.verify.records import HOPS_TO, VerifyRecord

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from ecm_edge.dataset import Dataset
    from ecm_edge.targets import Target

_AGAINST = ("score", "latency_vs_incumbent", "flash_vs_incumbent", "ram_vs_incumbent")


class PromoteRecord(Record):
    """The decision: PASS if the candidate is the incumbent now. `replaces` is the entry that was it before."""

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
    synthetic: bool
    gates: list[Gate]
    latency_ms: Latency
    comparison: Comparison | None
    provenance: Provenance


def promote(
    folder: Path,
    dataset: Dataset,
    target: Target,
    registry_folder: Path,
    *,
    latency_files: Sequence[Path] = (),
    form: Form | None = None,
) -> PromoteRecord:
    """Decide, write the decision into the registry's history, and install the candidate if it passed.

    Args:
        folder: the candidate.
        dataset: the one that the candidate was made from.
        target: whose incumbent is challenged.
        registry_folder: made if it is not there.
        latency_files: bench.json or pytest-benchmark's JSON; the candidate's own bench.json by default. One that also
            names the incumbent's model is used for both.
        form: what would ship; the target's first form by default.

    Raises:
        CandidateError: the candidate lacks a piece, has a changed file, or no latency evidence names its model.
        DatasetError: the data set changed since it was written, or holds no test segment.
        ModelError: a model is corrupt or its scores are not finite.
        RegistryError: the registry is damaged, or an entry of it was changed.
        OutputError: the registry cannot be written, or another process holds it; the incumbent is the old one.
    """
    form = form or target.precision[0]
    load_config(folder)  # says so if there is no candidate, before anything else is missed
    hashes, evidence = entries.hash_files(folder), _evidence(folder, latency_files)
    challenger = _contender(folder, form, target, evidence)
    check_content(dataset)
    shelf = registry.shelf_of(registry_folder, target.name)
    with registry.locked(shelf):
        former = registry.incumbent(shelf)
        gates = [*challenger.cost.gates, *_verify_gates(challenger, dataset, target), _measured(challenger.latency)]
        comparison = None
        if former is None:
            gates += [not_run(name, "no incumbent yet") for name in _AGAINST]
        elif overall(gates) == Verdict.PASS:
            comparison, more = compare(challenger, _incumbent(shelf, former, target, evidence), dataset, target)
            gates += more
        else:
            gates += [not_run(name, "not compared: a gate before it failed") for name in _AGAINST]
        record = _record(challenger, dataset, target, former, gates, comparison)
        return _decide(shelf, record, challenger, dataset, hashes)


def _evidence(folder: Path, latency_files: Sequence[Path]) -> dict[str, Latency]:
    """Latency by model hash, from the files given or from the candidate's own bench.json."""
    found: dict[str, Latency] = {}
    for path in latency_files or [folder / BENCH]:
        found |= read_latencies(path)
    return found


def _contender(folder: Path, form: Form, target: Target, evidence: dict[str, Latency]) -> Contender:
    model = open_model(folder, form)
    sha256 = files.sha256_file(model.path)
    if sha256 not in evidence:
        raise CandidateError(
            "a promotion needs a latency that was taken with exactly this model",
            f"none of {model.path} ({sha256[:12]}…) in the evidence",
            "Run `ecm-edge bench` on it as it is now.",
        )
    return Contender(folder, model, load_config(folder), form, sha256, board_cost(model, target), evidence[sha256])


def _incumbent(shelf: Path, event: Event, target: Target, evidence: dict[str, Latency]) -> Contender:
    """The incumbent's side; its latency is that of the evidence if it names the incumbent's model, else its own."""
    folder, manifest = registry.entry_of(shelf, event)
    known = {manifest.model_sha256: manifest.latency_ms} | evidence
    return _contender(folder, manifest.form, target, known)


def _verify_gates(challenger: Contender, dataset: Dataset, target: Target) -> list[Gate]:
    """That verify passed, and that what it verified is what is here.

    Raises:
        CandidateError: verify.json is missing, or a file changed since it was written.
    """
    record = VerifyRecord.load(challenger.folder / VERIFY)
    for name, digest in sorted(record.model_sha256.items()):
        path = challenger.folder / name
        if not path.is_file() or files.sha256_file(path) != digest:
            raise CandidateError("a verified file stays as it was", f"{path} changed", "Run `ecm-edge verify` again.")
    data = dataset.header.content_sha256
    everything = len(dataset.rows_of(challenger.config.split.validation))
    return [
        at_least(
            "verified_segments", record.segments, everything, "segments", "a search verifies the others on a sample"
        ),
        agreed("verify", f"{record.verdict.value} on {record.segments} segments", holds=_proven(record)),
        _compared(record, challenger.form),
        agreed("verified_form", challenger.form, holds=challenger.sha256 in record.model_sha256.values()),
        agreed("verified_for_target", record.target, holds=record.target == target.name),
        agreed("data_verified_on", record.dataset_sha256, holds=record.dataset_sha256 == data),
        agreed("data_trained_on", challenger.config.dataset_sha256, holds=challenger.config.dataset_sha256 == data),
    ]


def _proven(record: VerifyRecord) -> bool:
    """PASS, and so says every hop that ran: a verdict has to rest on what is under it."""
    return record.verdict == Verdict.PASS and all(hop.verdict != Verdict.FAIL for hop in record.hops)


def _compared(record: VerifyRecord, form: Form) -> Gate:
    """That every hop from PyTorch to the form that would ship was compared and holds; others may be NOT RUN."""
    passed = {hop.name for hop in record.hops if hop.verdict == Verdict.PASS}
    missing = [name for name in HOPS_TO[form] if name not in passed]
    detail = f"not PASS: {', '.join(missing)}" if missing else f"all to {form}"
    return agreed("verified_hops", detail, holds=not missing)


def _measured(latency: Latency) -> Gate:
    detail = f"{latency.evidence}: {latency.source}"
    return agreed("latency_measured", detail, holds=latency.evidence == Evidence.MEASURED)


def _reason(gates: Sequence[Gate], comparison: Comparison | None) -> str:
    failed = [f"{gate.name}: {gate.detail or gate.value}" for gate in gates if gate.verdict == Verdict.FAIL]
    if failed:
        return "; ".join(failed)
    if comparison is None:
        return "the first of its target, and all gates passed"
    by = f"{comparison.statistic} {shown(comparison.difference)} on {len(comparison.subjects)} subjects"
    return f"better by {by}; costs within tolerance"


def _record(
    challenger: Contender,
    dataset: Dataset,
    target: Target,
    former: Event | None,
    gates: list[Gate],
    comparison: Comparison | None,
) -> PromoteRecord:
    return PromoteRecord(
        verdict=overall(gates),
        reason=_reason(gates, comparison),
        target=target.name,
        form=challenger.form,
        candidate=challenger.folder.name,
        entry=None,
        replaces=former.entry if former else None,
        model_sha256=challenger.sha256,
        config_sha256=challenger.config.sha256,
        dataset_sha256=dataset.header.content_sha256,
        synthetic=dataset.header.synthetic or challenger.config.synthetic,
        gates=gates,
        latency_ms=challenger.latency,
        comparison=comparison,
        provenance=provenance.collect(),
    )


def _decide(
    shelf: Path, record: PromoteRecord, challenger: Contender, dataset: Dataset, hashes: dict[str, str]
) -> PromoteRecord:
    """Write the decision down, and install the candidate if it passed."""
    if record.verdict != Verdict.PASS:
        registry.log(shelf, _event(record, None))
        return record
    rows = dataset.rows_of(challenger.config.split.test)
    scores = score_rows(margins(challenger.model.classifier, dataset, rows), dataset, rows, None)
    manifest = _manifest(entries.entry_name(scores), record, challenger, hashes)
    entry, manifest_sha256 = entries.add_entry(shelf / registry.ENTRIES, challenger.folder, manifest)
    record = record.model_copy(update={"entry": entry})
    registry.install(shelf, _event(record, manifest_sha256))
    return record


def _manifest(name: str, record: PromoteRecord, challenger: Contender, hashes: dict[str, str]) -> Manifest:
    return Manifest(
        entry=name,
        target=record.target,
        form=record.form,
        model_file=challenger.model.path.name,
        model_sha256=record.model_sha256,
        config_sha256=record.config_sha256,
        dataset_sha256=record.dataset_sha256,
        synthetic=record.synthetic,
        verdicts={gate.name: gate.verdict for gate in record.gates},
        latency_ms=record.latency_ms,
        files=hashes,
        provenance=record.provenance,
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
    )
