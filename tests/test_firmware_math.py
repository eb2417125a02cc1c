"""The elementary functions of ecm_math.h: accuracy over all exponents, special values, the same bits elsewhere."""

import ctypes
import math
import shutil
import subprocess
import sys

import mpmath
import numpy as np
import pytest

from ecm_edge.forms.reference import rounding
from ecm_edge.forms.reference.operators import OPERATORS

from . import firmware_math
from .firmware_math import FLAGS, INF, RELATIVE_BOUNDS, SOURCE, ULP_BOUNDS, apply

STRIDE = 1021  # 4.2 million of the 2^32 inputs, every exponent 8,000 times
HASH_STRIDE = 65537 * 3
ROOT_HALF = mpmath.sqrt(0.5)
EXACT = {
    "expf": mpmath.exp,
    "sigmoidf": lambda x: 1 / (1 + mpmath.exp(-x)),
    "siluf": lambda x: x / (1 + mpmath.exp(-x)),
    "tanhf": mpmath.tanh,
    "erff": mpmath.erf,
    "geluf": lambda x: x / 2 * mpmath.erfc(-x * ROOT_HALF),
    "gelu_tanhf": lambda x: x / 2 * (1 + mpmath.tanh(mpmath.sqrt(2 / mpmath.pi) * (x + mpmath.mpf("0.044715") * x**3))),
    "logf": mpmath.log,
    "expm1f": mpmath.expm1,
    "softplusf": lambda x: mpmath.log1p(mpmath.exp(x)),
    "sinf": mpmath.sin,
    "cosf": mpmath.cos,
    "tanf": mpmath.tan,
    "atanf": mpmath.atan,
    "sinhf": mpmath.sinh,
    "coshf": mpmath.cosh,
    "asinhf": mpmath.asinh,
}
ODD = ("tanf", "asinf", "atanf", "sinhf", "asinhf", "atanhf")
TARGETS = {
    "loongarch64": ["-target", "loongarch64-linux-musl", "-mcpu=generic_la64+d"],
    "arm": ["-target", "arm-linux-musleabihf", "-mcpu=cortex_a7"],  # qemu-arm runs Linux, so no Cortex-M4
}


@pytest.fixture(scope="session")
def library(tmp_path_factory):
    if shutil.which("gcc") is None:
        pytest.skip("gcc is not installed: Debian's package gcc")
    return firmware_math.build(tmp_path_factory.mktemp("math"))


@pytest.mark.parametrize(("name", "low", "high", "bound"), ULP_BOUNDS)
def test_results_are_within_their_ulp(library, name, low, high, bound):
    error, where = firmware_math.worst(library, name, low, high, STRIDE, relative=False)
    assert error <= bound, f"{name}({where!r}) is {error:.3f} ULP off"


@pytest.mark.parametrize(("name", "low", "high", "bound"), RELATIVE_BOUNDS)
def test_products_with_x_are_close_measured_by_x(library, name, low, high, bound):
    error, where = firmware_math.worst(library, name, low, high, STRIDE, relative=True)
    assert error <= bound, f"{name}({where!r}) is {error:.3f} times 2^-24 |x| off"


@pytest.mark.parametrize("name", EXACT)
def test_results_hold_against_mpmath(library, name):
    rng = np.random.default_rng(5)
    low, high, bound = next(row[1:] for row in ULP_BOUNDS if row[0] == name)
    x = (rng.standard_normal(300) * 10.0 ** rng.uniform(-6, 1.2, 300)).astype(np.float32)
    x = np.abs(x) if name == "logf" else x[(x >= low) & (x <= high)]
    with mpmath.workdps(50):
        for given, found in zip(x.tolist(), apply(library, name, x).tolist(), strict=True):
            exact = EXACT[name](mpmath.mpf(given))
            ulp = math.ulp(float(abs(exact))) * 2**29
            assert abs(found - exact) <= bound * ulp


@pytest.mark.parametrize("name", sorted({row[0] for row in ULP_BOUNDS} | {"hardsigmoidf", "hardswishf"}))
def test_a_nan_gives_a_nan(library, name):
    assert np.isnan(apply(library, name, np.float32([np.nan, -np.nan]))).all()


@pytest.mark.parametrize(
    ("name", "at_minus_infinity", "at_infinity"),
    [
        ("expf", 0, INF),
        ("sigmoidf", 0, 1),
        ("siluf", math.nan, INF),
        ("swishf", math.nan, INF),
        ("tanhf", -1, 1),
        ("erff", -1, 1),
        ("geluf", math.nan, INF),
        ("gelu_tanhf", math.nan, INF),
        ("logf", math.nan, INF),
        ("expm1f", -1, INF),
        ("eluf", -0.5, INF),
        ("softplusf", 0, INF),
        ("sqrtf", math.nan, INF),
        ("reciprocalf", -0.0, 0),
        ("rint_even", -INF, INF),
        ("floorf", -INF, INF),
        ("ceilf", -INF, INF),
        ("truncf", -INF, INF),
        ("remainder_of_tenth", math.nan, math.nan),
        ("sinf", math.nan, math.nan),
        ("cosf", math.nan, math.nan),
        ("tanf", math.nan, math.nan),
        ("asinf", math.nan, math.nan),
        ("acosf", math.nan, math.nan),
        ("atanf", -math.pi / 2, math.pi / 2),
        ("sinhf", -INF, INF),
        ("coshf", INF, INF),
        ("asinhf", -INF, INF),
        ("acoshf", math.nan, INF),
        ("atanhf", math.nan, math.nan),
        ("hardsigmoidf", 0, 1),
        ("hardswishf", math.nan, INF),
    ],
)
def test_infinities(library, name, at_minus_infinity, at_infinity):
    found = apply(library, name, np.float32([-INF, INF]))
    np.testing.assert_array_equal(found, np.float32([at_minus_infinity, at_infinity]))


