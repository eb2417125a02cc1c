"""Commands that are killed, or whose writes fail, at fault points: how each is set up, run, and looked at afterwards.

A command runs in a forked child, which has all imports already. What it does alone is the measure: after whatever
befell it, the same command has to finish, and what it leaves has to be the same.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import signal
import sys
import time
import traceback
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from ecm_edge.base import faults
from ecm_edge.candidate import candidate
from ecm_edge.cli import main
from ecm_edge.registry import registry

from . import tiny

if TYPE_CHECKING:
    from collections.abc import Callable

    from ecm_edge.data.dataset import Dataset

DATE = "1750000000"  # SOURCE_DATE_EPOCH of every command
CSV = Path(__file__).parents[1] / "data" / "csv"
SPACE = """
[families.separable]
channels = 2
depth = { low = 1, high = 2 }
kernel = 3
stride = 4

[training]
epochs = 1
batch_size = 64
"""
BOARD = tiny.TARGET.name
FLOAT32 = candidate.FORM_FILES["float32"]
_STEPS = {
    "open": {"write.open", "write.content", "lock.open"},
    "os.rename": {"write.rename", "stage.rename", "stage.aside"},
    "os.mkdir": {"folder.make", "stage.make", "stage.aside"},
    "fsync": {"write.fsync", "folder.fsync"},
}
"""The points that may come before what changes a disk, by what Python calls it."""


@dataclass(frozen=True)
class Disturbed:
    """A command that is to be disturbed.

    Args:
        name: what the table calls it.
        prepare: makes what it needs in a new folder.
        words: its command line, by that folder.
        outcome: what it left there, as a record to compare; {} where it left nothing under a final name yet.
        repeat: the command line that finishes it afterwards, by the folder; the same one by default.
    """

    name: str
    prepare: Callable[[Path], object]
    words: Callable[[Path], list[object]]
    outcome: Callable[[Path], dict[str, str]]
    repeat: Callable[[Path], list[object]] | None = None
    whole: set[str] = field(default_factory=set)

    def again(self, folder: Path) -> list[object]:
        """The command that finishes it."""
        return (self.repeat or self.words)(folder)


def start(
    words: list[object],
    log: Path,
    fault: str = "",
    environment: dict[str, str] | None = None,
    *,
    fork: bool = True,
) -> int:
    """Run a command in a forked child; its process id. Without `fork` this process ends with it."""
    pid = os.fork() if fork else 0
    if pid:
        return pid
    code = 70
    try:
        handle = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
        for number in (1, 2):
            os.dup2(handle, number)
        sys.stdout, sys.stderr = os.fdopen(1, "w", closefd=False), os.fdopen(2, "w", closefd=False)  # not pytest's
        os.environ |= {faults.VARIABLE: fault, "SOURCE_DATE_EPOCH": DATE, **(environment or {})}
        main([str(word) for word in words])
    except SystemExit as ended:
        code = ended.code if isinstance(ended.code, int) else 0
    except BaseException:  # noqa: BLE001 - a child of the tests ends here, whatever happened
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


def end(pid: int) -> int:
    """Wait for a child: its exit code, or the signal that ended it, negative."""
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


def run(words: list[object], log: Path, fault: str = "", environment: dict[str, str] | None = None) -> int:
    """Run a command in a child to its end; as `end`."""
    return end(start(words, log, fault, environment))


def reached(command: Disturbed, folder: Path) -> list[str]:
    """The points that a command reaches, in their order, each as often as it is reached."""
    list_file = folder / "points.txt"
    command.prepare(folder / "at")
    code = run(command.words(folder / "at"), folder / "log", f"list:{list_file}")
    assert code == 0, (folder / "log").read_text()
    return list_file.read_text().splitlines()


@dataclass(frozen=True)
class Change:
    """A point that was reached, by its step; or what changed a disk, by what Python calls it, and where."""

    what: str
    path: str = ""

    @property
    def is_point(self) -> bool:
        return not self.path


def changes(command: Disturbed, folder: Path) -> list[Change]:
    """The points that a command reaches, and what it changes in its folder as Python's audit hooks see it."""
    command.prepare(folder / "at")
    seen = folder / "seen.txt"
    pid = os.fork()
    if not pid:
        _watch(folder / "at", seen)
        start(command.words(folder / "at"), folder / "log", f"list:{seen}", fork=False)
    assert end(pid) == 0, (folder / "log").read_text()
    words = [line.removeprefix(_CHANGED).partition(" " if line.startswith(_CHANGED) else "/") for line in _lines(seen)]
    return [Change(what, path if separator == " " else "") for what, separator, path in words]


