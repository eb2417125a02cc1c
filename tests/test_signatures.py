"""A signature holds for the folder that was signed, with the key that signed it, and for nothing else."""

from __future__ import annotations

import json
import os
import shutil
import sys
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


def test_an_archive_that_unpacks_to_much_is_refused(keys, tmp_path, monkeypatch):
    monkeypatch.setattr(signatures, "_MAX_BYTES", 1000)
    with zipfile.ZipFile(tmp_path / "b.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("b/x", bytes(1001))
    with pytest.raises(RegistryError, match="at most 1,000 bytes"):
        signatures.verify_bundle(tmp_path / "b.zip", keys[1])
