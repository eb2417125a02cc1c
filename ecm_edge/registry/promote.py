"""Promote: whether a candidate replaces the incumbent of a target, and why, either way.

The rules run in this order. Rules 1 to 5 are about the candidate alone. Rules 6 to 8 compare it with the incumbent,
once the others have passed.

1. Budgets: it fits the target's budgets, by the figures of the linked image where the target has firmware.
2. Verification: `verify` found nothing wrong on the way to the form that ships: on exactly these files, on all segments
   that it has to compare, on this data set, for the target as it is now.
3. Image, for a target with firmware: it is of this model, breaks no gate, and is the one that `verify` built of the C
   that it ran on the emulated board.
4. Measured latency: an estimate is no evidence.
5. Claim: a candidate without test subjects was measured out of fold, and ships the threshold that was found there. Its
   entry is named after those scores; where its data set is merged, after those of one source (`source.choose_source`).
   Where the registry's policy says how many subjects figures have to rest on, they do.
6. Score: it is better on subjects that neither model was trained or tuned on: by the points that the board's rule gives
   for Fβ and G, or by mean Fβ where there is no rule. The difference is paired and has an interval by resampling
   subjects. Where there are no such subjects, what both answered out of fold is compared. Where the challenger's data
   set has further sources, with answers of networks that have not seen them, the Fβ of all segments is compared there:
   the mean over the sources decides, and on none may it be worse by the whole interval. `--source` looks at one alone.
7. Costs: latency, flash and RAM are no worse than the target's tolerances allow. Only like evidence is compared. Where
   the target says that costs are scored and the task has a rule there, the budgets alone bound them, and rule 6 is
   about the whole score with its points for latency and size.
8. Board latency, for a target with firmware: the same for the estimated time on the board. The estimate rests on
   instructions counted in the emulator, and is never taken for measured time.
9. Proof: what is on record of the candidate comes out here and now (`proof.py`): the image byte for byte, its sizes and
   counts, the hops on a sample of segments, the score. It takes seconds, so it is done last, if all the others passed.

The verdict is strict. FAIL: a gate failed. NOT RUN: none failed, but one that has to run did not. PASS: all passed.
Only PASS promotes. A gate that does not apply is in the record as NOT RUN with its reason, and does not count. These
are rules 6 to 8 for the first candidate of a target, and for the target `host` what only a board's image or its
emulator can show. Without any latency evidence nothing is decided.
"""

from __future__ import annotations

import shlex
from dataclasses import replace
from typing import TYPE_CHECKING

from ecm_edge.base import files, provenance, trust
from ecm_edge.base.errors import CandidateError
from ecm_edge.base.numbers import point, with_positives
from ecm_edge.base.progress import doing
from ecm_edge.base.records import (
    Evidence,
    Gate,
    Verdict,
    at_least,
    condition,
    not_run,
    verdict_of_all,
)
from ecm_edge.candidate.candidate import (
    BENCH,
    FIRMWARE,
    FORM_FILES,
    TRAINING,
    VERIFY,
    check_dataset,
    commands,
    load_config,
)
from ecm_edge.candidate.row_sampling import verification_subjects
from ecm_edge.data.dataset import check_content
from ecm_edge.evaluate.evidence import read_latencies
from ecm_edge.evaluate.verify.records import (
    EMULATED_SEGMENTS,
    VerifyRecord,
    hops_to,
    is_proven,
    is_this_host,
    judged_by,
)
from ecm_edge.firmware import fit_records
from ecm_edge.forms.gate import BUDGETS
from ecm_edge.registry import costs, decision, entries, policy, proof, registry, wholeness
from ecm_edge.registry.comparison import Comparison, compare
from ecm_edge.registry.contender import open_challenger, open_incumbent
from ecm_edge.registry.decision import Decision
from ecm_edge.registry.score_gate import TOTAL, mean_difference, on_other_source, parts_of, score_gate, signed
from ecm_edge.registry.source import choose_source
from ecm_edge.training import out_of_fold
from ecm_edge.training.train import TrainingRecord

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from ecm_edge.base.records import Form, Latency
    from ecm_edge.data.dataset import Dataset
    from ecm_edge.firmware.fit_records import FormFit
    from ecm_edge.registry.contender import Contender
    from ecm_edge.registry.decision import PromoteRecord
    from ecm_edge.registry.events import Event
    from ecm_edge.registry.policy import Policy
    from ecm_edge.targets import Target