def without_point(found: list[Change]) -> list[str]:
    """What was changed with no fault point before it."""
    last, missing = "", []
    for change in found:
        if change.is_point:
            last = change.what
        elif last not in _STEPS[change.what]:
            missing.append(f"{change.what} {change.path} after {last}")
    return missing


def _lines(path: Path) -> list[str]:
    return path.read_text().splitlines()


def _watch(folder: Path, seen: Path) -> None:
    """Note what this process changes below a folder."""
    fsync = os.fsync

    def note(kind: str, path: object) -> None:
        with seen.open("a") as stream:
            stream.write(f"{_CHANGED}{kind} {path}\n")

    def changed(kind: str, given: tuple[object, ...]) -> None:
        below = kind in _STEPS and isinstance(given[0], (str, bytes, Path)) and str(folder) in str(given[0])
        is_read = kind == "open" and not int(str(given[2])) & (os.O_WRONLY | os.O_RDWR | os.O_CREAT)
        if below and not is_read:
            note(kind, given[0])

    def noted_fsync(handle: int) -> None:
        note("fsync", Path(f"/proc/self/fd/{handle}").readlink())
        fsync(handle)

    sys.addaudithook(changed)
    os.fsync = noted_fsync


def numbered(points: list[str]) -> list[tuple[str, int]]:
    """Each point with how many times it was reached until then, from 1."""
    seen: Counter[str] = Counter()
    found = []
    for name in points:
        seen[name] += 1
        found.append((name, seen[name]))
    return found


def undisturbed(command: Disturbed, folder: Path) -> dict[str, str]:
    """What the command leaves when nothing happens."""
    command.prepare(folder)
    code = run(command.words(folder), folder.parent / "log")
    assert code == 0, (folder.parent / "log").read_text()
    return command.outcome(folder)


def disturb(command: Disturbed, folder: Path, fault: str, wanted: dict[str, str]) -> str:
    """Disturb a command, look at what is left, and run it again: what went wrong, or "" for nothing."""
    command.prepare(folder)
    log = folder.parent / "log"
    code = run(command.words(folder), log, fault)
    return _ended_well(code, fault, log.read_text()) or left_whole(command, folder, wanted)


def disturb_at(command: Disturbed, folder: Path, seconds: float, wanted: dict[str, str]) -> str:
    """The same for a kill after some time, which may come too late."""
    command.prepare(folder)
    pid = start(command.words(folder), folder.parent / "log")
    time.sleep(seconds)
    os.kill(pid, signal.SIGKILL)
    end(pid)
    return left_whole(command, folder, wanted)


def _ended_well(code: int, fault: str, told: str) -> str:
    """A kill kills; an error is one message and exit code 2, or of no consequence."""
    if f":{faults.KILL}" in fault:
        return "" if code == -signal.SIGKILL else f"exit {code}, not killed"
    if "Traceback" in told:
        return f"a traceback: {told[-300:]}"
    reason = os.strerror(faults.ERRORS[fault.split(":")[1]])
    if code == 2 and reason in told:
        return ""
    return "" if code == 0 else f"exit {code}: {told[-300:]}"


