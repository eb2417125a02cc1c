"""What a model card picks out of the records, so that it stays short; the records have the rest."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ecm_edge.base.numbers import latency, number, quantity, whole
from ecm_edge.base.records import Record, Verdict
from ecm_edge.candidate import networks
from ecm_edge.data.info import SourceCounts
from ecm_edge.evaluate.disturbed import UNDISTURBED

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from ecm_edge.base.records import Form
    from ecm_edge.candidate.candidate import CandidateConfig
    from ecm_edge.data.dataset import Dataset
    from ecm_edge.data.info import Counts
    from ecm_edge.evaluate.bench import FormBench
    from ecm_edge.evaluate.robustness import RobustnessRow
    from ecm_edge.evaluate.verify.records import Hop
    from ecm_edge.firmware.fit_records import FormFit
    from ecm_edge.metrics import RhythmScore, Scores
    from ecm_edge.report.candidate_records import CandidateRecords

SUBJECTS = 10
"""At most so many subjects are on a card."""

DISTURBANCES = 5
"""So many disturbances are on a card, those that cost most."""

_WRONG = 0.1  # a share of a rhythm's segments that is told


def chosen_settings(config: CandidateConfig) -> dict[str, list[tuple[str, Any]]]:
    """The settings of the network and of the training that are not the defaults; all of a network that is not ours."""
    network = list(config.network.items())
    if config.factory is None and config.family in networks.FAMILIES:
        network = list(_unlike_default(networks.parameters(config.family, config.network)))
    return {"network": network, "training": list(_unlike_default(config.training))}


def _unlike_default(record: Record, prefix: str = "") -> Iterator[tuple[str, Any]]:
    for name, field in type(record).model_fields.items():
        value = getattr(record, name)
        if isinstance(value, Record):
            yield from _unlike_default(value, f"{prefix}{name}.")
        elif isinstance(value, dict):
            yield from ((f"{prefix}{name}.{key}", one) for key, one in value.items())
        elif field.is_required() or value != field.get_default(call_default_factory=True):
            yield prefix + name, value


def sources(dataset: Dataset, counts: Counts) -> list[SourceCounts]:
    """The sources of a data set; one that was not merged is its own."""
    header = dataset.header
    return counts.sources or [
        SourceCounts(
            source=dataset.folder.name,
            format=header.source.format,
            licence=header.source.licence,
            content_sha256=header.content_sha256,
            segments=counts.segments,
            subjects=len(counts.subjects),
            labels=counts.labels,
        )
    ]


def wrong(rhythm: RhythmScore) -> int:
    """How many segments of a rhythm are answered wrong."""
    return rhythm.segments - rhythm.called_positive if rhythm.label else rhythm.called_positive


def wrong_rhythms(scores: Scores) -> list[RhythmScore]:
    """The rhythms of which more than a tenth is answered wrong, worst first."""
    found = [one for one in scores.by_rhythm if wrong(one) > _WRONG * one.segments]
    return sorted(found, key=lambda one: (-wrong(one) / one.segments, -one.segments))


def told_hops(hops: Sequence[Hop]) -> list[Hop]:
    """The steps of the chain that did not pass, changed a label, or compared nothing."""
    return [hop for hop in hops if hop.verdict != Verdict.PASS or hop.label_flips or hop.parity is None]


def costly(rows: Sequence[RobustnessRow]) -> tuple[list[RobustnessRow], list[RobustnessRow]]:
    """The undisturbed row and those that take most of mean Fβ, the worst first; and all others."""
    disturbed = sorted((row for row in rows if row.name != UNDISTURBED), key=lambda row: row.fbeta_change.value)
    undisturbed = [row for row in rows if row.name == UNDISTURBED]
    return [*undisturbed, *disturbed[:DISTURBANCES]], disturbed[DISTURBANCES:]


def forms(records: CandidateRecords) -> tuple[list[Form], list[tuple[str, list[str]]]]:
    """The forms, and rows of what each weighs and costs: a name, and a cell for each form."""
    stages, names = records.stages, list(records.model_sha256)
    rows: dict[str, Mapping[Form, str]] = {}
    if stages.quantize:
        rows["weights"] = {form: quantity(size, "B") for form, size in stages.quantize.weight_bytes.items()}
    if stages.firmware:
        built = {fit.form: fit for fit in stages.firmware.forms}
        for title, cell in _ON_BOARD.items():
            rows[title] = {form: cell(fit) for form, fit in built.items()}
    if stages.bench:
        rows["time on this host"] = {one.form: _on_host(one) for one in stages.bench.forms if one.form}
    return names, [(title, [cells.get(form, "–") for form in names]) for title, cells in rows.items()]


def _instructions(fit: FormFit) -> str:
    return f"{whole(fit.instructions.total)}, emulated" if fit.instructions else "not measured"


def _on_host(timed: FormBench) -> str:
    time = timed.latency_ms
    slow = "" if time.p95_ms is None else f" (95 % below {number(time.p95_ms)})"
    return f"{quantity(time.median_ms, 'ms')}{slow}, {time.evidence}"


_ON_BOARD: dict[str, Callable[[FormFit], str]] = {
    "verdict": lambda fit: fit.verdict.value,
    "flash": lambda fit: f"{quantity(fit.flash_bytes, 'B')}, {fit.size_evidence}",
    "RAM": lambda fit: f"{quantity(fit.ram_bytes, 'B')}, {fit.size_evidence}",
    "instructions": _instructions,
    "time on the board": lambda fit: f"{latency(fit.latency_ms)}, {fit.latency_ms.evidence}",
}
