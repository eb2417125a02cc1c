"""What one process takes on a data set of any size; one line of JSON.

    python -m benchmarks.large_run first_step FOLDER
    python -m benchmarks.large_run passes FOLDER
    python -m benchmarks.large_run audit FOLDER

first_step: from the start of the process to the end of the first step of a training.
passes:     seconds of one core for a pass over some segments, from the map and from memory, one after the other.
audit:      the whole audit.

Memory is `RssAnon` in bytes: what the process has for itself, without the pages of the map, which all processes share
and the system takes back when it needs them. It is the highest of all, looked up every 20 ms, and for passes that after
the first one from the map.
"""

from __future__ import annotations

import json
import sys
import threading
import time
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable

    from ecm_edge.candidate.candidate import CandidateConfig
    from ecm_edge.data.dataset import Dataset
    from ecm_edge.training.data import TrainingData

KIB = 1024
PASS = 4096  # segments
ROUNDS = 5
_EVERY_S = 0.02


def _anonymous_bytes() -> int:
    lines = Path("/proc/self/status").read_text(encoding="ascii").splitlines()
    return next(int(line.split()[1]) * KIB for line in lines if line.startswith("RssAnon"))


def _configured(dataset: Dataset, segments: int) -> CandidateConfig:
    """A small network that cuts its segments anew, so that the map is read in the most demanding way."""
    from ecm_edge.candidate import candidate
    from ecm_edge.candidate.training_config import TrainingConfig
    from ecm_edge.data import splits

    how = {"epochs": 1, "keep": "last", "sampling": {"segments": segments}, "augmentation": {"recut": True}}
    network = {"channels": 16, "depth": 3, "kernel": 7, "stride": 4}
    training = TrainingConfig.model_validate(how)
    return candidate.configure(dataset, splits.holdout(dataset, seed=0), "separable", network, training, 0)


def first_step(dataset: Dataset) -> dict[str, float]:
    """One step, of one batch."""
    config, data = _loaded(dataset, 256)
    _pass(config, data)
    return {"segments": dataset.header.segments}


def passes(dataset: Dataset) -> dict[str, float]:
    """The least time of some rounds for each, in turns; memory is that after a pass from the map."""
    config, data = _loaded(dataset, PASS)
    _pass(config, data)
    anonymous = _anonymous_bytes()
    in_memory = replace(data, train_samples=data.train_samples[:])
    times = [(_pass(config, data), _pass(config, in_memory)) for _ in range(ROUNDS)]
    mapped, memory = (min(column) for column in zip(*times, strict=True))
    seconds = {"mapped_cpu_s": mapped, "memory_cpu_s": memory}
    return {"segments": dataset.header.segments, "pass": PASS, **seconds, "anonymous_bytes": anonymous}


def audit(dataset: Dataset) -> dict[str, float]:
    """All of it."""
    from ecm_edge.data.audit import audit as examine

    record = examine(dataset)
    return {"segments": dataset.header.segments, "passed": int(record.verdict == "PASS")}


def _loaded(dataset: Dataset, segments: int) -> tuple[CandidateConfig, TrainingData]:
    from ecm_edge.training import train

    config = _configured(dataset, segments)
    without = config.model_copy(update={"split": config.split.model_copy(update={"validation": []})})
    return without, train.load_data(dataset, without.split)


def _pass(config: CandidateConfig, data: TrainingData) -> float:
    """Seconds of the processor, of all threads, for one pass by the modules of the network, uncompiled."""
    import torch

    from ecm_edge.candidate import candidate
    from ecm_edge.training.epochs import Loop

    torch.manual_seed(0)
    network = candidate.build_network(config)
    loop = Loop(network, config, data, torch.device("cpu"), None, forward=network)
    began = time.process_time()
    loop.run()
    return time.process_time() - began


MEASURED: dict[str, Callable[[Dataset], dict[str, Any]]] = {
    "first_step": first_step,
    "passes": passes,
    "audit": audit,
}


def main(what: str, folder: str) -> None:
    """Run one of `MEASURED`, and say what it took."""
    began, peak, ended = time.perf_counter(), [0], threading.Event()

    def watch() -> None:
        while not ended.wait(_EVERY_S):
            peak[0] = max(peak[0], _anonymous_bytes())

    watcher = threading.Thread(target=watch, daemon=True)
    watcher.start()
    from ecm_edge.data.dataset import open_dataset

    found = MEASURED[what](open_dataset(Path(folder)))
    ended.set()
    watcher.join()
    wall_s = time.perf_counter() - began
    told = {"anonymous_bytes": peak[0], **found, "wall_s": wall_s, "cpu_s": time.process_time()}
    sys.stdout.write(json.dumps(told) + "\n")


if __name__ == "__main__":
    main(*sys.argv[1:])
