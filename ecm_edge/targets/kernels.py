"""What a core is good at: which kernels the generator calls, and how large their tiles may be."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from ecm_edge.base.records import Record


class Kernels(Record):
    """Tiles and int8 kernels of a core.

    accumulators:      sums that fit the floating-point registers beside one row of weights and one sample.
    int8_accumulators: the same for the registers of the int8 kernel.
    int8:              plain (a multiply and an add a product), packed (two or three products in a 64-bit
                       multiply), or dual
                       (two 16-bit products an instruction, SMLAD).
    outputs:           8 for vectors of eight outputs (the width of a SIMD register, which ecm_conv_f32_wide is written
                       for), 1 for none.
    """

    accumulators: int = Field(default=25, ge=1, le=256)
    int8_accumulators: int = Field(default=16, ge=1, le=256)
    int8: Literal["plain", "packed", "dual"] = "plain"
    outputs: Literal[1, 8] = 1
