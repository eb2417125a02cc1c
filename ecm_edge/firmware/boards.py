"""Which boards a model fits: one row a board, best first. `ecm-edge fit MODEL --target all`."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, ClassVar

from pydantic import RootModel

from ecm_edge import targets
from ecm_edge.base.progress import track
from ecm_edge.base.records import Evidence, Form, Record, Verdict
from ecm_edge.base.shown import Tables
from ecm_edge.firmware.fit import fit_model
from ecm_edge.firmware.fit_records import FitRecord

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from ecm_edge.firmware.fit_records import FormFit
    from ecm_edge.targets import Target

_ORDER = (Verdict.PASS, Verdict.NOT_RUN, Verdict.FAIL)


class BoardFit(Record):
    """How a model fits one board.

    form:      the one that the row is about: the first of the board's that passes, or else the one that would ship.
    fits:      the forms whose verdict is PASS.
    cycles:    of one inference, estimated, as `latency_ms` is, from the counted instructions or else from the MACs.
    evidence:  of flash_bytes and ram_bytes.
    why:       what does not hold, or did not run; empty where the verdict is PASS.
    """

    target: str
    form: Form
    verdict: Verdict
    fits: list[Form]
    flash_bytes: int
    ram_bytes: int
    evidence: Evidence
    instructions: int | None
    cycles: int
    latency_ms: float
    why: str


class BoardRanking(Record):
    """Every board that ships, those that the model fits first, and among them the fastest first.

    verdict: PASS where the model fits a board; else NOT RUN if one could not be looked at; else FAIL.
    """

    verdict: Verdict
    model: str
    boards: list[BoardFit]
    seconds: float

    KEYS = ("model", "verdict")
    TABLES: ClassVar[Tables] = {"boards": ()}


class AnyFit(RootModel[FitRecord | BoardRanking]):
    """What `ecm-edge fit` prints: of one board, or of all."""


def rank_boards(path: Path, forms: Sequence[Form] | None = None, *, threshold: float | None = None) -> BoardRanking:
    """Fit a model to every board that ships, this host aside, and rank them.

    Args:
        path: as for `fit_model`.
        forms: those wanted; by default all that a board runs.
        threshold: as for `fit_model`.

    Raises:
        CandidateError, ModelError, FirmwareError: as `fit_model`.
    """
    begun = time.perf_counter()
    boards = [target for name in targets.names() if (target := targets.load(name)).core.architecture != "host"]
    rows = [_row(fit_model(path, board, forms, threshold=threshold), board) for board in track(boards, "boards")]
    rows.sort(key=lambda row: (_ORDER.index(row.verdict), row.latency_ms))
    return BoardRanking(
        verdict=rows[0].verdict, model=path.name, boards=rows, seconds=round(time.perf_counter() - begun, 3)
    )


def _row(record: FitRecord, board: Target) -> BoardFit:
    form = next((form for form in record.forms if form.verdict == Verdict.PASS), record.forms[0])
    return BoardFit(
        target=board.name,
        form=form.form,
        verdict=form.verdict,
        fits=record.fits,
        flash_bytes=form.flash_bytes,
        ram_bytes=form.ram_bytes,
        evidence=form.size_evidence,
        instructions=form.instructions.total if form.instructions else None,
        cycles=round(form.latency_ms.mean_ms / 1000 * board.core.clock_hz),
        latency_ms=form.latency_ms.mean_ms,
        why=_why(form),
    )


def _why(form: FormFit) -> str:
    if form.verdict == Verdict.PASS:
        return ""
    wrong = [gate for gate in form.gates if gate.verdict == form.verdict]
    return form.reason or ", ".join(gate.name for gate in wrong)
