"""One form of a model in the chain: its file, its scores in onnxruntime, and those in the reference."""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np

from ecm_edge.base import files
from ecm_edge.base.errors import ModelError
from ecm_edge.base.records import Gate, at_least, not_run
from ecm_edge.candidate import candidate
from ecm_edge.forms import onnx_model, reference
from ecm_edge.forms.export_records import ExportRecord
from ecm_edge.forms.quantize import QuantizeRecord
from ecm_edge.forms.simplify import SimplifyRecord

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from torch import nn

    from ecm_edge.evaluate.verify.segments import Segments
    from ecm_edge.forms.onnx_model import Classifier, Floats
    from ecm_edge.forms.reference import Graph

_TORCH_BATCH = 256


class FormFile:
    """One ONNX file of the chain: read when first needed, run once."""

    def __init__(self, path: Path, segments: Segments, threshold: float | None = None) -> None:
        self.path, self._segments, self._threshold = path, segments, threshold

    @property
    def missing(self) -> str:
        """The reason why this form cannot be compared; empty if it can."""
        return "" if self.path.is_file() else f"there is no {self.path.name}"

    @cached_property
    def classifier(self) -> Classifier:
        """The checked model."""
        return onnx_model.load_classifier(self.path, self._threshold)

    @cached_property
    def scores(self) -> Floats:
        """Scores (N, S) in onnxruntime."""
        return onnx_model.run_scores(self.classifier, self._segments.samples)

    @cached_property
    def graph(self) -> Graph | str:
        """The model for the reference, or the reason why the reference cannot run it."""
        try:
            return reference.load(self.classifier.proto)
        except ModelError as problem:
            return str(problem)

    @cached_property
    def judged(self) -> Floats | str:
        """Scores (N, S) in the reference, or the reason without: an unknown operator, or a NaN to be quantised."""
        if isinstance(self.graph, str):
            return self.graph
        try:
            return reference.scores(self.graph, self._segments.samples)
        except ModelError as problem:
            return str(problem)

    def unchanged(self, recorded: Mapping[str, str]) -> Gate:
        """Whether this file is the one that its stage wrote, by the hash in that stage's record."""
        wanted = recorded.get(self.path.name)
        if wanted is None:
            return not_run("unchanged_since_written", f"no record of {self.path.name}")
        same = files.sha256_file(self.path) == wanted
        return at_least("unchanged_since_written", float(same), 1, "bool", self.path.name)

    def made_from(self, parent: FormFile) -> Gate:
        """Whether this file was made from exactly that one, by the hash in its metadata."""
        recorded = onnx_model.provenance(self.classifier.proto).get("parent_sha256", "")
        same = recorded == files.sha256_file(parent.path)
        return at_least("made_from_this_parent", float(same), 1, "bool", f"{self.path.name} from {parent.path.name}")


def recorded_sha256(folder: Path) -> dict[str, str]:
    """The hashes in the records of the stages that wrote the files, by file name; without a record there is none."""
    recorded: dict[str, str] = {}
    if (folder / candidate.EXPORT).is_file():
        recorded[candidate.EXPORTED] = ExportRecord.load(folder / candidate.EXPORT).sha256
    if (folder / candidate.SIMPLIFY).is_file():
        recorded[candidate.FORM_FILES["float32"]] = SimplifyRecord.load(folder / candidate.SIMPLIFY).sha256
    if (folder / candidate.QUANTIZE).is_file():
        hashes = QuantizeRecord.load(folder / candidate.QUANTIZE).sha256
        recorded |= {candidate.FORM_FILES[form]: hashes[form] for form in hashes if form != "float32"}
    return recorded


def torch_scores(network: nn.Module, samples: Floats) -> Floats:
    """Scores (N, 2) of samples (N, T) in PyTorch."""
    import torch

    with torch.inference_mode():
        parts = [network(torch.from_numpy(part)[:, None]).numpy() for part in _batches(samples)]
    return np.concatenate(parts) if parts else np.zeros((0, 2), np.float32)


def _batches(samples: Floats) -> list[Floats]:
    return [samples[start : start + _TORCH_BATCH] for start in range(0, len(samples), _TORCH_BATCH)]
