"""Windows along time, as the kernels see them, and how an output may lie over the input that they run through."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from ecm_edge.firmware.layers import Overlap
from ecm_edge.firmware.operators.calls import Operand, Struct
from ecm_edge.firmware.operators.shape import contiguous
from ecm_edge.firmware.program import Room, distance_above, distance_below
from ecm_edge.forms.reference.operators.windows import geometry

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from ecm_edge.firmware.operators.calls import Tile
    from ecm_edge.firmware.program import Program
    from ecm_edge.firmware.tensors import Indices, Tensor


@dataclass(frozen=True)
class Along:
    """A convolution or pooling along one axis: kernel K, stride, dilation, padding, and which spatial axis it is."""

    axis: int
    taps: int
    stride: int
    dilation: int
    margin: Room
    rows: int

    def room(self, channels: int, groups: int, *, dual: bool) -> Room:
        """What a layer of it wants of its input; the dual kernel's windows and taps have to begin at even elements."""
        odd = channels % 2 == 1 and (self.stride % 2 == 1 or self.dilation > 1)
        return replace(self.margin, even=dual and groups == 1 and odd)


def along_time(attributes: Mapping[str, Any], kernel: Sequence[int], shape: Sequence[int]) -> Along | None:
    """The one spatial axis (N, C, *S) that a window runs along; None where there are several.

    Other spatial axes may be there if they are of length 1 and the kernel leaves them so, and the batch is one.
    """
    if shape[0] != 1:
        return None
    window = geometry(attributes, tuple(kernel), tuple(shape[2:]))
    lengths = shape[2:]
    several = [
        axis
        for axis, (length, taps, pads) in enumerate(zip(lengths, window.kernel, window.pads, strict=True))
        if (length, taps, pads) != (1, 1, (0, 0))
    ]
    if len(several) > 1 or any(window.extra):
        return None
    axis = several[0] if several else 0
    before, after = window.pads[axis]
    reach = (window.kernel[axis] - 1) * window.dilations[axis] + 1
    rows = (lengths[axis] + before + after - reach) // window.strides[axis] + 1
    return Along(axis + 2, window.kernel[axis], window.strides[axis], window.dilations[axis], Room(before, after), rows)


@dataclass(frozen=True)
class Windows:
    """The windows of a layer along time, in elements of the input's buffer; `ecm_windows` says what they mean.

    Args:
        first: where the first window begins.
        rows: how many there are.
        x_step: from one to the next.
        segments: runs of elements side by side in each.
        segment: elements of a run.
        segment_step: from one run to the next.
        time_step: from one time step of the input to the next.
    """

    first: int
    rows: int
    x_step: int
    segments: int
    segment: int
    segment_step: int
    time_step: int

    @property
    def products(self) -> int:
        """Products of one sum."""
        return self.segments * self.segment

    def operand(self, x: Tensor, group_step: int = 0) -> Operand:
        """Where the first window of each group begins."""
        return Operand(x, self.first - x.offset, group_step)

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
        return Struct("windows", members)


def windows_of(x: Tensor, along: Along, groups: int = 1) -> Windows | None:
    """The windows of a group of a channels-last tensor with its margin; None where channels do not lie side by side."""
    places = time_by_channels(x.index, along.axis)
    if not is_grid(places):
        return None
    step, channels = row_step(places), places.shape[1]
    first = int(places[0, 0]) - along.margin.before * step
    whole = step == channels and along.dilation == 1 and groups == 1
    segments, segment = (1, along.taps * channels) if whole else (along.taps, channels // groups)
    return Windows(first, along.rows, along.stride * step, segments, segment, along.dilation * step, step)


def windowed(
    program: Program, name: str, x: Tensor, along: Along, groups: int, room: Room | None = None
) -> tuple[Tensor, Windows]:
    """A tensor with channels side by side and the room that a convolution along time wants, copied if need be."""
    wanted = room or along.margin
    windows = windows_of(x, along, groups)
    if windows and (not wanted.even or windows.time_step % 2 == 0) and program.has_room(x, wanted):
        return x, windows
    x = contiguous(program, name, x, wanted)
    windows = windows_of(x, along, groups)
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
    steps = np.arange(len(places))[:, None] * row_step(places) + np.arange(places.shape[1])
    return np.array_equal(places, places[0, 0] + steps)


def time_by_channels(index: Indices, axis: int) -> Indices:
    """Indices (T, C) of a tensor (1, C, *S) whose spatial axes but `axis` have length 1."""
    return np.moveaxis(index, axis, 0).reshape(index.shape[axis], -1)


def overlap_along(
    windows: Windows, tile: Tile, outputs: Indices, per_group: int, item_bytes: int, reads_again: int = 1
) -> Overlap:
    """How the output of a kernel along time may lie over its input.

    Args:
        windows: of the input.
        tile: what the kernel computes together.
        outputs: (T, O) places of the results in their buffer.
        per_group: outputs of one group; a tile's blocks of outputs follow each other.
        item_bytes: of an element of both.
        reads_again: how often at least a tile's input is read before it is done with.
    """
    times = max(reads_again, -(-per_group // tile.outputs))
    forward = np.repeat([min(row, windows.rows - tile.rows) for row in range(0, windows.rows, tile.rows)], times)
    backward = windows.rows - tile.rows - forward  # as ecm_tile_row takes them
    width = (windows.segments - 1) * windows.segment_step + windows.segment
    last = (tile.rows - 1) * windows.x_step + width
    below = distance_below(
        (outputs[forward + tile.rows - 1].max(1) + 1) * item_bytes,
        (windows.first + forward * windows.x_step) * item_bytes,
    )
    above = distance_above(
        outputs[backward].min(1) * item_bytes, (windows.first + backward * windows.x_step + last) * item_bytes
    )
    return Overlap(below, above)