def left_whole(command: Disturbed, folder: Path, wanted: dict[str, str]) -> str:
    """Whether what is under final names is whole, and the same command ends as an undisturbed one."""
    log = folder.parent / "log"
    try:
        there = command.outcome(folder)
        half = {name for name in command.whole & there.keys() if there[name] != wanted.get(name)}
        if half:
            return f"half under a final name: {', '.join(sorted(half))}"
    except Exception as problem:  # noqa: BLE001 - whatever it is, it is the finding
        return f"cannot be read: {type(problem).__name__}: {problem}"
    if there != wanted:
        code = run(command.again(folder), log)
        if code != 0:
            return f"exit {code} again: {log.read_text()[-300:]}"
        there = command.outcome(folder)
    differing = sorted(name for name in wanted.keys() | there.keys() if there.get(name) != wanted.get(name))
    return f"other than undisturbed: {', '.join(differing)}" if differing else ""


def hashes(folder: Path, *but: str) -> dict[str, str]:
    """SHA-256 of every file below a folder by its path, hidden ones and some names aside."""
    paths = [path for path in sorted(folder.rglob("*")) if path.is_file() and path.name not in but]
    names = {path.relative_to(folder).as_posix(): path for path in paths}
    return {
        name: hashlib.sha256(path.read_bytes()).hexdigest()
        for name, path in names.items()
        if not any(part.startswith(".") for part in Path(name).parts)
    }


def shelf_state(shelf: Path) -> dict[str, str]:
    """Incumbent and history of a shelf by what they say, and every entry by its files; raises if it is damaged."""
    now = registry.incumbent(shelf)
    if now:
        registry.entry_of(shelf, now)
    decided = [(event.event, event.entry, event.replaces) for event in registry.history(shelf)]
    return {"incumbent": str(now and now.entry), "history": json.dumps(decided), **hashes(shelf / registry.ENTRIES)}


def of_trials(run_folder: Path) -> dict[str, str]:
    """The trials of a run: their points, outcomes and weights."""
    found = {}
    for trial in sorted((run_folder / candidate.RUN_TRIALS).glob("[0-9]*")):
        record = json.loads((trial / "trial.json").read_text())
        found[f"{trial.name} point"] = json.dumps([record["number"], record["point"], record["objective"]])
        found |= {f"{trial.name}/{name}": digest for name, digest in hashes(trial).items() if name in _WEIGHTS}
    return found


_CHANGED = "CHANGED "
_WEIGHTS = {candidate.CHECKPOINT, candidate.CONFIG, *candidate.FORM_FILES.values()}


def copied(source: Path) -> Callable[[Path], object]:
    """Prepares by a copy."""
    return lambda folder: shutil.copytree(source, folder)


def commands(world: Path, data: Path, *names: str) -> dict[str, Disturbed]:
    """The commands of these names, which write what others rely on; what they need is made below `world`.

    Args:
        world: a new folder.
        data: a data set to train on.
        names: "data import", "train", "search", "promote", "rollback", "bundle", "pull".
    """
    world.mkdir(parents=True)
    (world / "space.toml").write_text(SPACE)
    (world / "empty").mkdir()
    made = [_import(world), _train(world, data), _search(world, data), *_registry(world), _bundle(world)]
    pulled = [_pull(world, data)] if "pull" in names else []
    return {command.name: command for command in (*made, *pulled) if command.name in names}


def _import(world: Path) -> Disturbed:
    options = ["--format", "csv", "--labels", CSV / "labels.csv", "--sampling-rate-hz", 250, "--unit", "mV"]
    return Disturbed(
        "data import",
        copied(world / "empty"),
        lambda at: ["data", "import", CSV, "-o", at / "out", *options, "--synthetic"],
        hashes,
        whole={"out/dataset.json", "out/samples.npy"},
    )


def train_words(data: Path, out: Path) -> list[object]:
    """The command that trains the smallest candidate, for one epoch."""
    words = ["train", "--data", data, "--target", "host", "--family", "separable", "--no-export", "-o", out]
    small = ("channels=2", "depth=1", "kernel=3", "stride=4", "training.epochs=1")
    return [*words, *(part for each in small for part in ("--set", each))]


