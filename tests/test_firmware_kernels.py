"""Hand-written C by itself: every kernel has the bits of the plain one, and memory functions move every byte."""

import re
import subprocess
from typing import get_args

import pytest

from ecm_edge.firmware.operators import depthwise, tiles
from ecm_edge.targets import firmware as fw
from ecm_edge.targets.kernels import Kernels

from . import firmware_kernels
from .firmware_c import fused

INCLUDE, CHECKS = fw.SHIPPED / "include", fw.SHIPPED / "checks"
STRICT = ["-std=c99", "-Wall", "-Wextra", "-Werror", "-ffp-contract=off", "-fno-math-errno"]
SANITISED = ["-O1", "-fsanitize=address,undefined", "-fno-sanitize-recover=all"]
CASES = 12


def built(source, out, *words):
    subprocess.run(["gcc", *STRICT, *words, str(source), "-o", str(out), "-lm"], check=True)  # noqa: S607
    return subprocess.run([str(out)], check=False, capture_output=True, text=True)


def differs(folder, kernel, *words, text=None):
    """What the program of drawn cases says; nothing where all bits are the plain kernel's."""
    source = folder / f"{kernel}.c"
    source.write_text(text or firmware_kernels.program(kernel, CASES, seed=1))
    done = built(source, folder / kernel, *words, "-I", str(INCLUDE), "-I", str(CHECKS))
    assert done.returncode in {0, 1}, done.stderr[:4000]
    return done.stdout


@pytest.mark.parametrize("flags", [["-O2"], SANITISED], ids=["O2", "sanitised"])
@pytest.mark.parametrize("kernel", firmware_kernels.KERNELS)
def test_a_kernel_has_the_bits_of_the_plain_one(tmp_path, kernel, flags):
    assert differs(tmp_path, kernel, *flags) == ""


@pytest.mark.skipif(not fused(), reason="the vectors of eight need a core with AVX2 and FMA")
def test_vectors_of_eight_have_the_bits_of_the_plain_kernel(tmp_path):
    assert differs(tmp_path, "conv_f32_wide", "-O2", "-mavx2", "-mfma") == ""


@pytest.mark.parametrize("kernel", firmware_kernels.KERNELS)
def test_a_wrong_bit_is_seen(tmp_path, kernel):
    text = firmware_kernels.program(kernel, 1, seed=1)
    assert differs(tmp_path, kernel, "-O1", text=text.replace("return memcmp", "fast[0] += 1; return memcmp")) != ""


def test_every_kernel_is_tried():
    headers = {path.stem.removeprefix("ecm_") for path in INCLUDE.glob("ecm_*.h")}
    assert {name for name in headers if name.startswith(("conv_", "dense_", "depthwise_"))} == set(
        firmware_kernels.KERNELS
    )


def test_the_generator_knows_the_limits_of_the_kernels_tiles():
    text = "\n".join(path.read_text() for path in INCLUDE.glob("*.h"))
    limits = dict(re.findall(r"\b(ECM_(?:TILE|LANES|WIDE|DEPTHWISE)\w*) = (\d+)", text))
    assert {name: int(value) for name, value in limits.items()} == {
        "ECM_TILE": tiles.TILE,
        "ECM_TILE_I8": tiles.TILE,
        "ECM_TILE_PACKED": tiles.TILE_PACKED,
        "ECM_LANES": max(get_args(Kernels.model_fields["outputs"].annotation)),
        "ECM_WIDE_ROWS": tiles.WIDE_ROWS,
        "ECM_WIDE_VECTORS": tiles.WIDE_VECTORS,
        "ECM_DEPTHWISE_ROWS": depthwise.DEPTHWISE_ROWS,
        "ECM_DEPTHWISE_TAPS": depthwise.DEPTHWISE_TAPS,
        "ECM_DEPTHWISE_I8_ROWS": depthwise.DEPTHWISE_ROWS,
        "ECM_DEPTHWISE_I8_TAPS": depthwise.DEPTHWISE_TAPS,
        "ECM_DEPTHWISE_LINES": depthwise.DEPTHWISE_LINES,
        "ECM_DEPTHWISE_REPEATS": depthwise.DEPTHWISE_REPEATS,
    }


@pytest.mark.parametrize("flags", [["-O2"], ["-O3"], SANITISED], ids=["O2", "O3", "sanitised"])
def test_memory_functions_move_every_byte_and_nothing_unaligned(tmp_path, flags):
    source = fw.SHIPPED / "checks" / "moves_check.c"
    done = built(source, tmp_path / "moves", *flags, "-I", str(fw.SHIPPED / "port"))
    assert (done.returncode, done.stdout) == (0, "")
