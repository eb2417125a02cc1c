"""A signature holds for the folder that was signed, with the key that signed it, and for nothing else."""

from __future__ import annotations

import io
import json
import os
import shutil
import struct
import sys
import warnings
import zipfile

import jsonschema
import model_signing
import numpy as np
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa

from ecm_edge import targets
from ecm_edge.base.errors import RegistryError
from ecm_edge.cli import schemas
from ecm_edge.forms import onnx_model
from ecm_edge.registry import signatures
from ecm_edge.registry.bundle import bundle

from . import nets
from .tiny import run_for_output


def written(at, key):
    """A pair of keys as files: (private, public)."""
    private, public = at / "key.pem", at / "key.pub"
    plain = serialization.NoEncryption()
    private.write_bytes(key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, plain))
    form = serialization.PublicFormat.SubjectPublicKeyInfo
    public.write_bytes(key.public_key().public_bytes(serialization.Encoding.PEM, form))
    return str(private), public


@pytest.fixture(scope="module")
def keys(tmp_path_factory):
    return written(tmp_path_factory.mktemp("keys"), ec.generate_private_key(ec.SECP256R1()))


@pytest.fixture
def folder(keys, tmp_path):
    """A signed folder with files of all kinds."""
    at = tmp_path / "signed"
    (at / "image").mkdir(parents=True)
    for name in ("manifest.json", "image/a.bin", ".gitignore", ".hidden"):
        (at / name).write_text(name)
    signatures.sign(at, keys[0])
    return at


def test_what_was_signed_is_as_it_was_signed(folder, keys):
    assert signatures.is_signed(folder)
    assert signatures.check(folder, keys[1]) == ""


def test_what_is_signed_again_has_one_signature(folder, keys):
    (folder / "more").write_text("more")
    signatures.sign(folder, keys[0])
    assert signatures.check(folder, keys[1]) == ""


def test_the_library_itself_verifies_it(folder, keys):
    hashing = model_signing.hashing.Config().set_ignored_paths(paths=["model.sig"], ignore_git_paths=False)
    verifying = model_signing.verifying.Config().use_elliptic_key_verifier(public_key=keys[1])
    verifying.set_hashing_config(hashing).verify(folder, folder / "model.sig")
    (folder / "image/a.bin").write_text("other")
    with pytest.raises(ValueError, match="Hash mismatch"):
        verifying.set_hashing_config(hashing).verify(folder, folder / "model.sig")


DAMAGE = {
    "changed": (lambda at: (at / "image/a.bin").write_text("other"), "Hash mismatch for 'image/a.bin'"),
    "removed": (lambda at: (at / "manifest.json").unlink(), "Missing files"),
    "added": (lambda at: (at / "image/b.bin").write_text("b"), "Extra files"),
    "added, of Git": (lambda at: (at / ".gitattributes").write_text("b"), "Extra files"),
    "changed, of Git": (lambda at: (at / ".gitignore").write_text("b"), "Hash mismatch"),
    "hidden": (lambda at: (at / ".hidden").write_text("b"), "Hash mismatch"),
    "renamed": (lambda at: (at / "image/a.bin").rename(at / "image/c.bin"), "Extra files"),
    "a link": (lambda at: (at / "l").symlink_to("/etc/passwd"), "l is neither a file nor a folder"),
    "a pipe": (lambda at: os.mkfifo(at / "p"), "p is neither a file nor a folder"),
    "no signature": (lambda at: (at / "model.sig").unlink(), "it is not signed"),
    "a signature of noise": (lambda at: (at / "model.sig").write_bytes(bytes(range(256))), ""),
    "an empty signature": (lambda at: (at / "model.sig").write_bytes(b""), ""),
    "a signature that is deep": (lambda at: (at / "model.sig").write_text("[" * 100_000), ""),
    "a signature that is large": (
        lambda at: (at / "model.sig").write_bytes(b" " * ((1 << 24) + 1)),
        "more than 16,777,216 bytes",
    ),
}


@pytest.mark.parametrize("kind", DAMAGE)
def test_damage_is_found(folder, keys, kind):
    damage, said = DAMAGE[kind]
    damage(folder)
    wrong = signatures.check(folder, keys[1])
    assert wrong
    assert said in wrong
    assert "\n" not in wrong


def test_the_payload_of_another_folder_under_our_signature_is_found(folder, keys, tmp_path):
    other = shutil.copytree(folder, tmp_path / "other")
    (other / "manifest.json").write_text("other")
    signatures.sign(other, keys[0])
    mixed, theirs = (json.loads((at / "model.sig").read_text()) for at in (folder, other))
    mixed["dsseEnvelope"]["payload"] = theirs["dsseEnvelope"]["payload"]
    (other / "model.sig").write_text(json.dumps(mixed))
    assert signatures.check(other, keys[1])


def test_another_key_is_another_owner(folder, tmp_path):
    _, public = written(tmp_path, ec.generate_private_key(ec.SECP256R1()))
    assert "Key mismatch" in signatures.check(folder, public)