_VS_INCUMBENT = ("score", "latency_vs_incumbent", "flash_vs_incumbent", "ram_vs_incumbent")
_NOT_ON_HOST = ("stack_bound", "stack_high_water", "unaligned_accesses", "counts_repeatable", costs.BOARD_LATENCY)


@doing("hold it against the rules of promotion")
def promote(
    folder: Path,
    dataset: Dataset,
    target: Target,
    registry_folder: Path,
    *,
    latency_files: Sequence[Path] = (),
    form: Form | None = None,
    source: str | None = None,
    sign: Callable[[Path], None] | None = None,
) -> PromoteRecord:
    """Decide, write the decision into the registry's history, and install the candidate if it passed.

    To say it again changes nothing: a candidate that is the incumbent, file by file, gets the decision that made it so.

    Args:
        folder: the candidate.
        dataset: the one that the candidate was made from.
        target: whose incumbent is challenged.
        registry_folder: made if it is not there.
        latency_files: bench.json or pytest-benchmark's JSON; the candidate's own bench.json by default. One that also
            names the incumbent's model is used for both.
        form: what would ship; the target's first form by default.
        source: of a merged data set, the one that figures, comparison and the entry's name are about; by default the
            incumbent's, or else the only one that both data sets have, or else all.
        sign: signs the entry in a folder, once all its files are there; nothing is signed by default.

    Raises:
        CandidateError: the candidate lacks a piece (firmware.json too, for a target with firmware), has a changed
            file, no latency evidence names its model, or the source is not there or has no answers.
        DatasetError: the data set changed since it was written, or the test subjects have no segment.
        ModelError: a model is corrupt or its scores are not finite.
        RegistryError: the registry is damaged, an entry of it was changed, or its policy forbids the promotion.
        OutputError: the registry cannot be written, or another process holds it; the incumbent is the old one.
        TrustError: the candidate names a factory, and is not trusted.
    """
    config = load_config(folder)
    trust.check(commands(config))  # the registry may lie in a trusted folder, and then its entries are trusted
    check_dataset(config, dataset)  # and says so if there is no candidate, before anything else is missed
    _check_stages(folder, dataset, target, has_latency=bool(latency_files))
    registry.check_registry(registry_folder)
    rules = policy.load_policy(registry_folder)
    policy.check_promotion(rules, signed=sign is not None)
    hashes, latencies = entries.hash_files(folder), _latencies(latency_files or [folder / BENCH])
    challenger = open_challenger(folder, form or target.precision[0], latencies, dataset, target)
    check_content(dataset)
    shelf = registry.shelf_of(registry_folder, target.name)
    with registry.locked(shelf):
        verified, former = VerifyRecord.load(folder / VERIFY), registry.incumbent(shelf)
        challenger = replace(challenger, source=choose_source(source, challenger, shelf, former))
        known = decision.already(shelf, challenger, former, hashes)
        if known and source in {None, known.source}:
            if sign:
                sign(shelf / wholeness.ENTRIES / str(known.entry))
            return known
        decided = _decide(challenger, verified, former, shelf, latencies, rules, everywhere=source is None)
        return decision.write(shelf, challenger, decided, hashes, sign)


