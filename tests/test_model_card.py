"""The model card: every figure of the records, what is not measured said so, and Markdown that holds."""

from __future__ import annotations

import doctest
import json
import re
import shlex
import shutil
from dataclasses import replace
from itertools import pairwise

import click
import pytest

from ecm_edge import cli, metrics
from ecm_edge.base import provenance
from ecm_edge.base.errors import CandidateError, OutputError
from ecm_edge.base.numbers import figure
from ecm_edge.base.records import Verdict
from ecm_edge.candidate import candidate
from ecm_edge.data.splits import FoldAssignment
from ecm_edge.evaluate.disturbances import DISTURBANCES
from ecm_edge.evaluate.robustness import ROBUSTNESS, check_robustness
from ecm_edge.evaluate.score import ScoreRecord
from ecm_edge.metrics.worst import shown
from ecm_edge.registry import entries
from ecm_edge.report import card_facts, model_card, templates
from ecm_edge.report.candidate_records import load_records
from ecm_edge.report.model_card import plain, write_card
from ecm_edge.training import out_of_fold
from ecm_edge.training.out_of_fold import CrossValidationRecord, Fold
from tests import report_records, tiny

SECTIONS = [
    "What it is",
    "Intended use, and what it is not for",
    "Data",
    "Recipe",
    "Threshold",
    "Figures",
    "What it gets wrong",
    "Cost",
    "Float against int8",
    "Robustness",
    "Limits",
    "Commands",
]


@pytest.fixture(scope="module")
def dataset(tmp_path_factory):
    return report_records.dataset(tmp_path_factory.mktemp("card") / "data")


@pytest.fixture(scope="module")
def full(tmp_path_factory, dataset):
    """A candidate with a record of every stage."""
    folder = report_records.full(tmp_path_factory.mktemp("card") / "candidate", dataset)
    check_robustness(folder, dataset, target=tiny.TARGET).save(folder / ROBUSTNESS)
    folds(folder, dataset).save(folder / out_of_fold.FOLDS)
    return folder


@pytest.fixture(scope="module")
def card(tmp_path_factory, full, dataset):
    out = tmp_path_factory.mktemp("card") / "MODEL_CARD.md"
    write_card(full, out, dataset=dataset)
    return out.read_text()


def folds(folder, dataset):
    """A cross-validation of three folds that calls everything wrong but two segments."""
    names = dataset.header.subjects
    assignment = FoldAssignment(
        seed=0,
        count=3,
        dataset_sha256=dataset.header.content_sha256,
        folds={name: number % 3 for number, name in enumerate(names)},
    )
    margins = [-1.0 if label else 1.0 for label in dataset.labels]
    margins[:2] = [1.0, 1.0]
    rows = range(len(margins))
    scores = metrics.evaluate(dataset.labels, margins, dataset.subject_names(list(rows)), ["N"] * len(margins))
    return CrossValidationRecord(
        config_sha256=candidate.load_config(folder).sha256,
        dataset_sha256=dataset.header.content_sha256,
        synthetic=True,
        assignment=assignment,
        folds=[Fold(number=n, subjects=assignment.subjects(n), segments=12, threshold=0.25 * n) for n in range(3)],
        threshold=0.375,
        scores=scores,
        networks=6,
        train_seconds=1.0,
        margins_sha256="0" * 64,
    )


def section(text, name):
    return text.split(f"\n## {name}\n")[1].split("\n## ")[0]


def row(text, first):
    """The cells of the first row that begins so."""
    line = next(line for line in text.splitlines() if line.startswith(f"| {first} |"))
    return line[2:-2].split(" | ")[1:]


def tables(text):
    """Every run of lines that begin with a bar."""
    return [block.splitlines() for block in re.findall(r"(?:^\|.*\n)+", text, re.MULTILINE)]


def cells(line):
    return re.split(r"(?<!\\)\|", line.strip())[1:-1]


def test_it_has_all_sections_in_order(card):
    assert re.findall(r"^## (.*)$", card, re.MULTILINE) == SECTIONS
    assert "SYNTHETIC DATA" in card
    assert "A 0.032 s flag is not a diagnosis." in card
    assert "not measured (" not in card


def test_tables_are_well_formed(card):
    all_tables = tables(card)
    assert len(all_tables) == 12
    for table in all_tables:
        assert {len(cells(line)) for line in table} == {len(cells(table[0]))}
        assert all(set(cell.strip()) <= {"-", ":"} for cell in cells(table[1]))
    lines = card.splitlines()
    assert all(before.startswith("|") or not before for before, line in pairwise(lines) if line.startswith("|"))


def test_no_two_blank_lines_follow_each_other(card):
    assert "\n\n\n" not in card


