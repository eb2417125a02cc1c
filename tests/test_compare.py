"""Models side by side: the differences are those of promotion, and what is not compared has its reason."""

from __future__ import annotations

import json

import jsonschema
import numpy as np
import pytest

from ecm_edge import api, targets
from ecm_edge.base.errors import CandidateError, FirmwareError
from ecm_edge.base.records import Verdict
from ecm_edge.candidate import candidate
from ecm_edge.cli import schemas
from ecm_edge.data.dataset import open_dataset
from ecm_edge.data.merge import merge
from ecm_edge.data.merge.agreement import MergeRules
from ecm_edge.evaluate.score import score_model
from ecm_edge.firmware import emulate
from ecm_edge.forms import onnx_model
from ecm_edge.registry.promote import promote
from ecm_edge.report.compare import compare_models, costs
from ecm_edge.report.compare.costs import aligned
from ecm_edge.report.compare.records import LayerCost
from tests import report_records, tiny
from tests.folds import write_folds

EVERYONE = [f"S{i}" for i in range(6)]


@pytest.fixture
def dataset(tmp_path):
    return tiny.graded(tmp_path / "data", synthetic=False)


def ready(folder, dataset, column, **options):
    """A candidate whose own network misses `column` tenths of the AF, with what it was trained to."""
    made = tiny.ready(folder, dataset, column=column, **options)
    report_records.training(candidate.load_config(made)).save(made / candidate.TRAINING)
    return made


def refitted(folder, dataset, column):
    """A candidate of all subjects; out of fold, `column` tenths of the AF are missed."""
    everyone = dataset.header.subjects
    return write_folds(ready(folder, dataset, 0, train=everyone, validation=(), test=()), dataset, column)


def reasons(record, what):
    return {missing.model: missing.reason for missing in record.not_compared if missing.what == what}


def test_the_difference_is_that_of_promotion(tmp_path, dataset):
    first, better = ready(tmp_path / "first", dataset, 2), ready(tmp_path / "better", dataset, 1)
    for folder in (first, better):
        decided = promote(folder, dataset, tiny.TARGET, tmp_path / "registry")
    record = compare_models([first, better], dataset, target=tiny.TARGET)
    (pair,) = record.accuracy
    known = decided.comparison
    assert (pair.model, pair.against, pair.basis, pair.evidence) == ("B", "A", "test", "answers")
    assert (pair.statistic, pair.difference, pair.parts) == (known.statistic, known.difference, known.parts)
    assert pair.others["f1"] == known.others["f1"]
    assert pair.others["accuracy"].value == pytest.approx(0.05)
    assert (pair.subjects, pair.segments, pair.significant) == (3, 60, True)
    # Fβ 45/49 against 40/48, by the rule of Fβ with β = 2
    assert (pair.figures.fbeta_mean.value, pair.against_figures.fbeta_mean.value) == pytest.approx((45 / 49, 40 / 48))
    assert [subject.subject for subject in pair.by_subject] == ["S3", "S4", "S5"]
    assert (pair.by_subject[0].right, pair.by_subject[0].against_right) == (19, 18)


def test_without_data_the_counts_on_record_give_the_same_difference(tmp_path, dataset):
    folders = [ready(tmp_path / name, dataset, column) for name, column in (("first", 2), ("better", 1))]
    answered = compare_models(folders, dataset, target=tiny.TARGET)
    for folder in folders:
        score_model(folder, dataset, target=tiny.TARGET).save(folder / candidate.SCORE)
    record = compare_models(folders, target=tiny.TARGET)
    (pair,) = record.accuracy
    assert (record.data, pair.evidence, pair.parts) == (None, "on record", None)
    assert (pair.difference, pair.others) == (answered.accuracy[0].difference, answered.accuracy[0].others)
    assert pair.by_subject == answered.accuracy[0].by_subject
    assert "give the data set with --data" in reasons(record, "parts")["B"]
    assert [(one.model, one.subjects) for one in record.recorded] == [("A", 3), ("B", 3)]


