"""The forward pass of a training with the batch innermost: (T, C, N) in memory, where a network's own is (N, C, T).

Networks this small spend their time in convolutions of a few channels, which libraries of convolutions are not made
for. With the batch innermost every tap of a convolution is one multiply-add of whole vectors: a depthwise convolution
is a sum of shifted slices. Any other is one matrix product for each output sample, of N columns: what a kernel covers
lies side by side in memory, so that nothing is copied (`window_conv`). Compiled, what lies between two products becomes
one loop. There is no second definition of a network: its module tree is read once, each module gives the function of
its type, and these share its parameters and statistics. What is not in the table leaves a network unsupported.
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
from ecm_edge.candidate.networks.window_conv import window_conv

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    Layer = Callable[[Tensor], Tensor]

_TIME = 0  # the axis of (T, C, N)


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

    Within float32's rounding: compiled, a variance is E[x²] - E[x]², which loses digits where a channel's mean is a
    hundred times its deviation, as behind a network that takes raw counts of a converter without normalising them.

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

    def scores(x: Tensor) -> Tensor:  # (T, 1, N)
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
        x = samples.permute(2, 1, 0).contiguous()
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
    """The network's own layout of (T, C, N); what has no time is (N, F) already."""
    return x.permute(2, 1, 0) if x.dim() == 3 else x  # noqa: PLR2004 - T, C, N


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
    """(T, C_in, N) -> (T', C_out, N)."""
    depthwise = 1 < module.groups == module.in_channels == module.out_channels
    plain = module.padding_mode == "zeros" and not isinstance(module.padding, str)
    _require(module, that=plain and (depthwise or module.groups == 1))
    (kernel,), (stride,), (dilation,) = module.kernel_size, module.stride, module.dilation
    padding = int(module.padding[0])

    def run(x: Tensor) -> Tensor:
        x = F.pad(x, (0, 0, 0, 0, padding, padding)) if padding else x
        if not depthwise and dilation == 1:
            y = window_conv(x, module.weight, stride)
        else:
            length = (x.shape[_TIME] - dilation * (kernel - 1) - 1) // stride + 1
            last = (length - 1) * stride + 1
            shifts = [x[k * dilation : k * dilation + last : stride] for k in range(kernel)]
            y = (_sum_of_shifts if depthwise else _of_shifts)(module.weight, shifts)
        return y if module.bias is None else y + module.bias.unsqueeze(1)

    return run


def _sum_of_shifts(weight: Tensor, shifts: Sequence[Tensor]) -> Tensor:
    """Weight (C, 1, K) and K tensors (T, C, N) -> (T, C, N)."""
    y = shifts[0] * weight[:, :, 0]
    for k, shift in enumerate(shifts[1:], 1):
        y = y + shift * weight[:, :, k]
    return y


def _of_shifts(weight: Tensor, shifts: Sequence[Tensor]) -> Tensor:
    """Weight (C_out, C_in, K) and K tensors (T, C_in, N) -> (T, C_out, N)."""
    return window_conv(torch.cat(tuple(shifts), 1), weight.permute(0, 2, 1).flatten(1).unsqueeze(2), 1)


def _batch_norm(module: Any) -> Layer:  # noqa: ANN401 - BatchNorm1d, some of whose tensors may be None to torch
    """(T, C, N) -> (T, C, N), or (N, F) as it is.

    Torch's own takes T for the batch, which gives the same sums. Compiled, variances are those of E[x] and E[x²], which
    one pass gives.
    """
    _require(module, that=module.affine and module.track_running_stats and module.momentum is not None)

    def run(x: Tensor) -> Tensor:
        if x.dim() == 2 or not torch.compiler.is_compiling():  # noqa: PLR2004 - N, F
            normed: Tensor = module(x)
            return normed
        mean, variance = _moments(x, module) if module.training else (module.running_mean, module.running_var)
        scale: Tensor = module.weight * torch.rsqrt(variance + module.eps)
        shift: Tensor = module.bias - mean * scale
        return x * scale.unsqueeze(1) + shift.unsqueeze(1)

    return run


def _moments(x: Tensor, module: Any) -> tuple[Tensor, Tensor]:  # noqa: ANN401 - the same
    """Mean and variance of each channel, by which the running ones have moved, as torch does: theirs is unbiased."""
    mean = x.mean((0, 2))
    variance = ((x * x).mean((0, 2)) - mean * mean).clamp_min(0)
    count = x.shape[0] * x.shape[2]
    with torch.no_grad():
        module.running_mean.lerp_(mean.detach(), module.momentum)
        module.running_var.lerp_(variance.detach() * (count / (count - 1)), module.momentum)
        module.num_batches_tracked.add_(1)
    return mean, variance


def _average(module: Any) -> Layer:  # noqa: ANN401 - AvgPool1d, whose sizes torch types as int | tuple
    """(T, C, N) -> (T // K, C, N)."""
    _require(module, that=module.stride == module.kernel_size and module.padding == (0,) and not module.ceil_mode)
    (kernel,) = module.kernel_size

    def run(x: Tensor) -> Tensor:
        time, channels, segments = x.shape
        length = time // kernel
        windows: Tensor = x[: length * kernel].reshape(length, kernel, channels, segments)
        return windows.mean(1)

    return run


def _normalize(module: Normalize) -> Layer:
    del module  # it has no state
    return lambda x: normalized(x, _TIME)


def _pool(module: Pool) -> Layer:
    """(T, C, N) -> (N, F)."""
    return lambda x: torch.cat(statistics(x, module.statistics, _TIME)).t()


def _flatten(module: nn.Flatten) -> Layer:
    """(T, C, N) -> (N, C x T), in the order of the network's own."""
    _require(module, that=(module.start_dim, module.end_dim) == (1, -1))
    return lambda x: _batch_first(x).flatten(1)


def _linear(module: nn.Linear) -> Layer:
    """(N, F) -> (N, F'); along time where there still is any, as torch does."""

    def run(x: Tensor) -> Tensor:
        if x.dim() == 2:  # noqa: PLR2004 - N, F
            return F.linear(x, module.weight, module.bias)
        y = (module.weight @ x.flatten(1)).view(-1, *x.shape[1:])
        return y if module.bias is None else y + module.bias.view(-1, 1, 1)

    return run


def _squeeze_excite(module: SqueezeExcite) -> Layer:
    """(T, C, N) -> (T, C, N)."""
    squeeze, act, excite, gate = map(_layer, (module.squeeze, module.act, module.excite, module.gate))
    return lambda x: x * gate(excite(act(squeeze(x.mean(_TIME, keepdim=True)))))


def _residual(module: Residual) -> Layer:
    inner = _layer(module.inner)
    return lambda x: x + inner(x)


def _rhythm_wave(module: RhythmWave) -> Layer:
    """(T, 1, N) -> (N, 2)."""
    stem, rhythm, pool, head = map(_layer, (module.stem, module.rhythm, module.pool, module.head))

    def run(x: Tensor) -> Tensor:
        wave = stem(x)
        return head(torch.cat([pool(wave), pool(rhythm(wave))], 1))

    return run


def _beat_times(module: BeatTimes) -> Layer:
    """(T, 1, N) -> (T', 1, N); there is nothing to train in it, and pooling is made for the other layout."""
    return lambda x: module(_batch_first(x)).permute(2, 1, 0)


def _side_by_side(module: SideBySide) -> Layer:
    """(T, C, N) -> (N, F)."""
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
