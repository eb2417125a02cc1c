"""A small share of random graphs (`random_graphs`): onnxruntime, the reference and sanitised C agree."""

import pytest

from . import random_graphs

FIRST, COUNT = 1024, 24
"""With the one that read a shuffled row in another order than it had been copied in."""


@pytest.fixture(scope="module")
def cases():
    return [random_graphs.case_of(seed) for seed in range(FIRST, FIRST + COUNT)]


def test_random_graphs_are_taken(cases):
    refused = [str(case) for case in cases if not isinstance(case, random_graphs.Case)]
    assert len(refused) <= COUNT // 8, refused


def test_random_graphs_have_one_answer(cases, tmp_path):
    taken = [case for case in cases if isinstance(case, random_graphs.Case)]
    assert random_graphs.differing(taken, tmp_path, sanitised=True) == []


def test_a_wrong_answer_is_found(cases, tmp_path):
    case = next(case for case in cases if isinstance(case, random_graphs.Case))
    moved = random_graphs.Case(case.seed, case.proto, case.samples, case.theirs, case.ours + 1, case.made)
    found = random_graphs.differing([moved], tmp_path, sanitised=False)
    assert [what for _, what, *_ in found] == ["reference and onnxruntime", "C and reference"]