def test_models_of_all_subjects_are_compared_out_of_fold(tmp_path, dataset):
    record = compare_models([refitted(tmp_path / "a", dataset, 3), refitted(tmp_path / "b", dataset, 1)], dataset)
    (pair,) = record.accuracy
    assert (pair.basis, pair.against_basis, pair.subjects) == ("out_of_fold", "out_of_fold", 6)
    assert pair.others["recall"].value == pytest.approx(0.2)
    assert pair.parts.network.value + pair.parts.threshold.value == pytest.approx(pair.difference.value)
    same = compare_models([tmp_path / "a", tmp_path / "b"])
    assert same.accuracy[0].others == pair.others


def test_without_a_subject_that_neither_has_seen_accuracy_is_not_compared(tmp_path, dataset):
    tested = ready(tmp_path / "tested", dataset, 1)
    everyone = ready(tmp_path / "everyone", dataset, 0, train=EVERYONE, validation=(), test=())
    record = compare_models([tested, everyone], dataset)
    assert record.accuracy == []
    assert "no subject that neither was fitted to" in reasons(record, "accuracy")["B"]
    assert "train it with --folds" in reasons(record, "accuracy")["B"]


def test_of_a_merged_data_set_each_source_is_compared(tmp_path, dataset):
    others = {f"P{i}": [("AFIB", [1.5] * 8), ("N", [-1.5, 1.5, *[-1.5] * 6])] for i in range(4)}
    other = tiny.data(tmp_path / "other", others, synthetic=False)
    merge([dataset, other], tmp_path / "both", MergeRules())
    both = open_dataset(tmp_path / "both")
    old, new = refitted(tmp_path / "old", dataset, 2), refitted(tmp_path / "new", both, 1)
    record = compare_models([old, new], both)
    pairs = {pair.source: pair for pair in record.accuracy}
    assert set(pairs) == {"data", "other"}
    assert (pairs["data"].against_basis, pairs["other"].against_basis) == ("out_of_fold", "test")
    assert pairs["data"].others["recall"].value == pytest.approx(0.1)
    assert pairs["other"].others["specificity"].value == -1.0  # column 1 calls all of the others AF


def test_where_most_subjects_have_one_class_all_segments_decide(tmp_path, dataset):
    one_class = {f"P{i}": [("AFIB" if i % 2 else "N", [1.0 if i % 2 else -1.0] * 8)] for i in range(8)}
    elsewhere = tiny.data(tmp_path / "elsewhere", one_class, synthetic=False)
    folders = [ready(tmp_path / name, dataset, column) for name, column in (("a", 2), ("b", 1))]
    (pair,) = compare_models(folders, elsewhere).accuracy
    assert (pair.statistic, pair.subjects, pair.positive_subjects) == ("pooled_points", 8, 4)


def test_the_model_to_compare_against_comes_first(tmp_path, dataset):
    a, b, c = (ready(tmp_path / name, dataset, column) for name, column in (("a", 1), ("b", 2), ("c", 3)))
    record = compare_models([a, b], dataset, against=c)
    assert [(model.letter, model.name) for model in record.models] == [("A", "c"), ("B", "a"), ("C", "b")]
    record = compare_models([a, b], dataset, against=b)
    assert [model.name for model in record.models] == ["b", "a"]
    assert record.accuracy[0].others["recall"].value == pytest.approx(0.1)


@pytest.mark.parametrize(
    ("names", "found"), [(["a"], "1: "), (["a", "a"], "a twice"), ([f"n{i}" for i in range(9)], "9: ")]
)
def test_a_comparison_is_of_two_to_eight_different_models(tmp_path, dataset, names, found):
    ready(tmp_path / "a", dataset, 1)
    with pytest.raises(CandidateError, match=found):
        compare_models([tmp_path / name for name in names])


def test_a_run_stands_for_its_best_candidate(tmp_path):
    data = report_records.dataset(tmp_path / "data")
    run = report_records.run(tmp_path / "run", data)
    other = report_records.full(tmp_path / "other", data)
    record = compare_models([other, run], data)
    assert [(model.name, model.kind) for model in record.models] == [("other", "candidate"), ("run/0001", "run")]


