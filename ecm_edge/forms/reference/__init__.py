"""What a classifier's ONNX graph computes, independent of any host CPU: the judge of runtimes and of generated C.

Dimension letters: N segments, C channels, T samples, O output channels, K kernel taps. The reference runs N segments
at once: every array has one more axis in front than its ONNX tensor, N long, or 1 long for a constant.

Semantics. Every rule can be followed in C with int32, float32 and, where a sum is long, int64 or float64.

1. Floats are rounded to the nearest integer, ties to even, and integers that change their scale to the nearest, ties
   up; then both saturate. `rounding` holds that once.
2. QuantizeLinear: q = saturate(round(x / scale) + zero_point), the division in float32.
   DequantizeLinear: x = float32(q - zero_point) * scale, in float32.
3. An **integer group** is Conv, Gemm or MatMul between DequantizeLinear on both factors (and on the int32 bias, if
   any, at scale x_scale * w_scale and zero point 0) and one QuantizeLinear, a Relu in between allowed:
   acc = sum((x - x_zero_point) * (w - w_zero_point)) + bias, exact, padding adding nothing;
   q = saturate(floor(acc * f / 2^shift + 1/2) + y_zero_point), f = round(m * 2^shift), m = x_scale * w_scale / y_scale
   in float32, in that order, and shift such that the largest f of the outputs has 31 bits, but 1 to 62.
   A Relu saturates at y_zero_point from below. A sum of 8-bit integers beyond int32 is an error, one with integers of
   16 bits beyond 53 bits; that one is rounded as saturate(round(float32(acc) * m) + y_zero_point).
   Add and Mul of two activations of at most 8 bits are groups, too: (a - a_zero_point) * (b - b_zero_point) with the
   factor of a sum, and (a - a_zero_point) * f + (b - b_zero_point) * g with f and g of a_scale / y_scale and b_scale /
   y_scale, the larger of 21 bits, and a shift of 1 to 30.
4. A **mean** (ReduceMean, GlobalAveragePool) of a dequantised tensor is float32(sum(q - zero_point)) *
   float32(scale / n), the sum exact, the quotient computed in float64 and then rounded.
5. Everything else is float32: sums, products and quotients of two values in float32; longer sums (Conv, Gemm, MatMul,
   means) in float64 and then rounded once; exp, tanh, erf and powers in float64 and then rounded once; batch norm as
   x * a + b with a = scale / sqrt(variance + epsilon) and b = bias - a * mean computed in float64 and rounded. In a
   graph with a QuantizeLinear, whose integers have to come out the same on every core, what is joined along axes
   (means, sums, products, cumulated sums, average pools) is joined in float32, one value after the other in the order
   of the ONNX tensor.
6. MaxPool, Relu, Reshape, Concat and the like of dequantised tensors follow from 2: with equal scales on both sides
   round((q * scale) / scale) gives q back, so they are exact on integers too.
7. A **recurrence** (LSTM, GRU, RNN) takes its time steps in order, its states in float32. What a gate is given is one
   sum in float64, rounded once and then clipped, if at all: both products, both biases, and peephole times state; its
   activation follows rule 5. The states f c + i g and (1 - z) g + z h are computed in float64 and rounded once,
   o tanh(c) and r h in float32; with linear_before_reset r (R h + bias) stays in float64 as a term of the sum.

NaN cannot be quantised and is an error; infinities saturate.
"""

from ecm_edge.forms.reference.executor import execute, run, scores
from ecm_edge.forms.reference.graph import Graph, load, written

__all__ = ["Graph", "execute", "load", "run", "scores", "written"]
