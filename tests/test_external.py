"""External validation: what is external, which page shows it, and what is warned of."""

from __future__ import annotations

import json

import numpy as np
import pytest

from ecm_edge.base.errors import CandidateError
from ecm_edge.candidate import candidate
from ecm_edge.data.dataset import Source as Format
from ecm_edge.data.dataset import SourceSet
from ecm_edge.evaluate.external import origin
from ecm_edge.evaluate.score import score_model
from ecm_edge.evaluate.units import unit_warning
from ecm_edge.forms import onnx_model
from ecm_edge.forms.model_file import open_model
from ecm_edge.report import write_report
from ecm_edge.report.records import ReportRecord, ValidationRecord
from tests import report_records as made
from tests import tiny

RIGHT = [("AFIB", [1.0]), ("N", [-1.0])]
WRONG = [("N", [1.0]), ("N", [-1.0])]


@pytest.fixture
def own(tmp_path):
    return tiny.graded(tmp_path / "own")


@pytest.fixture
def foreign(tmp_path):
    return tiny.data(tmp_path / "foreign", {"P1": RIGHT, "P2": WRONG, "P3": WRONG})


def merged(dataset, *sources):
    """The data set as if it had been merged from sources, given as (name, content hash, subjects, renamed)."""
    sets = [
        SourceSet(name=name, content_sha256=sha256, source=Format(format="test"), subjects=subjects, renamed=renamed)
        for name, sha256, subjects, renamed in sources
    ]
    header = dataset.header.model_copy(update={"sources": sets})
    return type(dataset)(dataset.folder, header, dataset.samples, dataset.table)


def file(path, **facts):
    onnx_model.save(tiny.model(**facts), path)
    return path


def test_a_file_is_external_by_the_hash_in_its_metadata(tmp_path, own, foreign):
    trained = own.header.content_sha256
    model = open_model(file(tmp_path / "m.onnx", dataset_sha256=trained))
    assert origin(model, foreign).model_dump() == {
        "relation": "external",
        "training_sha256": [trained],
        "shared": [],
        "statement": f"external by content hash: the model was trained on {trained[:12]}, and this is "
        f"{foreign.header.content_sha256[:12]}",
    }
    assert origin(model, own).statement.startswith("not external: the model was trained on this data set")
    unknown = origin(open_model(file(tmp_path / "x.onnx")), foreign)
    assert (unknown.relation, unknown.training_sha256) == ("unknown", [])
    assert unknown.statement.startswith("not known whether external: the model's file does not name")


def test_a_merged_set_with_the_training_set_in_it_is_not_external(tmp_path, own, foreign):
    folder = tiny.make_candidate(tmp_path / "c", own)
    names = {"P1": "S0", "P2": "S3"}
    here = merged(foreign, ("af", own.header.content_sha256, ["P1", "P2"], names), ("other", "0" * 64, ["P3"], {}))
    record = score_model(folder, here)
    assert (record.part, record.origin.relation, record.origin.shared) == ("all", "shared", ["af"])
    assert record.origin.statement == "not external: the model was trained on af, by content hash"
    assert record.trained_on == ["P1"]  # S0 there; S3 is of the test part
    assert "trained or tuned on 1 of these 3 subjects" in record.warnings[0]
    apart = merged(foreign, ("one", "1" * 64, ["P1", "P2"], {}), ("other", "0" * 64, ["P3"], {}))
    assert origin(open_model(folder), apart).relation == "external"


def test_the_page_says_of_each_source_whether_it_is_external(tmp_path, own, foreign):
    folder = tiny.make_candidate(tmp_path / "c", own)
    names = {"P1": "S0", "P2": "S3"}
    here = merged(foreign, ("af", own.header.content_sha256, ["P1", "P2"], names), ("other", "0" * 64, ["P3"], {}))
    write_report(folder, here, tmp_path / "page.html")
    page = (tmp_path / "page.html").read_text()
    assert '<th scope="row">af, trained on</th>' in page
    assert '<th scope="row">other, external</th>' in page


def test_a_source_of_the_merged_training_set_is_not_external(tmp_path, own, foreign):
    config = tiny.config(own).model_copy(update={"source_sha256": [foreign.header.content_sha256, "0" * 64]})
    folder = tiny.make_candidate(tmp_path / "c", own)
    config.save(folder / candidate.CONFIG)
    for form, name in candidate.FORM_FILES.items():
        if (folder / name).exists():
            onnx_model.save(tiny.model(form=form, config_sha256=config.sha256), folder / name)
    record = score_model(folder, foreign)
    assert (record.origin.relation, record.origin.shared) == ("shared", ["foreign"])
    assert record.trained_on == ["P1", "P2", "P3"]  # no one knows what they are called there


def test_sources_and_unit_enter_the_hash_of_a_configuration_only_where_they_are_used(own):
    config = tiny.config(own)
    fields = config.model_dump(mode="json")
    old = {name: value for name, value in fields.items() if name not in {"source_sha256", "unit"}}
    assert candidate.CandidateConfig.model_validate(old).sha256 == config.sha256
    assert config.model_copy(update={"unit": "unstated"}).sha256 != config.sha256
    assert config.model_copy(update={"source_sha256": ["0" * 64]}).sha256 != config.sha256