def test_of_an_onnx_file_only_the_cost_is_compared(tmp_path, dataset):
    onnx_model.save(tiny.model(layers=2), tmp_path / "net.onnx")
    record = compare_models([ready(tmp_path / "a", dataset, 1), tmp_path / "net.onnx"], dataset)
    assert record.accuracy == []
    assert "only its cost" in reasons(record, "accuracy")["B"]
    assert "no image on record: give --target" in reasons(record, "cost")["B"]
    assert set(reasons(record, "configuration")) == {"B"}
    assert reasons(record, "parity")["B"].startswith("an ONNX file keeps no record")
    file = record.costs[1]
    assert (file.made, file.verdict, file.macs, file.flash_bytes) == ("counted", Verdict.NOT_RUN, 2 * 64 + 16, None)


def test_a_model_without_an_image_is_built_and_counted(tmp_path, dataset):
    board = targets.load("loongson-2k0500")
    if missing := emulate.available(board):
        pytest.skip(missing.reason)
    onnx_model.save(tiny.model(layers=1), tmp_path / "net.onnx")
    record = compare_models([ready(tmp_path / "a", dataset, 1), tmp_path / "net.onnx"], dataset, target=board)
    assert [cost.made for cost in record.costs] == ["built", "built"]
    assert 0 < record.costs[0].instructions < record.costs[1].instructions
    rows = [[layer and layer.name for layer in row.layers] for row in record.layers]
    assert len(rows) >= 2
    assert all(layer.instructions is not None for row in record.layers for layer in row.layers if layer)
    assert reasons(record, "cost") == {}


def test_what_cannot_be_built_is_not_run_with_its_reason(tmp_path, dataset, monkeypatch):
    def fails(*_args, **_options):
        raise FirmwareError("a compiler runs", "none here", "Install one.")

    monkeypatch.setattr(costs, "fit_model", fails)
    onnx_model.save(tiny.model(), tmp_path / "net.onnx")
    record = compare_models([ready(tmp_path / "a", dataset, 1), tmp_path / "net.onnx"], target=tiny.TARGET)
    assert [cost.made for cost in record.costs] == ["record", "counted"]
    assert reasons(record, "cost") == {"B": "a compiler runs; found none here"}


def test_images_for_another_board_are_not_compared(tmp_path, dataset):
    a, b = ready(tmp_path / "a", dataset, 1), ready(tmp_path / "b", dataset, 2)
    tiny.write_firmware(b, targets.load("nucleo-l432kc"))
    record = compare_models([a, b])
    assert (record.board, record.costs[0].flash_bytes, record.costs[1].flash_bytes) == (tiny.TARGET.name, 60_000, None)
    assert reasons(record, "cost")["B"].startswith("its image is for nucleo-l432kc: give --target loongson-2k0500")


def test_only_parameters_that_differ_are_shown(tmp_path, dataset):
    a = ready(tmp_path / "a", dataset, 1)
    b = ready(tmp_path / "b", dataset, 1, seed=7)
    onnx_model.save(tiny.model(), tmp_path / "net.onnx")
    record = compare_models([a, b, tmp_path / "net.onnx"])
    assert [(one.name, one.values) for one in record.settings] == [("seed", [0, 7, None])]


def test_a_file_that_changed_since_it_was_verified_is_told(tmp_path, dataset):
    a, b = ready(tmp_path / "a", dataset, 1), ready(tmp_path / "b", dataset, 2)
    onnx_model.save(tiny.model(3, form="int8"), b / "model.int8.onnx")
    record = compare_models([a, b], dataset)
    assert [parity.of_model for parity in record.parity] == [True, False]
    assert "model.int8.onnx changed since" in reasons(record, "parity")["B"]


def test_a_candidate_of_another_task_is_not_compared(tmp_path, dataset):
    a, b = ready(tmp_path / "a", dataset, 1), ready(tmp_path / "b", dataset, 2)
    config = json.loads((b / candidate.CONFIG).read_text())
    (b / candidate.CONFIG).write_text(json.dumps({**config, "sampling_rate_hz": 500, "dataset_sha256": "0" * 64}))
    with pytest.raises(CandidateError, match="changed since"):  # its model is of another configuration
        compare_models([a, b], dataset)
    for form in ("float32", "int8"):
        made = candidate.load_config(b)
        onnx_model.save(tiny.model(2, form=form, config_sha256=made.sha256), b / candidate.FORM_FILES[form])
    record = compare_models([a, b], dataset)
    assert reasons(record, "accuracy")["B"].startswith("a candidate answers segments of its task")


