"""The forward pass of a training with the batch innermost: (C, T, N) in memory, where a network's own is (N, C, T).

Networks this small spend their time in convolutions of a few channels, which libraries of convolutions are not made
for. With the batch innermost every tap of a convolution is one multiply-add of whole vectors: a depthwise convolution
is a sum of shifted slices, any other a matrix product over T x N columns; what lies between two of them is compiled
into one loop. There is no second definition of a network: its module tree is read once, each module gives the function
of its type, and these share its parameters and statistics. What is not in the table leaves a network unsupported.
"""

from __future__ import annotations

import logging
import warnings
from types import FunctionType
from typing import TYPE_CHECKING, Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ecm_edge.candidate.networks.beat_times import BeatTimes, SideBySide
from ecm_edge.candidate.networks.blocks import Normalize, Pool, Residual, SqueezeExcite, normalized, statistics
from ecm_edge.candidate.networks.rhythm_wave import RhythmWave

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    Layer = Callable[[Tensor], Tensor]

_TIME = 1  # the axis of (C, T, N)


class _UnsupportedError(Exception):
    """A module whose function with the batch innermost is not known."""


def supports(network: nn.Module) -> bool:
    """Whether `training_forward` knows every module of the network."""
    try:
        _layer(network)
    except _UnsupportedError:
        return False
    return True


def can_compile() -> bool:
    """Whether torch finds the C++ compiler that compiling for the CPU takes."""
    from torch._inductor import cpp_builder, exc

    try:
        cpp_builder.get_cpp_compiler()
    except (exc.InvalidCxxCompiler, OSError, RuntimeError):
        return False
    return True


def training_forward(network: nn.Module, *, compiled: bool) -> Forward:
    """A function from (N, 1, T) samples to (N, 2) scores that does what the network does in the mode that it is in.

    Within float32's rounding: a variance is E[x²] - E[x]², which loses digits where a channel's mean is a hundred times
    its deviation, as behind a network that takes raw counts of a converter without normalising them.

    It reads and updates the network's own parameters and running statistics.

    Args:
        network: one that `supports` says yes to.
        compiled: compile it for the batch size of its first call, which then takes 10 to 40 s, less where torch's cache
            on disk knows the network; other sizes, such as an epoch's last batch, run as they are. Where compiling
            fails a warning is logged and all of them do.

    Raises:
        ValueError: the network is not supported.
    """
    try:
        layer = _layer(network)
    except _UnsupportedError as problem:
        raise ValueError(f"not known with the batch innermost: {problem}") from None

    def scores(x: Tensor) -> Tensor:  # (1, T, N)
        return _batch_first(layer(x))

    return Forward(scores, compiled=compiled)


class Forward:
    """What `training_forward` gives. Only the first shape is worth a compilation."""

    def __init__(self, function: Layer, *, compiled: bool) -> None:
        self._function = function
        self._fast = _compiled(function) if compiled else None
        self._shape: torch.Size | None = None

    @property
    def compiled(self) -> bool:
        """Whether it is to be compiled, or was; False once that has failed."""
        return self._fast is not None

    def __call__(self, samples: Tensor) -> Tensor:
        """(N, 1, T) -> (N, 2)."""
        x = samples.permute(1, 2, 0).contiguous()
        self._shape = self._shape or x.shape
        if self._fast is not None and x.shape == self._shape:
            try:
                with warnings.catch_warnings(action="ignore"):  # the compiler's, about itself
                    return self._fast(x)
            except Exception as problem:  # noqa: BLE001 - whatever a compiler raises, the training goes on without it
                self._fast = None
                lines = str(problem).strip().splitlines() or [""]
                logging.getLogger(__name__).warning(
                    "training goes on without compiling, several times slower: %s: %s. "
                    "Compiling takes a C++ compiler (CXX, or g++) and Python's headers.",
                    type(problem).__name__,
                    lines[0],
                )
        return self._function(x)


def _batch_first(x: Tensor) -> Tensor:
    """The network's own layout of (C, T, N); what has no time is (N, F) already."""
    return x.permute(2, 0, 1) if x.dim() == 3 else x  # noqa: PLR2004 - C, T, N


