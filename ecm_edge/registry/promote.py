"""Promote: whether a candidate replaces the incumbent of a target, and why, either way.

1. It fits the target's budgets.
2. `verify` found nothing wrong on the way to the form that ships, on exactly these files, on this data set, for this
   target.
3. It scores better on subjects that neither model was trained or tuned on: the points that the board's rule gives for
   Fβ and G, or mean Fβ where there is no rule. The difference is paired and has an interval by resampling subjects.
   Where the two leave no such subjects, what both answered out of fold is compared.
4. Latency, flash and RAM are no worse than the tolerances in the target file; only like evidence is compared, and
   latency has to be measured.
5. For a target with firmware, `verify` took exactly this model's C to the emulated board, `ecm-edge firmware build`
   found that it fits, and the image that ships is the one that verify built of the sources that it ran. Flash and RAM
   are those of the linked images; estimated time on the board has a gate of its own.
The first candidate of a target has only 1, 2 and 5 to pass. Without any latency evidence nothing is decided. A
candidate without test subjects has to have been measured out of fold: its entry is named after those scores.
"""

from __future__ import annotations

import dataclasses
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from ecm_edge.base import files, provenance
from ecm_edge.base.errors import CandidateError
from ecm_edge.base.records import (
    Evidence,
    Form,
    Gate,
    Latency,
    Provenance,
    Record,
    Verdict,
    at_least,
    not_run,
    verdict_of_what_ran,
)
from ecm_edge.candidate.candidate import BENCH, FIRMWARE, FORM_FILES, TRAINING, VERIFY, load_config
from ecm_edge.candidate.row_sampling import verification_subjects
from ecm_edge.data.dataset import check_content
from ecm_edge.evaluate.board_cost import board_cost
from ecm_edge.evaluate.evidence import read_latencies
from ecm_edge.evaluate.verify.records import (
    EMULATED_SEGMENTS,
    VerifiedFirmware,
    VerifyRecord,
    hops_to,
    is_proven,
    is_this_host,
    judged_by,
)
from ecm_edge.firmware import fit_records
from ecm_edge.firmware.fit_records import FirmwareRecord
from ecm_edge.forms import cost, onnx_model
from ecm_edge.forms.gate import BUDGETS
from ecm_edge.forms.model_file import margins, open_model
from ecm_edge.metrics.rows import score_rows
from ecm_edge.registry import entries, registry
from ecm_edge.registry.comparison import BOARD_LATENCY, Comparison, Contender, agreed, compare, shown
from ecm_edge.registry.entries import Manifest, ShippedImage
from ecm_edge.registry.registry import Event
from ecm_edge.training import out_of_fold
from ecm_edge.training.train import TrainingRecord

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ecm_edge.data.dataset import Dataset
    from ecm_edge.firmware.fit_records import FormFit
    from ecm_edge.metrics import Scores
    from ecm_edge.targets import Target

_AGAINST = ("score", "latency_vs_incumbent", "flash_vs_incumbent", "ram_vs_incumbent")


class PromoteRecord(Record):
    """The decision: PASS if the candidate is the incumbent now. `replaces` is the entry that was it before.

    `image` is what would ship, if all of it was verified; `board_latency_ms` is an estimate, where there is one.
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
    synthetic: bool
    gates: list[Gate]
    latency_ms: Latency
    board_latency_ms: Latency | None = None
    image: ShippedImage | None = None
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
        CandidateError: the candidate lacks a piece (firmware.json too, for a target with firmware), has a changed
            file, or no latency evidence names its model.
        DatasetError: the data set changed since it was written, or the test subjects have no segment.
        ModelError: a model is corrupt or its scores are not finite.
        RegistryError: the registry is damaged, or an entry of it was changed.
        OutputError: the registry cannot be written, or another process holds it; the incumbent is the old one.
    """
    form = form or target.precision[0]
    load_config(folder)  # says so if there is no candidate, before anything else is missed
    hashes, evidence = entries.hash_files(folder), _evidence(folder, latency_files)
    challenger = _challenger(folder, form, target, evidence)
    check_content(dataset)
    shelf = registry.shelf_of(registry_folder, target.name)
    with registry.locked(shelf):
        former = registry.incumbent(shelf)
        verified = VerifyRecord.load(folder / VERIFY)
        gates = [*challenger.cost.gates, *_verify_gates(verified, challenger, dataset, target)]
        gates += [*_firmware_gates(verified, challenger, target), _measured(challenger.latency)]
        gates += _claim_gates(challenger, dataset, target)
        against = _AGAINST if target.firmware is None else (*_AGAINST, BOARD_LATENCY)
        comparison = None
        if former is None:
            gates += [not_run(name, "no incumbent yet") for name in against]
        elif verdict_of_what_ran(gates) == Verdict.PASS:
            comparison, more = compare(challenger, _incumbent(shelf, former, target, evidence), dataset, target)
            gates += more
        else:
            gates += [not_run(name, "not compared: a gate before it failed") for name in against]
        record = _record(challenger, dataset, target, former, gates, comparison)
        record = record.model_copy(update={"image": _image(verified, challenger)})
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