@pytest.mark.parametrize(
    "make", [lambda: rsa.generate_private_key(65537, 2048), lambda: ec.generate_private_key(ec.SECP256K1())]
)
def test_keys_of_other_kinds_are_refused(tmp_path, make):
    private, public = written(tmp_path, make())
    with pytest.raises(RegistryError, match="elliptic curve"):
        signatures.check_private_key(private)
    with pytest.raises(RegistryError, match="elliptic curve"):
        signatures.check_public_key(public)


def test_no_key_is_said(tmp_path):
    with pytest.raises(RegistryError, match="openssl"):
        signatures.check_private_key(str(tmp_path / "none.pem"))
    with pytest.raises(RegistryError, match="openssl"):
        signatures.check_public_key(tmp_path)
    with pytest.raises(RegistryError, match="pkcs11"):
        signatures.check_private_key("pkcs11:token=none;object=key?module-path=/none.so&pin-value=1234")


def test_without_the_library_it_says_how_to_install_it(monkeypatch, folder, keys):
    monkeypatch.setitem(sys.modules, "model_signing", None)
    with pytest.raises(RegistryError, match=r"pip install 'ecm-edge\[sign\]'"):
        signatures.check(folder, keys[1])
    with pytest.raises(RegistryError, match=r"pip install 'ecm-edge\[sign\]'"):
        signatures.sign(folder, keys[0])


def test_what_is_too_large_is_neither_signed_nor_read(folder, keys):
    with (folder / "large").open("wb") as stream:
        stream.truncate((1 << 30) + 1)
    assert "of at most 1,073,741,824" in signatures.check(folder, keys[1])
    with pytest.raises(RegistryError, match="at most 1,073,741,824 bytes"):
        signatures.sign(folder, keys[0])


def test_a_folder_with_a_link_is_not_signed(folder, keys):
    (folder / "l").symlink_to("manifest.json")
    with pytest.raises(RegistryError, match=r"l in .*signed"):
        signatures.sign(folder, keys[0])


@pytest.fixture(scope="module")
def bundles(keys, tmp_path_factory):
    """One bundle as a folder and as an archive, signed."""
    at = tmp_path_factory.mktemp("bundles")
    onnx_model.save(nets.qdq_net(np.random.default_rng(0)), at / "af.onnx")
    host = targets.load("host")
    for out in (at / "b", at / "b.zip"):
        bundle(at / "af.onnx", host, out, sign=keys[0])
    return at


def test_a_bundle_has_its_papers(bundles):
    said = json.loads((bundles / "b" / "provenance.intoto.json").read_text())
    hashes = json.loads((bundles / "b" / "manifest.json").read_text())["files"]
    named = {each["name"]: each["digest"]["sha256"] for each in said["subject"]}
    papers = {"provenance.intoto.json", "sbom.cdx.json", "ml-bom.cdx.json"}
    assert named == {name: digest for name, digest in hashes.items() if name not in papers}
    assert papers <= set(hashes)


@pytest.mark.parametrize("name", ["b", "b.zip"])
def test_a_bundle_is_verified_by_the_command(bundles, keys, name):
    code, text = run_for_output("verify-bundle", bundles / name, "--key", keys[1])
    assert code == 0
    assert "every file is as it was signed" in text


def test_a_changed_archive_is_found_by_the_command(bundles, keys, tmp_path):
    changed = tmp_path / "changed.zip"
    with zipfile.ZipFile(bundles / "b.zip") as old, zipfile.ZipFile(changed, "w") as new:
        for name in old.namelist():
            new.writestr(name, old.read(name) + (b" " if name.endswith("manifest.json") else b""))
    code, text = run_for_output("verify-bundle", changed, "--key", keys[1], "--json")
    assert code == 1
    assert json.loads(text)["gates"][0]["verdict"] == "FAIL"
    jsonschema.validate(json.loads(text), schemas.schema("verify-bundle"))


BAD = {
    "two folders": {"a/x": b"", "b/x": b""},
    "a file": {"x": b""},
    "nothing": {},
    "a way out": {"../x/y": b""},
}


@pytest.mark.parametrize("kind", BAD)
def test_archives_that_are_no_bundle_are_refused(kind, keys, tmp_path):
    with zipfile.ZipFile(tmp_path / "b.zip", "w") as archive:
        for name, content in BAD[kind].items():
            archive.writestr(name, content)
    code, text = run_for_output("verify-bundle", tmp_path / "b.zip", "--key", keys[1])
    assert (code, "not signed" in text) in {(2, False), (1, True)}
    assert sorted(path.name for path in tmp_path.iterdir()) == ["b.zip"]


def member(name, content=b"x", *, mode=0o100644, method=zipfile.ZIP_STORED, extra=b""):
    info = zipfile.ZipInfo("x")
    info.filename = name  # as it is: its own constructor changes some
    info.external_attr, info.compress_type, info.extra = mode << 16, method, extra
    return info, content


