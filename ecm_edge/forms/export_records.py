"""What an export leaves on record. Apart from the exporter, since who reads the records needs no torch."""

from __future__ import annotations

from ecm_edge.base.records import Record, Verdict
from ecm_edge.forms.simplify import SimplifyRecord


class ExportRecord(Record):
    """What was exported, and the exporter's log."""

    opset: int
    ir_version: int
    input_name: str
    input_shape: list[int]
    output_name: str
    nodes: int
    nodes_by_op: dict[str, int]
    weight_bytes: int
    file_bytes: int
    sha256: str
    exporter: str
    reused_graph: bool
    log_lines: int
    log_file: str


class ExportResult(Record):
    """What `ecm-edge export` did; the verdict is simplify's."""

    verdict: Verdict
    export: ExportRecord
    simplify: SimplifyRecord