def _challenger(folder: Path, form: Form, target: Target, evidence: dict[str, Latency]) -> Contender:
    """The candidate's side, with its firmware's figures if the target has any firmware.

    Raises:
        CandidateError: the firmware was not built, or for another target, or without this form.
    """
    side = _contender(folder, form, target, evidence)
    if target.firmware is None:
        return side
    record = FirmwareRecord.load(folder / FIRMWARE)
    fit = record.of(form) if record.target == target.name else None
    if fit is None:
        raise CandidateError(
            f"a promotion to {target.name} needs its firmware in the form that would ship",
            f"{FIRMWARE} of {record.target}: {', '.join(found.form for found in record.forms)}",
            f"Run `ecm-edge firmware build` for {target.name}.",
        )
    return _with_fit(side, fit, record.target_sha256, target)


def _with_fit(side: Contender, fit: FormFit, fitted_for: str, target: Target) -> Contender:
    """The contender with the costs of its image in place of the estimated ones."""
    graph = cost.count(onnx_model.load_proto(side.folder / FORM_FILES["float32"]))
    return dataclasses.replace(side, cost=fit.to_cost(graph, target), fit=fit, fitted_for=fitted_for)


def _incumbent(shelf: Path, event: Event, target: Target, evidence: dict[str, Latency]) -> Contender:
    """The incumbent's side; its latency is that of the evidence if it names the incumbent's model, else its own.

    Its firmware is built anew where it has none yet, or one that was fitted to another state of the target.
    """
    folder, manifest = registry.entry_of(shelf, event)
    known = {manifest.model_sha256: manifest.latency_ms} | evidence
    side = _contender(folder, manifest.form, target, known)
    if target.firmware is None:
        return side
    record = fit_records.load(folder, target)
    fit = record.of(manifest.form) if record else None
    return _with_fit(side, fit or _fitted(side, target), fit_records.target_sha256(target), target)


def _fitted(side: Contender, target: Target) -> FormFit:
    """What an entry's model needs on the target as it is now."""
    from ecm_edge.firmware.form_build import build_form

    graph = cost.count(onnx_model.load_proto(side.folder / FORM_FILES["float32"]))
    with tempfile.TemporaryDirectory(prefix="ecm-edge-") as scratch:
        return build_form(side.model.classifier.proto, target, Path(scratch), form=side.form, counted=graph).record


def _verify_gates(record: VerifyRecord, challenger: Contender, dataset: Dataset, target: Target) -> list[Gate]:
    """That verify passed, and that what it verified is what is here.

    Raises:
        CandidateError: a file changed since verify.json was written.
    """
    for name, digest in sorted(record.model_sha256.items()):
        path = challenger.folder / name
        if not path.is_file() or files.sha256_file(path) != digest:
            raise CandidateError("a verified file stays as it was", f"{path} changed", "Run `ecm-edge verify` again.")
    data = dataset.header.content_sha256
    everything = len(dataset.rows_of(verification_subjects(challenger.config)))
    return [
        at_least(
            "verified_segments", record.segments, everything, "segments", "a search verifies the others on a sample"
        ),
        agreed(
            "verify",
            f"all forms together: {record.verdict.value} on {record.segments} segments",
            holds=is_proven(record, challenger.form, target),
        ),
        _compared(record, challenger.form, target),
        agreed("verified_form", challenger.form, holds=challenger.sha256 in record.model_sha256.values()),
        _for_target(record, target),
        agreed("data_verified_on", record.dataset_sha256, holds=record.dataset_sha256 == data),
        agreed("data_trained_on", challenger.config.dataset_sha256, holds=challenger.config.dataset_sha256 == data),
    ]


def _for_target(record: VerifyRecord, target: Target) -> Gate:
    """That thresholds, compiler and emulator were those of the target as it is now; its name is no proof."""
    changed = record.target == target.name and record.judged_by != judged_by(target)
    detail = f"{record.target}, with other thresholds or firmware than now: verify again" if changed else record.target
    return agreed("verified_for_target", detail, holds=record.target == target.name and not changed)


def _compared(record: VerifyRecord, form: Form, target: Target) -> Gate:
    """That every hop from PyTorch to what would ship was compared and holds; others may be NOT RUN.

    For a target with firmware the last of them is the one to the emulated board.
    """
    ran = {hop.name: hop for hop in record.hops}
    missing = [name for name in hops_to(form, target) if name not in ran or ran[name].verdict != Verdict.PASS]
    why = [f"{name} ({ran[name].reason})" if name in ran and ran[name].reason else name for name in missing]
    return agreed("verified_hops", f"not PASS: {', '.join(why)}" if why else f"all to {form}", holds=not missing)


