"""What a report gathers and decides, and how it ends on the command line."""

from __future__ import annotations

import doctest
import json
import shutil

import pytest

from ecm_edge.base import files
from ecm_edge.base.errors import CandidateError, DatasetError, RegistryError
from ecm_edge.base.records import Verdict
from ecm_edge.candidate import candidate
from ecm_edge.registry.promote import promote
from ecm_edge.report import cards, ecg, svg
from ecm_edge.report.records import Stage
from ecm_edge.report.report_record import gather
from ecm_edge.report.stages import verdict_of_stages
from tests import report_records as made
from tests import tiny


@pytest.fixture
def data(tmp_path):
    return made.dataset(tmp_path / "data")


@pytest.fixture
def bare(tmp_path, data):
    return made.bare(tmp_path / "bare", data)


@pytest.fixture
def full(tmp_path, data):
    return made.full(tmp_path / "full", data)


def stage(record, name):
    return next(stage for stage in [*record.stages, record.promotion] if stage.name == name)


@pytest.mark.parametrize("module", [cards, ecg, svg], ids=lambda module: module.__name__)
def test_examples_in_docstrings(module):
    results = doctest.testmod(module)
    assert results.attempted > 0
    assert results.failed == 0


def test_a_candidate_with_every_record_passes(full, data):
    record = gather(full, data)
    assert record.verdict == Verdict.PASS
    assert [s.verdict for s in record.stages].count(None) == 3  # training, quantize and score have no gates
    assert stage(record, "verify").gates[0].name == "simplified→int8: f1_drop"


def test_what_has_not_run_is_named_with_its_command(bare, data):
    record = gather(bare, data)
    assert record.verdict == Verdict.NOT_RUN
    assert stage(record, "budgets").verdict == Verdict.PASS
    missing = stage(record, "bench")
    assert missing.verdict == Verdict.NOT_RUN
    assert missing.command == f"ecm-edge bench {bare} --data {data.folder}"


def test_a_command_can_be_pasted_whatever_the_folder_is_called(tmp_path, data):
    record = gather(made.bare(tmp_path / "it's mine", data), data)
    assert "'\"'\"'s mine'" in stage(record, "score").command


@pytest.mark.parametrize(
    ("verdicts", "expected"),
    [
        ([Verdict.PASS, None], Verdict.PASS),
        ([Verdict.PASS, Verdict.NOT_RUN], Verdict.NOT_RUN),
        ([Verdict.NOT_RUN, Verdict.FAIL, Verdict.PASS], Verdict.FAIL),
    ],
)
def test_the_verdict_over_all_stages(verdicts, expected):
    stages = [Stage(name="x", verdict=v, detail="", gates=[]) for v in verdicts]
    assert verdict_of_stages(stages) == expected


def test_a_file_changed_after_it_was_verified_fails(full, data):
    path = full / candidate.FORM_FILES["int8"]
    path.write_bytes(path.read_bytes() + b"\x00")
    record = gather(full, data)
    failed = {g.name: g.detail for g in stage(record, "records").gates if g.verdict == Verdict.FAIL}
    assert record.verdict == Verdict.FAIL
    assert failed["verify.json was made from these files"] == "changed since: model.int8.onnx"


def test_mistakes_are_those_that_score_counted(full, data):
    record = gather(full, data)
    assert (record.mistakes.missed_af, record.mistakes.false_alarms) == (3, 3)
    assert record.records.score.scores.confusion.fn == 3
    assert [m.margin for m in record.mistakes.examples] == [-3, -3, -3, 4, 4, 4]
    assert all(m.subject in made.SUBJECTS[3:] for m in record.mistakes.examples)


def test_one_subject_gives_two_examples_of_a_kind_at_most(tmp_path):
    rows = [("AFIB", [-1.0]), ("AFIB", [-3.0]), ("AFIB", [-2.0]), ("AFIB", [0.0]), ("N", [0.0]), ("N", [-1.0])]
    data = tiny.data(tmp_path / "d", dict.fromkeys(["S0", "S1", "S2", "S3"], rows))
    mistakes = gather(tiny.make_candidate(tmp_path / "c", data, test=["S3"]), data).mistakes
    assert [m.margin for m in mistakes.examples] == [-3, -2, 0]  # a tie counts as AF: right for AF, wrong for N
    assert (mistakes.missed_af, mistakes.false_alarms) == (3, 1)