def _check_stages(folder: Path, dataset: Dataset, target: Target, *, has_latency: bool) -> None:
    """Refuse a candidate that a stage before promotion has not seen, with every command that has to run first.

    Raises:
        CandidateError: a record is missing; `has_latency` is whether latency evidence was given besides.
    """
    place, data = shlex.quote(str(folder)), f"--data {shlex.quote(str(dataset.folder))}"
    board = f"--target {target.name}"
    commands = {FORM_FILES["float32"]: f"export {place} {data}"}
    if target.firmware is not None:
        commands[FIRMWARE] = f"firmware build {place} {board}"
    commands[VERIFY] = f"verify {place} {data} {board}"
    if not has_latency:
        commands[BENCH] = f"bench {place} {data}"
    missing = [name for name in commands if not (folder / name).is_file()]
    if missing:
        raise CandidateError(
            "a candidate to be promoted was exported, built, verified and timed",
            f"no {', '.join(missing)} in {folder}",
            f"Run first: {', then '.join(f'`ecm-edge {commands[name]}`' for name in missing)}.",
        )


def _decide(
    challenger: Contender,
    verified: VerifyRecord,
    former: Event | None,
    shelf: Path,
    latencies: dict[str, Latency],
    rules: Policy,
    *,
    everywhere: bool,
) -> Decision:
    """Apply the rules in their order."""
    gates = [
        *_budgets(challenger),  # rule 1
        *_verification(verified, challenger),  # rule 2
        *_image(verified, challenger),  # rule 3
        _measured_latency(challenger),  # rule 4
        *_claim(challenger),  # rule 5
        *policy.enough_subjects(rules, challenger.measured_subjects),  # rule 5
    ]
    target = challenger.target
    comparison: Comparison | str | None = None
    if former and _verdict(gates, target) == Verdict.PASS:
        incumbent = open_incumbent(shelf, former, latencies, challenger)
        comparison = compare(challenger, incumbent, elsewhere=everywhere)
        gates += [
            score_gate(comparison, scored=costs.are_scored(challenger)),  # rule 6
            *costs.cost_gates(challenger, incumbent),  # rule 7
            *costs.board_latency_gates(challenger, incumbent),  # rule 8
        ]
    proven = proof.prove(challenger) if _verdict(gates, target) == Verdict.PASS else None  # rule 9
    gates += proven.gates if proven else []
    others = [] if comparison else _not_compared(gates, target, former)
    return Decision(
        verdict=_verdict(gates, target),
        reason=_reason(gates, target, comparison),
        gates=[*gates, *others, *([] if proven else proof.unproven(challenger, _why_not(gates)))],
        proof_s=proven.seconds if proven else None,
        comparison=comparison if isinstance(comparison, Comparison) else None,
        replaces=former.entry if former else None,
        image=decision.shipped_image(verified, challenger),
        provenance=provenance.collect(),
    )


def _latencies(paths: Sequence[Path]) -> dict[str, Latency]:
    """Latencies by model hash; of two of the same model, the later file's."""
    return {sha256: latency for path in paths for sha256, latency in read_latencies(path).items()}


def _budgets(challenger: Contender) -> list[Gate]:
    """Rule 1: the budgets of the target as it is now, and the gates of the image if there is one."""
    return challenger.cost.gates


def _verification(record: VerifyRecord, challenger: Contender) -> list[Gate]:
    """Rule 2: verify passed, and what it verified is what is here.

    Raises:
        CandidateError: a file changed since verify.json was written.
    """
    for name, digest in sorted(record.model_sha256.items()):
        path = challenger.folder / name
        if not path.is_file() or files.sha256_file(path) != digest:
            raise CandidateError("a verified file stays as it was", f"{path} changed", "Run `ecm-edge verify` again.")
    config, dataset, target = challenger.config, challenger.dataset, challenger.target
    content, segments = dataset.header.content_sha256, len(dataset.rows_of(verification_subjects(config)))
    every = at_least("verified_segments", record.segments, segments, "segments", "all that can be compared")
    outcome = f"all forms together: {record.verdict.value} on {record.segments} segments"
    return [
        every,
        condition("verify", outcome, holds=is_proven(record, challenger.form, target)),
        _verified_hops(record, challenger.form, target),
        condition("verified_form", challenger.form, holds=challenger.sha256 in record.model_sha256.values()),
        _verified_for_target(record, target),
        condition("data_verified_on", record.dataset_sha256, holds=record.dataset_sha256 == content),
        condition("data_trained_on", config.dataset_sha256, holds=config.dataset_sha256 == content),
    ]


