"""Latency evidence: the files of `ecm-edge bench` and of pytest-benchmark, read as latencies of model files.

pytest-benchmark's own JSON counts where its `extra_info` has the fields of `EXTRA_INFO`; benchmarks without them are
of something else and are skipped.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import numpy as np
from pydantic import ValidationError

from ecm_edge.base import files
from ecm_edge.base.errors import CandidateError
from ecm_edge.base.records import Evidence, Latency
from ecm_edge.evaluate.bench import BenchRecord

if TYPE_CHECKING:
    from pathlib import Path

EXTRA_INFO = ("model_sha256", "evidence", "source", "warm_ups")
"""The fields that a benchmark adds to pytest-benchmark's own statistics in seconds."""

_MS = 1000.0
_LARGEST_BYTES = 1 << 26


def read_latencies(path: Path) -> dict[str, Latency]:
    """Latency by the SHA-256 of the model file that was timed.

    Raises:
        CandidateError: no such file, neither of the two kinds, one whose timed answers were wrong, or an empty one.
    """
    try:
        content = json.loads(files.read_bounded(path, _LARGEST_BYTES))
        latencies = _of_pytest(content) if "machine_info" in content else _of_bench(content)
    except OSError as problem:
        raise _not_evidence(path, f"{problem.strerror} at {path}") from None
    except (ValueError, TypeError, KeyError, RecursionError, ValidationError) as problem:
        raise _not_evidence(path, f"{type(problem).__name__}: {str(problem).splitlines()[0]} in {path}") from None
    if not latencies:
        raise _not_evidence(path, f"no latency of any model in {path}")
    return latencies


def _of_bench(content: Any) -> dict[str, Latency]:  # noqa: ANN401 - parsed JSON
    record = BenchRecord.model_validate(content)
    return {f.model_sha256: f.latency_ms for f in [*record.against, *record.forms] if not f.answers_differing}


def _of_pytest(content: Any) -> dict[str, Latency]:  # noqa: ANN401 - parsed JSON
    ours = [entry for entry in content["benchmarks"] if all(name in entry["extra_info"] for name in EXTRA_INFO)]
    return {entry["extra_info"]["model_sha256"]: _latency(entry) for entry in ours}


def _latency(entry: dict[str, Any]) -> Latency:
    stats, info = entry["stats"], entry["extra_info"]
    runs = stats.get("data")
    return Latency(
        evidence=Evidence(info["evidence"]),
        source=info["source"],
        mean_ms=stats["mean"] * _MS,
        median_ms=stats["median"] * _MS,
        p95_ms=float(np.quantile(runs, 0.95)) * _MS if runs else None,
        min_ms=stats["min"] * _MS,
        max_ms=stats["max"] * _MS,
        std_ms=stats["stddev"] * _MS,
        runs=stats["rounds"] * stats["iterations"],
        warm_ups=info["warm_ups"],
    )


def _not_evidence(path: Path, fault: str) -> CandidateError:
    return CandidateError(
        "latency evidence is a bench.json or pytest-benchmark's JSON of benchmarks/test_latency.py",
        fault,
        f"Run `ecm-edge bench {path.parent}`, or pytest with --benchmark-json.",
    )
