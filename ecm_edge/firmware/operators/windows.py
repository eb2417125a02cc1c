"""Windows along time and over pictures, as the kernels see them, and how an output may lie over their input.

A kernel computes rows of windows at one distance. A convolution along time is one line of them, one over a picture
has a line for each row of its output: `Windows.lines`, each a call of the kernel whose input and output move on.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from ecm_edge.firmware.layers import Overlap
from ecm_edge.firmware.margins import Room
from ecm_edge.firmware.operators.calls import Operand, Struct
from ecm_edge.firmware.operators.shape import contiguous
from ecm_edge.firmware.program import distance_above, distance_below
from ecm_edge.forms.reference.operators.windows import Geometry, geometry

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from ecm_edge.firmware.operators.calls import Tile
    from ecm_edge.firmware.program import Program
    from ecm_edge.firmware.tensors import Indices, Tensor

_SHORT = 5  # rows of a line that fill a tile badly
_PICTURE = 4  # axes of a tensor that has height and width: batch and channels besides


@dataclass(frozen=True)
class Along:
    """A convolution or pooling along one axis: kernel K, stride, dilation, and which axis of the tensor it is.

    `margin` has the padding of every spatial axis; `rows` are windows along this one, of `length` entries.
    """

    axis: int
    taps: int
    stride: int
    dilation: int
    margin: Room
    rows: int
    length: int

    @property
    def before(self) -> int:
        """Padding before the axis."""
        return self.margin.pads[self.axis - 2][0]

    def room(self, channels: int, groups: int, *, dual: bool) -> Room:
        """What a layer of it wants of its input; the dual kernel's windows and taps have to begin at even elements.

        A single entry has no distance to a next one, so `row_step` takes that of its channels.
        """
        odd = channels % 2 == 1 and (self.stride % 2 == 1 or self.dilation > 1) and self.length > 1
        return replace(self.margin, even=dual and groups == 1 and odd)


@dataclass(frozen=True)
class Over:
    """A convolution over a picture (1, C, H, W): what it does along its height and along its width."""

    down: Along
    across: Along

    @property
    def margin(self) -> Room:
        """The padding of both axes."""
        return self.across.margin

    @property
    def taps(self) -> int:
        """Taps of one channel's kernel."""
        return self.down.taps * self.across.taps

    def room(self, channels: int, groups: int, *, dual: bool) -> Room:
        """What a layer of it wants of its input; the dual kernel's windows and taps have to begin at even elements.

        One channel gets no second one: half of all products would be by 0.
        """
        return replace(self.margin, even=dual and groups == 1 and channels % 2 == 1 < channels)


def along_time(attributes: Mapping[str, Any], kernel: Sequence[int], shape: Sequence[int]) -> Along | None:
    """The one spatial axis (N, C, *S) that a window runs along; None where there are several.

    Other spatial axes may be there if they are of length 1 and the kernel leaves them so, and the batch is one.
    """
    if shape[0] != 1:
        return None
    window = geometry(attributes, tuple(kernel), tuple(shape[2:]))
    several = [
        axis
        for axis, (length, taps, pads) in enumerate(zip(shape[2:], window.kernel, window.pads, strict=True))
        if (length, taps, pads) != (1, 1, (0, 0))
    ]
    if len(several) > 1 or any(window.extra):
        return None
    return _along(window, several[0] if several else 0, shape)


def over_picture(attributes: Mapping[str, Any], kernel: Sequence[int], shape: Sequence[int]) -> Over | None:
    """The two axes of (1, C, H, W) that a window runs over; None for another count of axes, or one of length 1."""
    if shape[0] != 1 or len(shape) != _PICTURE or min(shape[2:]) == 1:
        return None
    window = geometry(attributes, tuple(kernel), tuple(shape[2:]))
    return None if any(window.extra) else Over(_along(window, 0, shape), _along(window, 1, shape))


def windows_in(attributes: Mapping[str, Any], kernel: Sequence[int], shape: Sequence[int]) -> Along | Over | None:
    """How a convolution runs that kernels can compute: along one axis or over a picture; None for any other."""
    return along_time(attributes, kernel, shape) or over_picture(attributes, kernel, shape)


def _along(window: Geometry, axis: int, shape: Sequence[int]) -> Along:
    """One spatial axis of a window in a tensor (N, C, *S)."""
    taps, stride, dilation = window.kernel[axis], window.strides[axis], window.dilations[axis]
    rows = (shape[axis + 2] + sum(window.pads[axis]) - (taps - 1) * dilation - 1) // stride + 1
    return Along(axis + 2, taps, stride, dilation, Room(window.pads), rows, shape[axis + 2])


