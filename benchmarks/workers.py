"""What many workers cost: their storage with real trials on this machine, and 64 of them whose trials only sleep.

    python -m benchmarks.workers --write

Each worker is a process. PostgreSQL is Debian's, started for it on loopback; Optuna's gRPC proxy is one more process.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import multiprocessing
import resource
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from optuna.storages import BaseStorage

from benchmarks.measured import Measured, here
from ecm_edge import targets
from ecm_edge.base.records import Record, Verdict
from ecm_edge.candidate import space
from ecm_edge.data.dataset import open_dataset
from ecm_edge.data.synthetic import synthesise
from ecm_edge.search import presence, runs, search, shared, study, worker
from ecm_edge.search.trial_record import TRIAL, TrialRecord
from tests import postgres

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from ecm_edge.data.dataset import Dataset

PATH = Path(__file__).parent / "records" / "workers.json"
COLUMNS = ("trials", "storage", "workers", "trained a minute", "of what is possible", "in the storage", "of a core",
           "drawn twice, avoided", "trained twice")  # fmt: skip
_STUDY = "workers"
_SLEEP_S = (10.0, 20.0)
_PROXY = (
    "import sys; from optuna.storages import get_storage, run_grpc_proxy_server; "
    "run_grpc_proxy_server(get_storage(sys.argv[1]), host='127.0.0.1', port=int(sys.argv[2]))"
)


class Line(Record):
    """What so many workers did on one storage.

    Attributes:
        storage: its kind.
        workers: processes.
        asleep: whether a trial only sleeps.
        trained: trials.
        wall_s: from the first trial's beginning to the last one's end.
        possible_s: the same, were there no storage, nothing to draw, and a core for each: of sleeping trials.
        storage_s: median over the trials, of the seconds that the worker waited for the storage.
        cpu_s: seconds of a core for each trial, all else than training included.
        avoided: draws of a point that another worker had.
        twice: points that were trained twice.
    """

    storage: str
    workers: int
    asleep: bool
    trained: int
    wall_s: float
    possible_s: float | None
    storage_s: float
    cpu_s: float
    avoided: int
    twice: int


class Workers(Measured):
    """All lines, and where they were measured."""

    lines: list[Line]


@dataclass
class Timed:
    """The seconds that this process's main thread waited for a storage, in each of its trials."""

    waited_s: float = 0.0
    trials: list[float] = field(default_factory=list)

    def watch(self, storage: BaseStorage) -> BaseStorage:
        """The storage, whose operations are timed from now on."""
        for name in dir(BaseStorage):
            if not name.startswith("_"):
                setattr(storage, name, self._timed(getattr(storage, name)))
        return storage

    def _timed(self, operation: Any) -> Any:
        def timed(*arguments: Any, **options: Any) -> Any:
            begun = time.perf_counter()
            try:
                return operation(*arguments, **options)
            finally:
                if threading.current_thread() is threading.main_thread():  # heartbeats have a thread of their own
                    self.waited_s += time.perf_counter() - begun

        return timed

    def end(self) -> None:
        """A trial has ended."""
        self.trials.append(self.waited_s)
        self.waited_s = 0.0


def asleep(folder: Path, number: int, point: dict[str, Any], *_: Any) -> TrialRecord:
    """A trial that sleeps, longer or shorter by its number, and has an objective that depends on its point."""
    time.sleep(float(np.random.default_rng(number).uniform(*_SLEEP_S)))
    value = 1 / (1 + sum(float(entry) for entry in point.values() if type(entry) in {int, float}))
    record = TrialRecord(
        number=number, outcome="trained", reason="", family=str(point["family"]), point=point,
        objective=value, f1=value, fbeta_mean=value, g=value, epochs=1, parameters=1, macs=1, flash_bytes=1,
        ram_bytes=1, latency_ms=1.0, verdict=Verdict.NOT_RUN, verified_segments=0, stage_seconds={},
    )  # fmt: skip
    record.save(folder / TRIAL)
    return record


def _work(data: Path, out: Path, url: str, *, sleeping: bool) -> None:
    """One worker, in a process of its own."""
    import torch

    torch.set_num_threads(1)
    timed, real = Timed(), study.open_storage
    vars(study)["open_storage"] = lambda *given: timed.watch(real(*given))
    if sleeping:
        vars(worker).update(train_trial=asleep, prove_trial=lambda _, record, __: record)
    done = search.work(open_dataset(data), out, url, _STUDY, on_trial=lambda _: timed.end(), tell=lambda _: None)
    used = resource.getrusage(resource.RUSAGE_SELF)
    trained = sum(trial.train_seconds for trial in done.trials)
    report = {"storage_s": timed.trials, "cpu_s": used.ru_utime + used.ru_stime, "training_s": trained}
    (out / "report.json").write_text(json.dumps(report), encoding="utf-8")