def test_a_candidate_keeps_no_record_of_another_data_set(tmp_path, own, foreign):
    folder = tiny.make_candidate(tmp_path / "c", own)
    assert tiny.run(["score", folder, "--data", own.folder]) == 0
    kept = (folder / "score.json").read_bytes()
    code, out = tiny.run_for_output("score", folder, "--data", foreign.folder)
    assert code == 0
    assert out.startswith("external by content hash: ")
    assert out.splitlines()[0].endswith("; all its subjects are scored")
    assert tiny.run(["robustness", folder, "--data", foreign.folder]) == 0
    assert (folder / "score.json").read_bytes() == kept
    assert not (folder / "robustness.json").exists()


def test_counts_are_no_millivolts(tmp_path, own):
    folder = tiny.make_candidate(tmp_path / "c", own)
    model, counts = open_model(folder), np.linspace(0, 4095, 4096)
    assert unit_warning(model, "mV", counts) is None
    assert unit_warning(model, "unstated", counts) == (
        "the samples are in a unit that no one states, and the model was trained on samples in mV: its answers may "
        "mean nothing. 98 % of these samples lie between 40.95 and 4054"
    )
    made.quantised().save(folder / candidate.QUANTIZE)
    said = unit_warning(model, "unstated", np.append(counts, np.nan))
    assert said.endswith("between 40.95 and 4054; those of its calibration lie between -0.4 and 1.2")
    trained = open_model(file(tmp_path / "m.onnx", dataset_sha256="0" * 64, unit="unstated"))
    assert "trained on samples whose unit no one states" in unit_warning(trained, "mV", counts)
    assert unit_warning(trained, "unstated", counts)  # the counts of two converters are not the same


def test_score_warns_of_another_unit(tmp_path, own, foreign):
    folder = tiny.make_candidate(tmp_path / "c", own)
    header = foreign.header.model_copy(update={"unit": "unstated"})
    other = type(foreign)(foreign.folder, header, foreign.samples, foreign.table)
    (said,) = score_model(folder, other).warnings
    assert said.startswith("the samples are in a unit that no one states, and the model was trained on samples in mV")
    assert score_model(folder, foreign).warnings == []


@pytest.mark.parametrize("kind", ["candidate", "file"])
def test_the_page_of_a_validation(tmp_path, own, foreign, kind):
    path = tiny.make_candidate(tmp_path / "c", own)
    if kind == "file":
        path = file(tmp_path / "m.onnx", dataset_sha256=own.header.content_sha256)
    out = tmp_path / "page.html"
    record = write_report(path, foreign, out)
    assert isinstance(record, ValidationRecord)
    assert (record.origin.relation, record.score.scores.positive_subjects) == ("external", 1)
    assert (record.mistakes.missed_af, record.mistakes.false_alarms) == (0, 2)
    page = out.read_text()
    assert "External validation" in page
    assert "Mean F2 <b>1.000</b>" in page
    assert "beside specificity <b>0.600</b>" in page
    assert "3 subjects, 1 with AF" in page
    assert own.header.content_sha256 in page
    assert page.count("NOT RUN") == 1  # calibration, since no record says what threshold was taken off


def test_a_candidate_on_its_own_data_set_has_its_own_page(tmp_path, own):
    folder = tiny.make_candidate(tmp_path / "c", own)
    assert isinstance(write_report(folder, own, tmp_path / "page.html"), ReportRecord)
    with pytest.raises(CandidateError):
        write_report(tmp_path / "absent", own, tmp_path / "page.html")


def test_the_command_says_what_is_external_and_undefined(tmp_path, own):
    folder = tiny.make_candidate(tmp_path / "c", own)
    negative = tiny.data(tmp_path / "negative", {"P1": WRONG, "P2": WRONG})
    arguments = ["report", folder, "--data", negative.folder, "-o", tmp_path / "page.html"]
    code, out = tiny.run_for_output(*arguments)
    assert code == 0
    assert out.startswith("external by content hash")
    assert out.splitlines()[-1].startswith("no segment with AF: sensitivity and AUC are undefined")
    code, out = tiny.run_for_output(*arguments, "--json")
    assert (code, json.loads(out)["origin"]["relation"]) == (0, "external")


def test_the_page_of_many_subjects_is_bounded(tmp_path, own):
    folder = tiny.make_candidate(tmp_path / "c", own)
    sizes = []
    for count in (80, 800):
        data = tiny.data(tmp_path / f"d{count}", {f"P{i}": RIGHT if i % 8 else WRONG for i in range(count)})
        write_report(folder, data, tmp_path / "page.html")
        page = (tmp_path / "page.html").read_text()
        sizes.append(len(page))
        assert f"Shown: the worst 60 of {count} subjects" in page
    assert sizes[1] < 1.02 * sizes[0]
