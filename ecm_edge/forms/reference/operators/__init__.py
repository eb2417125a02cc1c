"""The operators the reference knows, by ONNX name: one table, made of the modules' own."""

from ecm_edge.forms.reference.operators import comparison, elementwise, pooling, recurrent, reduction, shape
from ecm_edge.forms.reference.operators._common import Array, Operator
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

__all__ = ["OPERATORS", "Array", "Operator", "correlate", "gemm_product", "matrix_product"]
