"""A signed entry is signed when it is the incumbent, and `registry check --key` says which are not."""

from __future__ import annotations

import json

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec

from ecm_edge.registry import signatures
from ecm_edge.registry.check import check
from ecm_edge.registry.papers import signer
from ecm_edge.registry.promote import promote
from tests import tiny


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A registry whose first entry is not signed and whose second is, and the keys."""
    at = tmp_path_factory.mktemp("signed")
    key = ec.generate_private_key(ec.SECP256R1())
    form, plain = serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    (at / "key.pem").write_bytes(key.private_bytes(serialization.Encoding.PEM, form, plain))
    public = serialization.PublicFormat.SubjectPublicKeyInfo
    (at / "key.pub").write_bytes(key.public_key().public_bytes(serialization.Encoding.PEM, public))
    dataset = tiny.graded(at / "data")
    first = promote(tiny.ready(at / "misses-1", dataset, column=1), dataset, tiny.TARGET, at / "registry")
    words = {"sign": signer(str(at / "key.pem"))}
    assert first.entry, [gate for gate in first.gates if gate.verdict != "PASS"]
    second = promote(tiny.ready(at / "misses-0", dataset, column=0), dataset, tiny.TARGET, at / "registry", **words)
    entries = at / "registry" / tiny.TARGET.name / "entries"
    return at, dataset, entries / first.entry, entries / second.entry


def test_the_signature_is_over_the_whole_entry(made):
    at, _, unsigned, signed = made
    assert signatures.check(signed, at / "key.pub") == ""
    assert "not signed" in signatures.check(unsigned, at / "key.pub")


def test_a_registry_with_signatures_is_whole_and_says_that_it_verified_none(made):
    record = check(made[0] / "registry")
    assert [(each.name, each.kind) for each in record.findings] == [("signature_not_run", "note")]
    assert record.verdict == "PASS"


def test_with_a_key_what_is_not_signed_is_named(made):
    at, _, unsigned, _ = made
    found = check(at / "registry", key=at / "key.pub").findings
    assert [(each.name, each.kind, each.where) for each in found] == [("signature", "damage", str(unsigned))]
    assert tiny.run(["registry", "check", at / "registry", "--key", at / "key.pub"]) == 1


def test_a_signed_entry_says_where_it_comes_from(made):
    papers = made[3] / "papers"
    said = json.loads((papers / "provenance.intoto.json").read_text())
    assert {"manifest.json", "candidate.json"} <= {each["name"] for each in said["subject"]}
    bill = json.loads((papers / "ml-bom.cdx.json").read_text())
    assert bill["metadata"]["component"]["type"] == "machine-learning-model"
    assert (papers / "sbom.cdx.json").is_file()


def test_promoted_again_with_a_key_the_incumbent_is_signed(made):
    at, dataset, _, signed = made
    (signed / "model.sig").unlink()
    promote(at / "misses-0", dataset, tiny.TARGET, at / "registry", sign=signer(str(at / "key.pem")))
    assert signatures.check(signed, at / "key.pub") == ""
