"""A bundle stands by itself: unpacked elsewhere, with any compiler, `make check` gives the same answers to the bit."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import jsonschema
import numpy as np
import pytest

from ecm_edge import targets
from ecm_edge.base import files
from ecm_edge.base.errors import CandidateError, FirmwareError, ModelError, OutputError, TargetError
from ecm_edge.candidate import candidate
from ecm_edge.cli import schemas
from ecm_edge.evaluate.verify import verify_candidate
from ecm_edge.firmware import elf, toolchain
from ecm_edge.firmware.record import build_candidate
from ecm_edge.forms import export, onnx_model
from ecm_edge.registry import bundle as bundles
from ecm_edge.registry import entries
from ecm_edge.registry.bundle import BundleManifest, bundle
from ecm_edge.registry.promote import promote

from . import nets, tiny
from .firmware_hand import needs

LOONGSON, CORTEX = targets.load("loongson-2k0500"), targets.load("nucleo-l432kc")
ZIG = f"{sys.executable} -m ziglang cc"

pytestmark = pytest.mark.skipif(shutil.which("cc") is None, reason="no C compiler here: apt-get install gcc")
needs_make = pytest.mark.skipif(shutil.which("make") is None, reason="no make here: apt-get install make")


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    """A small QDQ file; read-only."""
    path = tmp_path_factory.mktemp("bundle") / "af.onnx"
    onnx_model.save(nets.qdq_net(np.random.default_rng(0)), path)
    return path


@pytest.fixture(scope="module")
def packed(model, tmp_path_factory):
    """Its bundles, by target; read-only."""
    at = tmp_path_factory.mktemp("bundle")
    return {target.name: bundle(model, target, at / target.name) for target in (LOONGSON, CORTEX)}


@pytest.fixture
def elsewhere(packed, tmp_path):
    """A copy of the Loongson bundle in another place."""
    return shutil.copytree(packed[LOONGSON.name].out, tmp_path / "else where")


def test_a_model_that_changes_while_it_is_bundled_is_refused(model, tmp_path, monkeypatch):
    path = shutil.copy(model, tmp_path / "m.onnx")
    build = bundles._build  # noqa: SLF001 - the moment between the two readings

    def changed(*arguments):
        parts = build(*arguments)
        onnx_model.save(nets.qdq_net(np.random.default_rng(1)), tmp_path / "m.onnx")
        return parts

    monkeypatch.setattr(bundles, "_build", changed)
    with pytest.raises(CandidateError, match="a model stays as it was while it is bundled"):
        bundle(path, LOONGSON, tmp_path / "b")
    assert not (tmp_path / "b").exists()


def made(folder, *words):
    """Run make there without this package: nothing but the system's own programs is on the path.

    zig keeps what it built of its own libraries, which takes it a minute.
    """
    cache = toolchain.zig_environment(folder / "zig")
    environment = {"PATH": "/usr/bin:/bin", "HOME": str(folder), **cache}
    return subprocess.run(
        ["/usr/bin/env", "make", "-C", str(folder), *words],
        capture_output=True,
        text=True,
        check=False,
        env=environment,
    )


@needs_make
def test_unpacked_elsewhere_the_answers_are_the_same(elsewhere):
    done = made(elsewhere, "check")
    assert done.returncode == 0, done.stderr
    assert "every answer is the expected one, to the bit" in done.stdout
    assert "warning" not in done.stderr
    assert made(elsewhere).returncode == 0  # the serial program too


@needs_make
@pytest.mark.parametrize("words", [["CFLAGS=-std=c99 -O0 -ffp-contract=off"], [f"CC={ZIG}"]], ids=["-O0", "zig"])
def test_whatever_the_compiler_and_its_flags(elsewhere, words):
    assert made(elsewhere, "check", *words).returncode == 0


@needs_make
@pytest.mark.parametrize("target", [LOONGSON, CORTEX], ids=lambda target: target.name)
def test_make_board_builds_the_image_again(packed, tmp_path, target):
    folder = shutil.copytree(packed[target.name].out, tmp_path / "b")
    assert made(folder, "board", f"BOARD_CC={ZIG}").returncode == 0
    built = (folder / "build/board/serial.elf").read_bytes()
    shipped = (folder / packed[target.name].manifest.image).read_bytes()
    assert shipped == (elf.flat(built) if target is CORTEX else elf.stripped(built))


@needs_make
@pytest.mark.parametrize("target", [LOONGSON, CORTEX], ids=lambda target: target.name)
def test_with_zig_for_the_board_under_qemu(packed, tmp_path, target):
    needs(target)
    folder = shutil.copytree(packed[target.name].out, tmp_path / "b")
    done = made(folder, "check-board", f"BOARD_CC={ZIG}")
    assert done.returncode == 0, done.stderr
    assert "every answer of the emulated board" in done.stdout


@needs_make
def test_a_changed_weight_is_noticed(elsewhere):
    source = elsewhere / "src" / "model.c"
    head, opening, tail = source.read_text().partition(" = {\n")
    source.write_text(f"{head}{opening}1 + {tail.lstrip()}")
    done = made(elsewhere, "check")
    assert done.returncode != 0
    assert "differ" in done.stdout + done.stderr


def test_the_manifest_has_the_hash_of_every_file(packed, model):
    record = packed[LOONGSON.name]
    folder = Path(record.out)
    manifest = BundleManifest.load(folder / "manifest.json")
    assert manifest == record.manifest
    there = {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}
    assert there == {*manifest.files, "manifest.json"}
    assert all(files.sha256_file(folder / name) == digest for name, digest in manifest.files.items())
    assert (folder / "model" / "af.onnx").read_bytes() == model.read_bytes()
    assert {"README.txt", "LICENSE.txt", "Makefile", "src/model.c", "port/host.c"} <= set(manifest.files)
    assert not any(str(Path.home()) in (folder / name).read_text(errors="ignore") for name in manifest.files)


def test_the_readme_says_what_label_1_is(packed):
    """A file does not say its task."""
    assert (
        "Label 1 (positive) if scores[1] >= scores[0]" in (Path(packed[LOONGSON.name].out) / "README.txt").read_text()
    )


def test_the_emulated_board_gave_the_expected_answers(packed):
    for target in (LOONGSON, CORTEX):
        needs(target)
        assert {gate.name: gate.verdict for gate in packed[target.name].gates} == {
            "emulated_answers_differing": "PASS",
            "image_of_verified_sources": "NOT RUN",
        }


def test_an_archive_is_the_same_every_time(model, packed, tmp_path):
    records = [bundle(model, LOONGSON, tmp_path / folder / "af.zip") for folder in ("a", "b")]
    contents = [Path(record.out).read_bytes() for record in records]
    assert contents[0] == contents[1]
    assert records[0].archive_sha256 == hashlib.sha256(contents[0]).hexdigest()
    with zipfile.ZipFile(records[0].out) as archive:
        archive.extractall(tmp_path)
        assert {info.filename.partition("/")[0] for info in archive.infolist()} == {"af"}
    folder = Path(packed[LOONGSON.name].out)
    for name in packed[LOONGSON.name].manifest.files:
        assert (tmp_path / "af" / name).read_bytes() == (folder / name).read_bytes()


@pytest.fixture(scope="module")
def verified(tmp_path_factory):
    """A candidate that was exported, verified and built for the Loongson, and its data; read-only."""
    needs(LOONGSON)
    at = tmp_path_factory.mktemp("bundle")
    data = nets.dataset(at / "data")
    folder = nets.make_candidate(at / "c", data)
    export.export_candidate(folder, data)
    verify_candidate(folder, data, LOONGSON)
    build_candidate(folder, LOONGSON)
    return folder, data


def test_a_verified_candidate_is_bundled_with_its_records_and_its_very_image(verified, tmp_path):
    folder, _ = verified
    page = tmp_path / "page.html"
    page.write_text("<p>a report</p>")
    record = bundle(folder, LOONGSON, tmp_path / "b", report=page)
    assert [gate.verdict for gate in record.gates] == ["PASS", "PASS"]
    out = Path(record.out)
    assert (out / "report.html").read_text() == "<p>a report</p>"
    assert (out / "verify.json").read_bytes() == (folder / "verify.json").read_bytes()
    assert (out / "image/loongson-2k0500.elf").read_bytes() == (
        folder / "firmware/float32/loongson-2k0500.elf"
    ).read_bytes()
    assert os.access(out / "image/loongson-2k0500.elf", os.X_OK)


def test_what_is_promoted_is_what_was_verified_built_and_bundled(verified, tmp_path):
    source, data = verified
    folder = shutil.copytree(source, tmp_path / "c")
    tiny.write_bench(folder)
    record = promote(folder, data, LOONGSON, tmp_path / "registry", form="float32")
    assert record.verdict == "PASS", record.reason
    entry = tmp_path / "registry" / LOONGSON.name / "entries" / record.entry
    assert entries.check_entry(entry, files.sha256_file(entry / "manifest.json")).image == record.image
    packed = bundle(entry, LOONGSON, tmp_path / "b")
    assert [gate.verdict for gate in packed.gates] == ["PASS", "PASS"]
    assert files.sha256_file(Path(packed.out) / packed.manifest.image) == record.image.sha256


def test_an_image_that_is_not_the_verified_one_fails(verified, tmp_path):
    folder = shutil.copytree(verified[0], tmp_path / "c")
    noted = json.loads((folder / candidate.VERIFY).read_text())
    noted["firmware"][0]["shipped_image"] = "0" * 64
    (folder / candidate.VERIFY).write_text(json.dumps(noted))
    assert [gate.verdict for gate in bundle(folder, LOONGSON, tmp_path / "b").gates] == ["PASS", "FAIL"]


def test_what_cannot_be_bundled_leaves_nothing(model, tmp_path):
    out = tmp_path / "b"
    with pytest.raises(TargetError, match=r"\[firmware\]"):
        bundle(model, LOONGSON.model_copy(update={"firmware": None}), out)
    broken = LOONGSON.firmware.model_copy(update={"compiler": "no-such-cc"})
    with pytest.raises(FirmwareError, match="no-such-cc must be installed"):
        bundle(model, LOONGSON.model_copy(update={"firmware": broken}), out)
    with pytest.raises(ModelError):
        bundle(tmp_path / "none.onnx", LOONGSON, out)
    with pytest.raises(CandidateError):
        bundle(tmp_path, LOONGSON, out)
    assert list(tmp_path.iterdir()) == []
    out.mkdir()
    with pytest.raises(OutputError, match="exists"):
        bundle(model, LOONGSON, out)


def test_the_command(model, tmp_path, capsys):
    out = tmp_path / "b"
    given = ["bundle", str(model), "--target", LOONGSON.name]
    assert tiny.run([*given, "-o", str(out), "--json"]) == 0
    jsonschema.validate(json.loads(capsys.readouterr().out), schemas.schema("bundle"))
    assert tiny.run([*given, "-o", str(out)]) == 2
    assert tiny.run([*given, "-o", str(tmp_path / "c.zip"), "--report", str(tmp_path / "none.html")]) == 2
    assert not (tmp_path / "c.zip").exists()
    assert tiny.run([*given, "-o", str(tmp_path / "c.zip")]) == 0
    assert "SHA-256" in capsys.readouterr().out
