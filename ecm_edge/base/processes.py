"""Tasks in processes of their own, one thread each; no process stays behind, whether they end or are interrupted."""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from typing import TYPE_CHECKING, TypeVar

import torch

from ecm_edge.base import trust
from ecm_edge.base.errors import EcmEdgeError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

R = TypeVar("R")


def run_all(tasks: Sequence[Callable[[], R]], workers: int) -> Iterator[R]:
    """The result of each task, as they finish; with one worker they run in this process, in order.

    The number of workers does not change a result: torch has one thread in each.

    Args:
        tasks: functions without arguments that a new process can import; an exception of one is raised here.
        workers: the largest number of processes.

    Raises:
        EcmEdgeError: a process was killed.
    """
    workers = min(workers, len(tasks))
    if workers > 1:
        yield from _side_by_side(tasks, workers)
        return
    with _one_thread():
        for task in tasks:
            yield task()


@contextmanager
def _one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def _side_by_side(tasks: Sequence[Callable[[], R]], workers: int) -> Iterator[R]:
    others = set(multiprocessing.active_children())
    spawn, environment = multiprocessing.get_context("spawn"), trust.passed_on()
    pool = ProcessPoolExecutor(workers, spawn, initializer=_start_worker, initargs=(environment,))
    try:
        for future in as_completed([pool.submit(task) for task in tasks]):
            yield future.result()
    except BaseException as problem:
        for process in set(multiprocessing.active_children()) - others:
            process.terminate()
        if isinstance(problem, BrokenProcessPool):
            raise EcmEdgeError(
                "processes side by side end by themselves",
                "one that was killed, as the system does where memory is short",
                "Run it again, with fewer --workers.",
            ) from problem
        raise
    finally:
        pool.shutdown(cancel_futures=True)


def _start_worker(environment: dict[str, str]) -> None:
    """The parent handles an interrupt, and a worker ends with its parent."""
    os.environ.update(environment)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    torch.set_num_threads(1)
    threading.Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)
