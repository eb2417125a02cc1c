"""The ablation of recipes: one budget, thresholds chosen on others, nothing trained twice."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from benchmarks.recipes import __main__ as command
from benchmarks.recipes import changes, runs, table
from benchmarks.recipes.changes import BASE, Recipe
from benchmarks.recipes.runs import Result, Setting
from ecm_edge import metrics, targets
from ecm_edge.candidate import candidate
from ecm_edge.candidate.training_config import TrainingConfig
from ecm_edge.data import splits
from ecm_edge.metrics.rows import score_rows
from ecm_edge.training import train

TARGET = targets.load("loongson-2k0500")
TINY = Recipe(
    name="base",
    family="separable",
    network={"channels": 4, "depth": 2, "kernel": 5, "stride": 4},
    training=TrainingConfig(epochs=2, batch_size=16, keep="last", data_share=0.5),
)
FOLDS = 4
COMMON = 0.02  # how far another network's MACs may lie from what is said


@pytest.fixture
def folds(dataset):
    return splits.assign_folds(dataset, count=FOLDS, seed=0)


@pytest.fixture
def setting(dataset, folds, tmp_path):
    return Setting(TINY, dataset.folder, folds, TARGET, tmp_path / "out")


@pytest.fixture
def trained(monkeypatch):
    """The configuration of every network that is trained, in order; no MACs are counted meanwhile."""
    seen, fit = [], train.fit

    def spy(config, data, **options):
        seen.append(config)
        return fit(config, data, **options)

    monkeypatch.setattr(train, "fit", spy)
    monkeypatch.setattr(runs, "macs", lambda *_: 1000)
    return seen


def named(*names, base=TINY):
    return [recipe for recipe in changes.recipes(base) if recipe.name in names]


def test_every_recipe_differs_from_the_base_and_its_network_can_be_built(dataset):
    known = changes.recipes()
    assert known[0] == BASE
    assert len({recipe.name for recipe in known}) == len(known)
    split = splits.everyone(dataset)
    assert len({recipe.configure(dataset, split, 0).sha256 for recipe in known}) == len(known)
    for recipe in known:
        scores = candidate.build_network(recipe.configure(dataset, split, 0)).eval()(torch.zeros(1, 1, 1250))
        assert scores.shape == (1, 2)


def test_macs_are_what_the_names_say(dataset):
    split = splits.everyone(dataset)
    macs = {
        recipe.name: runs.macs(recipe.configure(dataset, split, 0), dataset)
        for recipe in named("base", "rhythm_wave", "small", base=BASE)
    }
    assert macs["rhythm_wave"] == pytest.approx(macs["base"], rel=COMMON)
    assert macs["small"] == pytest.approx(100_000, rel=COMMON)


def test_a_teacher_has_a_seed_that_no_student_has(dataset):
    (distilled,) = named("distill")
    config = distilled.configure(dataset, splits.everyone(dataset), 3)
    assert (config.seed, config.training.teacher.seed) == (3, 400)


def test_nobody_answers_for_whom_it_was_trained_on_and_passes_are_the_same(setting, trained):
    whole = TINY.training.model_copy(update={"data_share": 1.0})
    base, twice = (
        runs.measure(setting, recipe, 0, workers=1)
        for recipe in (TINY, TINY.model_copy(update={"name": "twice", "training": whole}))
    )
    assert [set(config.split.test) for config in trained] == 2 * [set(setting.folds.subjects(f)) for f in range(FOLDS)]
    assert (base.epochs, twice.epochs) == ([2] * FOLDS, [1] * FOLDS)
    assert twice.passes == pytest.approx(base.passes, rel=0.1)
    assert base.teacher_passes == 0
    assert base.scores.subjects == len(setting.folds.folds)


def test_teachers_are_trained_once_and_results_are_kept(setting, trained):
    chosen, lines = named("base", "doubted", "distill"), []
    runs.run(setting, chosen, [0], 1, lines.append)
    teachers = FOLDS * (FOLDS - 1) // 2 + 3 * FOLDS  # one out of each pair of folds for `doubted`, and for `distill`
    assert len(trained) == 3 * FOLDS + teachers
    assert [line.split(", ")[0] for line in lines] == ["1 of 3: base", "2 of 3: doubted", "3 of 3: distill"]
    results = {recipe.name: setting.saved(recipe, 0) for recipe in chosen}
    assert results["distill"].teacher_passes == 3 * results["base"].passes
    assert results["doubted"].teacher_passes > 0
    runs.run(setting, chosen, [0], 1, lines.append)
    assert len(trained) == 3 * FOLDS + teachers
    changed = TINY.model_copy(update={"training": TINY.training.model_copy(update={"epochs": 3})})
    assert Setting(changed, setting.data, setting.folds, TARGET, setting.out).saved(changed, 0) is None


def result(dataset, recipe, seed, margins):
    return Result(
        inputs_sha256="",
        recipe=recipe,
        seed=seed,
        macs=1000,
        epochs=[2],
        thresholds=[0.0],
        passes=100,
        teacher_passes=50,
        seconds=1.0,
        scores=score_rows(margins, dataset, dataset.rows_of(dataset.header.subjects), TARGET),
    )


@pytest.fixture
def drawn(dataset):
    """Margins by seed that are mostly right, the more so the larger `right`."""
    labels = dataset.labels[dataset.rows_of(dataset.header.subjects)]

    def draw(right, seed):
        noise = np.random.default_rng(seed).standard_normal(len(labels))
        return (noise + right * (2 * labels - 1)).astype(np.float32)

    return draw


def test_the_difference_of_one_seed_is_the_paired_one(dataset, drawn):
    rows = dataset.rows_of(dataset.header.subjects)
    ours, theirs = drawn(1.5, 0), drawn(0.5, 0)
    found = table.difference([result(dataset, TINY, 0, ours)], [result(dataset, TINY, 0, theirs)])
    subjects = dataset.subject_names(rows)
    known = metrics.paired_difference(dataset.labels[rows], ours, theirs, subjects, rule=TARGET.score)
    assert (found.value, found.low, found.high) == pytest.approx((known.value, known.low, known.high))


def comparison(setting, results):
    return table.compare(setting, results, "python -m benchmarks.recipes DATA")


def test_the_table_gives_means_and_spread_and_says_what_did_not_run(dataset, drawn, setting):
    base, focal, mixup = named("base", "focal", "mixup")
    results = {
        recipe.name: [result(dataset, recipe, seed, drawn(right, seed)) for seed in range(2)]
        for recipe, right in ((base, 0.5), (focal, 2.0))
    }
    kept = comparison(setting, results)
    lines = table.tables([kept], [base, focal, mixup]).splitlines()
    cells = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines if line.startswith("|")]
    assert {len(line) for line in cells} == {len(table.COLUMNS)}
    first, second = cells[2:]
    values = [each.scores.fbeta_mean.value for each in results["focal"]]
    assert second[:4] == [
        "focal",
        "loss = focal",
        "1,000",
        f"{np.mean(values):.4f} ({min(values):.4f} … {max(values):.4f})",
    ]
    assert (first[6], second[6][:3], second[7:9]) == ("–", "**+", ["100", "150"])
    assert lines[-1] == "NOT RUN: mixup."
    assert lines[0].startswith(f"{kept.date_utc[:10]}, {kept.machine}: {len(dataset.header.subjects)} subjects in ")
    assert f"{FOLDS} folds, 2 seeds, synthetic data set" in lines[0]


@pytest.mark.usefixtures("trained")
def test_the_command_prints_the_table_and_keeps_it_as_a_record(dataset, folds, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(table, "FOLDER", tmp_path / "records")
    (tmp_path / "records").mkdir()
    folds.save(tmp_path / "folds.json")
    options = ["--target", TARGET.name, "--folds", str(tmp_path / "folds.json"), "-o", str(tmp_path / "out")]
    options += ["--seeds", "2", "--workers", "1", "--only", "focal", "--write"]
    command.main([str(dataset.folder), *options], TINY)
    shown = capsys.readouterr().out.strip()
    (kept,) = table.load_all()
    assert shown == table.tables([kept], changes.recipes(TINY))
    assert [line.recipe for line in kept.lines] == ["base", "focal"]
    assert kept.command.startswith("python -m benchmarks.recipes ")
    assert kept.command.endswith("--only focal --write")


@pytest.mark.parametrize(("option", "why"), [(["--only", "nothing"], "'nothing' is none of"), ([], "no file at")])
def test_bad_input_exits_with_2_and_leaves_nothing(dataset, tmp_path, capsys, option, why):
    options = ["--target", TARGET.name, "--folds", str(tmp_path / "none.json"), "-o", str(tmp_path / "out"), *option]
    with pytest.raises(SystemExit) as stopped:
        command.main([str(dataset.folder), *options], TINY)
    assert stopped.value.code == 2
    assert why in capsys.readouterr().err
    assert not (tmp_path / "out").exists()
