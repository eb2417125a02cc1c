"""The ONNX standard's own node tests, as generated C: right answers, and clean under ASan and UBSan."""

import re

import numpy as np
import pytest

from ecm_edge.base.errors import ModelError

from . import conformance, firmware_c


@pytest.mark.parametrize("sanitise", [False, True], ids=["plain", "sanitised"])
@pytest.mark.parametrize("number", range(conformance.CHUNKS))
def test_node_tests_of_the_standard(tmp_path, number, sanitise):
    made = [(case, c) for case, c in conformance.chunk(number) if not isinstance(c, ModelError)]
    program = firmware_c.build(tmp_path, [c for _, c in made], sanitise=sanitise)
    assert conformance.differing(made, program) == []


def test_a_refusal_names_the_node():
    refusals = [c for number in range(conformance.CHUNKS) for _, c in conformance.chunk(number)]
    refusals = [c for c in refusals if isinstance(c, ModelError)]
    assert refusals
    for problem in refusals:
        assert re.search(r"in node '.+'|in \w+ '.+'", problem.found)


def test_every_operator_has_a_node_test_that_passes():
    applicable = {case.op for case in conformance.cases() if not case.reason}
    assert applicable == {*conformance.OPERATORS, *conformance.FOLDERS}


def test_a_wrong_answer_is_seen(tmp_path):
    made = [next((case, c) for case, c in conformance.chunk(0) if not isinstance(c, ModelError))]
    made[0][0].wanted = made[0][0].wanted + np.float32(1)
    try:
        assert len(conformance.differing(made, firmware_c.build(tmp_path, [c for _, c in made]))) == 1
    finally:
        made[0][0].wanted = made[0][0].wanted - np.float32(1)


def test_the_table_in_the_readme_is_up_to_date():
    found = conformance.README.read_text()
    assert found == conformance.readme(), "run: python -m tests.conformance --write"