def _verified_hops(record: VerifyRecord, form: Form, target: Target) -> Gate:
    """Every hop from PyTorch to what would ship was compared and holds; others may be NOT RUN.

    For a target with firmware the last of them is the one to the emulated board.
    """
    ran = {hop.name: hop for hop in record.hops}
    missing = [name for name in hops_to(form, target) if name not in ran or ran[name].verdict != Verdict.PASS]
    why = [f"{name} ({ran[name].reason})" if name in ran and ran[name].reason else name for name in missing]
    return condition("verified_hops", f"not PASS: {', '.join(why)}" if why else f"all to {form}", holds=not missing)


def _verified_for_target(record: VerifyRecord, target: Target) -> Gate:
    """Thresholds, compiler and emulator were those of the target as it is now; its name is no proof."""
    changed = record.target == target.name and record.judged_by != judged_by(target)
    detail = f"{record.target}, with other thresholds or firmware than now: verify again" if changed else record.target
    return condition("verified_for_target", detail, holds=record.target == target.name and not changed)


def _image(record: VerifyRecord, challenger: Contender) -> list[Gate]:
    """Rule 3: the image that ships is of this model, breaks no gate, and holds the C that verify ran."""
    fit, target = challenger.fit, challenger.target
    if fit is None:
        return []
    verified, image = record.firmware_of(challenger.sha256), fit.image
    path = fit_records.image_path(challenger.folder, challenger.form, target)
    where = path.relative_to(challenger.folder).as_posix()
    here = files.sha256_file(path) if image and image.file == where and path.is_file() else None
    wanted = verified.shipped_image if verified else None
    detail = (
        f"{f'{here[:12]}…' if here else f'no {where}'} here, {str(wanted)[:12]}… verified for {target.name}; "
        "the compiler and the model decide"
    )
    same = image is not None and here is not None and here == image.sha256 == wanted
    gates = [
        _image_gates(fit, target),
        condition("firmware_of_model", fit.model_sha256, holds=fit.model_sha256 == challenger.sha256),
        condition(decision.IMAGE_GATE, detail, holds=same),
    ]
    if is_this_host(target):
        return gates
    emulated, enough = verified.emulated_segments if verified else 0, min(EMULATED_SEGMENTS, record.segments)
    return [*gates, at_least("emulated_segments", emulated, enough, "segments", f"of {record.segments} verified")]


def _image_gates(fit: FormFit, target: Target) -> Gate:
    """The image was built and ran, and broke nothing but a budget: rule 1 has those as the target has them now."""
    broken = [gate.name for gate in fit.gates if gate.verdict == Verdict.FAIL]
    missing = [gate.name for gate in _applicable(fit.gates, target) if gate.verdict == Verdict.NOT_RUN]
    accepted = {Verdict.PASS}
    if broken and set(broken) <= set(BUDGETS):
        accepted.add(Verdict.FAIL)
    if not broken and is_this_host(target):
        accepted.add(Verdict.NOT_RUN)
    not_ran = f"NOT RUN: {', '.join(missing)}" if missing else ""
    detail = " ".join([fit.verdict.value, fit.reason, ", ".join(broken), not_ran]).strip()
    return condition("firmware", detail, holds=fit.verdict in accepted and not missing)


def _measured_latency(challenger: Contender) -> Gate:
    """Rule 4: the latency was measured."""
    latency = challenger.latency
    detail = f"{latency.evidence}: {latency.source}"
    return condition("latency_measured", detail, holds=latency.evidence == Evidence.MEASURED)