def layer(name):
    return LayerCost(name=name, macs=0, instructions=None, ms=None, flash_bytes=0, live_bytes=0)


def test_layers_of_one_kind_in_one_order_share_a_row():
    columns = [["0_copy", "1_conv", "2_gemm"], ["0_copy", "1_conv", "2_conv", "3_gemm"], ["0_pool", "1_gemm"]]
    rows = aligned([[layer(name) for name in column] for column in columns])
    assert [[one and one.name for one in row] for row in rows] == [
        ["0_copy", "0_copy", None],
        ["1_conv", "1_conv", None],
        [None, "2_conv", None],
        [None, None, "0_pool"],
        ["2_gemm", "3_gemm", "1_gemm"],
    ]


def test_a_record_holds_200_subjects_and_the_number_of_the_others(tmp_path, dataset):
    generator = np.random.default_rng(1)
    many = {f"P{i}": [("AFIB", generator.choice([-1.0, 1.0], 8)), ("N", [-1.0] * 8)] for i in range(230)}
    elsewhere = tiny.data(tmp_path / "elsewhere", many, synthetic=False)
    folders = [ready(tmp_path / name, dataset, column) for name, column in (("a", 2), ("b", 1))]
    (pair,) = compare_models(folders, elsewhere).accuracy
    assert (pair.subjects, len(pair.by_subject), pair.subjects_left_out) == (230, 200, 30)
    changes = [abs(subject.fbeta - subject.against_fbeta) for subject in pair.by_subject]
    assert changes == sorted(changes, reverse=True)


def test_the_command_prints_tables_of_80_columns(tmp_path, dataset, monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    folders = [ready(tmp_path / f"{name} [red]", dataset, column) for name, column in (("a", 2), ("b", 1), ("c", 3))]
    options = ("--data", dataset.folder, "--target", "loongson-2k0500", "--out", tmp_path / "page.html")
    report_records.firmware(folders[0])
    code, text = tiny.run_for_output("compare", *folders, *options)
    assert code == 0
    page = str(tmp_path / "page.html")
    assert [line for line in text.splitlines() if len(line) > 80 and line != page] == []
    assert "B against A: 3 subjects, 3 with AF" in " ".join(text.split())
    assert text.strip().endswith("page.html")
    assert "b [red]" in text


def test_the_json_is_one_object_of_the_schema(tmp_path, dataset):
    folders = [ready(tmp_path / name, dataset, column) for name, column in (("a", 2), ("b", 1))]
    code, text = tiny.run_for_output("compare", *folders, "--data", dataset.folder, "--json")
    assert code == 0
    jsonschema.validate(json.loads(text), schemas.schema("compare"))


@pytest.mark.parametrize("wrong", ["nothing", "file.txt", "empty"])
def test_what_is_no_model_is_refused(tmp_path, dataset, wrong):
    (tmp_path / "empty").mkdir()
    (tmp_path / "file.txt").write_text("no model")
    code, text = tiny.run_for_output("compare", ready(tmp_path / "a", dataset, 1), tmp_path / wrong, "--json")
    assert (code, set(json.loads(text)["error"])) == (2, {"rule", "found", "hint"})


def test_counts_on_record_of_two_sources_say_that_they_mix_them(tmp_path, dataset):
    other = tiny.data(tmp_path / "other", {"P0": [("AFIB", [1.0] * 8), ("N", [-1.0] * 8)]}, synthetic=False)
    merge([dataset, other], tmp_path / "both", MergeRules())
    both = open_dataset(tmp_path / "both")
    a, b, c = (refitted(tmp_path / name, data, 1) for name, data in (("a", both), ("b", both), ("c", dataset)))
    assert "do not tell data and other apart" in reasons(compare_models([a, b]), "sources")["B"]
    assert reasons(compare_models([a, c]), "sources") == {}


def test_the_api_takes_texts(tmp_path, dataset):
    ready(tmp_path / "a", dataset, 2)
    ready(tmp_path / "b", dataset, 1)
    out = tmp_path / "page.html"
    record = api.compare([str(tmp_path / "a"), str(tmp_path / "b")], str(dataset.folder), out=str(out))
    assert (record.accuracy[0].others["recall"].value, out.is_file()) == (pytest.approx(0.1), True)