def _compiled(function: Layer) -> Layer:
    fast: Layer = torch.compile(
        _own_code(function),
        fullgraph=True,
        dynamic=False,
        options={"compile_threads": 1},  # a pool of compiler processes would outlive the compilation
    )
    return fast


def _own_code(function: Any) -> Layer:  # noqa: ANN401 - a function made by `def`; a Callable has no code
    """The same function with a code object of its own: torch counts compilations by it, and stops at some number."""
    return FunctionType(function.__code__.replace(), function.__globals__, closure=function.__closure__)


def _layer(module: nn.Module) -> Layer:
    """The function of a module; a type's subclasses may compute anything, so that types have to match exactly."""
    make = _LAYERS.get(type(module))
    if make is None or module._forward_hooks or module._forward_pre_hooks:  # noqa: SLF001 - torch has no public question
        raise _UnsupportedError(f"{type(module).__name__}{' with hooks' if make else ''}")
    return make(module)


def _require(module: nn.Module, *, that: bool) -> None:
    if not that:
        raise _UnsupportedError(repr(module))


def _as_it_is(module: nn.Module) -> Layer:
    """What looks at one value at a time, and what sees features only, does not care where the batch lies."""
    return module


def _sequential(module: nn.Sequential) -> Layer:
    layers = [_layer(child) for child in module]

    def run(x: Tensor) -> Tensor:
        for layer in layers:
            x = layer(x)
        return x

    return run


def _conv(module: nn.Conv1d) -> Layer:
    """(C_in, T, N) -> (C_out, T', N)."""
    depthwise = 1 < module.groups == module.in_channels == module.out_channels
    plain = module.padding_mode == "zeros" and not isinstance(module.padding, str)
    _require(module, that=plain and (depthwise or module.groups == 1))
    (kernel,), (stride,), (dilation,) = module.kernel_size, module.stride, module.dilation
    padding = int(module.padding[0])
    product = _sum_of_shifts if depthwise else _matrix_product

    def run(x: Tensor) -> Tensor:
        x = F.pad(x, (0, 0, padding, padding)) if padding else x
        length = (x.shape[_TIME] - dilation * (kernel - 1) - 1) // stride + 1
        last = (length - 1) * stride + 1
        shifts = [x[:, k * dilation : k * dilation + last : stride] for k in range(kernel)]
        y = product(module.weight, shifts)
        return y if module.bias is None else y + module.bias.view(-1, 1, 1)

    return run


def _sum_of_shifts(weight: Tensor, shifts: Sequence[Tensor]) -> Tensor:
    """Weight (C, 1, K) and K tensors (C, T, N) -> (C, T, N)."""
    y = shifts[0] * weight[:, :, :1]
    for k, shift in enumerate(shifts[1:], 1):
        y = y + shift * weight[:, :, k : k + 1]
    return y


def _matrix_product(weight: Tensor, shifts: Sequence[Tensor]) -> Tensor:
    """Weight (C_out, C_in, K) and K tensors (C_in, T, N) -> (C_out, T, N)."""
    _, length, segments = shifts[0].shape
    columns = torch.stack(tuple(shifts), 1) if len(shifts) > 1 else shifts[0]
    return (weight.flatten(1) @ columns.reshape(-1, length * segments)).view(-1, length, segments)


def _batch_norm(module: Any) -> Layer:  # noqa: ANN401 - BatchNorm1d, some of whose tensors may be None to torch
    """(C, T, N) -> (C, T, N), or (N, F) as it is; variances from E[x] and E[x²], which one pass gives."""
    _require(module, that=module.affine and module.track_running_stats and module.momentum is not None)

    def run(x: Tensor) -> Tensor:
        if x.dim() == 2:  # noqa: PLR2004 - N, F
            normed: Tensor = module(x)
            return normed
        mean, variance = _moments(x, module) if module.training else (module.running_mean, module.running_var)
        scale: Tensor = module.weight * torch.rsqrt(variance + module.eps)
        shift: Tensor = module.bias - mean * scale
        return x * scale.view(-1, 1, 1) + shift.view(-1, 1, 1)

    return run


