"""Provenance and bills of materials are what their standards say, and say what the files are."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator
from google.protobuf import json_format
from in_toto_attestation.v1 import statement_pb2

from ecm_edge.base import files, installed, provenance
from ecm_edge.candidate.candidate import load_config
from ecm_edge.evaluate.score import ScoreRecord
from ecm_edge.registry import attestation, bom

SHELF = Path(__file__).parents[1] / "data/reference/loongson-2k0500"
ENTRY = SHELF / "entries" / json.loads((SHELF / "incumbent.json").read_text())["entry"]
ORIGIN = attestation.Origin(
    ["ecm-edge bundle m.onnx --target host"], {"model": "0" * 64}, "zig 1", provenance.collect(), {"form": "float32"}
)


def valid(text):
    assert JsonStrictValidator(SchemaVersion.V1_7).validate_str(text.decode()) is None
    return json.loads(text)


def entry_bom():
    config, score = load_config(ENTRY), ScoreRecord.load(ENTRY / "score.json")
    return bom.of_model("model.simplified.onnx", "ab" * 32, {"image/a.elf": "cd" * 32}, config, score)


def test_the_bill_of_the_tool_is_valid_and_whole():
    said = valid(bom.of_tool())
    names = {each["name"] for each in said["components"]}
    assert {"torch", "numpy", "onnx", "scikit-learn", "jinja2", "markupsafe"} <= names
    assert "pytest" not in names
    assert said["metadata"]["component"]["name"] == "ecm-edge"
    assert said["specVersion"] == "1.7"


def test_the_bill_of_an_entry_is_valid_and_has_its_figures():
    said = valid(entry_bom())
    card = said["metadata"]["component"]["modelCard"]
    score = ScoreRecord.load(ENTRY / "score.json").scores.fbeta_mean
    metrics = {each["type"]: each for each in card["quantitativeAnalysis"]["performanceMetrics"]}
    assert float(metrics["fbeta_mean"]["value"]) == pytest.approx(score.value, rel=1e-5)
    interval = metrics["fbeta_mean"]["confidenceInterval"]
    assert float(interval["lowerBound"]) == pytest.approx(score.low, rel=1e-5)
    assert float(interval["upperBound"]) == pytest.approx(score.high, rel=1e-5)
    assert card["considerations"]["useCases"] == ["atrial fibrillation in 5 s of single-lead ECG"]
    data = said["components"][0]
    assert data["hashes"] == [{"alg": "SHA-256", "content": load_config(ENTRY).dataset_sha256}]


def test_a_model_of_which_nothing_is_known_has_a_valid_bill():
    said = valid(bom.of_model("m.onnx", "ab" * 32, {}, None, None))
    assert said["components"] == []


def test_the_same_bill_has_the_same_bytes():
    assert entry_bom() == entry_bom()
    assert bom.of_tool() == bom.of_tool()


def test_the_schema_refuses_what_is_wrong():
    said = json.loads(entry_bom())
    said["components"][0]["type"] = "dataset"
    assert JsonStrictValidator(SchemaVersion.V1_7).validate_str(json.dumps(said)) is not None


def test_a_statement_is_in_totos_and_slsas():
    from in_toto_attestation.predicates.provenance.v1 import provenance_pb2

    text = attestation.statement({"b": "2" * 64, "a": "1" * 64}, ORIGIN)
    said = json_format.Parse(text, statement_pb2.Statement())  # unknown fields are errors
    assert said.type == "https://in-toto.io/Statement/v1"
    assert said.predicate_type == "https://slsa.dev/provenance/v1"
    assert [(each.name, each.digest["sha256"][0]) for each in said.subject] == [("a", "1"), ("b", "2")]
    predicate = json_format.ParseDict(json.loads(text)["predicate"], provenance_pb2.Provenance())
    assert predicate.build_definition.resolved_dependencies[0].digest["sha256"] == "0" * 64
    assert predicate.run_details.builder.version["compiler"] == "zig 1"
    assert predicate.build_definition.external_parameters["commands"][0].startswith("ecm-edge bundle")


def test_a_statement_has_neither_date_nor_place():
    text = attestation.statement({"a": "1" * 64}, ORIGIN).decode()
    assert provenance.collect().date_utc[:10] not in text
    assert str(Path.cwd()) not in text
    assert files.sha256_bytes(text.encode()) == files.sha256_bytes(attestation.statement({"a": "1" * 64}, ORIGIN))


def test_licences_are_named():
    licences = {installed.canonical(each): installed.licence(each) for each in installed.needed_by("ecm-edge")}
    assert licences["ecm-edge"] == "MIT"
    assert "BSD" in licences["numpy"]
