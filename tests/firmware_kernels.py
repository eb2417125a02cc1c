"""One C program that holds a kernel against the plain one of firmware_check/checks/plain.h, over drawn geometries.

Everything is drawn from a seed: shape, tile, direction, activation or rounding, samples and weights. Arrays have the
size that the layer needs and no more, so that a sanitised build stops a kernel that reaches outside. Weights are put
into the kernel's order, and structs are written, by the generator's own functions.
"""

from dataclasses import replace

import numpy as np

from ecm_edge.firmware import literals
from ecm_edge.firmware.operators import depthwise, tiles
from ecm_edge.firmware.operators.calls import Struct, Tile
from ecm_edge.firmware.operators.convolution_i8 import pairs
from ecm_edge.firmware.operators.weighted import Activation
from ecm_edge.firmware.operators.windows import Windows
from ecm_edge.forms.reference import rounding

HEAD = """\
#include <stdio.h>
#include <string.h>
#include "ecm_{kernel}.h"
#include "plain.h"
"""
CASE = """
{arrays}
static int case_{number}(void)
{{
    static {c_type} plain[{size}], fast[{size}];
{structs}
    memset(plain, 0x5A, sizeof plain);
    memset(fast, 0x5A, sizeof fast);
{calls}
    return memcmp(plain, fast, sizeof plain) != 0;
}}
"""
ACTIVATIONS = (Activation(), Activation("ECM_RELU"), Activation("ECM_CLIP", -0.5, 1.25), Activation("ECM_LEAKY", 0.1))


class Drawn:
    """One case: its arrays and structs while they are drawn."""

    def __init__(self, rng, number):
        self.rng, self.number = rng, number
        self.arrays, self.structs = [], []

    def array(self, what, values, dtype):
        """A constant array of the case; its C name."""
        name = f"{what}_{self.number}"
        self.arrays.append(literals.array(name, np.asarray(values), dtype))
        return name

    def struct(self, made):
        """A struct of the case, as an argument."""
        self.structs.append(f"    {made.declaration}")
        return f"&{made.name}"

    def whole(self, low, high):
        """A whole number, low ... high."""
        return int(self.rng.integers(low, high + 1))

    def floats(self, *shape):
        return self.rng.standard_normal(shape).astype(np.float32)

    def bytes(self, *shape):
        return self.rng.integers(-128, 128, shape)

    def biases(self, outputs, products):
        """Of int8 sums: small ones, or the largest with which no part of so many products leaves int32."""
        most = 9999 if self.whole(0, 1) else 2**31 - 1 - products * 128 * 128
        return self.array("b", self.rng.choice([-most, most, 17], outputs), "int32")

    def divisor(self, number, most=16):
        """A divisor of a number."""
        return int(self.rng.choice([d for d in range(1, min(number, most) + 1) if number % d == 0]))

    def activation(self):
        return self.struct(ACTIVATIONS[self.whole(0, len(ACTIVATIONS) - 1)].struct)

    def quant(self, outputs):
        """Factors of an int8 layer, and its rounding; both arguments."""
        step = self.whole(0, 1)
        values = self.rng.uniform(1e-4, 1e-2, outputs if step else 1) * 10.0 ** self.whole(-3, 2)
        integers, shift = rounding.fixed_point(values.astype(np.float32))
        factor = self.array("factor", integers, "int32")
        zero_point = self.whole(-128, 127)
        minimum = zero_point if self.whole(0, 1) else -128
        members = {"factor_step": step, "shift": shift, "zero_point": zero_point, "minimum": minimum, "maximum": 127}
        return factor, self.struct(Struct("quant", members))

    def windows(self, *, even=False):
        """Windows along time: of channels side by side, strided, dilated or not."""
        channels = 2 * self.whole(1, 3) if even else self.whole(1, 5)
        taps, stride, dilation = self.whole(1, 5), self.whole(1, 3), self.whole(1, 3)
        segments, segment = (1, taps * channels) if dilation == 1 else (taps, channels)
        return Windows(0, self.whole(1, 20), stride * channels, segments, segment, dilation * channels, channels)

    def picture(self, *, even=False):
        """Windows of one line of a picture: a run for each row of the kernel, or one for each tap of it."""
        windows, down, line = self.windows(even=even), self.whole(1, 4), 2 * self.whole(20, 30)
        if windows.segments > 1:
            return replace(windows, repeats=down - 1, repeat_step=line)
        return replace(windows, segments=down, segment_step=line)

    def some_windows(self, *, even=False):
        """Windows along time or of one line of a picture."""
        return (self.picture if self.whole(0, 1) else self.windows)(even=even)

    def tile(self, rows, outputs, most_rows, most_outputs, unroll):
        return Tile(
            self.whole(1, min(rows, most_rows)), self.whole(1, min(outputs, most_outputs)), self.divisor(unroll)
        )

    def backward(self):
        return bool(self.whole(0, 1))

    def text(self, plain, fast, size, c_type, before=""):
        calls = "\n".join(f"    {call};" for call in (before, plain, fast) if call)
        return CASE.format(
            number=self.number,
            arrays="\n".join(self.arrays),
            structs="\n".join(self.structs),
            calls=calls,
            size=size,
            c_type=c_type,
        )