def _claim(challenger: Contender) -> list[Gate]:
    """Rule 5: without test subjects, it was measured out of fold, here, and ships the threshold found there.

    Raises:
        CandidateError: what it answered out of fold was changed, or is another configuration's; or no training.json.
    """
    if challenger.config.split.test:
        return []
    if not out_of_fold.has_folds(challenger.folder):
        return [condition("claim", "no test subjects, and nothing out of fold: train with --folds", holds=False)]
    if challenger.config.dataset_sha256 != challenger.dataset.header.content_sha256:
        return [condition("claim", "measured out of fold on another data set", holds=False)]
    chosen = challenger.cross_validation.record.threshold
    own = TrainingRecord.load(challenger.folder / TRAINING).best.threshold
    if own != chosen:
        detail = f"a network at the threshold {own:.6g}, not {chosen:.6g}; train with --refit"
        return [condition("claim", detail, holds=False)]
    scores = challenger.answers.scores
    figures = f"mean Fβ {scores.fbeta_mean.value:.4f}, G {scores.g.value:.3f}, specificity {point(scores.specificity)}"
    counted = with_positives(scores.subjects, scores.positive_subjects, challenger.config.task.label)
    return [condition("claim", f"{figures} over {counted}{_whose(challenger)}, out of fold", holds=True)]


def _whose(challenger: Contender) -> str:
    """The source that a figure is about, or that it mixes several; empty where the data set was not merged."""
    if challenger.source:
        return f", of {challenger.source.name}"
    names = [source.name for source in challenger.dataset.header.sources]
    return f", of {' and '.join(names)} together (--source names one)" if names else ""


def _not_compared(gates: Sequence[Gate], target: Target, former: Event | None) -> list[Gate]:
    """The gates of rules 6 to 8 where there is no incumbent or no need to compare; they decide nothing."""
    why = _why_not(gates) if former else "no incumbent yet"
    return [not_run(name, why) for name in (*_VS_INCUMBENT, *([costs.BOARD_LATENCY] if target.firmware else []))]


def _why_not(gates: Sequence[Gate]) -> str:
    failed = any(gate.verdict == Verdict.FAIL for gate in gates)
    return f"not compared: a gate before it {'failed' if failed else 'did not run'}"


def _applicable(gates: Sequence[Gate], target: Target) -> list[Gate]:
    """The gates that count: for this host, all but what only a board's image or its emulator can show."""
    excused = _NOT_ON_HOST if is_this_host(target) else ()
    return [gate for gate in gates if gate.verdict != Verdict.NOT_RUN or gate.name not in excused]


def _verdict(gates: Sequence[Gate], target: Target) -> Verdict:
    return verdict_of_all(_applicable(gates, target))


def _reason(gates: Sequence[Gate], target: Target, comparison: Comparison | str | None) -> str:
    """The gates that the verdict is due to, or what the candidate is better by."""
    verdict = _verdict(gates, target)
    if verdict != Verdict.PASS:
        due = [gate for gate in _applicable(gates, target) if gate.verdict == verdict]
        return "; ".join(f"{gate.name}: {gate.detail or gate.value}" for gate in due)
    if not isinstance(comparison, Comparison):
        return "the first of its target, and all gates passed"
    of_source = f" of {comparison.source}" if comparison.source else ""
    by = f"{comparison.statistic} {signed(comparison.difference)} on {len(comparison.subjects)} subjects{of_source}"
    elsewhere = "".join(f"; {on_other_source(other)}" for other in comparison.elsewhere)
    price = "the score counts the costs" if any(g.unit == TOTAL for g in gates) else "costs within tolerance"
    mean = f"{mean_difference(comparison):+.3f} in the mean over sources, " if comparison.elsewhere else ""
    return f"better by {mean}{by}{parts_of(comparison)}{elsewhere}; {price}"
