"""Whether samples are in the unit that a model was trained on."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from ecm_edge.candidate import candidate
from ecm_edge.data.dataset import UNSTATED
from ecm_edge.forms import onnx_model
from ecm_edge.forms.quantize import QuantizeRecord

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from ecm_edge.data.dataset import Dataset
    from ecm_edge.forms.model_file import ModelFile

_LOOKED_AT = 1000  # segments, evenly over the data set


def input_warnings(model: ModelFile, dataset: Dataset) -> list[str]:
    """The warnings about a data set's samples, which are about their unit; none on the model's own data set."""
    header = dataset.header
    if model.config and model.config.dataset_sha256 == header.content_sha256:
        return []
    rows = np.unique(np.linspace(0, header.segments - 1, min(_LOOKED_AT, header.segments)).astype(np.int64))
    warning = unit_warning(model, header.unit, np.asarray(dataset.samples[rows]))
    return [warning] if warning else []


def unit_warning(model: ModelFile, unit: str, samples: NDArray[np.floating]) -> str | None:
    """A warning where samples are not known to be in the unit that the model was trained on; else None.

    Args:
        model: its candidate, or its file, says the unit of its training; one that says nothing of its training is
            taken to be of mV.
        unit: that of the samples, or `UNSTATED`.
        samples: some of them, of any shape; NaN for missing ones.
    """
    fault = unit_fault(model, unit)
    if fault is None:
        return None
    known = _calibration_range(model)
    ranges = f"; those of its calibration lie between {known[0]:.4g} and {known[1]:.4g}" if known else ""
    low, high = np.nanpercentile(samples, (1, 99))
    return f"{fault}. 98 % of these samples lie between {low:.4g} and {high:.4g}{ranges}"


def unit_fault(model: ModelFile, unit: str) -> str | None:
    """The same for a unit alone."""
    trained = training_unit(model)
    if unit == trained != UNSTATED:
        return None
    here = "in a unit that no one states" if unit == UNSTATED else f"in {unit}"
    there = "samples whose unit no one states" if trained == UNSTATED else f"samples in {trained}"
    return f"the samples are {here}, and the model was trained on {there}: its answers may mean nothing"


def training_unit(model: ModelFile) -> str:
    """The unit of the samples that a model was trained on, or `UNSTATED`."""
    if model.config:
        return model.config.unit
    return onnx_model.provenance(model.classifier.proto).get("unit", "mV")


def _calibration_range(model: ModelFile) -> tuple[float, float] | None:
    path = model.folder / candidate.QUANTIZE if model.folder else None
    return QuantizeRecord.load(path).calibration_range if path and path.is_file() else None