def span(windows):
    """Elements under all windows."""
    return (windows.rows - 1) * windows.x_step + windows.width


def arguments(*given):
    return ", ".join(map(str, given))


def conv_f32(case):
    """ecm_conv_f32_add, with or without a residual."""
    return _conv_f32(case, "ecm_conv_f32_add", tiles.blocks)


def conv_f32_wide(case):
    """ecm_conv_f32_wide."""
    return _conv_f32(case, "ecm_conv_f32_wide", tiles.vectors_of)


def _conv_f32(case, function, order):
    windows = case.some_windows()
    outputs, wide = case.whole(1, 40), order is tiles.vectors_of
    if wide:
        vectors = case.whole(1, tiles.WIDE_VECTORS)
        tile = Tile(case.whole(1, min(windows.rows, tiles.WIDE_ROWS)), 8 * vectors, 1)
    else:
        tile = case.tile(windows.rows, outputs, tiles.TILE, tiles.TILE, windows.segment)
    y_step = outputs + case.whole(0, 2)
    added_step = 0 if wide or case.whole(0, 1) else outputs + 1
    w, b = case.floats(windows.products, outputs), case.floats(outputs)
    x = case.array("x", case.floats(span(windows)), "float32")
    added = case.array("added", case.floats(max(1, windows.rows * added_step)), "float32")
    w_plain, w_fast = case.array("w", w, "float32"), case.array("ordered", order(w, tile.outputs), "float32")
    b_plain, b_fast = case.array("b", b, "float32"), case.array("biases", order(b, tile.outputs), "float32")
    shape, activation = case.struct(windows.struct(outputs, y_step)), case.activation()
    tiled = case.struct(tile.struct(backward=case.backward()))
    plain = arguments(x, w_plain, b_plain, "plain", added, added_step, shape, activation)
    fast = arguments(x, w_fast, b_fast, "fast", *([] if wide else [added, added_step]), shape, tiled, activation)
    size = (windows.rows - 1) * y_step + outputs
    return case.text(f"plain_conv_f32({plain})", f"{function}({fast})", size, "float")


def conv_i8(case):
    """ecm_conv_i8."""
    windows, outputs = case.some_windows(), case.whole(1, 20)
    tile = case.tile(windows.rows, outputs, tiles.TILE, tiles.TILE, windows.segment)
    return _conv_i8(case, windows, tile, outputs, lambda w: (tiles.blocks(w, tile.outputs), "int8"))


