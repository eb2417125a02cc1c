"""A strip of ECG paper: 25 mm/s, 10 mm/mV, and what becomes of traces that are too tall or of no known unit."""

from __future__ import annotations

import re

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ecm_edge.report.ecg import TALLEST_MM, draw_strip


def spike(height, samples=250):
    """A flat second with one sample of this height at its start."""
    trace = np.zeros(samples, np.float32)
    trace[0] = height
    return trace


def heights(strip):
    """Millimetres from the top of the paper, of every sample."""
    return [float(pair.split()[1]) for pair in re.split("[ML]", strip.trace)[1:]]


def test_one_second_is_25_mm_and_one_millivolt_10_mm():
    strip = draw_strip(spike(1.0), 250.0, "mV")
    assert (strip.width_mm, strip.paper_mm, strip.gain_mm) == (25, 20, 10.0)
    assert strip.trace.startswith("M0.00 5.00L0.10 15.00L0.20 15.00")
    assert strip.seconds == [(0.0, "0 s"), (25.0, "1 s")]


def test_fine_lines_every_millimetre_and_bold_ones_every_five():
    strip = draw_strip(spike(1.0), 250.0, "mV")
    assert strip.fine.count("V") == 26
    assert strip.fine.count("H") == 21
    assert strip.bold.count("V") == 6
    assert strip.bold.count("H") == 5


@pytest.mark.parametrize(("unit", "one"), [("mV", 1.0), ("uV", 1000.0), ("µV", 1000.0), ("V", 0.001)])
def test_every_known_unit_is_drawn_in_millivolts(unit, one):
    strip = draw_strip(spike(one), 250.0, unit)
    assert strip.is_millivolts
    assert heights(strip) == heights(draw_strip(spike(1.0), 250.0, "mV"))


@pytest.mark.parametrize(("millivolts", "gain"), [(5.0, 10.0), (5.5, 5.0), (20.0, 2.5)])
def test_a_strip_that_is_too_tall_is_drawn_at_half_the_gain(millivolts, gain):
    strip = draw_strip(spike(millivolts), 250.0, "mV")
    assert strip.gain_mm == gain
    assert strip.paper_mm <= TALLEST_MM


@pytest.mark.parametrize(("span", "gain"), [(2.0, 20.0), (2.6, 10.0), (50.0, 1.0), (51.0, 0.5), (0.0, 10.0)])
def test_without_a_unit_a_round_gain_suits_the_segment(span, gain):
    strip = draw_strip(spike(span), 250.0, "unstated")
    assert not strip.is_millivolts
    assert strip.gain_mm == pytest.approx(gain)


def test_a_segment_of_any_length_ends_on_a_bold_line():
    assert draw_strip(spike(1.0, samples=8), 250.0, "mV").width_mm == 5
    assert draw_strip(spike(1.0, samples=1250), 250.0, "mV").width_mm == 125


@given(
    st.lists(st.floats(-1e6, 1e6, width=32), min_size=2, max_size=20), st.sampled_from(["mV", "uV", "unstated", "raw"])
)
def test_every_trace_lies_on_its_paper(values, unit):
    strip = draw_strip(np.array(values, np.float32), 250.0, unit)
    assert min(heights(strip)) >= 0
    assert max(heights(strip)) <= strip.paper_mm <= 2 * TALLEST_MM
