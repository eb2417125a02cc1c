"""Verify: every form of a candidate gives the same answers on the same segments, or the first that does not is named.

    pytorch→onnx → simplified → float16     the same net: scores must agree up to rounding
                   simplified → int8        another net: the int8 reference must decide as well as the float one
                   int8: reference → onnxruntime   the same integers, layer by layer
    every form: reference → C on this host → C on the emulated board
                                    float scores within rounding, int8 bytes the same; on the board every bit

N segments, T samples. Int8 forms are judged by `ecm_edge.forms.reference`, and not by the runtime of this host.
"""

from ecm_edge.evaluate.verify.chain import verify_candidate, verify_model
from ecm_edge.evaluate.verify.records import Flip, Hop, LayerDifference, LayerLsb, SubjectChange, VerifyRecord

__all__ = [
    "Flip",
    "Hop",
    "LayerDifference",
    "LayerLsb",
    "SubjectChange",
    "VerifyRecord",
    "verify_candidate",
    "verify_model",
]