def _train(world: Path, data: Path) -> Disturbed:
    return Disturbed(
        "train",
        copied(world / "empty"),
        lambda at: train_words(data, at / "c"),
        lambda at: hashes(at, "training.json", "epochs.csv"),  # which have the seconds
        whole={f"c/{candidate.CHECKPOINT}", f"c/{candidate.CONFIG}"},
    )


def _search(world: Path, data: Path) -> Disturbed:
    words = ["search", "--data", data, "--target", BOARD, "--space", world / "space.toml", "--trials", 1]
    return Disturbed(
        "search",
        copied(world / "empty"),
        lambda at: [*words, "-o", at / "run"],
        lambda at: of_trials(at / "run"),
        repeat=lambda at: [*words, "-o", at / "run", *(["--resume"] if (at / "run").exists() else [])],
    )


def _registry(world: Path) -> list[Disturbed]:
    """Promote and rollback, on a shelf that had two promotions."""
    data = tiny.graded(world / "tiny")
    for column in (3, 2, 1):
        ready(world / f"misses-{column}", data, column)
    place = ["--target", BOARD, "--registry"]

    def promote(column: int, at: Path) -> list[object]:
        return ["promote", world / f"misses-{column}", "--data", data.folder, *place, at / "registry"]

    (world / "shelf").mkdir()
    for column in (3, 2):
        assert run(promote(column, world / "shelf"), world / "log") == 0, (world / "log").read_text()
    state = lambda at: shelf_state(at / "registry" / BOARD)  # noqa: E731 - of both commands
    return [
        Disturbed("promote", copied(world / "shelf"), lambda at: promote(1, at), state),
        Disturbed(
            "rollback",
            copied(world / "shelf"),
            lambda at: ["rollback", *place, at / "registry", "100-70"],
            state,
        ),
    ]


def ready(folder: Path, data: Dataset, column: int) -> None:
    """A candidate of the board as it ships that could be promoted."""
    tiny.make_candidate(folder, data, column=column, target=tiny.SCORED)
    tiny.write_verify(folder, data, judge=tiny.SCORED)
    tiny.write_firmware(folder, tiny.SCORED)
    tiny.write_bench(folder)


def _bundle(world: Path) -> Disturbed:
    return Disturbed(
        "bundle",
        copied(world / "empty"),
        lambda at: ["bundle", world / "misses-1" / FLOAT32, "--target", BOARD, "-o", at / "b"],
        hashes,
        whole={"b/manifest.json"},
    )


def beside(first: list[object], second: list[object], stopped_at: str, folder: Path) -> tuple[int, str, int, str]:
    """Stop the first at a point, run the second to its end, and let the first go on: exit code and words of both."""
    logs = folder / "first.log", folder / "second.log"
    pid = start(first, logs[0], f"{stopped_at}:{faults.STOP}:1")
    _, status = os.waitpid(pid, os.WUNTRACED)
    assert os.WIFSTOPPED(status), logs[0].read_text()
    code = run(second, logs[1])
    os.kill(pid, signal.SIGCONT)
    return end(pid), logs[0].read_text(), code, logs[1].read_text()


def _pull(world: Path, data: Path) -> Disturbed:
    """Pull of a run whose trials are in a store."""
    storage = ["--storage", f"sqlite:///{world}/study.db"]
    stored = [*storage, "--name", "one", "--artifacts", f"file://{world}/store"]
    words = ["search", "--data", data, "--target", BOARD, "--space", world / "space.toml", "--trials", 1, *stored]
    assert run([*words, "-o", world / "run"], world / "log") == 0, (world / "log").read_text()
    return Disturbed(
        "pull",
        copied(world / "empty"),
        lambda at: ["pull", "one", *storage, "-o", at / "run"],
        lambda at: of_trials(at / "run") | hashes(at / "run", "summary.json", "study.json"),
        whole={"search.json"},
    )
