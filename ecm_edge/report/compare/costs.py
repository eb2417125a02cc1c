"""What the models cost on one board, whole and layer by layer."""

from __future__ import annotations

from dataclasses import dataclass
from difflib import SequenceMatcher
from typing import TYPE_CHECKING

from ecm_edge import targets
from ecm_edge.base.errors import EcmEdgeError
from ecm_edge.base.progress import doing
from ecm_edge.base.records import Form, Verdict
from ecm_edge.firmware import fit_records
from ecm_edge.firmware.fit import fit_model
from ecm_edge.firmware.generate import form_of
from ecm_edge.forms import cost
from ecm_edge.report.compare.records import LayerCost, LayerRow, ModelCost
from ecm_edge.report.compare.sides import reason_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ecm_edge.firmware.fit_records import FormFit, LayerFit
    from ecm_edge.report.compare.sides import Side
    from ecm_edge.targets import Target

_MS = 1000.0


@dataclass(frozen=True)
class SideCost:
    """The cost of one model; `fit` is what was built, None where nothing was."""

    record: ModelCost
    fit: FormFit | None


def board_of(sides: Sequence[Side]) -> str | None:
    """The board that the first model with an image on record has it for."""
    built = [side.records.stages.firmware for side in sides if side.records]
    return next((record.target for record in built if record), None)


def cost_of(side: Side, target: Target | None, board: str | None) -> SideCost:
    """What a model costs on `target`, built and counted where it has no image for it; without one, what is on record.

    Nothing is raised: what cannot be built or counted is NOT RUN, with its reason.
    """
    fit = _on_record(side, target, board)
    if isinstance(fit, str) and target is None:
        return _counted(side, fit)
    if not isinstance(fit, str):
        return SideCost(_record(side, fit, "record"), fit)
    assert target is not None  # noqa: S101 - else it has returned
    try:
        built = _build(side, target)
    except EcmEdgeError as problem:
        return _counted(side, reason_of(problem))
    return SideCost(_record(side, built, "built"), built)


def _on_record(side: Side, target: Target | None, board: str | None) -> FormFit | str:
    """The image on record, if it is of this board and of the model as it is there; else why there is none."""
    where = f"give --target {board or 'BOARD'} to build and count it"
    if side.records is None:
        return f"an ONNX file has no image on record: {where}"
    record = fit_records.load(side.path, target) if target else side.records.stages.firmware
    if record is None or (target is None and record.target != board):
        return f"its image is for {record.target}: {where}" if record else f"it has no image on record: {where}"
    fit = record.of(side.form) if side.form else None
    if fit is None:
        return f"it has no image of the form {side.form} on record: {where}"
    if isinstance(side.model, str) or fit.model_sha256 != side.model.sha256:
        return f"its image is of another model than lies there: {where}"
    return f"nothing was counted of its image: {fit.reason}" if target and fit.instructions is None else fit


def _build(side: Side, target: Target) -> FormFit:
    forms: list[Form] = [side.form] if side.form else []
    if side.records is None and not isinstance(side.model, str):
        forms = [form_of(side.model.classifier.proto)]
    with doing(f"build {side.name} for {target.name}"):
        return fit_model(side.path, target, forms or None).forms[0]


def _record(side: Side, fit: FormFit, made: str) -> ModelCost:
    return ModelCost.model_validate(
        {
            "model": side.letter,
            "made": made,
            "reason": "; ".join(filter(None, [fit.reason, fit.note])),
            "form": fit.form,
            "verdict": fit.verdict,
            "macs": fit.macs,
            "parameters": fit.parameters,
            "flash_bytes": fit.flash_bytes,
            "ram_bytes": fit.ram_bytes,
            "stack_bytes": fit.stack_bound_bytes,
            "size_evidence": fit.size_evidence,
            "instructions": fit.instructions.total if fit.instructions else None,
            "latency_ms": fit.latency_ms,
        }
    )


def _counted(side: Side, reason: str) -> SideCost:
    """What the graph alone says."""
    macs = parameters = None
    if not isinstance(side.model, str):
        try:
            counted = cost.count(side.model.classifier.proto)
            macs, parameters = counted.macs, counted.parameters
        except EcmEdgeError as problem:
            reason = f"{reason}; {reason_of(problem)}"
    return SideCost(
        ModelCost(
            model=side.letter,
            made="counted",
            reason=reason,
            form=side.form,
            verdict=Verdict.NOT_RUN,
            macs=macs,
            parameters=parameters,
        ),
        None,
    )


def layer_rows(costs: Sequence[SideCost], target: Target | None, board: str | None) -> list[LayerRow]:
    """The layers of all models, those of one kind at one place in one row."""
    clock_hz = _clock_hz(target, board)
    columns = [[_layer(layer, clock_hz) for layer in each.fit.layers] if each.fit else [] for each in costs]
    return [LayerRow(layers=row) for row in aligned(columns)]


def aligned(columns: Sequence[Sequence[LayerCost]]) -> list[list[LayerCost | None]]:
    """Rows of one layer a column: layers of the same kind in the same order share a row, others have their own.

    A layer's kind is its name without its number: "3_conv_relu" and "4_conv_relu" may share a row.
    """
    rows: list[list[LayerCost | None]] = []
    for index, column in enumerate(columns):
        known = [next(_kind(layer.name) for layer in row if layer) for row in rows]
        matcher = SequenceMatcher(None, known, [_kind(layer.name) for layer in column], autojunk=False)
        merged: list[list[LayerCost | None]] = []
        for kind, i, i_end, j, j_end in matcher.get_opcodes():
            if kind == "equal":
                merged += [[*row, layer] for row, layer in zip(rows[i:i_end], column[j:j_end], strict=True)]
            else:
                merged += [[*row, None] for row in rows[i:i_end]]
                merged += [[*[None] * index, layer] for layer in column[j:j_end]]
        rows = merged
    return rows


def _kind(name: str) -> str:
    """The name of a layer without its number.

    >>> _kind("12_conv_relu"), _kind("conv")
    ('conv_relu', 'conv')
    """
    number, _, rest = name.partition("_")
    return rest if number.isdigit() and rest else name


def _layer(layer: LayerFit, clock_hz: int | None) -> LayerCost:
    timed = layer.cycles is not None and clock_hz is not None
    return LayerCost(
        name=layer.name,
        macs=layer.macs,
        instructions=layer.instructions,
        ms=layer.cycles / clock_hz * _MS if timed and layer.cycles is not None and clock_hz else None,
        flash_bytes=layer.code_bytes + layer.constant_bytes,
        live_bytes=layer.live_bytes,
    )


def _clock_hz(target: Target | None, board: str | None) -> int | None:
    """The clock of the board; None of a board on record that does not ship."""
    if target is None and board in targets.names():
        target = targets.load(str(board))
    return target.core.clock_hz if target else None