@dataclass(frozen=True)
class Windows:
    """The windows of a layer, in elements of the input's buffer; `ecm_windows` says what they mean.

    Args:
        first: where the first window begins.
        rows: how many there are in a line.
        x_step: from one to the next.
        segments: runs of elements side by side in each.
        segment: elements of a run.
        segment_step: from one run to the next.
        time_step: from one time step, or place along a picture's width, to the next.
        repeats: how often all runs of a window come again.
        repeat_step: from one time to the next.
        lines: how many lines of rows there are.
        line_step: from one line's first window to the next line's.
    """

    first: int
    rows: int
    x_step: int
    segments: int
    segment: int
    segment_step: int
    time_step: int
    repeats: int = 0
    repeat_step: int = 0
    lines: int = 1
    line_step: int = 0

    @property
    def products(self) -> int:
        """Products of one sum."""
        return (self.repeats + 1) * self.segments * self.segment

    @property
    def size(self) -> str:
        """How many there are, in words, for a comment in the C."""
        lines = f"{self.lines} x " if self.lines > 1 else ""
        return f"{lines}{self.rows} rows of {self.products} products"

    @property
    def width(self) -> int:
        """Elements from the first of a window to one past its last."""
        return self.repeats * self.repeat_step + (self.segments - 1) * self.segment_step + self.segment

    @property
    def turned(self) -> Windows:
        """The same windows with lines and rows exchanged: rows down the picture, a line for each of its columns."""
        return replace(
            self, rows=self.lines, x_step=self.line_step, lines=self.rows, line_step=self.x_step if self.rows > 1 else 0
        )

    @property
    def is_one_line(self) -> bool:
        """Whether each line goes on where the one before it ends."""
        return self.lines > 1 and self.line_step == self.rows * self.x_step

    @property
    def in_one_line(self) -> Windows:
        """The same windows as one line of rows, where `is_one_line`."""
        return replace(self, rows=self.lines * self.rows, lines=1, line_step=0)

    def operand(self, x: Tensor, group_step: int = 0) -> Operand:
        """Where the first window of each group begins."""
        return Operand(x, self.first - x.offset, group_step, line_step=self.line_step)

    def struct(self, outputs: int, y_step: int) -> Struct:
        """The kernels' argument, with the outputs of a group and the elements from one row of them to the next."""
        members = {
            "rows": self.rows,
            "x_step": self.x_step,
            "segments": self.segments,
            "segment": self.segment,
            "segment_step": self.segment_step,
            "outputs": outputs,
            "y_step": y_step,
        }
        again = {"repeats": self.repeats, "repeat_step": self.repeat_step} if self.repeats else {}
        return Struct("windows", members | again)


def windows_of(x: Tensor, window: Along | Over, groups: int = 1) -> Windows | None:
    """The windows of a group of a channels-last tensor with its margin; None where channels do not lie side by side."""
    return _windows_over(x, window, groups) if isinstance(window, Over) else _windows_along(x, window, groups)