def test_without_a_model_there_are_no_mistakes_to_show(tmp_path, data):
    folder = tiny.make_candidate(tmp_path / "c", data, forms=(), test=made.SUBJECTS[3:])
    record = gather(folder, data)
    assert record.mistakes is None
    assert record.model_sha256 == {}


def test_a_run_stands_for_its_best_candidate(tmp_path, data):
    record = gather(made.run(tmp_path / "run", data), data)
    assert record.candidate == "run/0001"
    assert record.run.summary.pareto == [0, 1]


def test_a_registry_tells_of_this_candidate(tmp_path, full, data):
    promote(full, data, tiny.TARGET, tmp_path / "registry")
    record = gather(full, data, tmp_path / "registry")
    assert record.decision.event == "promoted"
    assert stage(record, "promotion").verdict == Verdict.PASS
    assert record.history.incumbent == record.decision.entry


def test_a_refusal_is_not_a_failure_of_the_candidate(tmp_path, full, data):
    first = shutil.copytree(full, tmp_path / "first")
    (first / candidate.BENCH).write_text(f"{(full / candidate.BENCH).read_text()}\n")  # not the same, file by file
    promote(first, data, tiny.TARGET, tmp_path / "registry")
    again = promote(full, data, tiny.TARGET, tmp_path / "registry")
    record = gather(full, data, tmp_path / "registry")
    assert again.verdict == record.promotion.verdict == Verdict.FAIL
    assert record.verdict == Verdict.PASS


def test_a_registry_that_never_heard_of_it_is_not_run(tmp_path, full, data):
    (tmp_path / "registry" / "nucleo-l432kc" / "entries").mkdir(parents=True)
    record = gather(full, data, tmp_path / "registry")
    assert record.promotion.verdict == Verdict.NOT_RUN
    assert "--registry" in record.promotion.command


def test_a_missing_registry_is_an_error(tmp_path, full, data):
    with pytest.raises(RegistryError, match="a registry is a folder"):
        gather(full, data, tmp_path / "none")


def test_another_data_set_is_refused(tmp_path, full):
    with pytest.raises(CandidateError, match="data set it was made from"):
        gather(full, tiny.graded(tmp_path / "other"))


def test_a_data_set_that_changed_is_refused(full, data):
    samples = data.folder / "samples.npy"
    samples.write_bytes(samples.read_bytes()[:-4] + b"\x00\x00\x80\x3f")
    with pytest.raises(DatasetError, match="changed"):
        gather(full, data)


def test_a_damaged_record_is_an_error(full, data):
    (full / candidate.BENCH).write_text('{"verdict": "PASS"}')
    with pytest.raises(CandidateError, match="holds the record BenchRecord"):
        gather(full, data)


def test_a_folder_that_is_no_candidate_is_an_error(tmp_path, data):
    with pytest.raises(CandidateError, match="a candidate is a folder that"):
        gather(tmp_path, data)


def test_the_command_writes_the_page_and_one_object(tmp_path, full, data, capsys):
    out = tmp_path / "report.html"
    assert tiny.run(["report", full, "--data", data.folder, "-o", out, "--json"]) == 0
    printed = json.loads(capsys.readouterr().out)
    assert printed == json.loads(gather(full, data).to_json()) | {"provenance": printed["provenance"]}
    assert out.read_text(encoding="utf-8").startswith("<!DOCTYPE html>")


def test_a_failed_gate_exits_with_1_and_still_writes_the_page(tmp_path, full, data, capsys):
    tiny.write_verify(full, data, verdict=Verdict.FAIL)
    assert tiny.run(["report", full, "--data", data.folder, "-o", tmp_path / "r.html"]) == 1
    assert (tmp_path / "r.html").exists()
    assert "FAIL: full" in capsys.readouterr().out


def test_a_page_that_cannot_be_written_exits_with_2(tmp_path, full, data):
    before = files.sha256_file(full / candidate.SCORE)
    assert tiny.run(["report", full, "--data", data.folder, "-o", tmp_path / "none" / "r.html"]) == 2
    assert files.sha256_file(full / candidate.SCORE) == before
    assert not (tmp_path / "none").exists()
