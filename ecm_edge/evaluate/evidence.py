"""Latency evidence: the files of `ecm-edge bench` and of pytest-benchmark, read as latencies of model files.

pytest-benchmark's own JSON counts where its `extra_info` has the fields of `EXTRA_INFO`; benchmarks without them are
of something else and are skipped.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from pydantic import BaseModel, ConfigDict

from ecm_edge.base import files
from ecm_edge.base.errors import CandidateError
from ecm_edge.base.parsing import json_of
from ecm_edge.base.records import Evidence, Latency
from ecm_edge.evaluate.bench import BenchRecord

if TYPE_CHECKING:
    from pathlib import Path

EXTRA_INFO = ("model_sha256", "evidence", "source", "warm_ups")
"""The fields that a benchmark adds to pytest-benchmark's own statistics in seconds."""

_MS = 1000.0
_LARGEST_BYTES = 1 << 26


class _Stats(BaseModel):
    """The statistics of one benchmark of pytest-benchmark, in seconds; `data` are its rounds, if they were kept."""

    model_config = ConfigDict(allow_inf_nan=False)

    mean: float
    median: float
    min: float
    max: float
    stddev: float
    rounds: int
    iterations: int
    data: list[float] | None = None


class _ExtraInfo(BaseModel):
    """What our benchmark of latency says besides: `EXTRA_INFO`."""

    model_sha256: str
    evidence: Evidence
    source: str
    warm_ups: int


class _Timed(BaseModel):
    """One benchmark in pytest-benchmark's file; the other fields say nothing about latency."""

    stats: _Stats
    extra_info: _ExtraInfo


def read_latencies(path: Path) -> dict[str, Latency]:
    """Latency by the SHA-256 of the model file that was timed.

    Raises:
        CandidateError: no such file, neither of the two kinds, one whose timed answers were wrong, or an empty one.
    """
    try:
        content = json_of(files.read_bounded(path, _LARGEST_BYTES))
        latencies = _of_pytest(content) if "machine_info" in content else _of_bench(content)
    except OSError as problem:
        raise _not_evidence(path, f"{problem.strerror} at {path}") from None
    except (ValueError, TypeError, KeyError) as problem:  # pydantic's among them
        raise _not_evidence(path, f"{type(problem).__name__}: {str(problem).splitlines()[0]} in {path}") from None
    if not latencies:
        raise _not_evidence(path, f"no latency of any model in {path}")
    return latencies


def _of_bench(content: Any) -> dict[str, Latency]:  # noqa: ANN401 - parsed JSON
    record = BenchRecord.model_validate(content)
    return {f.model_sha256: f.latency_ms for f in [*record.against, *record.forms] if not f.answers_differing}


def _of_pytest(content: Any) -> dict[str, Latency]:  # noqa: ANN401 - parsed JSON
    ours = [entry for entry in content["benchmarks"] if all(name in entry["extra_info"] for name in EXTRA_INFO)]
    timed = [_Timed.model_validate(entry) for entry in ours]
    return {one.extra_info.model_sha256: _latency(one.stats, one.extra_info) for one in timed}


def _latency(stats: _Stats, info: _ExtraInfo) -> Latency:
    return Latency(
        evidence=info.evidence,
        source=info.source,
        mean_ms=stats.mean * _MS,
        median_ms=stats.median * _MS,
        p95_ms=float(np.quantile(stats.data, 0.95)) * _MS if stats.data else None,
        min_ms=stats.min * _MS,
        max_ms=stats.max * _MS,
        std_ms=stats.stddev * _MS,
        runs=stats.rounds * stats.iterations,
        warm_ups=info.warm_ups,
    )


def _not_evidence(path: Path, fault: str) -> CandidateError:
    return CandidateError(
        "latency evidence is a bench.json or pytest-benchmark's JSON of benchmarks/test_latency.py",
        fault,
        f"Run `ecm-edge bench {path.parent}`, or pytest with --benchmark-json.",
    )