def conv_i8_dual(case):
    """ecm_conv_i8_dual: an even number of channels, and the loop counts pairs."""
    windows, outputs = case.some_windows(even=True), case.whole(1, 20)
    tile = case.tile(windows.rows, outputs, tiles.TILE, tiles.TILE, windows.segment // 2)
    return _conv_i8(case, windows, tile, outputs, lambda w: (pairs(tiles.blocks(w, tile.outputs)), "int16"), "_dual")


def conv_i8_packed(case):
    """ecm_conv_i8_packed with two or three sums in a word."""
    windows, outputs, lanes = case.some_windows(), case.whole(1, 30), case.whole(2, 3)
    tile = replace(
        case.tile(windows.rows, 1, tiles.TILE, 1, windows.segment),
        outputs=lanes * case.whole(1, tiles.TILE_PACKED // lanes),
    )
    return _conv_i8(case, windows, tile, outputs, lambda w: (tiles.vectors_of(w, tile.outputs), "int8"), lanes=lanes)


def _conv_i8(case, windows, tile, outputs, order, suffix="", lanes=0):
    y_step = outputs + case.whole(0, 2)
    w = case.bytes(windows.products, outputs)
    x = case.array("x", case.bytes(span(windows)), "int16" if suffix else "int8")
    ordered, dtype = order(w)
    w_plain, w_fast = case.array("w", w, "int8"), case.array("ordered", ordered, dtype)
    b = case.biases(outputs, windows.products)
    factor, quant = case.quant(outputs)
    shape = case.struct(windows.struct(outputs, y_step))
    tiled = case.struct(tile.struct(backward=case.backward()))
    plain = f"plain_conv_i8({arguments(x, w_plain, b, factor, 'plain', shape, quant)})"
    function, numbers, before = f"ecm_conv_i8{suffix}", [], ""
    if lanes:
        words = f"words_{case.number}"
        case.arrays.append(f"static uint64_t {words}[{ordered.size // lanes}];")
        before = f"ecm_pack_weights({arguments(w_fast, words, ordered.size // lanes, lanes)})"
        function, w_fast, numbers = "ecm_conv_i8_packed", words, [lanes]
    fast = f"{function}({arguments(x, w_fast, b, factor, 'fast', *numbers, shape, tiled, quant)})"
    return case.text(plain, fast, (windows.rows - 1) * y_step + outputs, "ecm_stored", before)


def depthwise_f32(case):
    """ecm_depthwise_f32."""
    return _depthwise_f32(case, "ecm_depthwise_f32")


def depthwise_f32_once(case):
    """ecm_depthwise_f32_once."""
    return _depthwise_f32(case, "ecm_depthwise_f32_once")


def depthwise_f32_lines(case):
    """ecm_depthwise_f32_lines."""
    return _depthwise_f32(case, "ecm_depthwise_f32_lines", case.whole(1, 4))


def _depthwise_f32(case, function, lines=1):
    channels, samples, outputs, tile, size = _channels(case, lines)
    x, b = case.array("x", case.floats(samples), "float32"), case.array("b", case.floats(outputs), "float32")
    w = case.array("w", case.floats(outputs, lines, channels.members["taps"]), "float32")
    shape, activation = case.struct(channels), case.activation()
    tiled = case.struct(tile.struct(backward=case.backward()))
    plain = f"plain_depthwise_f32({arguments(x, w, b, 'plain', shape, activation)})"
    return case.text(plain, f"{function}({arguments(x, w, b, 'fast', shape, tiled, activation)})", size, "float")


def depthwise_i8(case):
    """ecm_depthwise_i8."""
    return _depthwise_i8(case, "ecm_depthwise_i8")


def depthwise_i8_lines(case):
    """ecm_depthwise_i8_lines."""
    return _depthwise_i8(case, "ecm_depthwise_i8_lines", case.whole(1, 4))


def depthwise_i8_dual(case):
    """ecm_depthwise_i8_dual: channels in pairs, at even places."""
    channels, samples, outputs, tile, size = _channels(case, 1, even=True)
    w = case.bytes(outputs, channels.members["taps"])
    x = case.array("x", case.bytes(samples), "int16")
    w_plain, w_fast = case.array("w", w, "int8"), case.array("pairs", depthwise.channel_pairs(w), "int16")
    b = case.biases(outputs, w.shape[1])
    factor, quant = case.quant(outputs)
    shape, tiled = case.struct(channels), case.struct(tile.struct(backward=case.backward()))
    plain = f"plain_depthwise_i8({arguments(x, w_plain, b, factor, 'plain', shape, quant)})"
    fast = f"ecm_depthwise_i8_dual({arguments(x, w_fast, b, factor, 'fast', shape, tiled, quant)})"
    return case.text(plain, fast, size, "ecm_stored")


def depthwise_i8_packed(case):
    """ecm_depthwise_i8_packed: some lines of the output together; the plain kernel computes one after the other."""
    together, down = case.whole(1, depthwise.DEPTHWISE_LINES), case.whole(1, 2)
    taps_down = case.whole(1 if together == 1 else 2, 4)
    channels, samples, outputs, tile, size = _channels(case, taps_down)
    members = channels.members
    x_line = down * members.get("repeat_step", samples)
    y_line = size + case.whole(0, 3)
    x = case.array("x", case.bytes((together - 1) * x_line + samples), "int8")
    w = case.array("w", case.bytes(outputs, taps_down, members["taps"]), "int8")
    b = case.biases(outputs, taps_down * members["taps"])
    factor, quant = case.quant(outputs)
    shape, tiled = case.struct(channels), case.struct(tile.struct(backward=case.backward()))
    lines = [(f"{x} + {line * x_line}", f"plain + {line * y_line}") for line in range(together)]
    plain = "; ".join(f"plain_depthwise_i8({arguments(at, w, b, factor, y, shape, quant)})" for at, y in lines)
    numbers = (together, x_line, y_line)
    fast = f"ecm_depthwise_i8_packed({arguments(x, w, b, factor, 'fast', *numbers, shape, tiled, quant)})"
    return case.text(plain, fast, (together - 1) * y_line + size, "ecm_stored")


def _depthwise_i8(case, function, lines=1):
    channels, samples, outputs, tile, size = _channels(case, lines)
    x = case.array("x", case.bytes(samples), "int8")
    w = case.array("w", case.bytes(outputs, lines, channels.members["taps"]), "int8")
    b = case.biases(outputs, lines * channels.members["taps"])
    factor, quant = case.quant(outputs)
    shape, tiled = case.struct(channels), case.struct(tile.struct(backward=case.backward()))
    plain = f"plain_depthwise_i8({arguments(x, w, b, factor, 'plain', shape, quant)})"
    fast = f"{function}({arguments(x, w, b, factor, 'fast', shape, tiled, quant)})"
    return case.text(plain, fast, size, "ecm_stored")


def _channels(case, lines, *, even=False):
    """Channels of so many lines of taps, samples under them, outputs, a tile, and elements of the output."""
    step = 2 if even else 1  # from one choice of channels to the next
    count, multiplier = step * case.whole(1, 5), 1 if even else case.whole(1, 3)
    rows, taps = case.whole(1, 40), case.whole(1, 16)
    stride, dilation = case.whole(1, 3), case.whole(1, 3)
    outputs, time_step = count * multiplier, count + step * case.whole(0, 1)
    y_step = outputs + case.whole(0, 1)
    members = {"rows": rows, "stride": stride, "taps": taps, "dilation": dilation, "time_step": time_step}
    members |= {"outputs": outputs, "multiplier": multiplier, "y_step": y_step}
    samples = ((rows - 1) * stride + (taps - 1) * dilation) * time_step + count
    if lines > 1:
        members |= {"repeats": lines - 1, "repeat_step": samples + case.whole(0, 3)}
        samples += (lines - 1) * members["repeat_step"]
    channels = Struct("channels", members)
    tile = replace(case.tile(rows, 1, 16, 1, taps), outputs=1)
    return channels, samples, outputs, tile, (rows - 1) * y_step + outputs


def dense_half(case):
    """ecm_dense_half."""
    count, outputs = case.whole(1, 60), case.whole(1, 30)
    block = case.whole(1, min(outputs, tiles.TILE))
    w, b = case.floats(count, outputs), case.floats(outputs)
    x, plain_b = case.array("x", case.floats(count), "float32"), case.array("b", b, "float32")
    plain_w, w_fast = case.array("w", w, "float16"), case.array("ordered", tiles.blocks(w, block), "float16")
    b_fast, activation = case.array("biases", tiles.blocks(b, block), "float32"), case.activation()
    plain = f"plain_dense_half({arguments(x, plain_w, plain_b, 'plain', count, outputs, activation)})"
    fast = f"ecm_dense_half({arguments(x, w_fast, b_fast, 'fast', count, outputs, block, activation)})"
    return case.text(plain, fast, outputs, "float")


KERNELS = {
    make.__name__: make
    for make in (
        *(conv_f32, conv_f32_wide, conv_i8, conv_i8_dual, conv_i8_packed),
        *(depthwise_f32, depthwise_f32_once, depthwise_f32_lines),
        *(depthwise_i8, depthwise_i8_lines, depthwise_i8_packed, depthwise_i8_dual, dense_half),
    )
}
"""By the name of the kernel's header."""


def program(kernel, count, seed):
    """C that ends with 0 where a kernel has the plain one's bits in `count` cases, and names the first where not."""
    rng = np.random.default_rng(seed)
    cases = [KERNELS[kernel](Drawn(rng, number)) for number in range(count)]
    stored = "#define ECM_STORED int16_t\n" if kernel.endswith("_dual") else ""
    tries = [f'    if (case_{i}()) {{ printf("case {i}\\n"); return 1; }}' for i in range(count)]
    return "\n".join([stored + HEAD.format(kernel=kernel), *cases, "int main(void)", "{", *tries, "    return 0;", "}"])
