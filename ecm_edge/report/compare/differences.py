"""What the records of the models say differently: parity, and the parameters of their configurations."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from ecm_edge.base import files
from ecm_edge.base.records import Verdict
from ecm_edge.candidate.candidate import VERIFY
from ecm_edge.report.candidate_records import changed_files
from ecm_edge.report.compare.records import HopOutcome, ModelParity, Setting
from ecm_edge.report.templates import flat

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ecm_edge.candidate.candidate import CandidateConfig
    from ecm_edge.report.compare.sides import Side

_LONGEST = 80
_SHA256 = re.compile(r"[0-9a-f]{64}")


def parity_of(side: Side) -> ModelParity:
    """What verify.json says, and whether it is about the files that lie there now."""
    record = side.records.stages.verify if side.records else None
    if record is None:
        why = "an ONNX file keeps no record" if side.records is None else f"there is no {VERIFY}"
        return ModelParity(model=side.letter, verdict=Verdict.NOT_RUN, reason=f"{why}: run `ecm-edge verify`")
    changed = changed_files(side.path, record.model_sha256)
    return ModelParity(
        model=side.letter,
        verdict=record.verdict,
        reason=f"{', '.join(sorted(changed))} changed since: run `ecm-edge verify` again" if changed else "",
        target=record.target,
        segments=record.segments,
        of_model=not changed,
        hops=[
            HopOutcome(
                name=hop.name,
                verdict=hop.verdict,
                label_flips=hop.parity.label_flips if hop.parity else len(hop.label_flips),
                max_abs=hop.parity.max_abs if hop.parity else None,
                reason=hop.reason,
            )
            for hop in record.hops
        ],
    )


def settings_of(sides: Sequence[Side]) -> list[Setting]:
    """The parameters whose values are not the same in all candidates, in the order of the configuration."""
    configs = [_values(side.records.config) if side.records else {} for side in sides]
    known = [values for values in configs if values]
    names = dict.fromkeys(name for values in known for name in values)
    return [
        Setting(name=name, values=[values.get(name) for values in configs])
        for name in names
        if len({repr(values.get(name)) for values in known}) > 1
    ]


def _values(config: CandidateConfig) -> dict[str, Any]:
    return {name: _short(value) for name, value in flat(config.model_dump(mode="json"))}


def _short(value: Any) -> bool | float | str | None:  # noqa: ANN401 - whatever a configuration holds
    """A value in a cell: a long list or text by its length and its hash, so that unlike ones stay unlike."""
    if value is None or isinstance(value, bool | int | float):
        return value
    text = ", ".join(map(str, value)) if isinstance(value, list) else str(value)
    if _SHA256.fullmatch(text):
        return text[:12]
    if len(text) <= _LONGEST:
        return text or None
    digest = files.sha256_json(value)[:8]
    return f"{len(value):,} of {digest}" if isinstance(value, list) else f"{text[:40]}…, {digest}"
