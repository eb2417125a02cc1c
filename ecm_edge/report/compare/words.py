"""How a comparison is told, in the terminal and on the page."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ecm_edge.base.numbers import NONE, number, point, setting, with_positives
from ecm_edge.registry.score_gate import signed

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ecm_edge.report.compare.records import (
        CompareRecord,
        HopOutcome,
        LayerCost,
        ModelCost,
        ModelParity,
        PairComparison,
    )

BASES = {"test": "answers itself", "out_of_fold": "out of fold"}

FIGURES = {
    "detection_points": "points for Fβ and G",
    "pooled_points": "points for Fβ of all segments",
    "fbeta_mean": "mean Fβ",
    "fbeta_pooled": "Fβ, all segments",
    "g": "G",
    "f1": "F1",
    "recall": "sensitivity",
    "specificity": "specificity",
    "accuracy": "accuracy",
}

MADE = {"record": "on record", "built": "built here", "counted": "graph only"}


def title_of(pair: PairComparison, label: str) -> str:
    """Which models, on which subjects, and who answered."""
    counted = with_positives(pair.subjects, pair.positive_subjects, label)
    source = f" on {pair.source}" if pair.source else ""
    from_record = "; counts on record" if pair.evidence == "on record" else ""
    return (
        f"{pair.model} against {pair.against}{source}: {counted} "
        f"({pair.model} {BASES[pair.basis]}, {pair.against} {BASES[pair.against_basis]}{from_record})"
    )


def figures_of(pair: PairComparison) -> list[tuple[str, str, str, str]]:
    """Name, A's value, the model's value and the difference of every figure."""
    each = {pair.statistic: pair.difference, **pair.others}
    return [
        (
            FIGURES[name],
            point(getattr(pair.against_figures, name, None)),
            point(getattr(pair.figures, name, None)),
            signed(difference),
        )
        for name, difference in each.items()
    ]


def verdict_of(pair: PairComparison) -> str:
    """Whether the model is better, and how sure that is."""
    if pair.significant is None:
        return "One subject: no interval"
    if not pair.significant:
        return "No clear difference: the interval contains 0"
    return f"{pair.model if pair.difference.value > 0 else pair.against} is better: the interval does not contain 0"


def costs_table(costs: Sequence[ModelCost]) -> list[list[str]]:
    """A row for each cost, with its evidence and a cell for each model; the first cell of a row is its name."""
    sizes = ", ".join(dict.fromkeys(cost.size_evidence.value for cost in costs if cost.size_evidence)) or NONE
    rows: list[tuple[str, str, list[float | None]]] = [
        ("MACs", "counted", [cost.macs for cost in costs]),
        ("parameters", "counted", [cost.parameters for cost in costs]),
        ("flash, B", sizes, [cost.flash_bytes for cost in costs]),
        ("RAM, B", sizes, [cost.ram_bytes for cost in costs]),
        ("stack bound, B", sizes, [cost.stack_bytes for cost in costs]),
        ("instructions", "emulated", [cost.instructions for cost in costs]),
        ("ms", "estimated", [cost.latency_ms.mean_ms if cost.latency_ms else None for cost in costs]),
    ]
    return [[name, evidence, *map(_cell, [values[0]] * len(values), values)] for name, evidence, values in rows]


def _cell(first: float | None, value: float | None) -> str:
    """A value, with its change from the first model's in percent where there is one."""
    if value is None:
        return NONE
    shown = f"{value:,}" if isinstance(value, int) else number(value)
    return f"{shown} ({100 * (value / first - 1):+.0f} %)" if first and value != first else shown


def layer_cells(layer: LayerCost | None) -> tuple[str, str, str]:
    """Name, instructions and milliseconds of a layer."""
    if layer is None:
        return NONE, NONE, NONE
    instructions = NONE if layer.instructions is None else f"{layer.instructions:,}"
    return layer.name, instructions, NONE if layer.ms is None else number(layer.ms, 3)


def settings_table(record: CompareRecord) -> list[list[str]]:
    """A row for each parameter that is not the same in all, and a cell for each model; a file has none."""
    files = [model.kind == "file" for model in record.models]
    return [
        [one.name, *(NONE if file else setting(value) for value, file in zip(one.values, files, strict=True))]
        for one in record.settings
    ]


def hops_table(parities: Sequence[ModelParity], *, short: bool = False) -> list[list[str]]:
    """A row for each hop of any model, in their order, and a cell for each model; `short` has no differences."""
    names = list(dict.fromkeys(hop.name for parity in parities for hop in parity.hops))
    known = [{hop.name: hop for hop in parity.hops} for parity in parities]
    return [[name, *(_hop(hops.get(name), short=short) for hops in known)] for name in names]


def _hop(hop: HopOutcome | None, *, short: bool) -> str:
    if hop is None:
        return NONE
    if hop.max_abs is None:
        return hop.verdict.value
    if short:
        return f"{hop.verdict.value} {hop.label_flips:,}"
    return f"{hop.verdict.value}, {hop.label_flips:,} flips, {number(hop.max_abs, 3)}"
