"""Forms made of a float32 model whose weights do not matter: sizes and counts are those of the real form.

The int8 form is calibrated on seeded noise.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from ecm_edge.base.errors import ModelError
from ecm_edge.firmware.form_build import Source
from ecm_edge.forms import onnx_model, quantize
from ecm_edge.forms.float16 import to_float16_weights

if TYPE_CHECKING:
    import onnx

    from ecm_edge.base.records import Form

_CALIBRATION_SEGMENTS = 8
_SEED = 0


def make_form(form: Form, float32: onnx.ModelProto) -> Source:
    """A form made of a float32 model; without a model, and with the reason, where it cannot be made."""
    try:
        if form == "int8":
            samples = onnx_model.classifier_of(float32).samples_per_segment
            note = (
                f"quantised with {_CALIBRATION_SEGMENTS} segments of noise: "
                "counts and sizes do not depend on the weights"
            )
            return Source(form, quantize.quantize_int8(float32, noise(samples, _CALIBRATION_SEGMENTS)), note)
        if form == "float16":
            return Source(form, to_float16_weights(float32), "the float32 file with its weights rounded")
    except ModelError as problem:
        return Source(form, None, str(problem))
    return Source(form, float32)


def noise(samples: int, segments: int) -> onnx_model.Floats:
    """Seeded random segments (segments, samples)."""
    return np.random.default_rng(_SEED).standard_normal((segments, samples)).astype(np.float32)
