"""One ONNX file to be scored or timed: a file of any origin, or one form of a candidate."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from ecm_edge.base.errors import CandidateError, ModelError
from ecm_edge.base.progress import track
from ecm_edge.candidate.candidate import CONFIG, FORM_FILES, CandidateConfig, check_forms, load_config
from ecm_edge.forms import onnx_model
from ecm_edge.forms.decision import text_of

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from ecm_edge.base.records import Form
    from ecm_edge.data.dataset import Dataset
    from ecm_edge.forms.onnx_model import Classifier

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

    @property
    def sha256(self) -> str:
        """Of the file, and of those beside it that hold its weights."""
        return self.classifier.sha256


def open_model(
    path: Path, form: Form = "float32", threshold: float | None = None, classes: Sequence[str] = ()
) -> ModelFile:
    """The ONNX file at `path`, or the given form of the candidate in the folder `path`.

    `threshold` is that of a model of one score; by default 0.5 for a sigmoid and 0 for a logit. `classes` are the names
    of its labels; by default those in the file's metadata.

    Raises:
        CandidateError: the folder is no candidate, lacks that form, or its configuration changed since the export.
        ModelError: the file is missing, corrupt or not a classifier.
    """
    if not path.is_dir():
        classifier = onnx_model.load_classifier(path, threshold, classes)
        return ModelFile(classifier, onnx_model.stated_form(classifier.proto))
    config = load_config(path)
    file = path / FORM_FILES[form]
    check_forms(path, form)
    classifier = onnx_model.load_classifier(file, threshold, classes)
    made_from = onnx_model.provenance(classifier.proto).get("config_sha256", config.sha256)
    if made_from != config.sha256:
        raise CandidateError(
            "a candidate's configuration is the one its model was made from",
            f"{CONFIG} of {path} changed since {file.name} was exported",
            "Restore it, or export again.",
        )
    return ModelFile(classifier, form, path, config)


def open_detector(path: Path, form: Form = "float32") -> ModelFile:
    """The same of a model with one axis of samples and two scores, as tasks and data sets have them.

    Raises:
        CandidateError, ModelError: as `open_model`; or the model has another shape, or another number of scores.
    """
    model = open_model(path, form)
    classifier = model.classifier
    if not classifier.is_detector:
        shape, scores = text_of(classifier.input_shape), classifier.decision.count
        raise ModelError(
            "a model that is held against a task has one axis of samples and two scores",
            f"an input of {shape} and {scores} score{'s' if scores > 1 else ''} in {model.path}",
            "`fit`, `firmware generate` and `build`, `verify`, `bench`, `bundle` and `quantize` take any other shape.",
        )
    return model


def check_length(classifier: Classifier, dataset: Dataset) -> None:
    """Refuse a data set whose segments have another length than the one axis of the model's input.

    Raises:
        ModelError: with both lengths.
    """
    samples = dataset.header.samples_per_segment
    if [length for length in classifier.input_shape if length != 1] != [samples]:
        raise ModelError(
            "segments have the length of the model's input",
            f"{samples} samples in {dataset.folder} for {text_of(classifier.input_shape)} in {classifier.path}",
            "Import the data with the model's length, or give a file of samples: --samples.",
        )


def margins(classifier: Classifier, dataset: Dataset, rows: NDArray[np.int64]) -> NDArray[np.float32]:
    """scores[:, 1] - scores[:, 0] of these rows, (n,), in onnxruntime on one thread.

    Raises:
        ModelError: the segments have another length than the model's input, or onnxruntime fails.
    """
    session = onnx_model.open_session(classifier.proto)
    blocks = [rows[start : start + _BLOCK] for start in range(0, len(rows), _BLOCK)]
    parts = [np.zeros(0, np.float32)]
    for block in track(blocks, f"answer segments with {classifier.path.name}"):
        samples = np.asarray(dataset.samples[block])  # (n, T)
        scores = onnx_model.run_session(session, classifier, samples, [classifier.output_name])[0].reshape(-1, 2)
        parts.append(scores[:, 1] - scores[:, 0])
    return np.concatenate(parts)
