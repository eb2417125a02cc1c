"""What promote builds, verifies and scores again: a record that does not agree is a FAIL that names the difference."""

from __future__ import annotations

from dataclasses import replace

import pytest

from ecm_edge import targets
from ecm_edge.base.records import Verdict
from ecm_edge.evaluate.evidence import read_latencies
from ecm_edge.evaluate.score import ScoreRecord, score_model
from ecm_edge.firmware import emulate, record
from ecm_edge.forms import export
from ecm_edge.registry import proof
from ecm_edge.registry.contender import open_challenger
from ecm_edge.registry.promote import promote
from tests import nets, tiny

BOARD = targets.load("loongson-2k0500")


@pytest.fixture(scope="module")
def challenger(tmp_path_factory):
    """A small candidate in float32, built and scored; read-only."""
    if missing := emulate.available(BOARD):
        pytest.skip(missing.reason)
    at = tmp_path_factory.mktemp("proof")
    data = nets.dataset(at / "data")
    folder = nets.make_candidate(at / "c", data)
    export.export_candidate(folder, data)
    record.build_candidate(folder, BOARD)
    score_model(folder, data, target=BOARD).save(folder / "score.json")
    tiny.write_bench(folder)
    return open_challenger(folder, "float32", read_latencies(folder / "bench.json"), data, BOARD)


def verdicts(gates):
    return {gate.name: gate.verdict for gate in gates}


def test_honest_records_come_out_again(challenger):
    proven = proof.prove(challenger)
    assert verdicts(proven.gates) == dict.fromkeys(proof.GATES, Verdict.PASS), proven.gates
    assert proven.seconds > 0


def test_forged_records_are_named(challenger):
    fit = challenger.fit
    counts = fit.instructions.model_copy(update={"total": fit.instructions.total - 1000})
    image = fit.image.model_copy(update={"sha256": "0" * 64})
    forged = fit.model_copy(update={"flash_bytes": fit.flash_bytes - 4, "instructions": counts, "image": image})
    gates = {gate.name: gate for gate in proof.firmware_again(replace(challenger, fit=forged))}
    assert {gate.verdict for gate in gates.values()} == {Verdict.FAIL}
    assert gates["image_anew"].detail.endswith("built here, 000000000000… on record; by the same compiler")
    assert gates["sizes_anew"].detail == f"flash_bytes {fit.flash_bytes - 4:,} on record, {fit.flash_bytes:,} here"
    total = fit.instructions.total
    assert gates["counts_anew"].detail == f"instructions {total - 1000:,} on record, {total:,} here"


@pytest.mark.parametrize("forged", ["accuracy", "model_sha256", "dataset_sha256"])
def test_a_forged_score_is_named(challenger, tmp_path, forged):
    honest = ScoreRecord.load(challenger.folder / "score.json")
    scores = honest.scores
    better = scores.model_copy(update={"accuracy": scores.accuracy.model_copy(update={"value": 0.99})})
    changed = {"accuracy": {"scores": better}}.get(forged, {forged: "0" * 64})
    for path in challenger.folder.iterdir():
        if path.is_file():
            (tmp_path / path.name).write_bytes(path.read_bytes())
    honest.model_copy(update=changed).save(tmp_path / "score.json")
    gate = proof.score_again(replace(challenger, folder=tmp_path))
    expected = {"accuracy": "accuracy 0.99 on record, ", "model_sha256": "score.json is of 000000000000…"}
    assert gate.verdict == (Verdict.PASS if forged == "dataset_sha256" else Verdict.FAIL)
    assert gate.detail.startswith(expected.get(forged, "mean Fβ "))


def test_a_model_that_is_not_the_exported_one_is_found_by_the_sample(challenger, tmp_path):
    for path in challenger.folder.iterdir():
        if path.is_file():
            (tmp_path / path.name).write_bytes(path.read_bytes())
    other = nets.make_candidate(tmp_path / "other", challenger.dataset, nets.trained(seed=1))
    (other / "checkpoint.safetensors").replace(tmp_path / "checkpoint.safetensors")
    gate = proof.verified_again(replace(challenger, folder=tmp_path))
    assert gate.verdict == Verdict.FAIL
    assert "pytorch→onnx" in gate.detail


def test_without_a_compiler_or_an_emulator_it_did_not_run(challenger):
    emulator = BOARD.firmware.emulator.model_copy(update={"command": ["qemu-of-nowhere"]})
    firmware = BOARD.firmware.model_copy(update={"emulator": emulator})
    gates = proof.firmware_again(replace(challenger, target=BOARD.model_copy(update={"firmware": firmware})))
    assert verdicts(gates)["counts_anew"] == Verdict.NOT_RUN
    assert verdicts(gates)["image_anew"] == Verdict.PASS


def test_promote_does_it_last_and_says_what_it_took(tmp_path, monkeypatch):
    data = tiny.graded(tmp_path / "data")
    failed = proof.not_run("image_anew", "no compiler")
    monkeypatch.setattr(proof, "prove", lambda _: proof.Proof([failed], 1.5))
    made = promote(tiny.ready(tmp_path / "c", data), data, tiny.TARGET, tmp_path / "registry")
    assert (made.verdict, made.entry, made.proof_s) == (Verdict.NOT_RUN, None, 1.5)
    assert made.reason == "image_anew: no compiler"
    over = tiny.ready(tmp_path / "over", data)
    tiny.write_firmware(over, flash_bytes=tiny.TARGET.budget.flash_bytes + 1)
    refused = promote(over, data, tiny.TARGET, tmp_path / "registry")
    assert refused.proof_s is None
    assert {gate.name for gate in refused.gates if gate.verdict == Verdict.NOT_RUN} > set(proof.GATES)
