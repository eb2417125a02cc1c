"""The one rounding rule, on ties and at the ends of the range."""

import math
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ecm_edge.base.errors import ModelError
from ecm_edge.forms.reference import rounding

ZERO = np.zeros((1, 1), np.int8)


def test_ties_go_to_the_even_number():
    x = np.float32([-2.5, -1.5, -0.5, 0.5, 1.5, 2.5, 0.49999997, 1e30])
    assert rounding.round_half_even(x).tolist()[:7] == [-2, -2, 0, 0, 2, 2, 0]


@pytest.mark.parametrize(
    ("x", "q"), [(126.5, 126), (127.5, 127), (1e30, 127), (-128.5, -128), (-1e30, -128), (np.inf, 127)]
)
def test_quantize_saturates(x, q):
    assert rounding.quantize(np.float32([[x]]), np.float32([[1]]), ZERO).item() == q


@pytest.mark.parametrize(
    ("zero_point", "dtype", "q"), [(-128, np.int8, -128), (127, np.int8, 127), (0, np.uint8, 0), (255, np.uint8, 255)]
)
def test_zero_is_the_zero_point(zero_point, dtype, q):
    assert rounding.quantize(np.float32([[0]]), np.float32([[0.1]]), np.array([[zero_point]], dtype)).item() == q


def test_quotient_is_taken_in_float32():
    x, scale = np.float32([[0.15]]), np.float32([[0.1]])
    assert rounding.quantize(x, scale, ZERO).item() == int(np.rint(np.float32(0.15) / np.float32(0.1)))


def test_nan_cannot_be_quantised():
    with pytest.raises(ModelError, match="only numbers"):
        rounding.quantize(np.float32([[1, np.nan]]), np.float32([[1]]), ZERO)


def test_requantize_by_hand():
    accumulator = np.array([[5, -5, 7, 1000, -1000]])  # x 0.5 = 2.5, -2.5, 3.5, 500, -500
    zero_point = np.array([[3]], np.int8)
    assert rounding.requantize(accumulator, np.float32([[0.5]]), zero_point).tolist() == [[6, 1, 7, 127, -128]]
    assert rounding.requantize_wide(accumulator, np.float32([[0.5]]), zero_point).tolist() == [[5, 1, 7, 127, -128]]


@given(st.integers(-(2**31) + 1, 2**31 - 1), st.lists(st.floats(2**-40, 2**20, width=32), min_size=1, max_size=3))
def test_requantize_is_the_nearest_integer(total, factors):
    """Of the exact product with the factor as it is stored, which differs by less than 2^-30 of the largest."""
    stored, shift = rounding.fixed_point(np.float32(factors))
    assert 1 <= shift <= 62
    assert (stored >= 0).all()
    assert (stored < 2**31).all()
    if shift < 62:
        assert np.abs(stored / 2.0**shift - np.float64(np.float32(factors))).max() <= max(factors) * 2.0**-30
    found = rounding.requantize(np.array([[total]]), np.float32(factors), np.zeros((1, 1), np.int32))
    exact = [Fraction(total * int(each), 2**shift) for each in stored]
    limit = 2**31
    nearest = [min(max(math.floor(each + Fraction(1, 2)), -limit), limit - 1) for each in exact]
    assert found.reshape(-1).tolist() == nearest


def test_multiplier_is_rounded_after_each_operation():
    x, w, y = (np.float32([v]) for v in (0.1, 0.3, 0.7))
    assert rounding.multiplier(x, w, y) == np.float32(np.float32(x * w) / y)


@given(st.integers(-128, 127), st.integers(-128, 127), st.floats(2**-20, 1024, width=32))
def test_an_integer_comes_back_from_float(q, zero_point, scale):
    array, scale, zero_point = np.array([[q]], np.int8), np.float32([[scale]]), np.array([[zero_point]], np.int8)
    x = rounding.dequantize(array, scale, zero_point)
    assert rounding.quantize(x, scale, zero_point).item() == q