def test_names_are_no_markup(card):
    assert "&lt;script>" in card
    assert "<script>" not in card
    assert plain("a|b\n`c`") == "a\\|b \\`c\\`"


def test_the_figures_of_score(card, full):
    scores = ScoreRecord.load(full / candidate.SCORE).scores
    text = section(card, "Figures").split("### ")[1]
    assert text.startswith("float32, test subjects (score.json): 18 segments of 3 subjects")
    for name, field in (("sensitivity", "recall"), ("specificity",) * 2, ("PPV", "precision"), ("NPV", "npv")):
        assert row(text, name)[:2] == [figure(getattr(scores, field)), figure(getattr(scores.averaged, field))]
    assert row(text, "F2")[:2] == ["–", figure(scores.fbeta_mean)]
    assert row(text, "AUC")[:2] == [figure(scores.auc), "–"]
    even = ScoreRecord.load(full / candidate.SCORE).even_odds
    assert [row(text, name)[2] for name in ("sensitivity", "F2")] == [figure(even.recall), figure(even.fbeta_mean)]
    for rhythm in scores.by_rhythm:
        assert row(text, rhythm.rhythm)[1:] == [
            str(rhythm.subjects),
            str(rhythm.segments),
            str(rhythm.called_positive),
            figure(rhythm.interval),
        ]
    for subject in scores.by_subject:
        assert row(section(card, "What it gets wrong"), plain(subject.subject))[-1] == figure(subject.fbeta)


def test_the_calibration(card, full):
    calibration = ScoreRecord.load(full / candidate.SCORE).scores.calibration
    scored, validated = section(card, "Figures").split("### ")[1:]
    assert f"Brier score {figure(calibration.brier)}, skill {figure(calibration.skill)}" in scored
    assert row(scored, "segments") == [str(one.segments) for one in calibration.bins]
    assert row(scored, "probability")[0] == "0.0 to 0.1"
    assert "Calibration: not on record." in validated


def test_what_it_gets_wrong(card, full):
    record = ScoreRecord.load(full / candidate.SCORE)
    text = section(card, "What it gets wrong")
    worst = max(record.scores.by_rhythm, key=lambda one: card_facts.wrong(one) / one.segments)
    assert f"answered wrong: {worst.rhythm} ({card_facts.wrong(worst)} of {worst.segments})" in text


def test_a_card_has_the_worst_subjects_and_rhythms_of_thousands():
    labels = [1, 0] * 6000
    margins = [1.0, -1.0] * 5990 + [-1.0, 1.0] * 10
    names = [f"S{place // 2}" for place in range(12000)]
    rhythms = ["AFIB", "N"] * 5980 + ["AFIB", "T"] * 20
    scores = metrics.evaluate(labels, margins, names, rhythms)
    assert [(one.rhythm, card_facts.wrong(one)) for one in card_facts.wrong_rhythms(scores)] == [("T", 10)]
    assert [one.subject for one in shown(scores.by_subject, card_facts.SUBJECTS)] == [
        f"S{n}" for n in range(5990, 6000)
    ]


def test_the_figures_out_of_fold(card, full):
    record = CrossValidationRecord.load(full / out_of_fold.FOLDS)
    text = section(card, "Figures").split("### ")[2]
    assert text.startswith("the recipe, all subjects, out of fold (folds.json): 36 segments of 6 subjects")
    assert out_of_fold.STATEMENT in text
    assert row(text, "sensitivity") == [figure(record.scores.recall), figure(record.scores.averaged.recall)]
    assert "in 3 folds, 0, 0.25, 0.5, " in section(card, "Threshold")
    assert "For a network of all subjects: 0.375." in section(card, "Threshold")


def test_a_score_out_of_fold_says_so_once(tmp_path, full, dataset):
    folder = copied(full, tmp_path)
    scored = ScoreRecord.load(folder / candidate.SCORE)
    update = {"part": "out_of_fold", "statement": out_of_fold.STATEMENT}
    scored.model_copy(update=update).save(folder / candidate.SCORE)
    write_card(folder, tmp_path / "card.md", dataset=dataset)
    text = (tmp_path / "card.md").read_text()
    assert text.count("### float32, all subjects, out of fold (score.json)") == text.count(out_of_fold.STATEMENT) == 1


def test_the_data_and_the_threshold(card, dataset):
    data = section(card, "Data")
    assert f"content of the data `{dataset.header.content_sha256}`" in section(card, "What it is")
    assert row(data, plain(dataset.folder.name)) == ["not stated", "6", "36", "18", "18", "0"]
    assert "A blank rhythm counts as not AF." in data
    assert "Folded into the last bias: 0.1," in section(card, "Threshold")


