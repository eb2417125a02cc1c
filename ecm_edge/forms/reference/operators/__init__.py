"""The operators the reference knows, by ONNX name: one table, made of the modules' own."""

from ecm_edge.forms.reference.operators import comparison, elementwise, pooling, recurrent, reduction, shape
from ecm_edge.forms.reference.operators._common import Array, Operator, aligned
from ecm_edge.forms.reference.operators.convolution import conv, correlate
from ecm_edge.forms.reference.operators.product import gemm, gemm_product, matmul, matrix_product

OPERATORS: dict[str, Operator] = {
    "Conv": conv,
    "Gemm": gemm,
    "MatMul": matmul,
    **comparison.OPERATORS,
    **elementwise.OPERATORS,
    **pooling.OPERATORS,
    **recurrent.OPERATORS,
    **reduction.OPERATORS,
    **shape.OPERATORS,
}

IN_ORDER: dict[str, Operator] = {**pooling.IN_ORDER, **reduction.IN_ORDER}
"""Those whose sums are taken in float32 and in order, where a graph has a QuantizeLinear (rule 5 of the package)."""

__all__ = ["IN_ORDER", "OPERATORS", "Array", "Operator", "aligned", "correlate", "gemm_product", "matrix_product"]