def _moments(x: Tensor, module: Any) -> tuple[Tensor, Tensor]:  # noqa: ANN401 - the same
    """Mean and variance of each channel, by which the running ones have moved, as torch does: theirs is unbiased."""
    mean = x.mean((1, 2))
    variance = ((x * x).mean((1, 2)) - mean * mean).clamp_min(0)
    count = x.shape[1] * x.shape[2]
    with torch.no_grad():
        module.running_mean.lerp_(mean.detach(), module.momentum)
        module.running_var.lerp_(variance.detach() * (count / (count - 1)), module.momentum)
        module.num_batches_tracked.add_(1)
    return mean, variance


def _average(module: Any) -> Layer:  # noqa: ANN401 - AvgPool1d, whose sizes torch types as int | tuple
    """(C, T, N) -> (C, T // K, N)."""
    _require(module, that=module.stride == module.kernel_size and module.padding == (0,) and not module.ceil_mode)
    (kernel,) = module.kernel_size

    def run(x: Tensor) -> Tensor:
        channels, time, segments = x.shape
        length = time // kernel
        windows: Tensor = x[:, : length * kernel].reshape(channels, length, kernel, segments)
        return windows.mean(2)

    return run


def _normalize(module: Normalize) -> Layer:
    del module  # it has no state
    return lambda x: normalized(x, _TIME)


def _pool(module: Pool) -> Layer:
    """(C, T, N) -> (N, F)."""
    return lambda x: torch.cat(statistics(x, module.statistics, _TIME)).t()


def _flatten(module: nn.Flatten) -> Layer:
    """(C, T, N) -> (N, C x T), in the order of the network's own."""
    _require(module, that=(module.start_dim, module.end_dim) == (1, -1))
    return lambda x: _batch_first(x).flatten(1)


def _linear(module: nn.Linear) -> Layer:
    """(N, F) -> (N, F'); along time where there still is any, as torch does."""

    def run(x: Tensor) -> Tensor:
        if x.dim() == 2:  # noqa: PLR2004 - N, F
            return F.linear(x, module.weight, module.bias)
        y = module.weight @ x
        return y if module.bias is None else y + module.bias.unsqueeze(1)

    return run


def _squeeze_excite(module: SqueezeExcite) -> Layer:
    """(C, T, N) -> (C, T, N)."""
    squeeze, act, excite, gate = map(_layer, (module.squeeze, module.act, module.excite, module.gate))
    return lambda x: x * gate(excite(act(squeeze(x.mean(_TIME, keepdim=True)))))


def _residual(module: Residual) -> Layer:
    inner = _layer(module.inner)
    return lambda x: x + inner(x)


def _rhythm_wave(module: RhythmWave) -> Layer:
    """(1, T, N) -> (N, 2)."""
    stem, rhythm, pool, head = map(_layer, (module.stem, module.rhythm, module.pool, module.head))

    def run(x: Tensor) -> Tensor:
        wave = stem(x)
        return head(torch.cat([pool(wave), pool(rhythm(wave))], 1))

    return run


def _beat_times(module: BeatTimes) -> Layer:
    """(1, T, N) -> (1, T', N); there is nothing to train in it, and pooling is made for the other layout."""
    return lambda x: module(_batch_first(x)).permute(1, 2, 0)


def _side_by_side(module: SideBySide) -> Layer:
    """(C, T, N) -> (N, F)."""
    views = [_layer(view) for view in module.views]
    return lambda x: torch.cat([view(x) for view in views], 1)


_LAYERS: dict[type[nn.Module], Callable[[Any], Layer]] = {
    **dict.fromkeys(
        (nn.Identity, nn.Dropout, nn.ReLU, nn.SiLU, nn.Hardswish, nn.LeakyReLU, nn.GELU, nn.Sigmoid, nn.Tanh, nn.ELU),
        _as_it_is,
    ),
    nn.Sequential: _sequential,
    nn.Conv1d: _conv,
    nn.BatchNorm1d: _batch_norm,
    nn.AvgPool1d: _average,
    nn.Flatten: _flatten,
    nn.Linear: _linear,
    Normalize: _normalize,
    Pool: _pool,
    SqueezeExcite: _squeeze_excite,
    Residual: _residual,
    RhythmWave: _rhythm_wave,
    BeatTimes: _beat_times,
    SideBySide: _side_by_side,
}
"""The function of each type of module."""
