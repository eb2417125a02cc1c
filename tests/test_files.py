"""Files and folders are whole or absent, also when the disk is full or the process is interrupted."""

import errno
import os
from pathlib import Path

import pytest

from ecm_edge.base import files
from ecm_edge.base.errors import OutputError


def full_disk(*_args, **_kwargs):
    raise OSError(errno.ENOSPC, "No space left on device")


def test_a_written_file_is_there_and_nothing_else(tmp_path):
    files.write_atomic(tmp_path / "a", b"content")
    assert [(p.name, p.read_bytes()) for p in tmp_path.iterdir()] == [("a", b"content")]


@pytest.mark.parametrize("step", ["fsync", "replace"])
def test_a_full_disk_leaves_the_old_file(tmp_path, monkeypatch, step):
    files.write_atomic(tmp_path / "a", b"old")
    monkeypatch.setattr(*((os, "fsync") if step == "fsync" else (Path, "replace")), full_disk)
    with pytest.raises(OutputError, match="No space left on device"):
        files.write_atomic(tmp_path / "a", b"new")
    assert [(p.name, p.read_bytes()) for p in tmp_path.iterdir()] == [("a", b"old")]


def test_a_folder_that_is_missing(tmp_path):
    with pytest.raises(OutputError, match="must be writable; found No such file"):
        files.write_atomic(tmp_path / "none" / "a", b"")


def test_a_staged_folder_appears_at_the_end(tmp_path):
    with files.staged_folder(tmp_path / "out") as staged:
        (staged / "a").write_text("x")
        assert not (tmp_path / "out").exists()
    assert [p.name for p in (tmp_path / "out").iterdir()] == ["a"]


def write_and_raise(path, problem):
    path.write_text("x")
    raise problem


@pytest.mark.parametrize("problem", [KeyboardInterrupt, ValueError])
def test_a_staged_folder_vanishes_with_an_error(tmp_path, problem):
    with pytest.raises(problem), files.staged_folder(tmp_path / "out") as staged:
        write_and_raise(staged / "a", problem)
    assert list(tmp_path.iterdir()) == []


def test_a_full_disk_in_a_staged_folder_is_a_clear_error(tmp_path):
    with pytest.raises(OutputError, match="No space left"), files.staged_folder(tmp_path / "out"):
        full_disk()
    assert list(tmp_path.iterdir()) == []


def test_an_output_folder_must_be_new(tmp_path):
    with pytest.raises(OutputError, match="must be new"), files.staged_folder(tmp_path):
        pass


def both_at_once(out, check):
    with files.staged_folder(out) as first, files.staged_folder(out) as second:
        (second / "a").touch()
        check(first)


def test_what_a_killed_process_left_is_removed_and_what_a_living_one_holds_is_not(tmp_path):
    abandoned, of_another, of_a_user = (
        tmp_path / name for name in (".out.abcd1234.unfinished", ".outer.abcd1234.unfinished", ".out.abcd1234")
    )
    for folder in (abandoned, of_another, of_a_user):
        (folder / "part").mkdir(parents=True)
    held = []
    with pytest.raises(OutputError, match="which another process made meanwhile"):
        both_at_once(tmp_path / "out", lambda first: held.append(first.is_dir()))
    assert held == [True]
    assert set(tmp_path.iterdir()) == {of_another, of_a_user, tmp_path / "out"}
    assert (tmp_path / "out" / "a").exists()


def test_a_link_to_nothing_is_no_new_folder(tmp_path):
    (tmp_path / "out").symlink_to(tmp_path / "none")
    with pytest.raises(OutputError, match="must be new"), files.staged_folder(tmp_path / "out"):
        pass


def test_a_file_is_read_up_to_a_limit_and_a_pipe_or_device_not_at_all(tmp_path):
    (tmp_path / "a").write_bytes(b"abc")
    assert files.read_bounded(tmp_path / "a", 3) == b"abc"
    with pytest.raises(OSError, match="Larger than 2 bytes"):
        files.read_bounded(tmp_path / "a", 2)
    os.mkfifo(tmp_path / "fifo")
    for path in (tmp_path / "fifo", Path("/dev/zero")):
        with pytest.raises(OSError, match="Not a regular file"):
            files.read_bounded(path, 10)


def test_a_large_file_is_refused_before_it_is_read(tmp_path, monkeypatch):
    (tmp_path / "a").touch()
    os.truncate(tmp_path / "a", 1 << 40)
    monkeypatch.setattr(Path, "open", None)
    with pytest.raises(OSError, match="Larger than 1,000 bytes"):
        files.read_bounded(tmp_path / "a", 1000)
    assert files.read_or_nothing(tmp_path / "a", 1000) == b""


def test_a_pipe_in_place_of_a_lock_is_not_waited_for_and_a_link_is_not_followed(tmp_path):
    os.mkfifo(tmp_path / ".lock")
    with files.locked(tmp_path):
        pass
    (tmp_path / ".lock").unlink()
    (tmp_path / ".lock").symlink_to(tmp_path / "other")
    with pytest.raises(OutputError, match="must be writable"), files.locked(tmp_path):
        pass
    assert not (tmp_path / "other").exists()


def test_a_lock_is_held_by_one_and_freed_at_the_end(tmp_path):
    with files.locked(tmp_path), pytest.raises(OutputError, match="one process at a time"), files.locked(tmp_path):
        pass
    with files.locked(tmp_path):
        pass


def test_hashes(tmp_path):
    (tmp_path / "a").write_bytes(b"abc")
    assert files.sha256_file(tmp_path / "a").startswith("ba7816bf8f01cfea")
    assert files.sha256_json({"b": 1, "a": 2}) == files.sha256_json({"a": 2, "b": 1})


def test_a_folder_is_replaced_when_the_new_one_is_whole(tmp_path):
    (tmp_path / "c").mkdir()
    (tmp_path / "c" / "old").write_text("old")
    with files.staged_folder(tmp_path / "c", replace=True) as staged:
        (staged / "new").write_text("new")
        assert (tmp_path / "c" / "old").read_text() == "old"
    assert [path.name for path in (tmp_path / "c").iterdir()] == ["new"]
    assert [path.name for path in tmp_path.iterdir()] == ["c"]


def test_a_folder_stays_where_its_replacement_fails(tmp_path, monkeypatch):
    (tmp_path / "c").mkdir()
    (tmp_path / "c" / "old").write_text("old")
    with pytest.raises(RuntimeError), files.staged_folder(tmp_path / "c", replace=True):
        raise RuntimeError("while it is made")

    def fails(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(files, "_rename", fails)
    with pytest.raises(OutputError, match="No space left"), files.staged_folder(tmp_path / "c", replace=True):
        pass
    assert [path.name for path in (tmp_path / "c").iterdir()] == ["old"]
    assert [path.name for path in tmp_path.iterdir()] == ["c"]
