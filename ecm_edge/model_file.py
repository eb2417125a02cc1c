"""One ONNX file to be scored or timed: a file of any origin, or one form of a candidate."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, get_args

import numpy as np

from ecm_edge import cost, onnx_model
from ecm_edge.candidate import COST, FORM_FILES, CandidateConfig, load_config
from ecm_edge.errors import CandidateError
from ecm_edge.gate import CostRecord, estimated_latency
from ecm_edge.records import Evidence, Form, Latency
from ecm_edge.tables import track

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

    from ecm_edge.dataset import Dataset
    from ecm_edge.onnx_model import Classifier
    from ecm_edge.targets import Target

_BLOCK = 1000  # segments read at a time


@dataclass(frozen=True)
class ModelFile:
    """A checked model; `folder` and `config` are absent unless it belongs to a candidate.

    `form` is absent where neither a candidate nor the file itself says which one it is.
    """

    classifier: Classifier
    form: Form | None
    folder: Path | None = None
    config: CandidateConfig | None = None

    @property
    def path(self) -> Path:
        """The ONNX file."""
        return self.classifier.path


@dataclass(frozen=True)
class BoardCost:
    """What one inference takes on a board, and the executable; `evidence` speaks of flash_bytes."""

    latency_ms: Latency
    flash_bytes: int
    evidence: Evidence


def open_model(path: Path, form: Form = "float32") -> ModelFile:
    """The ONNX file at `path`, or the given form of the candidate in the folder `path`.

    Raises:
        CandidateError: the folder is no candidate, or lacks that form.
        ModelError: the file is missing, corrupt or not a classifier.
    """
    if not path.is_dir():
        classifier = onnx_model.load_classifier(path)
        stamped = onnx_model.provenance(classifier.proto).get("form")
        return ModelFile(classifier, next((known for known in get_args(Form) if known == stamped), None))
    config = load_config(path)
    file = path / FORM_FILES[form]
    if not file.is_file():
        raise CandidateError(
            f"a candidate's {form} form is {file.name}",
            f"none in {path}",
            "Run `ecm-edge export` (float32) or `ecm-edge quantize` (the others) first.",
        )
    return ModelFile(onnx_model.load_classifier(file), form, path, config)


def margins(classifier: Classifier, dataset: Dataset, rows: NDArray[np.int64]) -> NDArray[np.float32]:
    """scores[:, 1] - scores[:, 0] of these rows, (n,), in onnxruntime on one thread.

    Raises:
        ModelError: the segments have another length than the model's input, or onnxruntime fails.
    """
    session = onnx_model.open_session(classifier.proto)
    blocks = [rows[start : start + _BLOCK] for start in range(0, len(rows), _BLOCK)]
    found = [np.zeros(0, np.float32)]
    for block in track(blocks, f"scoring {classifier.path.name}"):
        samples = np.asarray(dataset.samples[block])  # (n, T)
        scores = onnx_model.run_session(session, classifier, samples, [classifier.output_name])[0].reshape(-1, 2)
        found.append(scores[:, 1] - scores[:, 0])
    return np.concatenate(found)


def board_cost(model: ModelFile, target: Target) -> BoardCost:
    """The candidate's own cost record if it speaks of this target and form; else an estimate from the file's graph.

    Raises:
        ModelError: the graph's shapes are not static, so that nothing can be counted.
    """
    if model.folder and (model.folder / COST).is_file():
        record = CostRecord.load(model.folder / COST)
        if (record.target, record.form) == (target.name, model.form):
            return BoardCost(record.latency_ms, record.flash_bytes, record.evidence)
    counted = cost.count(model.classifier.proto)
    flash_bytes = counted.weight_bytes + target.cost_model.runtime_flash_bytes
    return BoardCost(estimated_latency(counted.macs, target), flash_bytes, Evidence.ESTIMATED)
