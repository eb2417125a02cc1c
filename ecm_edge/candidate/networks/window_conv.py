"""A convolution along the first axis of (T, C, N): the batch is innermost, and nothing is copied to multiply.

What K samples of a kernel cover, K x C rows of N values, lies side by side in memory. So an output sample is one matrix
product of the weights with a view, and views overlap. The gradient of the input is such a convolution too: of the
output's gradient, with the kernel turned around, for `stride` samples of the input at once.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor


def window_conv(x: Tensor, weight: Tensor, stride: int) -> Tensor:
    """(T, C_in, N) and weights (C_out, C_in, K) -> (T', C_out, N); no padding, no dilation."""
    if torch.compiler.is_compiling():
        return copying_conv(x, weight, stride)
    y: Tensor = _WindowConv.apply(x.contiguous(), weight, stride)  # type: ignore[no-untyped-call]  # it has no types
    return y


def copying_conv(x: Tensor, weight: Tensor, stride: int) -> Tensor:
    """The same of operators that a compiler knows with their gradients; it copies what kernels cover."""
    outputs, inputs, kernel = weight.shape
    last = (x.shape[0] - kernel) // stride * stride + 1
    columns = torch.cat([x[k : k + last : stride] for k in range(kernel)], 1)
    return _products(weight.permute(0, 2, 1).reshape(outputs, kernel * inputs), columns)


class _WindowConv(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, stride: int) -> Tensor:  # noqa: ANN401 - torch's own
        ctx.save_for_backward(x, weight)
        ctx.stride = stride
        outputs, inputs, kernel = weight.shape
        length = (x.shape[0] - kernel) // stride + 1
        rows = weight.permute(0, 2, 1).reshape(outputs, kernel * inputs)
        return _products(rows, _windows(x, length, kernel, stride))

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, Tensor | None, None]:  # noqa: ANN401 - torch's own
        x, weight = ctx.saved_tensors
        gradient = gradients[0].contiguous()
        of_x = _of_input(gradient, weight, ctx.stride, len(x)) if ctx.needs_input_grad[0] else None
        of_weight = _of_weight(gradient, x, weight, ctx.stride) if ctx.needs_input_grad[1] else None
        return of_x, of_weight, None


def _windows(x: Tensor, length: int, kernel: int, stride: int) -> Tensor:
    """(T, C, N) -> (length, kernel x C, N): what each output sample sees, as a view."""
    _, channels, segments = x.shape
    return x.as_strided((length, kernel * channels, segments), (stride * channels * segments, segments, 1))


def _products(rows: Tensor, windows: Tensor) -> Tensor:
    """(M, R) and (T, R, N) -> (T, M, N)."""
    return torch.bmm(rows.unsqueeze(0).expand(len(windows), -1, -1), windows)


def _of_weight(gradient: Tensor, x: Tensor, weight: Tensor, stride: int) -> Tensor:
    """The gradient of the weights, (C_out, C_in, K)."""
    outputs, inputs, kernel = weight.shape
    windows = _windows(x, len(gradient), kernel, stride)
    summed = torch.bmm(gradient, windows.transpose(1, 2)).sum(0)
    return summed.view(outputs, kernel, inputs).permute(0, 2, 1)


def _of_input(gradient: Tensor, weight: Tensor, stride: int, length: int) -> Tensor:
    """The gradient of the input, (length, C_in, N).

    Sample s u + p of the input meets output u - j at the kernel's place s j + p, for each j. What is no such place has
    weight 0.
    """
    outputs, inputs, kernel = weight.shape
    reach, steps = -(-kernel // stride), -(-length // stride)  # how many j, and how many u
    padded = F.pad(gradient, (0, 0, 0, 0, reach - 1, steps - len(gradient)))
    places = F.pad(weight, (0, reach * stride - kernel)).view(outputs, inputs, reach, stride)
    rows = places.flip(2).permute(3, 1, 2, 0).reshape(stride * inputs, reach * outputs)
    return _products(rows, _windows(padded, steps, reach, 1)).view(steps * stride, inputs, -1)[:length]