@pytest.mark.parametrize("name", ["siluf", "swishf", "geluf", "gelu_tanhf"])
def test_far_below_zero_products_vanish(library, name):
    assert not apply(library, name, np.float32([-90, -1e3, -1e10, -3.4e38])).any()


@pytest.mark.parametrize("name", ["tanhf", "erff", "sigmoidf"])
def test_bounded_functions_stay_within_their_range(library, name):
    y = apply(library, name, np.arange(bits_low := 0x3F000000, bits_low + 0x3000000, 7, np.uint32).view(np.float32))
    assert y.max() == 1


def test_what_flushes_to_zero(library):
    assert apply(library, "sigmoidf", np.float32([-88.4])).item() == 0
    assert apply(library, "sigmoidf", np.float32([-88.3])).item() > 0
    assert apply(library, "expf", np.float32([-103.9])).item() == np.float32(2) ** -149
    assert apply(library, "softplusf", np.float32([-87.7])).item() == 0


def test_the_sign_of_zero(library):
    for name in ("tanhf", "erff", "siluf", "rint_even", "sqrtf", "sinf", "truncf", "floorf", "ceilf", *ODD):
        assert np.signbit(apply(library, name, np.float32([-0.0]))).all(), name
    assert np.signbit(apply(library, "rint_even", np.float32([-0.5, -0.3]))).all()


def sample():
    """Every 4099th float32."""
    return np.arange(0, 2**32, 4099, np.uint64).astype(np.uint32).view(np.float32)


def test_rounding_is_the_projects_one_rule(library):
    x = np.concatenate([sample(), np.arange(-1000, 1000, dtype=np.float32) + np.float32(0.5)])
    x = x[~np.isnan(x)]
    np.testing.assert_array_equal(apply(library, "rint_even", x), rounding.round_half_even(x))


@pytest.mark.parametrize(("name", "op"), [("hardsigmoidf", "HardSigmoid"), ("hardswishf", "HardSwish")])
def test_piecewise_linear_ones_are_the_references_to_the_bit(library, name, op):
    x = sample()
    x = x[np.isfinite(x) & (np.abs(x) < 1e37)]
    wanted = OPERATORS[op]({}, [x[None]])[0][0]
    np.testing.assert_array_equal(apply(library, name, x), wanted)


def power(library, x, y):
    """x ^ y of two numbers."""
    library.power.restype = ctypes.c_float
    return library.power(ctypes.c_float(x), ctypes.c_float(y))


def test_powers_are_within_6_ulp(library):
    rng = np.random.default_rng(3)
    library.power_error.restype = ctypes.c_double
    size = rng.integers(1, 0x7F800000, 40000).astype(np.uint32).view(np.float32).astype(np.float64)
    size[::2] = rng.uniform(0.6, 1.6, 20000)
    with np.errstate(divide="ignore"):
        exponent = rng.uniform(-155, 155, 40000) / np.log2(size)  # over- and underflow as well
    errors = [library.power_error(ctypes.c_float(x), ctypes.c_float(y)) for x, y in zip(size, exponent, strict=True)]
    assert max(errors) <= 6


def test_special_powers_are_those_of_c(library):
    values = [0.0, -0.0, 1, -1, 0.25, -0.25, 2, -2, 3, -3, INF, -INF, math.nan, 16777215, 16777216, -16777217, 1e-40]
    with np.errstate(all="ignore"):
        for x in values:
            for y in values:
                wanted = np.power(np.float64(np.float32(x)), np.float64(np.float32(y))).astype(np.float32)
                found = np.float32(power(library, x, y))
                np.testing.assert_allclose(found, wanted, rtol=2e-7, err_msg=f"{x} ^ {y}")
                assert np.isnan(found) or np.signbit(found) == np.signbit(wanted)


@pytest.mark.parametrize("machine", TARGETS)
def test_other_cores_give_the_same_bits(library, machine, tmp_path):
    emulator = shutil.which(f"qemu-{machine}")
    if emulator is None:
        pytest.skip(f"qemu-{machine} is not installed: Debian's package qemu-user")
    image = tmp_path / "hashes"
    flags = [*FLAGS, "-nostdlib", "-static", f"-DECM_HASHES={HASH_STRIDE}u", "-Wno-unused-command-line-argument"]
    command = [sys.executable, "-m", "ziglang", "cc", *TARGETS[machine], *flags, str(SOURCE), "-o", str(image)]
    subprocess.run(command, check=True, capture_output=True)
    there = subprocess.run([emulator, str(image)], check=True, capture_output=True).stdout
    count = library.all_hashes(ctypes.c_uint32(HASH_STRIDE), here := (ctypes.c_uint32 * 64)())
    assert np.frombuffer(there, "<u4").tolist() == here[:count]
    assert count == 35
