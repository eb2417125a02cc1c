"""A candidate of all subjects goes through every stage: none of them needs subjects that it has not seen."""

from __future__ import annotations

import pytest

from ecm_edge import report, targets
from ecm_edge.base.records import Verdict
from ecm_edge.candidate import candidate
from ecm_edge.evaluate import bench, score, verify
from ecm_edge.firmware.record import build_candidate
from ecm_edge.forms import export, quantize
from ecm_edge.registry.promote import promote
from ecm_edge.search import train_one

from .test_crossval import config

BOARD = targets.load("loongson-2k0500")
TARGET = BOARD.model_copy(update={"firmware": None})


@pytest.fixture(scope="module")
def made(dataset, tmp_path_factory):
    folder = tmp_path_factory.mktemp("refit") / "c"
    train_one.train_candidate(folder, config(dataset), dataset, TARGET, folds=3, refit=True, workers=1)
    export.export_candidate(folder, dataset)
    quantize.quantize_candidate(folder, dataset)
    verify.verify_candidate(folder, dataset, TARGET)
    bench.bench_candidate(folder, dataset, runs=10, warm_ups=1).save(folder / candidate.BENCH)
    score.score_out_of_fold(folder, dataset, target=TARGET).save(folder / candidate.SCORE)
    return folder


def test_forms_are_verified_on_the_training_subjects(made, dataset):
    record = verify.VerifyRecord.load(made / candidate.VERIFY)
    assert (record.segments, len(record.subjects)) == (144, 12)
    quantised = quantize.QuantizeRecord.load(made / candidate.QUANTIZE)
    assert set(quantised.calibration_subjects) == set(dataset.header.subjects)


def test_nothing_but_its_int8_form_keeps_it_from_promotion(made, dataset, tmp_path):
    record = promote(made, dataset, TARGET, tmp_path / "registry")
    gates = {gate.name: gate for gate in record.gates}
    assert (gates["claim"].verdict, gates["verified_segments"].verdict) == (Verdict.PASS, Verdict.PASS)
    assert gates["verified_segments"].limit == 144
    # so little training may leave margins that int8 rounds to the other side
    assert {name for name, gate in gates.items() if gate.verdict == Verdict.FAIL} <= {"verify", "verified_hops"}


def test_its_page_shows_the_scores_out_of_fold(made, dataset, tmp_path):
    record = report.write_report(made, dataset, tmp_path / "page.html")
    confusion = record.records.score.scores.confusion
    assert record.records.score.part == "out_of_fold"
    assert (record.mistakes.missed_af, record.mistakes.false_alarms) == (confusion.fn, confusion.fp)
    assert record.mistakes.segments == 144
    assert next(stage for stage in record.stages if stage.name == "records").verdict == Verdict.PASS
    page = (tmp_path / "page.html").read_text()
    assert "Every subject was answered by a float32 network of this recipe that had not seen it" in page
    assert "test subjects" not in page
    assert "chosen on 0 validation subjects" not in page


def test_its_image_is_built(made):
    assert build_candidate(made, BOARD).verdict in {Verdict.PASS, Verdict.FAIL, Verdict.NOT_RUN}
