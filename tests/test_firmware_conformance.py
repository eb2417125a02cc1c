"""The ONNX standard's own node tests, as generated C: right answers, and clean under ASan and UBSan."""

import re

import numpy as np
import pytest

from ecm_edge.base.errors import ModelError
from ecm_edge.forms.reference.rewriting import SUPPORTED

from . import conformance, firmware_c


@pytest.mark.parametrize("sanitise", [False, True], ids=["plain", "sanitised"])
@pytest.mark.parametrize("number", range(conformance.CHUNKS))
def test_node_tests_of_the_standard(tmp_path, number, sanitise):
    made = conformance.taken(number)
    program = firmware_c.build(tmp_path, [c for _, c in made], sanitise=sanitise)
    assert conformance.differing(made, program) == []


def test_a_refusal_names_the_node():
    made = [pair for number in range(conformance.CHUNKS) for pair in conformance.chunk(number)]
    refusals = [(case, problem) for case, problem in made if isinstance(problem, ModelError)]
    assert refusals
    for case, problem in refusals:  # a Cast or QuantizeLinear may be the test's own, in front
        op = r"[\w.]+" if case.op in conformance.FOLDERS else rf"([\w.]*{case.op}|Cast|QuantizeLinear)"
        assert re.search(rf"{op} ('.+'|\(which gives '.+'\))", problem.found), (case.name, problem.found)


WITHOUT_A_TEST = {"CastLike", "CumSum", "Einsum", "GlobalLpPool", "STFT", "Trilu"}
"""Operators of which the standard has no example of float32 that applies; tests/test_rewriting.py has them."""


def test_every_operator_that_is_known_has_a_node_test_that_is_equal():
    standard = {op for op in SUPPORTED if "." not in op}
    equal = {case.op for number in range(conformance.CHUNKS) for case, _ in conformance.taken(number)}
    assert standard - equal == WITHOUT_A_TEST
    assert equal >= {*conformance.FOLDERS}


def test_a_wrong_answer_is_seen(tmp_path):
    made = conformance.taken(0)[:1]
    made[0][0].wanted = made[0][0].wanted + np.float32(1)
    try:
        assert len(conformance.differing(made, firmware_c.build(tmp_path, [c for _, c in made]))) == 1
    finally:
        made[0][0].wanted = made[0][0].wanted - np.float32(1)


def test_the_tables_in_the_readme_are_up_to_date():
    assert conformance.README.read_text() == conformance.written(), "run: python -m tests.conformance --write"