def measure(kind: str, url: str, read_url: str, workers: int, trials: int, dataset: Dataset, *, sleeping: bool) -> Line:
    """Let so many workers train so many trials."""
    settings = runs.default_settings(dataset, targets.load("loongson-2k0500"), space.load("quick"), ladder=[])
    shares = shared.begin(read_url, _STUDY, settings)
    shares.set_limits(trials, None)
    _close(shares)
    with tempfile.TemporaryDirectory() as folder:
        outs = [Path(folder, str(number)) for number in range(workers)]
        context = multiprocessing.get_context("fork")
        processes = [
            context.Process(target=_work, args=(dataset.folder, out, url), kwargs={"sleeping": sleeping})
            for out in outs
        ]
        for process in processes:
            process.start()
        for process in processes:
            process.join()
        reports = [json.loads((out / "report.json").read_text()) for out in outs]
    shares = shared.join(read_url, _STUDY)
    view = shares.read()
    points = [json.dumps(record.point, sort_keys=True) for record in view.records if record.trained]
    ended = [trial for trial in view.trials if shared.RECORD in trial.user_attrs]
    ends = [trial.datetime_complete for trial in ended if trial.datetime_complete]
    wall_s = (max(ends) - min(trial.datetime_start for trial in ended if trial.datetime_start)).total_seconds()
    _close(shares)
    slept = [float(np.random.default_rng(draw).uniform(*_SLEEP_S)) for draw in range(trials)]
    return Line(
        storage=kind,
        workers=workers,
        asleep=sleeping,
        trained=len(points),
        wall_s=round(wall_s, 1),
        possible_s=round(sum(slept) / workers, 1) if sleeping else None,
        storage_s=round(statistics.median(s for report in reports for s in report["storage_s"]), 3),
        cpu_s=round(sum(report["cpu_s"] for report in reports) / len(points), 2),
        avoided=view.avoided,
        twice=len(points) - len(set(points)),
    )


def _close(shares: shared.Shared) -> None:
    """Leave no connection to a process that is forked."""
    engine = getattr(getattr(shares.storage, "_backend", None), "engine", None)
    if engine is not None:  # of a database
        engine.dispose()


@contextlib.contextmanager
def proxy(url: str) -> Iterator[str]:
    """Optuna's gRPC proxy in a process of its own, and its URL."""
    port = postgres.free_port()
    with subprocess.Popen([sys.executable, "-c", _PROXY, url, str(port)], stderr=subprocess.DEVNULL) as process:
        try:
            while process.poll() is None and not _listens(port):
                time.sleep(0.1)
            yield f"grpc://127.0.0.1:{port}"
        finally:
            process.terminate()


def _listens(port: int) -> bool:
    import socket

    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def run(many: int, each: int, quick: int) -> Iterator[Line]:
    """Every line of the table, as soon as it is measured."""
    with tempfile.TemporaryDirectory() as folder, postgres.running() as server:
        synthesise(Path(folder, "data"), subjects=12, seed=3, segments_per_subject=12)
        dataset = open_dataset(Path(folder, "data"))
        for workers in (1, 2, 4) if quick else ():
            url = server.database(f"real{workers}")
            yield measure("PostgreSQL", url, url, workers, quick, dataset, sleeping=False)
        for kind, url in _on_one_machine(Path(folder)).items() if quick else ():
            yield measure(kind, url, url, 4, quick, dataset, sleeping=False)
        url = server.database("sleeping")
        yield measure("PostgreSQL", url, url, many, each * many, dataset, sleeping=True)
        url = server.database("proxied")
        with proxy(url) as proxied:
            yield measure("gRPC proxy", proxied, url, many, each * many, dataset, sleeping=True)


def _on_one_machine(folder: Path) -> dict[str, str]:
    return {"SQLite": study.sqlite_url(folder / "study.db"), "journal": study.journal_url(folder / "study.journal")}


def load() -> Workers | None:
    """The record, if there is one."""
    return Workers.load(PATH) if PATH.is_file() else None


def shown() -> str:
    """The record as Markdown."""
    record = load()
    if record is None:
        return "NOT RUN."
    rows = [f"| {' | '.join(_cells(line))} |" for line in record.lines]
    head = [f"| {' | '.join(COLUMNS)} |", "|" + " --- |" * len(COLUMNS)]
    return "\n".join([record.where(), "", *head, *rows])


def _cells(line: Line) -> Sequence[str]:
    share = "–" if line.possible_s is None else f"{100 * line.possible_s / line.wall_s:.0f} %"
    what = "sleep" if line.asleep else "the space `quick`"
    return (
        f"{line.trained}, {what}",
        line.storage,
        str(line.workers),
        f"{60 * line.trained / line.wall_s:.0f}",
        share,
        f"{line.storage_s:.2f} s",
        f"{line.cpu_s:.1f} s",
        str(line.avoided),
        str(line.twice),
    )


def main(arguments: list[str]) -> None:
    """Measure, and keep the record if asked to, with each line that it has by then."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.workers", description=__doc__)
    parser.add_argument("--write", action="store_true", help="keep the record of the table")
    parser.add_argument("--many", type=int, default=64, help="workers whose trials sleep")
    parser.add_argument("--each", type=int, default=3, help="trials of each of them")
    parser.add_argument("--quick", type=int, default=12, help="real trials of each number of workers")
    given = parser.parse_args(arguments)
    presence.heartbeat_s()  # a wrong setting is said before anything begins
    machine, lines = here(), []
    for line in run(given.many, given.each, given.quick):
        lines.append(line)
        print(line.model_dump(), flush=True)  # noqa: T201 - it takes minutes
        if given.write:
            Workers(**machine, lines=lines).save(PATH)


if __name__ == "__main__":
    main(sys.argv[1:])
