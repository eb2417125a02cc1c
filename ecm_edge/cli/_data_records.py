"""What the commands `ecm-edge data …` print of their records."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ecm_edge.cli._told import lines_of_import, say_if_one_class, show_rhythms, show_sources, tell

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ecm_edge.data.audit import AuditRecord
    from ecm_edge.data.info import InfoRecord, SourceCounts
    from ecm_edge.data.merge import MergeRecord
    from ecm_edge.data.recordings.importer import ImportRecord

_DUPLICATES_SHOWN = 10
_LINES_SHOWN = 20  # of what was left out and noted


def note_import(record: ImportRecord) -> None:
    """What is not in the data set, what is to be known of the rest, and the number of blank rhythms, on stderr."""
    tell(lines_of_import(record))
    if record.blank_segments:
        meaning = "counted as negative" if record.blank == "negative" else "without a label"
        tell([f"note: {record.blank_segments} segments have a blank rhythm; they are {meaning}"])


def note_merge(record: MergeRecord) -> None:
    """What the merge decided, on stderr; duplicates with their subjects, since they let training data into the test."""
    from ecm_edge.data.reasons import of_notes

    tell(f"note: {line}" for line in of_notes(record.notes, of="data sets"))
    if not record.duplicates:
        return
    for one in record.duplicates[:_DUPLICATES_SHOWN]:
        unlike = f", {one.other_label} of them with another label" if one.other_label else ""
        pair = f"{one.subject} of {one.source} = {one.first_subject} of {one.first_source}"
        tell([f"duplicates: {pair}: {one.segments} segments{unlike}"])
    if (more := len(record.duplicates) - _DUPLICATES_SHOWN) > 0:
        tell([f"duplicates: and {more} more pairs of subjects, all of them with --json"])
    if not record.duplicates_dropped:
        tell([], ["one recording may come to lie in training and in test: --drop-duplicates"])


def show_made(record: ImportRecord | MergeRecord, sources: Sequence[SourceCounts] = ()) -> None:
    """The sources, the meaning of each rhythm, then the data set; last of all that it has only one class, if so."""
    from ecm_edge.base.tables import say

    if sources:
        show_sources(sources)
    show_rhythms(record.labels)
    say(
        f"{record.segments} segments of {record.subjects} subjects in {record.dataset}, unit {record.unit} "
        f"({record.seconds:.1f} s, content {record.content_sha256[:12]})"
    )
    say_if_one_class({row.meaning for row in record.labels if row.segments})


def show_info(record: InfoRecord) -> None:
    """Subjects by rhythm, sources, then all that is known of the data set."""
    from ecm_edge.base.tables import say, show
    from ecm_edge.data.dataset import LICENCE_UNSTATED

    header, counts = record.header, record.counts
    names = list(counts.rhythms)
    show(
        f"{record.dataset}{' (synthetic)' if header.synthetic else ''}",
        ["subject", *(name or "(blank)" for name in names)],
        [
            ["all", *(str(number) for number in counts.rhythms.values())],
            *([subject, *(str(row.get(name, "")) for name in names)] for subject, row in counts.subjects.items()),
        ],
    )
    if counts.sources:
        show_sources(counts.sources)
    words = {"positive": header.task.label}
    facts = {
        "segments": f"{counts.segments} in {counts.episodes} episodes of {len(counts.subjects)} subjects",
        "task": f"{header.task.name}: {header.task.title}",
        "labels": ", ".join(f"{number} {words.get(name, name)}" for name, number in counts.labels.items() if number),
        "splits": ", ".join(f"{number} {name}" for name, number in counts.splits.items()) or "none fixed",
        "signal": f"{header.sampling_rate_hz:g} Hz, {header.samples_per_segment} samples, unit {header.unit}",
        "source": ", ".join([header.source.format, *(f"{k}={v}" for k, v in header.source.options.items())]),
        "licence": header.source.licence or ("by source" if header.sources else LICENCE_UNSTATED),
        "content": f"{header.content_sha256} ({'recomputed' if record.content_checked else 'as recorded'})",
    }
    for name, fact in facts.items():
        say(f"{name:>9}: {fact}")
    told = lines_of_import(header)
    for line in told[:_LINES_SHOWN]:
        say(f" {line}")
    if len(told) > _LINES_SHOWN:
        say(f" and {len(told) - _LINES_SHOWN} more lines: --json has all")
    say_if_one_class({name for name, number in counts.labels.items() if number})


def show_audit(record: AuditRecord) -> None:
    """The gates, what was found, and the labels that other subjects contradict."""
    from ecm_edge.base.tables import Column, say, show
    from ecm_edge.data.audit import CLASSES

    show(
        f"{record.dataset}{' (synthetic)' if record.synthetic else ''}: {record.verdict}",
        ["gate", "verdict", "found", "limit", "detail"],
        [[g.name, g.verdict, f"{g.value:g}", f"{g.limit:g}", g.detail] for g in record.gates],
    )
    if record.findings:
        show(
            "Findings",
            ["kind", "segments", Column("detail", wraps=True), Column("such as", drop=1)],
            [[f.kind, str(f.segments), f.detail, ", ".join(f.examples[:3])] for f in record.findings],
        )
    else:
        say("Findings: none")
    _show_contradictions(record)
    say(record.rule)
    for gate in record.gates:
        if gate.name == CLASSES and gate.detail:
            say(gate.detail)


def _show_contradictions(record: AuditRecord) -> None:
    from ecm_edge.base.tables import say, show
    from ecm_edge.data.audit.predictions import MANY

    if record.out_of_fold_auc is None:
        say("Labels contradicted out of fold: NOT RUN, too few or too short segments, or too few subjects")
        return
    if not record.contradictions:
        say(
            f"Labels contradicted out of fold (AUC {record.out_of_fold_auc}): single segments at most; no rhythm of a "
            f"subject has {MANY} contradicted"
        )
        return
    show(
        f"Labels contradicted out of fold (AUC {record.out_of_fold_auc})",
        ["subject", "rhythm", "label", "segments", "contradicted"],
        [
            [c.subject, c.rhythm or "(blank)", str(c.label), str(c.segments), f"{c.contradicted} ({c.share:.0%})"]
            for c in record.contradictions
        ],
    )
