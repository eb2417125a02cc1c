"""The cost of a model on a board, from the best evidence in its folder."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ecm_edge.base import files
from ecm_edge.base.errors import CandidateError
from ecm_edge.base.records import Evidence
from ecm_edge.candidate.candidate import COST, FORM_FILES
from ecm_edge.firmware import fit_records
from ecm_edge.forms import cost, onnx_model
from ecm_edge.forms.gate import CostRecord, check_cost

if TYPE_CHECKING:
    from ecm_edge.forms.model_file import ModelFile
    from ecm_edge.targets import Target


def board_cost(model: ModelFile, target: Target) -> CostRecord:
    """The cost of a model on a target, from the best evidence there is.

    1. firmware.json, if it is of exactly this file and of the target as it is now: the image of its own weights.
    2. A candidate's cost record, if it is of this target and form and not an estimate: the image of the untrained
       network.
    3. An estimate, made anew, since the target's file may have changed.

    Raises:
        CandidateError: the candidate's record counts another graph.
        ModelError: the graph's shapes are not static, so that nothing can be counted.
    """
    if model.folder is None or model.form is None:
        return check_cost(
            cost.count(model.classifier.proto), target, "float32"
        )  # the file as it is, without scaling to a form
    graph = cost.count(onnx_model.load_proto(model.folder / FORM_FILES["float32"]))
    built = fit_records.load(model.folder, target)
    image = built.of(model.form) if built else None
    if image and image.size_evidence != Evidence.ESTIMATED and image.model_sha256 == files.sha256_file(model.path):
        return image.to_cost(graph, target)
    estimate, path = check_cost(graph, target, model.form), model.folder / COST
    record = CostRecord.load(path) if path.is_file() else estimate
    if (record.target, record.form) != (target.name, model.form):
        return estimate
    if record.macs != graph.macs:
        raise CandidateError(
            f"{COST} is of the candidate's network",
            f"{record.macs} MACs in {path}, {graph.macs} in {FORM_FILES['float32']}",
            "One of the two was changed: make the candidate again.",
        )
    return estimate if record.evidence == Evidence.ESTIMATED else record
