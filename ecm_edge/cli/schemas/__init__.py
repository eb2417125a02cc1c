"""The published JSON Schemas: what each command prints with --json, one file a command.

They are generated from the records, `python -m ecm_edge.cli.schemas` writes them, and a test holds the files against
the records and the commands' outputs against the files.
"""

from __future__ import annotations

import importlib
import json
from pathlib import Path
from typing import Any

FOLDER = Path(__file__).parent
RECORDS = {
    "data-import": "ecm_edge.data.recordings.importer:ImportRecord",
    "data-merge": "ecm_edge.data.merge:MergeRecord",
    "data-synth": "ecm_edge.data.synthetic:SynthRecord",
    "data-info": "ecm_edge.data.info:InfoRecord",
    "data-folds": "ecm_edge.data.splits:FoldAssignment",
    "data-audit": "ecm_edge.data.audit:AuditRecord",
    "tasks": "ecm_edge.tasks:TaskList",
    "targets": "ecm_edge.targets:TargetList",
    "space": "ecm_edge.candidate.space:Space",
    "fit": "ecm_edge.firmware.boards:AnyFit",
    "gate": "ecm_edge.forms.gate:CostRecord",
    "search": "ecm_edge.search.runs:SearchRecord",
    "worker": "ecm_edge.search.runs:WorkerRecord",
    "pull": "ecm_edge.search.pull:PullRecord",
    "scale": "ecm_edge.search.scale:ScaleRecord",
    "train": "ecm_edge.search.train_one:TrainResult",
    "export": "ecm_edge.forms.export_records:ExportResult",
    "simplify": "ecm_edge.forms.simplify:SimplifyRecord",
    "quantize": "ecm_edge.forms.quantize:QuantizeRecord",
    "verify": "ecm_edge.evaluate.verify:VerifyRecord",
    "bench": "ecm_edge.evaluate.bench:BenchRecord",
    "score": "ecm_edge.evaluate.score:ScoreRecord",
    "predict": "ecm_edge.evaluate.predict:PredictRecord",
    "episodes": "ecm_edge.evaluate.episodes:EpisodesRecord",
    "robustness": "ecm_edge.evaluate.robustness:RobustnessRecord",
    "card": "ecm_edge.report.model_card:CardRecord",
    "firmware-generate": "ecm_edge.firmware.sources:GenerateRecord",
    "firmware-build": "ecm_edge.firmware.fit_records:FirmwareRecord",
    "firmware-sign": "ecm_edge.firmware.mcuboot:McubootRecord",
    "firmware-serve": "ecm_edge.firmware.serve:ServeRecord",
    "measure": "ecm_edge.evaluate.measure:MeasureRecord",
    "promote": "ecm_edge.registry.decision:PromoteRecord",
    "rollback": "ecm_edge.registry.events:Event",
    "history": "ecm_edge.registry.registry:AnyHistory",
    "registry-check": "ecm_edge.registry.check:RegistryCheck",
    "compare": "ecm_edge.report.compare.records:CompareRecord",
    "bundle": "ecm_edge.registry.bundle:BundleRecord",
    "verify-bundle": "ecm_edge.registry.signatures:SignatureRecord",
    "doctor": "ecm_edge.firmware.doctor:DoctorRecord",
    "trust": "ecm_edge.base.trust_list:TrustRecord",
    "completion": "ecm_edge.cli._completion_record:CompletionRecord",
    "report": "ecm_edge.report.records:AnyReport",
}
"""Which record each command prints."""


def schema(command: str) -> dict[str, Any]:
    """The JSON Schema of a command's output, from its record."""
    module, _, name = RECORDS[command].partition(":")
    generated: dict[str, Any] = getattr(importlib.import_module(module), name).model_json_schema(mode="serialization")
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **generated}


def text(command: str) -> str:
    """The schema as its file holds it."""
    return json.dumps(schema(command), indent=1, sort_keys=True) + "\n"


def path(command: str) -> Path:
    """Where the schema is published."""
    return FOLDER / f"{command}.json"
