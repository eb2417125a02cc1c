"""What a trial of the search costs besides training, and what a search of all real subjects takes in memory.

python -m pytest benchmarks/test_search.py --benchmark-only
"""

from __future__ import annotations

import resource
import statistics

import pytest

from benchmarks import bars
from ecm_edge import targets
from ecm_edge.candidate import space
from ecm_edge.data.dataset import open_dataset
from ecm_edge.search import runs, search
from ecm_edge.search.search import Limits

TARGET = targets.load("loongson-2k0500")
KIB = 1024


@pytest.fixture(scope="module")
def synthetic(tmp_path_factory):
    """Twenty synthetic subjects: overhead does not depend on what is in the segments."""
    from ecm_edge.data.synthetic import synthesise

    folder = tmp_path_factory.mktemp("data") / "synthetic"
    synthesise(folder, subjects=20, seed=1, segments_per_subject=80)
    return open_dataset(folder)


def test_overhead_of_a_trial(benchmark, synthetic, tmp_path):
    """All but the first trial, which loads the exporter: gate, and of those that can be the best every other stage."""
    record = benchmark.pedantic(run, (synthetic, tmp_path / "run", 9), rounds=1)
    trained = [trial for trial in record.trials[1:] if trial.outcome in {"trained", "done"}]
    seconds = [trial.overhead_seconds for trial in trained]
    proven = sum(trial.outcome == "done" for trial in trained)
    assert record.verdict == "PASS"
    assert len(trained) >= 5
    median = statistics.median(seconds)
    benchmark.extra_info.update(checked=True, trials=len(trained), proven=proven, median_s=median, max_s=max(seconds))
    assert median <= bars.TRIAL_OVERHEAD_S
    assert max(seconds) <= bars.SLOWEST_TRIAL_S


def test_memory_of_a_search_over_all_real_subjects(benchmark, real_dataset, tmp_path):
    """Eight gated candidates, trained for an epoch each: the peak does not depend on how long they train."""
    record = benchmark.pedantic(run, (real_dataset, tmp_path / "run", 8), rounds=1)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * KIB
    assert record.trained == 8
    benchmark.extra_info.update(checked=True, trained=record.trained, peak_bytes=peak)
    assert peak < bars.SEARCH_MEMORY_BYTES


def run(dataset, out, trials):
    """A search over the default space, one epoch a candidate, nothing pruned."""
    brief = space.load("default").model_copy(update={"training": {"epochs": 1, "batch_size": 256}})
    runs.start(out, runs.default_settings(dataset, TARGET, brief, pruner="none", sampler="random"))
    return search.search(dataset, out, Limits(trials))
