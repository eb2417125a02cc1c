"""float16 weights, float32 arithmetic: half the bytes of the weights, and no other kernels on the device."""

from __future__ import annotations

import numpy as np
import onnx
from onnx import numpy_helper

from ecm_edge.base.errors import ModelError

FLOAT16_MAX = 65504.0


def to_float16_weights(proto: onnx.ModelProto) -> onnx.ModelProto:
    """The same model with every float32 array of more than one value stored as float16 and cast when it is used.

    Raises:
        ModelError: a weight is not finite, or beyond float16's largest value.
    """
    result = onnx.ModelProto()
    result.CopyFrom(proto)
    casts = []
    for tensor in result.graph.initializer:
        values = numpy_helper.to_array(tensor)
        if values.dtype != np.float32 or values.size == 1:
            continue
        largest = np.abs(values).max(initial=0)
        if not largest <= FLOAT16_MAX:
            raise ModelError(
                f"float16 weights lie within ±{FLOAT16_MAX:g}", f"{largest:g} in {tensor.name}", "Ship float32."
            )
        name, stored = tensor.name, f"{tensor.name}.float16"
        tensor.CopyFrom(numpy_helper.from_array(values.astype(np.float16), stored))
        casts.append(onnx.helper.make_node("Cast", [stored], [name], name=f"{name}.cast", to=onnx.TensorProto.FLOAT))
    nodes = [*casts, *result.graph.node]
    del result.graph.node[:]
    result.graph.node.extend(nodes)
    return result
