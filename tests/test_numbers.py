"""How numbers are written for people."""

from __future__ import annotations

import doctest

import pytest

from ecm_edge.base import numbers


def test_examples_in_docstrings():
    results = doctest.testmod(numbers)
    assert results.attempted > 0
    assert results.failed == 0


@pytest.mark.parametrize(("value", "text"), [(None, "–"), (0.0999, "0.100"), (0, "0.000"), (1, "1.000")])
def test_ratios(value, text):
    assert numbers.ratio(value) == text


@pytest.mark.parametrize(
    ("value", "text"),
    [(0.001, "0.001"), (0.00099, "0.00099"), (9999.0, "9,999"), (9999.6, "10,000"), (1e4, "10,000"), (-0.5, "-0.5")],
)
def test_numbers_on_both_sides_of_every_limit(value, text):
    assert numbers.number(value) == text


@pytest.mark.parametrize(
    ("value", "unit", "text"),
    [
        (None, "B", "–"),
        (1023.0, "B", "1,023 B"),
        (1024.0, "B", "1.0 KiB"),
        (-1024.0, "B", "-1.0 KiB"),
        (1 << 30, "B", "1,048,576.0 KiB"),
        (186800.0, "MAC", "186,800 MAC"),
        (100000.0, "", "100,000"),
    ],
)
def test_quantities(value, unit, text):
    assert numbers.quantity(value, unit) == text


@pytest.mark.parametrize(
    ("value", "text"), [(None, "none"), (False, "no"), (0, "0"), (0.00934097, "0.00934097"), (1e6, "1,000,000")]
)
def test_settings(value, text):
    assert numbers.setting(value) == text
