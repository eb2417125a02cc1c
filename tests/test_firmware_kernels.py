"""Hand-written C by itself: faster kernels have the plain ones' bits, and memory functions move every byte."""

import subprocess

import pytest

from ecm_edge.targets import firmware as fw

STRICT = ["-std=c99", "-Wall", "-Wextra", "-Werror", "-ffp-contract=off", "-fno-math-errno"]
SANITISED = ["-O1", "-fsanitize=address,undefined", "-fno-sanitize-recover=all"]

DEPTHWISE = """
#include <stdio.h>
#include <string.h>
#include "ecm_depthwise_f32.h"

static float x[4096], w[512], b[32], plain[4096], once[4096];

#define CHECK(rows, stride, taps, dilation, channels, multiplier, tile, backward) \\
    do { \\
        memset(plain, 0x5A, sizeof plain); \\
        memset(once, 0x5A, sizeof once); \\
        ecm_depthwise_f32(x, w, b, plain, rows, (stride) * (channels), taps, (dilation) * (channels), \\
            (channels) * (multiplier), multiplier, (channels) * (multiplier), 1, 1, backward, ECM_RELU, 0.0f, 0.0f); \\
        ecm_depthwise_f32_once(x, w, b, once, rows, stride, taps, dilation, channels, (channels) * (multiplier), \\
            multiplier, (channels) * (multiplier), tile, backward, ECM_RELU, 0.0f, 0.0f); \\
        if (memcmp(plain, once, sizeof plain) != 0) { \\
            printf("%d rows, stride %d, %d taps, dilation %d\\n", rows, stride, taps, dilation); \\
            return 1; \\
        } \\
    } while (0)

int main(void)
{
    for (int i = 0; i < 4096; i++) {
        x[i] = (float)((i * 7919) % 1009) / 409.0f - 1.2f;
    }
    for (int i = 0; i < 512; i++) {
        w[i] = (float)((i * 31) % 97) / 61.0f - 0.8f;
    }
    for (int i = 0; i < 32; i++) {
        b[i] = (float)i / 7.0f - 2.0f;
    }
    CHECK(79, 1, 5, 1, 16, 1, 16, 0);
    CHECK(79, 1, 5, 8, 16, 1, 16, 1);
    CHECK(50, 2, 9, 1, 8, 1, 16, 0);
    CHECK(41, 3, 7, 2, 4, 2, 13, 1);
    CHECK(20, 4, 3, 1, 6, 1, 7, 0);
    CHECK(16, 1, 16, 3, 2, 1, 14, 0);
    CHECK(1, 1, 1, 1, 3, 1, 1, 0);
    return 0;
}
"""


def built(source, out, *words):
    subprocess.run(["gcc", *STRICT, *words, str(source), "-o", str(out), "-lm"], check=True)  # noqa: S607
    return subprocess.run([str(out)], check=False, capture_output=True, text=True)


@pytest.mark.parametrize("flags", [["-O2"], SANITISED], ids=["O2", "sanitised"])
def test_depthwise_with_each_sample_once_has_the_bits_of_the_plain_one(tmp_path, flags):
    source = tmp_path / "depthwise.c"
    source.write_text(DEPTHWISE)
    done = built(source, tmp_path / "depthwise", *flags, "-I", str(fw.SHIPPED / "include"))
    assert (done.returncode, done.stdout) == (0, "")


@pytest.mark.parametrize("flags", [["-O2"], ["-O3"], SANITISED], ids=["O2", "O3", "sanitised"])
def test_memory_functions_move_every_byte_and_nothing_unaligned(tmp_path, flags):
    source = fw.SHIPPED / "checks" / "moves_check.c"
    done = built(source, tmp_path / "moves", *flags, "-I", str(fw.SHIPPED / "port"))
    assert (done.returncode, done.stdout) == (0, "")