def test_the_recipe_has_what_is_not_the_default(tmp_path, dataset):
    folder = tiny.make_candidate(tmp_path / "c", dataset)
    config = candidate.load_config(folder)
    augmentation = config.training.augmentation.model_copy(update={"gain": 0.5})
    training = config.training.model_copy(update={"epochs": 31, "augmentation": augmentation})
    changes = {"family": "tcn", "network": {"channels": 8, "depth": 2, "kernel": 5, "stem_depth": 2, "stride": 2}}
    changed = config.model_copy(update={**changes, "training": training})
    settings = card_facts.chosen_settings(changed)
    assert settings["network"] == [("channels", 8), ("depth", 2), ("kernel", 5), ("stride", 2)]
    assert set(settings["training"]) - set(card_facts.chosen_settings(config)["training"]) == {
        ("epochs", 31), ("augmentation.gain", 0.5),
    }  # fmt: skip
    assert card_facts.chosen_settings(config)["network"] == list(config.network.items())  # of no family of ours


def test_the_licence_of_each_source(tmp_path, dataset):
    stated = dataset.header.source.model_copy(update={"licence": "ODC-By 1.0 | x"})
    known = replace(dataset, header=dataset.header.model_copy(update={"source": stated}))
    folder = tiny.make_candidate(tmp_path / "c", dataset)
    write_card(folder, tmp_path / "card.md", dataset=known)
    assert "ODC-By 1.0 \\| x" in section((tmp_path / "card.md").read_text(), "Data")


def test_every_cost_has_its_evidence(card):
    cost = section(card, "Cost")
    assert row(cost, "latency")[-1] == "estimated"
    assert row(cost, "parameters")[-1] == "counted in the graph"
    forms = cost[cost.index("| form |") :]
    place = row(forms, "form").index("int8")
    assert [row(forms, name)[place] for name in ("verdict", "flash", "RAM", "instructions", "time on the board")] == [
        "PASS", "4.1 KiB, measured", "5.0 KiB, measured", "260, emulated", "0.002 ms (0.001 … 0.003), estimated",
    ]  # fmt: skip
    assert row(forms, "time on this host")[0] == "1 ms, measured"


def test_float_against_int8(card):
    assert row(section(card, "Float against int8"), "simplified→int8")[:3] == ["PASS", "6", "1"]


def test_the_robustness_table(card, full):
    record = load_records(full).robustness
    text = section(card, "Robustness")
    worst = sorted(record.rows[1:], key=lambda one: one.fbeta_change.value)[: card_facts.DISTURBANCES]
    for known in [record.rows[0], *worst]:
        cells_of_row = row(text, known.name)
        assert cells_of_row[:2] == [figure(known.fbeta_mean), figure(known.fbeta_change)]
        assert cells_of_row[-1] == f"{known.share_changed:.2%} ({known.labels_changed})"
    assert set(DISTURBANCES) <= {known.name for known in record.rows}
    assert f"The other {len(record.rows) - 1 - card_facts.DISTURBANCES} change mean Fβ by" in text
    assert "What is no ECG: all zero: AF (0); " in text


def test_what_has_no_record_is_not_measured(tmp_path, dataset):
    folder = tiny.make_candidate(tmp_path / "c", dataset, train=["S0"], validation=["S1"], test=["S2"])
    for name in (candidate.COST, *candidate.FORM_FILES.values()):
        (folder / name).unlink(missing_ok=True)
    record = write_card(folder, tmp_path / "card.md")
    text = (tmp_path / "card.md").read_text()
    assert (record.sources, len(record.not_measured)) == (["candidate.json"], 9)
    for name in (
        "What it is",
        "Recipe",
        "Threshold",
        "Figures",
        "What it gets wrong",
        "Float against int8",
        "Robustness",
    ):
        assert "not measured (`ecm-edge " in section(text, name)
    assert section(text, "Cost").count(": not measured (`ecm-edge ") == 4
    assert "Sources, licences, subjects and segments: not measured (give --data)." in section(text, "Data")
    assert "Its board: not measured" in text
    assert not re.search(r"\| *\|", text)
    assert "None" not in text.replace("none", "")


def test_extra_sections_stand_before_the_commands(tmp_path, full):
    extra = [tmp_path / "a.md", tmp_path / "b.md"]
    for path in extra:
        path.write_text(f"## Section {path.stem}\n\n| x |\n| --- |\n| <b>1</b> |\n\n\nas *written*\n")
    record = write_card(full, tmp_path / "card.md", extra=extra)
    text = (tmp_path / "card.md").read_text()
    assert re.findall(r"^## (.*)$", text, re.MULTILINE)[-3:] == ["Section a", "Section b", "Commands"]
    assert extra[0].read_text() in text
    assert record.sections == [str(path) for path in extra]


