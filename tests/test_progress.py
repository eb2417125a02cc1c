"""What a command does is shown on a terminal, and nowhere else."""

import re
import subprocess
import sys
import threading

import pexpect
import pytest

from ecm_edge.base import interrupts, progress

SPACE = """
[families.separable]
channels = 4
depth = 2
kernel = 3
stride = 4

[training]
epochs = 2
batch_size = 32
"""


@pytest.fixture
def arguments(dataset, tmp_path):
    """Of a search of one small candidate."""
    (tmp_path / "space.toml").write_text(SPACE)
    options = {"--data": dataset.folder, "--target": "loongson-2k0500", "--space": tmp_path / "space.toml"}
    words = [str(word) for option in options.items() for word in option]
    return ["-m", "ecm_edge.cli", "search", *words, "--trials", "1", "-o", str(tmp_path / "run")]


def on_terminal(arguments, columns=100):
    """All that a command writes to a terminal, without colours and the like."""
    shown = pexpect.run(
        f"{sys.executable} {' '.join(arguments)}", timeout=None, encoding="utf-8", env=None, dimensions=(24, columns)
    )
    return re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", shown)


def test_a_search_shows_trial_stage_and_epoch(arguments):
    shown = on_terminal(arguments)
    steps = [
        "gate",
        "train epoch 1 of 2, validation F1",
        "train epoch 2 of 2",
        "export",
        "quantise",
        "verify",
        "firmware",
    ]
    places = [shown.find(f"trial 0 · {step}") for step in steps]
    assert "search 0 of 1 trained" in shown
    assert -1 not in places, steps[places.index(-1)]
    assert places == sorted(places)
    assert "check the data set" in shown


def test_a_pipe_gets_none_of_it(arguments):
    done = subprocess.run([sys.executable, *arguments, "--json"], capture_output=True, text=True, check=False)
    assert [line.split()[0] for line in done.stderr.splitlines()] == ["trial"]
    assert done.stdout.count("\n") == 1


class Screen:
    """Stands for the line on a terminal, and keeps what it is asked to draw."""

    def __init__(self):
        self.drawn = []

    def refresh(self):
        self.drawn.append(progress.steps())

    def stop(self):
        self.drawn.append([])


@pytest.fixture
def screen(monkeypatch):
    made = Screen()
    monkeypatch.setattr(progress, "_is_shown", lambda: True)
    monkeypatch.setattr(progress, "_started", lambda _: made)
    return made


def test_steps_lie_in_each_other(screen):
    with progress.doing("trial 3"):
        with progress.doing("train"):
            progress.detail("epoch 1 of 2")
        progress.detail("trained")
    assert screen.drawn == [
        ["trial 3"],
        ["trial 3", "train"],
        ["trial 3", "train epoch 1 of 2"],
        ["trial 3 trained"],
        [],
    ]


def test_a_counter_says_how_many_are_done():
    with progress.doing("verify"):
        taken = [(item, progress.steps()[-1]) for item in progress.track("ab", "hops")]
    assert taken == [("a", "hops 0 of 2"), ("b", "hops 1 of 2")]


def test_a_generator_that_ends_late_takes_its_own_step_away():
    with progress.doing("read"):
        left = progress.track("ab", "recordings")
        next(left)
        with progress.doing("write"):
            left.close()
            assert progress.steps() == ["read", "write"]
    assert progress.steps() == []


def test_the_result_is_printed_without_the_line(screen):
    with progress.command("report"):
        with progress.doing("draw"):
            pass
        progress.hide()
        with progress.doing("print"):
            pass
    assert screen.drawn == [["report", "draw"], []]


def test_other_threads_show_nothing(screen):
    def work():
        with progress.doing("build"):
            progress.detail("half")

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert screen.drawn == []


def test_a_narrow_terminal_leaves_out_outer_steps():
    from rich.console import Console

    line = progress.Line(steps=[["search", ""], ["trained", "0 of 8"], ["trial 3", ""], ["train", "epoch 4 of 6"]])
    wide, narrow = Console(width=80), Console(width=40)
    with wide.capture() as first, narrow.capture() as second:
        wide.print(line)
        narrow.print(line)
    assert first.get().endswith("trained 0 of 8 · trial 3 · train epoch 4 of 6\n")
    assert second.get().endswith("  trial 3 · train epoch 4 of 6\n")


def test_a_signal_whose_exception_was_lost_ends_the_work_at_its_next_item(request):
    request.addfinalizer(interrupts.clear)
    items = progress.track(range(5), "items")
    assert [next(items), next(items)] == [0, 1]
    interrupts.note(15)
    with pytest.raises(KeyboardInterrupt):
        next(items)
