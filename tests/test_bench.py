"""Latency on this host: what is timed is verified, and what was measured is labelled."""

from __future__ import annotations

import json

import numpy as np
import pytest

from ecm_edge.base import files
from ecm_edge.base.errors import CandidateError, ModelError
from ecm_edge.base.records import Evidence, Verdict
from ecm_edge.evaluate import bench, timing
from ecm_edge.evaluate.bench import BenchRecord, bench_candidate
from ecm_edge.evaluate.evidence import read_latencies
from ecm_edge.forms import onnx_model
from tests import tiny


@pytest.fixture
def dataset(tmp_path):
    return tiny.graded(tmp_path / "data")


@pytest.fixture
def folder(tmp_path, dataset):
    return tiny.make_candidate(tmp_path / "c", dataset)


def test_every_form_is_timed_and_verified(folder, dataset):
    record = bench_candidate(folder, dataset, runs=20, warm_ups=3)
    assert [(f.form, f.file) for f in record.forms] == [
        ("float32", "model.simplified.onnx"),
        ("int8", "model.int8.onnx"),
    ]
    assert [(f.answers_checked, f.answers_differing) for f in record.forms] == [(20, 0), (20, 0)]
    assert record.forms[0].model_sha256 == files.sha256_file(folder / "model.simplified.onnx")
    assert (record.macs, record.parameters, record.forms[0].weight_bytes) == (16, 16, 64)
    assert (record.segments, record.synthetic, record.verdict) == ("dataset", True, Verdict.PASS)
    assert [g.verdict for g in record.gates] == [Verdict.PASS, Verdict.PASS, Verdict.NOT_RUN]


def test_measured_and_estimated_latency_are_labelled(folder):
    record = bench_candidate(folder, runs=20, warm_ups=0)
    latency = record.forms[0].latency_ms
    assert latency.evidence == Evidence.MEASURED
    assert "onnxruntime" in latency.source
    assert (latency.runs, latency.warm_ups) == (20, 0)
    assert 0 < latency.min_ms <= latency.median_ms <= latency.p95_ms <= latency.max_ms
    assert latency.min_ms <= latency.mean_ms <= latency.max_ms
    assert (record.board, record.board_latency_ms.evidence) == ("loongson-2k0500", Evidence.ESTIMATED)
    assert (record.segments, record.dataset_sha256) == ("noise", None)


def test_a_bare_file_has_no_candidate(tmp_path):
    onnx_model.save(tiny.model(), tmp_path / "m.onnx")
    record = bench_candidate(tmp_path / "m.onnx", runs=1, warm_ups=0)
    assert (record.config_sha256, record.board_latency_ms, record.forms[0].form) == (None, None, "float32")
    assert record.forms[0].latency_ms.std_ms == 0


def test_another_candidate_is_timed_in_the_same_turns(folder, tmp_path, dataset):
    other = tiny.make_candidate(tmp_path / "other", dataset, column=1, forms=("float32",))
    record = bench_candidate(folder, against=other, runs=bench.TURN + 1, warm_ups=0)
    assert (len(record.forms), len(record.against)) == (2, 1)
    assert record.against[0].model_sha256 == files.sha256_file(other / "model.simplified.onnx")
    assert {form.answers_checked for form in [*record.forms, *record.against]} == {bench.TURN + 1}


def test_a_wrong_timed_answer_fails(folder, monkeypatch):
    def restless(_classifier):
        calls = iter(range(10_000))
        return lambda _segment: np.full((1, 2), next(calls), np.float32)

    monkeypatch.setattr(timing, "inference", restless)
    record = bench_candidate(folder, runs=5, warm_ups=0)
    assert (record.verdict, record.forms[0].answers_differing) == (Verdict.FAIL, 5)


def test_scores_that_are_not_finite_are_not_timed(tmp_path):
    onnx_model.save(tiny.model(scale=3e38), tmp_path / "m.onnx")
    dataset = tiny.data(tmp_path / "data", {"A": [("N", [1e3])]})
    with pytest.raises(ModelError, match="scores are finite"):
        bench_candidate(tmp_path / "m.onnx", dataset, runs=1)


@pytest.mark.parametrize(("runs", "warm_ups"), [(0, 0), (1, -1)])
def test_at_least_one_run(folder, runs, warm_ups):
    with pytest.raises(CandidateError, match="at least one run"):
        bench_candidate(folder, runs=runs, warm_ups=warm_ups)