def test_the_commands_make_it_again(card, full, dataset):
    lines = section(card, "Commands").splitlines()
    options = f"--data {dataset.folder} --target {tiny.TARGET.name}"
    assert f"$ ecm-edge data folds {dataset.folder} --count 3 --seed 0 --out folds.json" in lines
    assert f"$ ecm-edge train {options} --like {full} --out NEW --folds folds.json" in lines
    assert f"$ ecm-edge robustness NEW {options} --form float32 --subjects test --segments 18 --seed 0" in lines
    assert sum(line.startswith("$ ecm-edge ") for line in lines) == 10


def test_the_commands_exist(card):
    for line in section(card, "Commands").splitlines():
        if line.startswith("$ "):
            words = shlex.split(line[2:])
            path = words[1:3] if words[1] in {"data", "firmware"} else words[1:2]
            known = command_of(path)
            assert {word for word in words if word.startswith("--")} <= known, line


def command_of(path):
    """The options of a command."""
    command = cli.cli
    for name in path:
        command = command.get_command(click.Context(command), name)
    return {option for parameter in command.params for option in parameter.opts}


def test_a_candidate_of_everyone_is_scored_out_of_fold(tmp_path, dataset):
    folder = tiny.make_candidate(tmp_path / "c", dataset, train=report_records.SUBJECTS, validation=(), test=())
    config = candidate.load_config(folder)
    trained = report_records.training(config)
    best = trained.best.model_copy(update={"threshold": 0.375})
    update = {"best": best, "validation_subjects": 0, "validation_segments": 0}
    trained.model_copy(update=update).save(folder / candidate.TRAINING)
    write_card(folder, tmp_path / "card.md")
    assert "no answers out of fold that it was chosen on" in (tmp_path / "card.md").read_text()
    folds(folder, dataset).save(folder / out_of_fold.FOLDS)
    write_card(folder, tmp_path / "card.md")
    text = (tmp_path / "card.md").read_text()
    assert "it was chosen on the answers out of fold" in text
    assert "--folds folds.json --refit" in text
    assert "ecm-edge score NEW --data DATA --target loongson-2k0500 --out-of-fold" in text
    assert "ecm-edge robustness NEW --data DATA --target loongson-2k0500 --out-of-fold" in text


@pytest.mark.parametrize("changes", [{"config_sha256": "0" * 64}, {"model_sha256": "0" * 64}])
@pytest.mark.parametrize("name", [candidate.SCORE, ROBUSTNESS])
def test_records_of_something_else_are_refused(tmp_path, full, name, changes):
    folder = copied(full, tmp_path)
    (folder / name).write_text(json.dumps({**json.loads((folder / name).read_text()), **changes}))
    with pytest.raises(CandidateError, match="a card puts records of one candidate together"):
        write_card(folder, tmp_path / "card.md")
    assert not (tmp_path / "card.md").exists()


def test_an_entry_has_a_card_outside_of_it(tmp_path, full):
    folder = copied(full, tmp_path)
    manifest(folder).save(folder / entries.MANIFEST)
    with pytest.raises(OutputError, match="stays as it was promoted"):
        write_card(folder, folder / "card.md")
    write_card(folder, tmp_path / "card.md")
    assert "Entry 99-98 of the registry, in the form int8" in (tmp_path / "card.md").read_text()


def test_the_command(tmp_path, full, dataset, capsys):
    out = tmp_path / "card.md"
    assert tiny.run(["card", full, "--data", dataset.folder, "-o", out, "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["not_measured"] == []
    (full / "gone.md").unlink(missing_ok=True)
    assert tiny.run(["card", full, "-o", tmp_path / "b.md", "--extra", full / "gone.md"]) == 2
    assert tiny.run(["card", tmp_path, "-o", tmp_path / "b.md"]) == 2
    other = tiny.graded(tmp_path / "other")
    assert tiny.run(["card", full, "-o", tmp_path / "b.md", "--data", other.folder]) == 2
    assert capsys.readouterr().err.count("error:") == 3
    assert not (tmp_path / "b.md").exists()


@pytest.mark.parametrize("module", [model_card, templates], ids=lambda module: module.__name__)
def test_examples_in_docstrings(module):
    results = doctest.testmod(module)
    assert results.attempted > 0
    assert results.failed == 0


def copied(folder, place):
    """A copy of a candidate that a test may change."""
    return shutil.copytree(folder, place / folder.name)


def manifest(folder):
    config = candidate.load_config(folder)
    return entries.Manifest(
        entry="99-98",
        target=tiny.TARGET.name,
        form="int8",
        model_file=candidate.FORM_FILES["int8"],
        model_sha256="0" * 64,
        config_sha256=config.sha256,
        dataset_sha256=config.dataset_sha256,
        synthetic=True,
        verdicts={"verify": Verdict.PASS},
        latency_ms=tiny.latency(),
        files={},
        provenance=provenance.collect(),
    )