def _firmware_gates(record: VerifyRecord, challenger: Contender, target: Target) -> list[Gate]:
    """That the image which ships is of this model, fits, and holds the C that verify ran on the emulated board."""
    fit = challenger.fit
    if fit is None:
        return []
    verified, image = _verified(record, challenger), fit.image
    path = fit_records.image_path(challenger.folder, challenger.form, target)
    where = path.relative_to(challenger.folder).as_posix()
    here = files.sha256_file(path) if image and image.file == where and path.is_file() else None
    found = f"{here[:12]}…" if here else f"no {where}"
    wanted = verified.shipped_image if verified else None
    emulated = verified.emulated_segments if verified else 0
    return [
        _sound(fit),
        agreed("firmware_of_model", fit.model_sha256, holds=fit.model_sha256 == challenger.sha256),
        agreed(
            "image_of_verified_sources",
            f"{found} here, {str(wanted)[:12]}… verified for {target.name}; the compiler and the model decide",
            holds=image is not None and here is not None and here == image.sha256 == wanted,
        ),
        *([] if is_this_host(target) else [_enough(emulated, record)]),
    ]


def _sound(fit: FormFit) -> Gate:
    """That the image was built and ran, and broke nothing; its budgets are held anew, as the target has them now."""
    broken = [gate.name for gate in fit.gates if gate.verdict == Verdict.FAIL]
    without = [gate.name for gate in fit.gates if gate.verdict == Verdict.NOT_RUN]
    over_budget_only = bool(broken) and set(broken) <= set(BUDGETS) and not without
    missing = f"NOT RUN: {', '.join(without)}" if without else ""
    detail = " ".join([fit.verdict.value, fit.reason, ", ".join(broken), missing]).strip()
    return agreed("firmware", detail, holds=(fit.verdict == Verdict.PASS and not without) or over_budget_only)


def _enough(emulated: int, record: VerifyRecord) -> Gate:
    wanted = min(EMULATED_SEGMENTS, record.segments)
    return at_least("emulated_segments", emulated, wanted, "segments", f"of {record.segments} verified")


def _verified(record: VerifyRecord, challenger: Contender) -> VerifiedFirmware | None:
    """What verify built of exactly this model."""
    return next((found for found in record.firmware if found.model_sha256 == challenger.sha256), None)


def _image(record: VerifyRecord, challenger: Contender) -> ShippedImage | None:
    """The image that ships; None where there is none, or verify did not run its C."""
    verified, image = _verified(record, challenger), challenger.fit.image if challenger.fit else None
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


def _measured(latency: Latency) -> Gate:
    detail = f"{latency.evidence}: {latency.source}"
    return agreed("latency_measured", detail, holds=latency.evidence == Evidence.MEASURED)


def _claim_gates(challenger: Contender, dataset: Dataset, target: Target) -> list[Gate]:
    """That a candidate which has no test subjects was measured out of fold, here, and ships the threshold found there.

    Raises:
        CandidateError: what it answered out of fold was changed, or is another configuration's; or no training.json.
    """
    if challenger.config.split.test:
        return []
    if not out_of_fold.has_folds(challenger.folder):
        return [agreed("claim", "no test subjects, and nothing out of fold: train with --folds", holds=False)]
    if challenger.config.dataset_sha256 != dataset.header.content_sha256:
        return [agreed("claim", "measured out of fold on another data set", holds=False)]
    known = out_of_fold.load(challenger.folder, challenger.config, dataset)
    own = TrainingRecord.load(challenger.folder / TRAINING).best.threshold
    if own != known.record.threshold:
        detail = f"a network at the threshold {own:.6g}, not {known.record.threshold:.6g}; train with --refit"
        return [agreed("claim", detail, holds=False)]
    scores = score_rows(known.after, dataset, out_of_fold.labelled_rows(dataset), target)
    figures = f"mean Fβ {scores.fbeta_mean.value:.4f}, G {scores.g.value:.3f}"
    return [agreed("claim", f"{figures} over {scores.subjects} subjects out of fold", holds=True)]


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
        verdict=verdict_of_what_ran(gates),
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
        board_latency_ms=challenger.fit.latency_ms if challenger.fit else None,
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
    manifest = _manifest(entries.entry_name(_claim(challenger, dataset)), record, challenger, hashes)
    entry, manifest_sha256 = entries.add_entry(shelf / registry.ENTRIES, challenger.folder, manifest)
    record = record.model_copy(update={"entry": entry})
    registry.install(shelf, _event(record, manifest_sha256))
    return record


def _claim(challenger: Contender, dataset: Dataset) -> Scores:
    """The scores of the candidate on its test subjects, or of its recipe out of fold where it has none."""
    if challenger.config.split.test:
        rows = dataset.rows_of(challenger.config.split.test)
        answers = margins(challenger.model.classifier, dataset, rows)
    else:
        rows = out_of_fold.labelled_rows(dataset)
        answers = out_of_fold.load(challenger.folder, challenger.config, dataset).after
    return score_rows(answers, dataset, rows, None)


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
        image=record.image,
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