def test_candidates_and_files_that_cannot_be_timed(tmp_path, dataset, folder):
    with pytest.raises(CandidateError, match="has its float32 or float16 or int8 form"):
        bench_candidate(tiny.make_candidate(tmp_path / "empty", dataset, forms=()))
    (folder / "model.int8.onnx").write_bytes(b"")
    with pytest.raises(ModelError):
        bench_candidate(folder, runs=1)


def test_segments_of_another_length(dataset):
    classifier = onnx_model.classifier_of(tiny.model())
    dataset.header.__dict__["samples_per_segment"] = 9
    with pytest.raises(ModelError, match=r"9 samples in .* for 1 x 1 x 8"):
        bench.segments_for(classifier, dataset)


def test_command_writes_the_evidence_that_promote_reads(folder, capsys):
    assert tiny.run(["bench", folder, "--runs", 5, "--json"]) == 0
    printed = BenchRecord.model_validate_json(capsys.readouterr().out)
    assert printed == BenchRecord.load(folder / "bench.json")
    latencies = read_latencies(folder / "bench.json")
    assert latencies == {form.model_sha256: form.latency_ms for form in printed.forms}
    assert tiny.run(["bench", folder, "--runs", 5]) == 0
    assert "measured on this host" in capsys.readouterr().out


def pytest_json(**extra_info):
    """What pytest-benchmark writes, with one benchmark of ours and one about something else."""
    stats = {"mean": 2e-3, "median": 1e-3, "min": 1e-3, "max": 5e-3, "stddev": 1e-3, "rounds": 3, "iterations": 1}
    ours = {"name": "test_latency[float32]", "extra_info": extra_info, "stats": stats | {"data": [1e-3, 1e-3, 5e-3]}}
    return {"machine_info": {}, "benchmarks": [ours, {"name": "test_import", "extra_info": {}, "stats": stats}]}


def test_pytest_benchmarks_own_json_is_evidence(tmp_path):
    facts = {"model_sha256": "ab", "form": "float32", "evidence": "measured", "source": "cpu", "warm_ups": 7}
    (tmp_path / "b.json").write_text(json.dumps(pytest_json(**facts)))
    latencies = read_latencies(tmp_path / "b.json")
    assert list(latencies) == ["ab"]
    found = latencies["ab"]
    assert (found.median_ms, found.mean_ms, found.runs, found.warm_ups) == (1.0, 2.0, 3, 7)
    assert found.p95_ms == pytest.approx(1 + 0.9 * 4)
    assert (found.evidence, found.source) == (Evidence.MEASURED, "cpu")


@pytest.mark.parametrize("stats", [[], {}, None, {"mean": 1}, {"mean": "1e-3"}, {"data": [[]]}, {"mean": 1e308}])
def test_statistics_that_are_none_are_no_evidence(tmp_path, stats):
    content = pytest_json(model_sha256="ab", evidence="measured", source="cpu", warm_ups=7)
    whole = content["benchmarks"][0]["stats"]
    content["benchmarks"][0]["stats"] = whole | stats if isinstance(stats, dict) and len(stats) == 1 else stats
    if stats == {"mean": 1}:
        del content["benchmarks"][0]["stats"]["median"]
    if stats == {"mean": "1e-3"}:
        content["benchmarks"][0]["extra_info"]["evidence"] = "dreamt"
    (tmp_path / "b.json").write_text(json.dumps(content))
    with pytest.raises(CandidateError, match=r"latency evidence is a bench\.json"):
        read_latencies(tmp_path / "b.json")


@pytest.mark.parametrize(
    "content", ["", "[]", "{}", "1", '{"machine_info": {}}', json.dumps(pytest_json()), '{"forms": []}', '"\xff"']
)
def test_other_files_are_no_evidence(tmp_path, content):
    (tmp_path / "b.json").write_bytes(content.encode("latin-1"))
    with pytest.raises(CandidateError, match=r"latency evidence is a bench\.json"):
        read_latencies(tmp_path / "b.json")


def test_absent_or_wrong_answers_are_no_evidence(tmp_path, folder):
    with pytest.raises(CandidateError, match="No such file"):
        read_latencies(tmp_path / "absent.json")
    record = bench_candidate(folder, runs=2, warm_ups=0).model_dump(mode="json")
    for form in record["forms"]:
        form["answers_differing"] = 1
    (tmp_path / "b.json").write_text(json.dumps(record))
    with pytest.raises(CandidateError, match="no latency of any model"):
        read_latencies(tmp_path / "b.json")
