"""Tasks side by side: the same answers, the same errors, and nobody left behind."""

import multiprocessing
import operator
import os
from functools import partial

import pytest
import torch

from ecm_edge.base.errors import EcmEdgeError
from ecm_edge.base.processes import run_all


def threads():
    return torch.get_num_threads()


def test_a_single_worker_takes_the_tasks_in_order_on_one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        assert list(run_all([threads, partial(operator.add, 1, 1)], 1)) == [1, 2]
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(before)


def test_no_task_needs_no_process():
    assert list(run_all([], 8)) == []


def test_two_workers_answer_all_and_end():
    tasks = [partial(operator.mul, 3, n) for n in range(5)]
    assert sorted(run_all([*tasks, threads], 2)) == sorted([0, 3, 6, 9, 12, 1])
    assert multiprocessing.active_children() == []


def test_a_process_that_is_killed_is_an_error_that_says_so():
    with pytest.raises(EcmEdgeError, match="one that was killed"):
        list(run_all([partial(os._exit, 9), partial(operator.add, 1, 1)], 2))
    assert multiprocessing.active_children() == []


def test_an_error_ends_the_others():
    with pytest.raises(ZeroDivisionError):
        list(run_all([partial(operator.floordiv, 1, n) for n in (0, 1, 1)], 2))
    assert multiprocessing.active_children() == []
