"""Tasks: shipped ones load, a user's own file works the same, each mistake is named, a rule stays with its task."""

import json

import numpy as np
import pytest

from ecm_edge import metrics, targets, tasks
from ecm_edge.base.errors import TargetError, TaskError
from ecm_edge.cli import main

SHIPPED = (tasks._FOLDER / "va-5s.toml").read_text()  # noqa: SLF001 - the file itself is under test
OWN = """
name = "vt-10s"
title = "ventricular tachycardia in 10 s"
label = "VT"
positive = ["VT", "VFL"]
window_s = 10
sampling_rate_hz = 200
"""


def own(folder, text=OWN):
    path = folder / "mine.toml"
    path.write_text(text)
    return path


@pytest.mark.parametrize("name", tasks.names())
def test_shipped_tasks_load_under_their_own_names(name):
    assert tasks.load(name).name == name


def test_a_users_own_file(tmp_path):
    task = tasks.load(str(own(tmp_path)))
    assert (task.samples_per_segment, task.band_hz, task.leads, task.score) == (2000, None, [], {})


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("[15.0, 55.0]", "[15.0, 125.0]", "high is below half of the sampling rate"),
        ("[15.0, 55.0]", "[55.0, 15.0]", "band_hz is low, high"),
        ("window_s = 5.0", "window_s = 5.001", "a whole number of samples"),
        ("window_s = 5.0", "window_s = 1e9", "at most 1,000,000, not 2.5e+11"),
        ("window_s = 5.0", "window_s = nan", "window_s"),
        ("sampling_rate_hz = 250.0", "sampling_rate_hz = -250.0", "greater than 0 at sampling_rate_hz"),
        ('["VT", "VFb", "VFt"]', "[]", "at least 1 item after validation, not 0 at positive"),
        ('"VT", ', '"", ', "at least 1 character at positive.0"),
        ('"AFb", ', '"VT", ', "in one of positive, negative and ignored, and once"),
        ('label = "VA"', 'label = "V\\nA"', "at label"),
        ('unit = "unstated"', 'unit = "furlong"', "at unit"),
        ("fbeta_pooled = { weight", "# { weight", "a score has a term for the answers"),
        ("weight = 100.0, zero = 0.0, one = 1.0", "weight = 100.0, zero = 1.0, one = 1.0", "zero and one must differ"),
    ],
)
def test_each_mistake_is_named(tmp_path, old, new, message):
    assert old in SHIPPED
    path = own(tmp_path, SHIPPED.replace(old, new))
    with pytest.raises(TaskError) as caught:
        tasks.load(str(path))
    assert message in str(caught.value)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"\xff\xfe\x00", "TOML in UTF-8"),
        (b"#" * (1 << 16) + b"\n", "Larger than 65,536 bytes"),
        (None, "Is a directory"),
    ],
)
def test_what_is_no_toml(tmp_path, content, message):
    path = tmp_path / "bad.toml"
    path.mkdir() if content is None else path.write_bytes(content)
    with pytest.raises(TaskError, match=message):
        tasks.load(str(path))


def test_a_device_is_not_read():
    with pytest.raises(TargetError, match="Not a regular file"):
        targets.load("/dev/zero")


def test_no_such_task():
    with pytest.raises(TaskError, match="one of af-10s, af-5s, va-5s"):
        tasks.load("vf-1s")


def test_the_command_lists_tasks_and_checks_a_file(tmp_path, capsys):
    with pytest.raises(SystemExit) as ended:
        main(["tasks", "--json"])
    assert ended.value.code == 0
    assert [task["name"] for task in json.loads(capsys.readouterr().out)["tasks"]] == tasks.names()
    with pytest.raises(SystemExit) as ended:
        main(["tasks", str(own(tmp_path, OWN.replace("200", "200.01")))])
    assert ended.value.code == 2
    assert "a whole number of samples" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("task", "target", "title"),
    [
        ("af-5s", "loongson-2k0500", "IESD-2024"),
        ("af-10s", "loongson-2k0500", None),
        ("va-5s", "loongson-2k0500", None),
        ("va-5s", "nucleo-l432kc", "TinyML 2022"),
        ("af-5s", "nucleo-l432kc", None),
    ],
)
def test_a_rule_of_score_stays_with_its_task(task, target, title):
    rule = targets.score_rule(targets.load(target), tasks.load(task))
    assert (rule.title if rule else None) == title


def test_a_boards_own_rule_names_its_task(tmp_path):
    text = (targets._FOLDER / "loongson-2k0500.toml").read_text()  # noqa: SLF001 - the file itself is under test
    path = tmp_path / "board.toml"
    path.write_text(text.replace("[score]", '[score]\ntask = "vt-10s"'))
    target = targets.load(str(path))
    assert targets.score_rule(target, tasks.load(str(own(tmp_path)))) == target.score
    assert targets.score_rule(target, tasks.load("af-5s")) is None


def test_the_rule_of_2022_by_hand():
    """100 Fβ + 20 Ln + 20 Mn of an entry that published 0.979, 4.54 ms, 27.11 KiB and 135.75 points."""
    rule = targets.score_rule(targets.load("nucleo-l432kc"), tasks.load("va-5s"))
    score = metrics.board_score(rule, 0.1, 0.1, latency_ms=4.54, size_kib=27.11, fbeta_pooled=0.979)
    assert score.total == pytest.approx(97.9 + 20 * (200 - 4.54) / 199 + 20 * (256 - 27.11) / 251)
    assert score.total == pytest.approx(135.75, abs=0.05)
    assert (score.most, [term.name for term in score.terms]) == (140, ["fbeta_pooled", "latency", "size"])


def test_pooled_fbeta_is_of_all_segments():
    """Two subjects: TP 1, FN 1 and TP 2, FP 1: together TP 3, FP 1, FN 1."""
    rule = tasks.load("va-5s").score["nucleo-l432kc"]
    rows = [1, 1, 1, 1, 0], [1, -1, 1, 1, 1], ["a", "a", "b", "b", "b"]
    scores = metrics.evaluate(*rows, ["VT", "VT", "VT", "VT", "SR"], rule)
    pooled = 5 * 3 / (5 * 3 + 4 * 1 + 1)
    assert metrics.on_board(rule, scores, 1.0, 5.0).total == pytest.approx(100 * pooled + 40)
    assert metrics.fbeta_pooled(*rows) == pytest.approx(pooled)
    better = metrics.paired_difference(rows[0], [1, 1, 1, 1, 1], *rows[1:], "detection_points", rule=rule)
    assert better.value == pytest.approx(100 * (5 * 4 / (5 * 4 + 1) - pooled))


def test_a_threshold_is_chosen_by_pooled_fbeta():
    """The margin that separates the classes is best for Fβ over all segments too."""
    rule = tasks.load("va-5s").score["nucleo-l432kc"]
    labels = [0] * 20 + [1] * 20
    margins = [*np.linspace(-3, 0.9, 20), *np.linspace(1.1, 3, 20)]
    threshold = metrics.choose_threshold(labels, margins, ["a", "b"] * 20, rule)
    assert 0.9 < threshold < 1.1