def _windows_along(x: Tensor, along: Along, groups: int) -> Windows | None:
    places = time_by_channels(x.index, along.axis)
    if not is_grid(places):
        return None
    step, channels = row_step(places), places.shape[1]
    first = int(places[0, 0]) - along.before * step
    whole = step == channels and along.dilation == 1 and groups == 1
    segments, segment = (1, along.taps * channels) if whole else (along.taps, channels // groups)
    return Windows(first, along.rows, along.stride * step, segments, segment, along.dilation * step, step)


def _windows_over(x: Tensor, over: Over, groups: int) -> Windows | None:
    """A line of windows for each row of the output; one run for each row of the kernel where its taps are side by side.

    Else a run is one tap, and all taps of a kernel's row come again for the next one.
    """
    channels, down, across = x.shape[1], over.down, over.across
    strides = x.strides or (0, 0, 0, 0)
    line, step = strides[2:]
    if line < 1 or step < 1 or (channels > 1 and strides[1] != 1):
        return None
    kernel_line, tap = down.dilation * line, across.dilation * step
    repeats = 0
    if step == channels and across.dilation == 1 and groups == 1:
        segments, segment, segment_step = down.taps, across.taps * channels, kernel_line
        if segment_step == segment:
            segments, segment = 1, segments * segment
    elif across.taps == 1:
        segments, segment, segment_step = down.taps, channels // groups, kernel_line
    else:
        segments, segment, segment_step = across.taps, channels // groups, tap
        repeats = down.taps - 1
    return Windows(
        first=x.offset - down.before * line - across.before * step,
        rows=across.rows,
        x_step=across.stride * step,
        segments=segments,
        segment=segment,
        segment_step=segment_step,
        time_step=step,
        repeats=repeats,
        repeat_step=kernel_line if repeats else 0,
        lines=down.rows,
        line_step=down.stride * line if down.rows > 1 else 0,
    )


def windowed(
    program: Program, name: str, x: Tensor, window: Along | Over, groups: int, room: Room | None = None
) -> tuple[Tensor, Windows]:
    """A tensor with channels side by side and the room that a convolution wants, copied if need be; and its windows."""
    wanted = room or window.margin
    windows = windows_of(x, window, groups)
    if windows and (not wanted.even or windows.time_step % 2 == 0) and program.has_room(x, wanted):
        return x, windows
    x = contiguous(program, name, x, wanted)
    windows = windows_of(x, window, groups)
    assert windows is not None  # noqa: S101 - channels of a copy lie side by side
    return x, windows


def product_windows(program: Program, name: str, x: Tensor) -> tuple[Tensor, Windows, Indices]:
    """A tensor (…, n) with the n of each row side by side, one window a row, and the order of a row's elements.

    The elements may lie in any order, for weights can be put in the same one; where they are spread out, they are
    copied.
    """
    lines = x.index.reshape(-1, x.shape[-1])
    order = np.argsort(lines[0])
    if not is_grid(lines[:, order]):
        x = contiguous(program, name, x)
        lines, order = x.index.reshape(-1, x.shape[-1]), np.arange(x.shape[-1])
    step, length = row_step(lines), lines.shape[1]
    return x, Windows(int(lines[0, order[0]]), len(lines), step, 1, length, length, step), order


def row_step(places: Indices) -> int:
    """Elements from one row to the next of places (T, O); of one row, how many it has."""
    return int(places[1, 0] - places[0, 0]) if len(places) > 1 else places.shape[1]


def is_grid(places: Indices) -> bool:
    """Whether rows (T, O) lie at one distance, each side by side."""
    return are_lines(places[None])


def are_lines(places: Indices) -> bool:
    """Whether lines (L, T, O) lie at one distance, each of rows at one distance, each of those side by side."""
    lines, rows, outputs = places.shape
    steps = np.arange(rows)[:, None] * row_step(places[0]) + np.arange(outputs)
    return np.array_equal(places, places[0, 0, 0] + np.arange(lines)[:, None, None] * line_step(places) + steps)


def line_step(places: Indices) -> int:
    """Elements from one line to the next of places (L, T, O); 0 of one line."""
    return int(places[1, 0, 0] - places[0, 0, 0]) if len(places) > 1 else 0


def time_by_channels(index: Indices, axis: int) -> Indices:
    """Indices (T, C) of a tensor (1, C, *S) whose spatial axes but `axis` have length 1."""
    return np.moveaxis(index, axis, 0).reshape(index.shape[axis], -1)


def lines_of(index: Indices) -> Indices:
    """Indices (L, T, C) of a tensor (1, C, *S): a line for each row of a picture, one line of any other tensor."""
    channels_last: Indices = np.moveaxis(index[0], 0, -1)
    return channels_last if index.ndim == _PICTURE else channels_last.reshape(1, -1, index.shape[1])


def best_lines(windows: Windows, places: Sequence[Indices]) -> tuple[Windows, list[Indices]]:
    """The windows in as few and as long lines as they and other tensors of their rows allow.

    Lines that follow each other everywhere become one; short lines become rows, for tiles take several of those.

    Args:
        windows: lines of rows.
        places: of tensors with a row for each, (L T, C) in any shape.

    Returns:
        Windows, and the same places (L, T, C).
    """
    shaped = [each.reshape(windows.lines, windows.rows, -1) for each in places]
    if windows.rows < min(_SHORT, windows.lines):
        windows, shaped = windows.turned, [each.transpose(1, 0, 2) for each in shaped]
    one = [each.reshape(1, -1, each.shape[2]) for each in shaped]
    if windows.is_one_line and all(map(are_lines, one)):
        return windows.in_one_line, one
    return windows, shaped


def overlap_along(
    windows: Windows, tile: Tile, outputs: Indices, per_group: int, item_bytes: int, reads_again: int = 1
) -> Overlap:
    """How the output of a kernel may lie over its input.

    Args:
        windows: of the input.
        tile: what the kernel computes together.
        outputs: (T, O) or (L, T, O) places of the results in their buffer.
        per_group: outputs of one group; a tile's blocks of outputs follow each other.
        item_bytes: of an element of both.
        reads_again: how often at least a tile's input is read before it is done with.
    """
    places = outputs.reshape(windows.lines, windows.rows, -1)
    times = max(reads_again, -(-per_group // tile.outputs))
    forward = np.repeat([min(row, windows.rows - tile.rows) for row in range(0, windows.rows, tile.rows)], times)
    backward = windows.rows - tile.rows - forward  # as ecm_tile_row takes them
    lines = np.arange(windows.lines)[:, None] * windows.line_step
    last = (tile.rows - 1) * windows.x_step + windows.width
    below = distance_below(
        (places[:, forward + tile.rows - 1].max(2).ravel() + 1) * item_bytes,
        (windows.first + lines + forward * windows.x_step).ravel() * item_bytes,
    )
    above = distance_above(
        places[::-1, backward].min(2).ravel() * item_bytes,
        (windows.first + lines[::-1] + backward * windows.x_step + last).ravel() * item_bytes,
    )
    return Overlap(below, above)