AMBIGUOUS = {
    "twice": ([member("b/x", b"ours"), member("b/x", b"theirs")], "more than once"),
    "twice but for capitals": ([member("b/x"), member("b/X")], "more than once"),
    "a file and a folder": ([member("b/x"), member("b/x/", b"", mode=0o40755)], "more than once"),
    "a dot": ([member("b/x"), member("b/./x")], "'b/./x'"),
    "two dots": ([member("b/x"), member("b/y/../x")], "'b/y/../x'"),
    "two slashes": ([member("b/x"), member("b//x")], "'b//x'"),
    "a backslash": ([member("b/x"), member("b/y\\..\\x")], "y"),
    "a line feed": ([member("b/x\nPASS: signature")], "PASS"),
    "a link": ([member("b/x", mode=0o120777)], "neither a file nor a folder"),
    "a device": ([member("b/x", mode=0o20666)], "neither a file nor a folder"),
    "bzip2": ([member("b/x", bytes(1000), method=zipfile.ZIP_BZIP2)], "method 12"),
    "LZMA": ([member("b/x", bytes(1000), method=zipfile.ZIP_LZMA)], "method 14"),
    "a second name": ([member("b/x", extra=struct.pack("<HHBL", 0x7075, 8, 1, 0) + b"b/y")], "0x7075"),
    "no extra field": ([member("b/x", extra=b"\x55\x54\x09")], "0x0000"),
}


@pytest.mark.parametrize("kind", AMBIGUOUS)
def test_archives_that_programs_unpack_differently_are_refused(kind, keys, tmp_path):
    members, said = AMBIGUOUS[kind]
    with warnings.catch_warnings(), zipfile.ZipFile(tmp_path / "b.zip", "w") as archive:
        warnings.simplefilter("ignore")  # of `zipfile`, at a name that is there
        for info, content in members:
            archive.writestr(info, content)
    with pytest.raises(RegistryError, match="every program unpacks the archive") as problem:
        signatures.verify_bundle(tmp_path / "b.zip", keys[1])
    assert said in problem.value.found


@pytest.mark.parametrize(("at", "name"), [(6, "flags"), (8, "method"), (14, "checksum"), (18, "packed"), (22, "bytes")])
def test_an_archive_that_says_two_things_of_a_member_is_refused(bundles, keys, tmp_path, at, name):
    content = bytearray((bundles / "b.zip").read_bytes())
    content[at] ^= 1
    (tmp_path / f"{name}.zip").write_bytes(content)
    with pytest.raises(RegistryError, match="another description in front of it"):
        signatures.verify_bundle(tmp_path / f"{name}.zip", keys[1])


def test_an_archive_that_another_program_packed_again_is_verified(bundles, keys, tmp_path):
    shutil.make_archive(tmp_path / "again", "zip", bundles, "b")
    assert signatures.verify_bundle(tmp_path / "again.zip", keys[1]).verdict == "PASS"


class Pipe(io.RawIOBase):
    """A stream that nobody can go back in: what is written to it has its sizes behind each member."""

    def __init__(self, path):
        self.file = path.open("wb")

    def writable(self):
        return True

    def write(self, content):
        return self.file.write(content)

    def close(self):
        self.file.close()


def test_an_archive_that_was_written_into_a_pipe_with_times_and_owners_is_verified(bundles, keys, tmp_path):
    times, owners = struct.pack("<HHBL", 0x5455, 5, 1, 0), struct.pack("<HHBBHBH", 0x7875, 7, 1, 2, 0, 2, 0)
    with Pipe(tmp_path / "b.zip") as pipe, zipfile.ZipFile(pipe, "w") as archive:
        for path in sorted((bundles / "b").rglob("*")):
            content = path.read_bytes() if path.is_file() else b""
            name = f"b/{path.relative_to(bundles / 'b').as_posix()}{'/' if path.is_dir() else ''}"
            mode = 0o40755 if path.is_dir() else 0o100644
            archive.writestr(*member(name, content, mode=mode, method=zipfile.ZIP_DEFLATED, extra=times + owners))
    assert zipfile.ZipFile(tmp_path / "b.zip").infolist()[0].flag_bits & 8
    assert signatures.verify_bundle(tmp_path / "b.zip", keys[1]).verdict == "PASS"


def test_a_large_archive_is_not_opened(keys, tmp_path):
    with (tmp_path / "b.zip").open("wb") as stream:
        stream.truncate((1 << 28) + 1)
    with pytest.raises(RegistryError, match="an archive has at most 268,435,456 bytes"):
        signatures.verify_bundle(tmp_path / "b.zip", keys[1])


def test_an_archive_that_unpacks_to_much_is_refused(keys, tmp_path, monkeypatch):
    monkeypatch.setattr(signatures, "_MAX_BYTES", 1000)
    with zipfile.ZipFile(tmp_path / "b.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("b/x", bytes(1001))
    with pytest.raises(RegistryError, match="1,000 in 10,000 files unpacked; found 1,001 bytes"):
        signatures.verify_bundle(tmp_path / "b.zip", keys[1])
