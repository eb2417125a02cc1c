"""The cache of objects: what is the same is compiled once, what differs in anything is compiled again."""

import multiprocessing
import os
import subprocess
import sys

import pytest

from ecm_edge import targets
from ecm_edge.firmware import build, objects, stack, toolchain
from tests import firmware_hand as hand

LOONGSON, HOST = targets.load("loongson-2k0500"), targets.load("host")
PARTS = 3  # the generated file, the port and the program


@pytest.fixture
def compilations(tmp_path, monkeypatch):
    """Names of the sources that are compiled while the test runs; its cache is its own and empty."""
    monkeypatch.setattr(objects, "folder", lambda: tmp_path / "cache")
    done, run = [], toolchain.run

    def noted(command, **options):
        if "-c" in command:
            done.append(os.path.basename(command[command.index("-c") + 1]))  # noqa: PTH119 - of a word
        return run(command, **options)

    monkeypatch.setattr(toolchain, "run", noted)
    return done


@pytest.mark.parametrize("target", [LOONGSON, HOST], ids=lambda target: target.name)
def test_the_same_sources_in_another_folder_are_compiled_once(tmp_path, compilations, target):
    first = hand.image(tmp_path / "a", target)
    assert len(compilations) == PARTS
    second = hand.image(tmp_path / "b", target)
    assert len(compilations) == PARTS
    assert [o.read_bytes() for o in first.objects] == [o.read_bytes() for o in second.objects]
    assert first.shipped.read_bytes() == second.shipped.read_bytes()
    assert frames(first) == frames(second)


def frames(image):
    """What the compiler says of stack frames: the bound from within the objects, or the files beside them."""
    if image.target == LOONGSON:
        assert stack.bound(image).program_bytes > 0
        return stack.bound(image)
    return [
        [line.split("\t")[1:] for line in made.with_suffix(".su").read_text().splitlines()] for made in image.objects
    ]


def test_another_header_flag_source_or_compiler_is_compiled_again(tmp_path, compilations, monkeypatch):
    def compiled(name, **options):
        compilations.clear()
        hand.image(tmp_path / name, HOST, **options)
        return set(compilations)

    every = compiled("first")
    assert "model.c" in every
    assert compiled("same") == set()
    assert compiled("source", source=hand.SOURCE.replace("0.75f", "0.5f")) == {"model.c"}
    other = hand.ADAPTOR.replace("SCORES 2", "SCORES 3")
    assert "batch.c" in included(tmp_path / "header", other, compilations)
    assert compiled("trace", trace=True) == every
    assert compiled("flags", extra_flags=["-fno-inline"]) == every
    monkeypatch.setattr(objects, "identity", lambda _command, _version: "another compiler")
    assert compiled("compiler") == every


def included(at, adaptor, compilations):
    """What is compiled where `ecm_model.h`, which the program includes, differs."""
    compilations.clear()
    build.build(hand.write(at / "generated", adaptor=adaptor), HOST, "batch", at / "out", emulated=True)
    return set(compilations)


def test_a_compiler_that_was_upgraded_is_another_one(tmp_path):
    program = tmp_path / "cc"
    program.write_text("old")
    before = objects.identity([str(program)], "cc 1")
    assert objects.identity([str(program)], "cc 1") == before
    program.write_text("newer")
    assert objects.identity([str(program)], "cc 1") != before


def test_where_the_cache_cannot_be_written_everything_is_compiled(tmp_path, compilations, monkeypatch):
    (tmp_path / "file").write_text("no folder")
    monkeypatch.setattr(objects, "folder", lambda: tmp_path / "file" / "cache")
    for name in ("a", "b"):
        assert hand.image(tmp_path / name, HOST).overflow == {}
    assert len(compilations) == 2 * PARTS


def test_an_entry_without_its_object_is_none(tmp_path, compilations):
    hand.image(tmp_path / "a", HOST)
    for entry in (tmp_path / "cache").glob("*.o"):
        entry.unlink()
    assert hand.image(tmp_path / "b", HOST).overflow == {}
    assert len(compilations) == 2 * PARTS


def test_the_oldest_entries_go(tmp_path, monkeypatch):
    cache = tmp_path / "cache"
    cache.mkdir()
    for age in range(5):
        (cache / f"{age}.o").write_bytes(bytes(100))
        os.utime(cache / f"{age}.o", (1000 - age, 1000 - age))
    monkeypatch.setattr(objects, "_MOST_BYTES", 250)
    objects._sweep(cache)  # noqa: SLF001 - it runs once in a while only
    assert sorted(path.name for path in cache.iterdir()) == ["0.o", "1.o"]


def test_processes_share_the_cache(tmp_path):
    code = (
        "import sys; from pathlib import Path; from tests import firmware_hand; from ecm_edge import targets;"
        "from ecm_edge.firmware import objects; objects.folder = lambda: Path(sys.argv[1]) / 'cache';"
        "firmware_hand.image(Path(sys.argv[1]) / sys.argv[2], targets.load('host'))"
    )
    started = [
        subprocess.Popen([sys.executable, "-c", code, str(tmp_path), f"{number}"])
        for number in range(multiprocessing.cpu_count() + 1)
    ]
    assert [process.wait() for process in started] == [0] * len(started)
    images = {(tmp_path / f"{number}" / "out" / "batch").read_bytes() for number in range(len(started))}
    assert len(images) == 1
    assert len(list((tmp_path / "cache").glob("*.o"))) == PARTS
    assert not list((tmp_path / "cache").glob(".*"))  # nothing half written


def test_the_cache_can_be_elsewhere(tmp_path, monkeypatch):
    monkeypatch.setenv("ECM_EDGE_CACHE", str(tmp_path / "mine"))
    assert objects.folder() == tmp_path / "mine" / "objects"
