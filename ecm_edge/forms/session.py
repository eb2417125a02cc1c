"""Sessions of onnxruntime whose answers are the same on every processor."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ecm_edge.base.errors import ModelError

if TYPE_CHECKING:
    import onnx

_NO_KERNEL = "NOT_IMPLEMENTED"  # in what onnxruntime says


def open_session(proto: onnx.ModelProto) -> Any:  # noqa: ANN401 - onnxruntime ships no types
    """An onnxruntime session on one CPU thread, whose int8 sums are exact on every x86 processor.

    By default those without VNNI add pairs of int8 products in 16 bits, which clip: the same graph then has other
    answers on them. With the option against that, onnxruntime has no kernel for QGemm and QLinearMatMul on int8
    activations, whose pairs fit: those graphs are opened without it. So are graphs with scales by block, to whose
    DequantizeLinear it gives a zero point of another rank. And activations of a product by 4-bit weights are not
    rounded to 8 bits, as they are by default.

    Raises:
        ModelError: onnxruntime refuses the graph.
    """
    import onnxruntime as ort

    content, refusal = proto.SerializeToString(), ""
    by_block = any(a.name == "block_size" and a.i for node in proto.graph.node for a in node.attribute)
    for pairs_apart in ("0",) if by_block else ("1", "0"):
        options = ort.SessionOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        options.log_severity_level = 4  # what fails is raised as well
        options.add_session_config_entry("session.x64quantprecision", pairs_apart)
        options.add_session_config_entry("session.qdq_matmulnbits_accuracy_level", "1")
        try:
            return ort.InferenceSession(content, options, providers=["CPUExecutionProvider"])
        except Exception as problem:  # noqa: BLE001 - onnxruntime's exceptions share no public base class
            refusal = refusal or str(problem).splitlines()[0]
            if _NO_KERNEL not in refusal:
                break
    raise ModelError("onnxruntime can run the model", refusal, "Export it again.")
