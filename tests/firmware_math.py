"""ecm_math.h built for this host, and the accuracy that it states; benchmarks/test_math.py uses them too."""

import ctypes
import math
import subprocess
from pathlib import Path

import numpy as np

ROOT = Path(__file__).parents[1]
SOURCE = ROOT / "tests" / "firmware_math.c"
FLAGS = [
    *("-std=c99", "-O2", "-Wall", "-Wextra", "-Werror", "-ffp-contract=off", "-fno-math-errno"),
    *("-I", str(ROOT / "firmware_check" / "include")),
]
INF = math.inf

ULP_BOUNDS = [  # function, inputs from, to, ULP of the exact result
    ("expf", -INF, INF, 1.07),
    ("sigmoidf", -16, INF, 2.3),
    ("sigmoidf", -88.37, -16, 5.5),
    ("siluf", -16, INF, 3.4),
    ("siluf", -40, -16, 4.8),
    ("siluf", -88.37, -40, 6.7),
    ("swishf", -1, INF, 4),
    ("swishf", -9, -1, 13),
    ("tanhf", -INF, INF, 3.1),
    ("erff", -INF, INF, 2.8),
    ("geluf", -1, INF, 5),
    ("gelu_tanhf", -1, INF, 3.2),
    ("gelu_tanhf", -4, -1, 20),
    ("gelu_tanhf", -9.9, -4, 200),
    ("logf", -INF, INF, 1),
    ("expm1f", -INF, INF, 1.7),
    ("eluf", -INF, INF, 1.7),
    ("softplusf", -87.3, INF, 4),
    ("sqrtf", -INF, INF, 0.5),
    ("reciprocalf", -INF, INF, 0.5),
    ("rint_even", -INF, INF, 0),
    ("square", -INF, INF, 1.2),
    ("cube_root_down", -INF, INF, 1.5),
    ("power_of_two", -INF, INF, 1.5),
    ("floorf", -INF, INF, 0),
    ("ceilf", -INF, INF, 0),
    ("truncf", -INF, INF, 0),
    ("remainder_of_tenth", -INF, INF, 0),
    ("sinf", -INF, INF, 2.7),
    ("cosf", -INF, INF, 2.7),
    ("tanf", -INF, INF, 4.1),
    ("asinf", -INF, INF, 2.5),
    ("acosf", -INF, INF, 1.3),
    ("atanf", -INF, INF, 2.2),
    ("sinhf", -INF, INF, 2.9),
    ("coshf", -INF, INF, 2.9),
    ("asinhf", -INF, INF, 4),
    ("acoshf", -INF, INF, 2.4),
    ("atanhf", -INF, INF, 1.5),
]

RELATIVE_BOUNDS = [  # function, inputs from, to, 2^-24 |x|
    ("siluf", -3e38, INF, 2.1),
    ("swishf", -3e38, INF, 2.1),
    ("geluf", -3e38, INF, 2.3),
    ("gelu_tanhf", -3e38, INF, 2.3),
]


def build(folder):
    """The driver as a shared library; with the host's fused multiply-add where it has one."""
    library = folder / "firmware_math.so"
    cpuinfo = Path("/proc/cpuinfo")
    fused = ["-mfma"] if cpuinfo.exists() and " fma " in cpuinfo.read_text() else []
    command = ["gcc", *FLAGS, *fused, "-shared", "-fPIC", str(SOURCE), "-o", str(library), "-lm"]
    subprocess.run(command, check=True)
    return ctypes.CDLL(str(library))


def bits_of(x):
    """The bits of a float32."""
    return int(np.float32(x).view(np.uint32))


def intervals(low, high):
    """The float32 values from low to high as ranges of their bits, which are contiguous on either side of zero."""
    if low < 0:
        yield 0x80000000 | bits_of(max(-high, 0)), bits_of(low)
    if high > 0:
        yield bits_of(max(low, 0)), bits_of(high)


def worst(library, name, low, high, stride, *, relative):
    """The largest error among every `stride`th input from low to high, and the input that has it."""
    function = getattr(library, f"worst_{name}")
    function.restype = ctypes.c_double
    where, found = ctypes.c_uint32(), []
    for first, last in intervals(low, high):
        numbers = [ctypes.c_uint32(value) for value in (first, last, stride)]
        error = function(*numbers, int(relative), ctypes.byref(where))
        found.append((error, float(np.uint32(where.value).view(np.float32))))
    return max(found)


def apply(library, name, x):
    """The function's results for a float32 array."""
    x, y = np.ascontiguousarray(x, np.float32), np.empty_like(x, np.float32)
    pointers = [array.ctypes.data_as(ctypes.POINTER(ctypes.c_float)) for array in (x, y)]
    getattr(library, f"apply_{name}")(*pointers, ctypes.c_int32(x.size))
    return y
