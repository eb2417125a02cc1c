"""What was timed: a record for each file of benchmarks, and the table of them.

    records/NAME.json    what `pytest benchmarks/test_NAME.py` measured: figures, command, commit, machine, date

A record is made of pytest-benchmark's own JSON. A time on a busy machine says little beside one of another day: the
load average of the machine stands beside it.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmarks import bars
from ecm_edge.base.records import Record

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

FOLDER = Path(__file__).parent / "records"
NAMES = ("training", "search", "import", "merge", "latency", "firmware", "episodes", "demo")
COLUMNS = ("what", "figure", "bar", "when and where")
WAYS = ("by its modules", "batch innermost", "batch innermost and compiled")  # plain, eager, compiled
STATISTICS = ("min", "median", "rounds")
_NO_LIMIT = ("--timeout=0", "-o", "faulthandler_timeout=0")  # those of the tests are for tests

Figures = dict[str, float]
Cells = tuple[str, str, str]
"""What was timed, the figures, and the bar."""


class NothingMeasuredError(Exception):
    """A run of benchmarks that gave no figure to keep."""


class TimedRecord(Record):
    """What one run of a file of benchmarks measured.

    Attributes:
        command: what was run.
        commit: of the checkout; `changed` if there were changes that were not committed.
        date_utc: when it began, as pytest-benchmark writes it.
        machine: the processor's name; `cores` of it.
        load_average: processes that wanted a core, over the minute before.
        figures: by test: statistics of its rounds in seconds, and every number of its `extra_info`.
    """

    command: str
    commit: str
    changed: bool
    date_utc: str
    machine: str
    cores: int
    load_average: float
    figures: dict[str, Figures]

    def where(self) -> str:
        """Date, machine and commit in one cell of a table."""
        busy = " (busy)" if self.load_average > self.cores else ""
        machine = f"{self.machine}, {self.cores} cores, load {self.load_average:.1f}{busy}"
        return f"{self.date_utc[:10]}, {machine}, `{self.commit[:7]}`{' and changes' if self.changed else ''}"


def of_json(content: Mapping[str, Any], command: str, load: float) -> TimedRecord:
    """The record of pytest-benchmark's JSON.

    Raises:
        NothingMeasuredError: an answer that was timed may be wrong: each test sets `checked` once it has looked.
    """
    unchecked = [each["name"] for each in content["benchmarks"] if not each["extra_info"].get("checked")]
    if unchecked or not content["benchmarks"]:
        raise NothingMeasuredError(f"{command}: answers were not checked in {', '.join(unchecked) or 'any test'}")
    machine, commit = content["machine_info"]["cpu"], content["commit_info"]
    return TimedRecord(
        command=command,
        commit=commit["id"],
        changed=commit["dirty"],
        date_utc=content["datetime"],
        machine=machine["brand_raw"],
        cores=machine["count"],
        load_average=round(load, 1),
        figures={each["name"]: _figures(each) for each in content["benchmarks"]},
    )


def _figures(benchmark: Mapping[str, Any]) -> Figures:
    stats = {f"{name}_s" if name != "rounds" else name: benchmark["stats"][name] for name in STATISTICS}
    numbers = {name: value for name, value in benchmark["extra_info"].items() if type(value) in {int, float}}
    return stats | numbers


def measure(name: str) -> TimedRecord:
    """Run a file of benchmarks, and give its record whether or not its bars are met.

    Raises:
        NothingMeasuredError: no time was taken, or one whose answer was not checked.
    """
    command = f"pytest benchmarks/test_{name}.py --benchmark-only"
    load = os.getloadavg()[0]
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "benchmark.json")
        words = [sys.executable, "-m", *command.split(), *_NO_LIMIT, f"--benchmark-json={path}"]
        subprocess.run(words, check=False)
        if not path.is_file() or not path.stat().st_size:
            raise NothingMeasuredError(f"{command}: it measured nothing")
        return of_json(json.loads(path.read_text(encoding="utf-8")), command, load)


def load_all() -> dict[str, TimedRecord]:
    """Every record of the folder that is one of `NAMES`, by name."""
    return {name: TimedRecord.load(FOLDER / f"{name}.json") for name in NAMES if (FOLDER / f"{name}.json").is_file()}


def table(records: Mapping[str, TimedRecord]) -> str:
    """The records as Markdown, and the tests that no record has."""
    lines = [f"| {' | '.join(COLUMNS)} |", "|---|---|---|---|"]
    recorded = {test.split("[")[0] for record in records.values() for test in record.figures}
    missing = [f"`{test}`" for test in _WRITERS if test not in recorded]
    for record in records.values():
        lines += [f"| {' | '.join([*cells, record.where()])} |" for cells in _lines(record)]
    if missing:
        lines += ["", f"NOT RUN: {', '.join(missing)}."]
    return "\n".join(lines)


def _lines(record: TimedRecord) -> Iterator[Cells]:
    """What a record has for the table."""
    shown = set()
    for test, write in _WRITERS.items():
        found = {name: figures for name, figures in record.figures.items() if name.split("[")[0] == test}
        shown |= set(found)
        if found:
            yield write(record.figures)
    missing = set(record.figures) - shown - _BESIDE
    assert not missing, f"no line of the table shows {', '.join(sorted(missing))}"


def _bar(text: str, *, met: bool) -> str:
    return f"{text}{'' if met else ': **missed**'}"


def _steps(family: str, batch: str, figures: Mapping[str, Figures]) -> Cells:
    found = figures[f"test_steps_of_{family}"]
    limits = {"loop": bars.FASTER_THAN_A_LOOP[family], "seeds": bars.FASTER_THAN_THE_SEED_WORK.get(family, 0.0)}
    met = all(found[f"{way}_ratio"] >= least for way, least in limits.items())
    names = {"loop": "a plain PyTorch loop", "seeds": "the seed work's way"}
    times = [
        f"{names[way]} {found[f'{way}_samples_per_second']:,.0f}: {found[f'{way}_ratio']:.1f} times as fast "
        f"(medians {found[f'{way}_median_ratio']:.1f})"
        for way in limits
    ]
    processors = ", ".join(f"{found[f'{way}_cpu_ms_a_sample']:.2f}" for way in ("ours", *limits))
    return (
        f"training steps of `{family}`, {batch}, {found['threads']:.0f} threads, fastest of the rounds",
        (
            f"{found['ours_samples_per_second']:,.0f} segments/s, {WAYS[int(found['way'])]}; {'; '.join(times)}; "
            f"processors' time a segment {processors} ms; {found['ours_share_of_product']:.1%} of a matrix product's "
            f"speed, the loop {found['loop_share_of_product']:.1%}; {found['prepared_s']:.0f} s until the first step"
        ),
        _bar(", ".join(f"≥ {least:g} times {names[way]}" for way, least in limits.items() if least), met=met),
    )


def _f1(figures: Mapping[str, Figures]) -> Cells:
    found = figures["test_f1_of_afnet"]
    return (
        f"F1 of AFNet on subjects held out, {found['segments']:,.0f} segments, {found['epochs']:.0f} epochs",
        (
            f"{found['ours_f1']:.3f}, a plain PyTorch loop {found['loop_f1']:.3f}; the seed work's recipe in both, "
            f"mean of {found['seeds']:.0f} seeds (least {found['ours_f1_least']:.3f} and {found['loop_f1_least']:.3f})"
        ),
        _bar(
            f"≥ the loop's - {bars.TRAINING_F1_LOSS}", met=found["ours_f1"] >= found["loop_f1"] - bars.TRAINING_F1_LOSS
        ),
    )


def _overhead(figures: Mapping[str, Figures]) -> Cells:
    found = figures["test_overhead_of_a_trial"]
    return (
        "a trial of the search besides training, all but the first",
        (
            f"median {found['median_s']:.1f} s, at most {found['max_s']:.1f} s, of {found['trials']:.0f} trials, "
            f"{found['proven']:.0f} of them proven"
        ),
        _bar(
            f"≤ {bars.TRIAL_OVERHEAD_S:g} s, ≤ {bars.SLOWEST_TRIAL_S:g} s",
            met=found["median_s"] <= bars.TRIAL_OVERHEAD_S and found["max_s"] <= bars.SLOWEST_TRIAL_S,
        ),
    )


def _demo(figures: Mapping[str, Figures]) -> Cells:
    found = figures["test_the_demo_against_one_that_proves_every_trial"]
    ours, before = (f"{found[f'{way}_cpu_s']:.0f} s of a core, of it search" for way in ("ours", "before"))
    share = found["ours_cpu_s"] / found["before_cpu_s"]
    return (
        "the commands of `make demo`, a new cache, against the same with every trial exported, verified and built",
        (
            f"{ours} {found['ours_search_cpu_s']:.0f} s; every trial {before} {found['before_search_cpu_s']:.0f} s: "
            f"{100 * share:.0f} %"
        ),
        _bar(f"≤ {100 * bars.DEMO_SHARE:.0f} %", met=share <= bars.DEMO_SHARE),
    )


def _memory(figures: Mapping[str, Figures]) -> Cells:
    found = figures["test_memory_of_a_search_over_all_real_subjects"]
    return (
        f"a search over all 53 subjects, {found['trained']:.0f} candidates trained for one epoch",
        f"at most {found['peak_bytes'] / 1e9:.2f} GB",
        _bar(f"< {bars.SEARCH_MEMORY_BYTES / 1e9:g} GB", met=found["peak_bytes"] < bars.SEARCH_MEMORY_BYTES),
    )


def _import(figures: Mapping[str, Figures]) -> Cells:
    ours, bare = (figures[name]["min_s"] for name in ("test_data_import", "test_loadtxt_a_file"))
    return (
        "import of 2,000 text files, checked, hashed and written; least of the rounds",
        f"{1000 * ours:.0f} ms; `numpy.loadtxt` alone {1000 * bare:.0f} ms",
        "–",
    )


def _merge(figures: Mapping[str, Figures]) -> Cells:
    found = figures["test_data_merge"]
    met = found["min_s"] < bars.MERGE_S and found["peak_bytes"] < bars.MERGE_MEMORY_BYTES
    return (
        f"merge to {found['segments']:,.0f} segments, checked, hashed and written; least of the rounds",
        f"{found['min_s']:.1f} s, at most {found['peak_bytes'] / 1e6:.0f} MB",
        _bar(f"< {bars.MERGE_S} s, < {bars.MERGE_MEMORY_BYTES / 1e6:.0f} MB", met=met),
    )


def _import_wfdb(figures: Mapping[str, Figures]) -> Cells:
    found = figures["test_import_of_wfdb_records"]
    met = found["min_s"] < bars.WFDB_IMPORT_S and found["peak_bytes"] < bars.WFDB_IMPORT_BYTES
    return (
        f"import of {found['records']:,.0f} WFDB records with a label table, {found['segments']:,.0f} segments",
        f"{found['min_s']:.1f} s ({found['cpu_s']:.1f} s of one core), at most {found['peak_bytes'] / 1e9:.2f} GB",
        _bar(f"< {bars.WFDB_IMPORT_S} s, < {bars.WFDB_IMPORT_BYTES / 1e9:g} GB", met=met),
    )


def _latency(figures: Mapping[str, Figures]) -> Cells:
    forms = {name.split("[")[1].strip("]"): found["median_s"] for name, found in figures.items()}
    return (
        "one inference of an AFNet in onnxruntime, one thread, median",
        ", ".join(f"{form} {1000 * seconds:.3f} ms" for form, seconds in forms.items()),
        "–",
    )


def _host(figures: Mapping[str, Figures]) -> Cells:
    found = figures["test_time_on_this_host"]
    ours, peer, loop = (found[f"{name}_us"] for name in ("ours", "onnxruntime", "triple_loop"))
    return (
        "one inference of the demo net in generated C, least time of a run",
        f"{ours:.1f} µs; onnxruntime {peer:.1f} µs, a triple loop with -O3 {loop:.1f} µs",
        _bar("≤ half of onnxruntime's", met=ours <= peer / 2),
    )


def _fit(figures: Mapping[str, Figures]) -> Cells:
    found = figures["test_fit_of_one_candidate"]
    return (
        "`fit` of the demo net, float32 and int8, both boards",
        f"{found['min_s']:.1f} s",
        _bar(f"≤ {bars.FIT_S} s", met=found["min_s"] <= bars.FIT_S),
    )


def _episodes(figures: Mapping[str, Figures]) -> Cells:
    found = figures["test_episodes_of_24_hours"]
    met = found["cpu_s"] <= bars.EPISODES_S and found["peak_bytes"] <= bars.EPISODES_MEMORY_BYTES
    return (
        "`episodes` of 24 h, two leads at 250 Hz, against the record's own rhythms, one core",
        (
            f"{found['cpu_s']:.1f} s of the core, {found['min_s']:.1f} s until it ended, at most "
            f"{found['peak_bytes'] / 1e6:.0f} MB"
        ),
        _bar(f"≤ {bars.EPISODES_S} s of the core, ≤ {bars.EPISODES_MEMORY_BYTES / 1e6:.0f} MB", met=met),
    )


_WRITERS: dict[str, Callable[[Mapping[str, Figures]], Cells]] = {
    "test_steps_of_tcn": partial(_steps, "tcn", "batches of 256"),
    "test_steps_of_separable": partial(_steps, "separable", "batches of 256"),
    "test_steps_of_afnet": partial(_steps, "afnet", "batches of 32"),
    "test_f1_of_afnet": _f1,
    "test_overhead_of_a_trial": _overhead,
    "test_memory_of_a_search_over_all_real_subjects": _memory,
    "test_data_import": _import,
    "test_data_merge": _merge,
    "test_import_of_wfdb_records": _import_wfdb,
    "test_latency": _latency,
    "test_time_on_this_host": _host,
    "test_fit_of_one_candidate": _fit,
    "test_episodes_of_24_hours": _episodes,
    "test_the_demo_against_one_that_proves_every_trial": _demo,
}
_BESIDE = {"test_loadtxt_a_file"}  # shown in the line of another
