"""The decision: every gate by itself, and what is written down either way."""

from __future__ import annotations

import json
import shutil

import pytest

from ecm_edge import targets
from ecm_edge.base import files
from ecm_edge.base.errors import CandidateError, DatasetError, ModelError, RegistryError
from ecm_edge.base.records import Evidence, Verdict, at_most, not_run
from ecm_edge.candidate import candidate
from ecm_edge.evaluate.score import score_model
from ecm_edge.evaluate.verify.records import TO_C, Hop, VerifyRecord, firmware_hops, to_target
from ecm_edge.firmware import emulate
from ecm_edge.firmware.fit_records import FirmwareRecord
from ecm_edge.forms import onnx_model
from ecm_edge.registry import registry
from ecm_edge.registry.costs import BOARD_LATENCY
from ecm_edge.registry.decision import PromoteRecord
from ecm_edge.registry.entries import Manifest, entry_name
from ecm_edge.registry.promote import promote
from ecm_edge.targets import FloatParity
from ecm_edge.training.out_of_fold import CrossValidationRecord
from tests import report_records, tiny
from tests.folds import write_folds

EVERYONE = [f"S{i}" for i in range(6)]
NAME = tiny.TARGET.name


@pytest.fixture
def dataset(tmp_path):
    return tiny.graded(tmp_path / "data", synthetic=False)


@pytest.fixture
def decide(tmp_path, dataset):
    """Promote a folder into the registry of this test."""

    def run(folder, **options):
        return promote(folder, dataset, tiny.TARGET, tmp_path / "registry", **options)

    return run


@pytest.fixture
def incumbent(tmp_path, dataset, decide):
    """A first entry that misses two tenths of the AF: accuracy 0.9, F1 0.89, Fβ 0.83, recall 0.8, precision 1."""
    return decide(tiny.ready(tmp_path / "first", dataset, column=2))


def gate(record, name):
    return next(gate for gate in record.gates if gate.name == name)


def failed(record):
    return [gate.name for gate in record.gates if gate.verdict == Verdict.FAIL]


def now(tmp_path):
    return registry.incumbent(tmp_path / "registry" / NAME)


def test_the_first_candidate_needs_no_comparison(incumbent, tmp_path):
    assert (incumbent.verdict, incumbent.entry, incumbent.replaces) == (Verdict.PASS, "100-80", None)
    assert gate(incumbent, "score").verdict == Verdict.NOT_RUN
    assert incumbent.comparison is None
    entry = tmp_path / "registry" / NAME / "entries" / "100-80"
    assert (entry / "model.int8.onnx").read_bytes() == (tmp_path / "first" / "model.int8.onnx").read_bytes()
    assert now(tmp_path).entry == "100-80"


def test_a_better_candidate_replaces_the_incumbent(incumbent, tmp_path, dataset, decide):
    record = decide(tiny.ready(tmp_path / "better", dataset, column=1))
    assert (record.verdict, record.entry, record.replaces) == (Verdict.PASS, "100-90", incumbent.entry)
    assert record.comparison.statistic == "detection_points"
    # Fβ 45/49 against 40/48, all three subjects above 0.9 against none: 25 x 2 x 0.085 + 15 points
    assert record.comparison.difference.value == pytest.approx(50 * (45 / 49 - 40 / 48) + 15)
    assert record.comparison.significant is True
    assert (record.comparison.subjects, record.comparison.segments) == (["S3", "S4", "S5"], 60)
    assert record.comparison.others["accuracy"].value == pytest.approx(0.05)
    assert record.reason.startswith("better by detection_points +19.252 (+19.252 … +19.252) on 3 subjects")
    assert now(tmp_path).entry == "100-90"


@pytest.mark.parametrize("column", [2, 3])
def test_an_equal_or_worse_candidate_is_refused(incumbent, tmp_path, dataset, decide, column):
    record = decide(tiny.ready(tmp_path / "other", dataset, column=column))
    assert (record.verdict, record.entry, failed(record)) == (Verdict.FAIL, None, ["score"])
    assert record.reason.startswith("score: ")
    assert now(tmp_path).entry == incumbent.entry
    last = registry.history(tmp_path / "registry" / NAME)[-1]
    assert (last.event, last.entry, last.reason) == ("refused", None, record.reason)


@pytest.mark.parametrize(("median_ms", "verdict"), [(1.05, "PASS"), (1.0501, "FAIL"), (0.1, "PASS")])
def test_latency_on_both_sides_of_its_tolerance(incumbent, tmp_path, dataset, decide, median_ms, verdict):
    del incumbent
    record = decide(tiny.ready(tmp_path / "better", dataset, column=1, median_ms=median_ms))
    assert gate(record, "latency_vs_incumbent").verdict == verdict
    assert record.verdict == verdict


def test_flash_and_ram_of_the_images_beyond_their_tolerance(tmp_path, dataset, decide, incumbent):
    del incumbent  # 60,000 B of flash, 500 B of RAM
    folder = tiny.ready(tmp_path / "wide", dataset, column=1)
    tiny.write_firmware(folder, flash_bytes=63_001, ram_bytes=551)
    record = decide(folder)
    assert failed(record) == ["flash_vs_incumbent", "ram_vs_incumbent"]
    assert gate(record, "flash_vs_incumbent").limit == pytest.approx(60_000 * 1.05)
    assert gate(record, "flash_vs_incumbent").detail.startswith("measured; ")


@pytest.mark.parametrize(("board_ms", "verdict"), [(2.0, "PASS"), (40.0, "FAIL")])
def test_where_costs_are_scored_a_dearer_candidate_has_to_be_worth_it(tmp_path, dataset, incumbent, board_ms, verdict):
    del incumbent  # 1 ms on the board
    budget = tiny.SCORED.budget.model_copy(update={"latency_ms": 100.0})
    board = tiny.SCORED.model_copy(update={"budget": budget})
    folder = tiny.ready(tmp_path / "dear", dataset, column=1, median_ms=2.0)
    tiny.write_firmware(folder, board, flash_bytes=90_000, board_ms=board_ms)
    tiny.write_verify(folder, dataset, judge=board)
    record = promote(folder, dataset, board, tmp_path / "registry")
    assert record.comparison, record.reason
    assert record.verdict == verdict
    score = gate(record, "score")
    ours, theirs = record.comparison.challenger.board_score, record.comparison.incumbent.board_score
    assert score.unit == "board_score"
    assert score.value == pytest.approx(ours.total - theirs.total)
    assert "by estimated latency and size" in score.detail
    assert gate(record, "flash_vs_incumbent").detail.endswith("the score counts what it costs")


def test_an_image_over_budget_is_refused(tmp_path, dataset, decide):
    folder = tiny.ready(tmp_path / "wide", dataset, column=1)
    tiny.write_firmware(folder, flash_bytes=tiny.TARGET.budget.flash_bytes + 1)
    assert failed(decide(folder)) == ["flash_bytes"]


def test_budgets_are_those_of_the_target_as_it_is_now(tmp_path, dataset, decide):
    folder = tiny.ready(tmp_path / "c", dataset)
    over = at_most("macs", 16, 15, "MAC")  # as an older, tighter target had it
    tiny.write_firmware(folder, verdict=Verdict.FAIL, gates=[over])
    assert failed(decide(folder)) == []
    tiny.write_firmware(folder, verdict=Verdict.FAIL, gates=[at_most("unaligned_accesses", 1, 0, "accesses")])
    assert failed(decide(folder)) == ["unaligned_accesses", "firmware"]


def test_what_did_not_run_is_not_excused_by_a_broken_budget(tmp_path, dataset, decide):
    folder = tiny.ready(tmp_path / "c", dataset)
    gates = [at_most("macs", 16, 15, "MAC"), not_run("unaligned_accesses", "no emulator")]
    tiny.write_firmware(folder, verdict=Verdict.FAIL, gates=gates)
    record = decide(folder)
    assert failed(record) == ["firmware"]
    assert "unaligned_accesses" in gate(record, "firmware").detail


def moved(folder):
    """The image is elsewhere than where an entry takes it from, and the record says so."""
    record = FirmwareRecord.load(folder / "firmware.json")
    forms = []
    for form in record.forms:
        path = folder.parent / f"{form.form}.elf"
        (folder / form.image.file).rename(path)
        forms.append(form.model_copy(update={"image": form.image.model_copy(update={"file": str(path)})}))
    record.model_copy(update={"forms": forms}).save(folder / "firmware.json")


def test_an_image_outside_the_candidate_is_none(tmp_path, dataset, decide):
    folder = tiny.ready(tmp_path / "c", dataset)
    moved(folder)
    assert failed(decide(folder)) == ["image_of_verified_sources"]


@pytest.mark.parametrize(
    "table",
    [
        {"parity": tiny.TARGET.parity.model_copy(update={"float32": FloatParity(max_abs=9, cos=0, label_flips=99)})},
        {"firmware": tiny.TARGET.firmware.model_copy(update={"emulator": None})},
    ],
    ids=["thresholds", "emulator"],
)
def test_a_verification_by_another_target_of_that_name_is_refused(tmp_path, dataset, decide, table):
    folder = tiny.ready(tmp_path / "c", dataset)
    tiny.write_verify(folder, dataset, judge=tiny.TARGET.model_copy(update=table))
    record = decide(folder)
    assert failed(record) == ["verified_for_target"]
    assert "verify again" in gate(record, "verified_for_target").detail


@pytest.mark.parametrize(("board_ms", "refused"), [(1.05, []), (1.0501, [BOARD_LATENCY]), (0.1, [])])
def test_estimated_board_latency_has_its_own_gate(incumbent, tmp_path, dataset, decide, board_ms, refused):
    del incumbent
    folder = tiny.ready(tmp_path / "better", dataset, column=1)
    tiny.write_firmware(folder, board_ms=board_ms)
    record = decide(folder)
    assert failed(record) == refused
    assert gate(record, BOARD_LATENCY).detail.startswith("estimated; ")
    assert gate(record, "latency_measured").detail == "measured: cpu"  # an estimate is never taken for it


def test_what_has_to_run_and_did_not_is_no_pass(incumbent, tmp_path, dataset, decide):
    folder = tiny.ready(tmp_path / "better", dataset, column=1)
    tiny.write_firmware(folder, instructions=None, reason="no emulator")
    record = decide(folder)
    assert (record.verdict, record.entry, failed(record)) == (Verdict.NOT_RUN, None, [])
    assert record.comparison is not None
    assert gate(record, BOARD_LATENCY).verdict == Verdict.NOT_RUN
    assert record.reason.startswith(f"{BOARD_LATENCY}: nothing was counted: no emulator; run `ecm-edge firmware build`")
    assert now(tmp_path).entry == incumbent.entry
    last = registry.history(tmp_path / "registry" / NAME)[-1]
    assert (last.event, last.entry, last.reason) == ("refused", None, record.reason)


def without_emulator():
    """The target with an emulator that is not installed anywhere."""
    emulator = tiny.TARGET.firmware.emulator.model_copy(update={"command": ["qemu-of-nowhere"]})
    return tiny.TARGET.model_copy(update={"firmware": tiny.TARGET.firmware.model_copy(update={"emulator": emulator})})


@pytest.mark.parametrize(("target", "verdict"), [(without_emulator(), Verdict.NOT_RUN), (tiny.TARGET, Verdict.PASS)])
def test_an_incumbent_that_was_not_counted_is_counted_now_or_stays(tmp_path, dataset, target, verdict):
    if verdict == Verdict.PASS and (missing := emulate.available(target)):
        pytest.skip(missing.reason)
    old, new = (tiny.ready(tmp_path / f"{column}", dataset, column=column) for column in (2, 1))
    for folder, figures in ((old, {"instructions": None, "reason": "none then"}), (new, {"board_ms": 1e-9})):
        tiny.write_firmware(folder, target, flash_bytes=1_000, ram_bytes=1, **figures)
        tiny.write_verify(folder, dataset, judge=target)
    first = promote(old, dataset, target, tmp_path / "registry")
    assert (first.verdict, gate(first, BOARD_LATENCY).detail) == (Verdict.PASS, "no incumbent yet")
    record = promote(new, dataset, target, tmp_path / "registry")
    assert (record.verdict, gate(record, BOARD_LATENCY).verdict, failed(record)) == (verdict, verdict, [])
    if verdict == Verdict.NOT_RUN:
        assert "nothing was counted of the incumbent: qemu-of-nowhere is not installed" in record.reason
        assert "run `ecm-edge promote` where the board's emulator is" in record.reason
        assert now(tmp_path).entry == first.entry


def test_this_host_needs_nothing_that_only_an_emulator_shows(tmp_path, dataset):
    host = targets.load("host")
    gates = [not_run(name, "host has no emulator") for name in ("stack_bound", "counts_repeatable")]
    for column, replaces in ((2, None), (1, "100-80")):
        folder = tiny.ready(tmp_path / f"{column}", dataset, column=column)
        not_counted = {"verdict": Verdict.NOT_RUN, "gates": gates, "instructions": None}
        tiny.write_firmware(folder, host, **not_counted)
        tiny.write_verify(
            folder, dataset, target="host", judge=host, passed=[*tiny.HOPS, *firmware_hops("float32", host)]
        )
        record = promote(folder, dataset, host, tmp_path / "registry")
        assert (record.verdict, record.replaces) == (Verdict.PASS, replaces)
        assert {gate(record, name).verdict for name in ("stack_bound", BOARD_LATENCY)} == {Verdict.NOT_RUN}
    tiny.write_firmware(folder, host, **{**not_counted, "gates": [*gates, not_run("memory_regions", "no compiler")]})
    assert failed(promote(folder, dataset, host, tmp_path / "registry")) == ["firmware"]


def test_the_entry_has_the_image_and_its_manifest_binds_it(incumbent, tmp_path):
    entry = tmp_path / "registry" / NAME / "entries" / incumbent.entry
    manifest = Manifest.load(entry / "manifest.json")
    assert manifest.image == incumbent.image
    assert (manifest.image.file, manifest.image.evidence) == (f"firmware/float32/{NAME}.elf", Evidence.EMULATED)
    assert files.sha256_file(entry / manifest.image.file) == manifest.image.sha256
    assert manifest.files[manifest.image.file] == manifest.image.sha256
    assert (entry / "firmware.json").exists()


def test_an_image_changed_in_the_registry_is_refused_by_name(incumbent, tmp_path, dataset, decide):
    (tmp_path / "registry" / NAME / "entries" / incumbent.entry / incumbent.image.file).write_bytes(b"other")
    with pytest.raises(RegistryError, match=rf"firmware/float32/{NAME}\.elf of .* changed"):
        decide(tiny.ready(tmp_path / "better", dataset, column=1))


def corrupt_image(folder):
    (folder / "firmware" / "float32" / f"{NAME}.elf").write_bytes(b"other")


def other_verified(folder):
    record = VerifyRecord.load(folder / "verify.json")
    firmware = [found.model_copy(update={"shipped_image": "3" * 64}) for found in record.firmware]
    record.model_copy(update={"firmware": firmware}).save(folder / "verify.json")


def few_emulated(folder):
    record = VerifyRecord.load(folder / "verify.json")
    firmware = [found.model_copy(update={"emulated_segments": 19}) for found in record.firmware]
    record.model_copy(update={"firmware": firmware}).save(folder / "verify.json")


@pytest.mark.parametrize(
    ("harm", "refused"),
    [
        (corrupt_image, ["image_of_verified_sources"]),
        (other_verified, ["image_of_verified_sources"]),
        (few_emulated, ["emulated_segments"]),
        (lambda folder: tiny.write_firmware(folder, verdict=Verdict.FAIL), ["firmware"]),
        (lambda folder: tiny.write_firmware(folder, verdict=Verdict.NOT_RUN, reason="no emulator"), ["firmware"]),
        (lambda folder: tiny.write_firmware(folder, model_sha256="4" * 64), ["firmware_of_model"]),
    ],
)
def test_an_image_that_is_not_what_was_verified_is_refused(tmp_path, dataset, decide, harm, refused):
    folder = tiny.ready(tmp_path / "c", dataset)
    harm(folder)
    record = decide(folder)
    assert failed(record) == refused
    assert now(tmp_path) is None


def test_a_missing_emulator_is_the_reason_of_the_refusal(tmp_path, dataset, decide):
    folder = tiny.ready(tmp_path / "c", dataset)
    record = VerifyRecord.load(folder / "verify.json")
    name = to_target("float32", NAME)
    hops = [
        hop.model_copy(update={"verdict": Verdict.NOT_RUN, "reason": "qemu-loongarch64 is not installed"})
        if hop.name == name
        else hop
        for hop in record.hops
    ]
    record.model_copy(update={"hops": hops}).save(folder / "verify.json")
    refused = decide(folder)
    assert failed(refused) == ["verified_hops"]
    assert f"{name} (qemu-loongarch64 is not installed)" in refused.reason


def test_without_firmware_for_this_target_nothing_is_decided(tmp_path, dataset, decide):
    folder = tiny.ready(tmp_path / "c", dataset)
    (folder / "firmware.json").unlink()
    with pytest.raises(CandidateError, match=r"no firmware\.json in .* Run first: `ecm-edge firmware build"):
        decide(folder)
    tiny.write_firmware(folder, targets.load("nucleo-l432kc"))
    with pytest.raises(CandidateError, match="needs its firmware in the form that would ship"):
        decide(folder)


def test_a_target_without_firmware_needs_none(tmp_path, dataset):
    plain = tiny.TARGET.model_copy(update={"firmware": None})
    folder = tiny.ready(tmp_path / "c", dataset)
    (folder / "firmware.json").unlink()
    tiny.write_verify(folder, dataset, passed=tiny.HOPS[:2], judge=plain)
    record = promote(folder, dataset, plain, tmp_path / "registry")
    assert (record.verdict, record.image) == (Verdict.PASS, None)
    assert BOARD_LATENCY not in {gate.name for gate in record.gates}


def test_an_incumbent_from_before_firmware_is_fitted_now(tmp_path, dataset):
    plain = tiny.TARGET.model_copy(update={"firmware": None})
    old = tiny.ready(tmp_path / "old", dataset, column=2)
    (old / "firmware.json").unlink()
    shutil.rmtree(old / "firmware")
    tiny.write_verify(old, dataset, judge=plain)
    assert promote(old, dataset, plain, tmp_path / "registry").verdict == Verdict.PASS
    entry = next((tmp_path / "registry" / NAME / "entries").iterdir())
    manifest = json.loads((entry / "manifest.json").read_text())
    assert manifest["image"] is None
    record = promote(tiny.ready(tmp_path / "new", dataset, column=1), dataset, tiny.TARGET, tmp_path / "registry")
    flash = gate(record, "flash_vs_incumbent")  # the old one's image is some KiB, the new one claims 60,000 B
    assert (flash.verdict, flash.limit < 20_000) == (Verdict.FAIL, True)
    assert flash.detail.startswith("measured; ")


def test_unlike_evidence_is_not_compared(incumbent, tmp_path, dataset, decide):
    del incumbent
    folder = tiny.ready(tmp_path / "better", dataset, column=1)
    tiny.write_bench(folder, source="another cpu")
    record = decide(folder)
    assert failed(record) == ["latency_vs_incumbent"]
    assert "unlike evidence: measured by another cpu against measured by cpu" in record.reason


def test_estimated_latency_is_no_evidence_for_a_gate_on_time(tmp_path, dataset, decide):
    folder = tiny.ready(tmp_path / "first", dataset)
    tiny.write_bench(folder, evidence="estimated")
    assert failed(decide(folder)) == ["latency_measured"]


def test_evidence_that_names_both_models_is_used_for_both(incumbent, tmp_path, dataset, decide):
    del incumbent
    folder = tiny.ready(tmp_path / "better", dataset, column=1, median_ms=9.0)
    slower = tmp_path / "first"
    tiny.write_bench(slower, median_ms=9.0)
    record = decide(folder, latency_files=[folder / "bench.json", slower / "bench.json"])
    assert record.verdict == Verdict.PASS


@pytest.mark.parametrize("how", ["absent", "other model", "{}", pytest.param("[" * 100_000, id="too deep")])
def test_without_evidence_nothing_is_decided(tmp_path, dataset, decide, how):
    folder = tiny.ready(tmp_path / "c", dataset)
    if how == "absent":
        (folder / "bench.json").unlink()
    elif how == "other model":
        tiny.write_bench(other := tiny.make_candidate(tmp_path / "other", dataset, column=1))
        (other / "bench.json").replace(folder / "bench.json")
    else:
        (folder / "bench.json").write_text(how)
    with pytest.raises(
        CandidateError, match=r"no bench\.json in|latency (evidence is|that was taken with exactly this model)"
    ):
        decide(folder)
    assert not (tmp_path / "registry").exists()


def test_a_failed_or_foreign_verification_is_refused(tmp_path, dataset, decide):
    folder = tiny.ready(tmp_path / "c", dataset)
    tiny.write_verify(folder, dataset, verdict=Verdict.FAIL, target="nucleo-l432kc")
    assert failed(decide(folder)) == ["verify", "verified_for_target"]
    other = tiny.graded(tmp_path / "other", subjects=7)
    tiny.write_verify(folder, other)
    assert failed(decide(folder)) == ["data_verified_on"]
    assert now(tmp_path) is None


@pytest.mark.parametrize(
    ("form", "passed", "refused"),
    [
        ("float32", [name for name in tiny.HOPS if "int8" not in name and "float16" not in name], []),
        ("float32", tiny.HOPS[1:], ["verified_hops"]),
        ("float32", [name for name in tiny.HOPS if name != TO_C["float32"]], ["verified_hops"]),
        ("int8", tiny.HOPS[:2], ["verified_hops"]),
        ("int8", [name for name in tiny.HOPS if "float16" not in name], []),
    ],
)
def test_what_ships_was_compared_with_pytorch_hop_by_hop(tmp_path, dataset, decide, form, passed, refused):
    folder = tiny.ready(tmp_path / "c", dataset)
    tiny.write_verify(folder, dataset, passed=passed)
    assert failed(decide(folder, form=form)) == refused


@pytest.mark.parametrize(("segments", "refused"), [(19, ["verified_segments"]), (20, [])])
def test_a_verification_on_a_sample_is_not_enough(tmp_path, dataset, decide, segments, refused):
    folder = tiny.ready(tmp_path / "c", dataset)
    record = VerifyRecord.load(folder / "verify.json")
    record.model_copy(update={"segments": segments}).save(folder / "verify.json")
    assert failed(decide(folder)) == refused


def test_a_verdict_that_its_hops_contradict_is_refused(tmp_path, dataset, decide):
    folder = tiny.ready(tmp_path / "c", dataset)
    record = VerifyRecord.load(folder / "verify.json")
    hop = Hop(name="simplified→int8", reference="simplified", other="int8", verdict=Verdict.FAIL)
    record.model_copy(update={"hops": [*record.hops, hop]}).save(folder / "verify.json")
    assert failed(decide(folder)) == ["verify"]


@pytest.mark.parametrize(("form", "refused"), [("float32", []), ("int8", ["verify", "verified_hops"])])
def test_what_fails_on_the_way_to_another_form_does_not_hold_back(tmp_path, dataset, decide, form, refused):
    folder = tiny.ready(tmp_path / "c", dataset)
    record = VerifyRecord.load(folder / "verify.json")
    hops = [
        hop.model_copy(update={"verdict": Verdict.FAIL}) if hop.name == "simplified→int8" else hop
        for hop in record.hops
    ]
    record.model_copy(update={"hops": hops, "verdict": Verdict.FAIL}).save(folder / "verify.json")
    assert failed(decide(folder, form=form)) == refused


def test_a_hop_that_its_gates_contradict_is_refused(tmp_path, dataset, decide):
    folder = tiny.ready(tmp_path / "c", dataset)
    record = VerifyRecord.load(folder / "verify.json")
    hop = record.hops[0].model_copy(update={"gates": [at_most("label_flips", 1, 0, "segments")]})
    record.model_copy(update={"hops": [hop, *record.hops[1:]]}).save(folder / "verify.json")
    assert failed(decide(folder)) == ["verify"]


def test_a_form_that_was_not_verified_is_refused(tmp_path, dataset, decide):
    folder = tiny.make_candidate(tmp_path / "c", dataset, forms=("int8",))
    tiny.write_verify(folder, dataset)
    tiny.make_candidate(tmp_path / "both", dataset)
    (tmp_path / "both" / "model.simplified.onnx").replace(folder / "model.simplified.onnx")
    tiny.write_bench(folder)
    tiny.write_firmware(folder)
    assert failed(decide(folder)) == ["verified_form", "image_of_verified_sources", "emulated_segments"]


def test_over_budget_is_refused(tmp_path, dataset):
    folder = tiny.ready(tmp_path / "c", dataset)
    tight = tiny.TARGET.model_copy(update={"budget": tiny.TARGET.budget.model_copy(update={"macs": 15})})
    record = promote(folder, dataset, tight, tmp_path / "registry")  # its cost.json speaks of the wider budget
    assert failed(record) == ["macs"]


@pytest.mark.parametrize("name", ["model.simplified.onnx", "model.int8.onnx"])
def test_a_model_changed_since_it_was_verified(tmp_path, dataset, decide, name):
    folder = tiny.ready(tmp_path / "c", dataset)
    config = candidate.load_config(folder)
    onnx_model.save(tiny.model(column=3, config_sha256=config.sha256), folder / name)
    tiny.write_bench(folder)
    with pytest.raises(CandidateError, match=f"{name} changed"):
        decide(folder)


def test_a_configuration_or_cost_changed_since_the_export(tmp_path, dataset, decide):
    folder = tiny.ready(tmp_path / "c", dataset)
    config = candidate.load_config(folder)
    config.model_copy(update={"seed": 1}).save(folder / "candidate.json")
    with pytest.raises(CandidateError, match=r"candidate\.json of .* changed since model\.simplified\.onnx"):
        decide(folder)
    config.save(folder / "candidate.json")
    tiny.write_firmware(folder, targets.load("nucleo-l432kc"))  # or its figures would count
    cost = folder / "cost.json"
    cost.write_text(cost.read_text().replace('"macs": 16', '"macs": 9'))
    with pytest.raises(CandidateError, match=r"9 MACs .* 16 in"):
        decide(folder)


def test_data_changed_since_it_was_written(tmp_path, dataset, decide):
    folder = tiny.ready(tmp_path / "c", dataset)
    path = dataset.folder / "samples.npy"
    content = path.read_bytes()
    path.write_bytes(content[:-1] + b"\x01")
    with pytest.raises(DatasetError, match=r"samples\.npy of .* changed"):
        decide(folder)


def test_only_subjects_that_neither_saw_are_compared(tmp_path, dataset, decide):
    decide(tiny.ready(tmp_path / "first", dataset, column=2, train=("S0", "S3"), validation=("S1",), test=("S2",)))
    record = decide(tiny.ready(tmp_path / "better", dataset, column=1))
    assert record.comparison.subjects == ["S4", "S5"]
    other = {"column": 0, "train": ("S4",), "validation": ("S2",), "test": ("S0", "S1")}
    none_left = decide(tiny.ready(tmp_path / "third", dataset, **other))
    assert failed(none_left) == ["score"]
    assert "every test subject of the challenger was trained or tuned on" in none_left.reason


def test_scores_that_are_not_finite_are_an_error(tmp_path, incumbent):
    del incumbent
    wild = tiny.data(tmp_path / "wild", {"A": [("AFIB", [3e38])], "B": [("N", [0.0])], "C": [("N", [0.0])]})
    folder = tiny.make_candidate(tmp_path / "c", wild, train=("B",), validation=("C",), test=("A",))
    config = candidate.load_config(folder)
    proto = tiny.model(scale=10.0, config_sha256=config.sha256)
    onnx_model.save(proto, folder / "model.simplified.onnx")
    tiny.write_verify(folder, wild)
    tiny.write_firmware(folder)
    tiny.write_bench(folder)
    with pytest.raises(ModelError, match="scores are finite"):
        promote(folder, wild, tiny.TARGET, tmp_path / "registry")


def test_a_target_without_a_rule_compares_mean_fbeta(tmp_path, dataset):
    plain = tiny.TARGET.model_copy(update={"score": None})
    for name, column in (("first", 2), ("better", 1)):
        folder = tiny.ready(tmp_path / name, dataset, column=column)
        tiny.write_verify(folder, dataset, judge=plain)
        record = promote(folder, dataset, plain, tmp_path / "registry")
    assert record.comparison.statistic == "fbeta_mean"
    assert record.comparison.difference.value == pytest.approx(45 / 49 - 40 / 48)
    assert record.comparison.challenger.board_score is None


def test_a_changed_incumbent_is_refused_by_name(incumbent, tmp_path, dataset, decide):
    (tmp_path / "registry" / NAME / "entries" / incumbent.entry / "candidate.json").write_text("{}")
    with pytest.raises(RegistryError, match=r"candidate\.json of .* changed"):
        decide(tiny.ready(tmp_path / "better", dataset, column=1))


def test_entry_names_round_down_and_skip_what_is_undefined(tmp_path):
    data = tiny.data(tmp_path / "d", {"A": [("AFIB", [1.0]), ("AFIB", [1.0]), ("AFIB", [-1.0])]})
    onnx_model.save(tiny.model(), tmp_path / "m.onnx")
    scores = score_model(tmp_path / "m.onnx", data).scores
    assert entry_name(scores) == "100-66"  # precision 1; accuracy and recall 2/3
    none = tiny.data(tmp_path / "n", {"A": [("N", [1.0])]})
    assert entry_name(score_model(tmp_path / "m.onnx", none).scores) == "100-00"  # mean Fβ 1 by rule; accuracy 0


def test_command_exit_codes(tmp_path, dataset, capsys):
    arguments = ["--data", dataset.folder, "--target", NAME, "--registry", tmp_path / "registry"]
    better = tiny.ready(tmp_path / "better", dataset, column=1)
    assert tiny.run(["promote", better, *arguments, "--json"]) == 0
    assert PromoteRecord.model_validate_json(capsys.readouterr().out).entry == "100-90"
    assert tiny.run(["promote", tiny.ready(tmp_path / "worse", dataset, column=4), *arguments]) == 1
    assert "refused" in capsys.readouterr().out
    uncounted = tiny.ready(tmp_path / "uncounted", dataset, column=0)
    tiny.write_firmware(uncounted, instructions=None)
    assert tiny.run(["promote", uncounted, *arguments]) == 1
    assert capsys.readouterr().out.startswith("NOT RUN: uncounted float32 refused")
    assert tiny.run(["promote", tmp_path / "absent", *arguments]) == 2
    (better / "bench.json").unlink()
    assert tiny.run(["promote", better, *arguments]) == 2


def refitted(folder, dataset, column, *, out_of_fold=None):
    """A candidate of all subjects, ready but for what is known of it out of fold: as if it misses so many tenths."""
    made = tiny.ready(folder, dataset, column=column, train=EVERYONE, validation=(), test=())
    tiny.write_verify(made, dataset, segments=120)
    trained_at(made, 0.5)
    return made if out_of_fold is None else write_folds(made, dataset, out_of_fold)


def trained_at(folder, threshold):
    record = report_records.training(candidate.load_config(folder))
    best = record.best.model_copy(update={"threshold": threshold})
    record.model_copy(update={"best": best}).save(folder / candidate.TRAINING)


def test_an_entry_of_a_candidate_of_all_subjects_is_named_after_its_scores_out_of_fold(tmp_path, dataset, decide):
    record = decide(refitted(tmp_path / "all", dataset, 0, out_of_fold=3))
    assert (record.verdict, record.entry) == (Verdict.PASS, "100-70")  # and not 100-100, which is what it was taught
    assert gate(record, "claim").detail.endswith("over 6 subjects, 6 with AF, out of fold")
    manifest = Manifest.load(tmp_path / "registry" / NAME / "entries" / "100-70" / "manifest.json")
    assert manifest.verdicts["claim"] == Verdict.PASS
    for name in ("folds.json", "folds.npz"):
        assert manifest.files[name] == files.sha256_file(tmp_path / "all" / name)


def test_a_candidate_of_all_subjects_that_claims_nothing_is_refused(tmp_path, dataset, decide):
    record = decide(refitted(tmp_path / "all", dataset, 0))
    assert failed(record) == ["claim"]
    assert now(tmp_path) is None


def test_a_claim_is_of_the_threshold_that_ships(tmp_path, dataset, decide):
    folder = refitted(tmp_path / "all", dataset, 0, out_of_fold=3)
    trained_at(folder, 0.0)
    record = decide(folder)
    assert failed(record) == ["claim"]
    assert "at the threshold 0, not 0.5" in gate(record, "claim").detail


def test_a_claim_is_counted_from_the_margins(tmp_path, dataset, decide):
    folder = refitted(tmp_path / "all", dataset, 0, out_of_fold=3)
    honest = gate(decide(folder), "claim").detail
    forged = CrossValidationRecord.load(folder / "folds.json")
    better = CrossValidationRecord.load(write_folds(refitted(tmp_path / "b", dataset, 0), dataset, 0) / "folds.json")
    forged.model_copy(update={"scores": better.scores}).save(folder / "folds.json")
    assert gate(decide(folder), "claim").detail == honest


def test_a_claim_that_was_changed_is_an_error(tmp_path, dataset, decide):
    folder = refitted(tmp_path / "all", dataset, 0, out_of_fold=3)
    write_folds(tiny.make_candidate(tmp_path / "other", dataset), dataset, 0)
    shutil.copy(tmp_path / "other" / "folds.npz", folder)
    with pytest.raises(CandidateError, match=r"folds\.npz stays as it was written"):
        decide(folder)


def test_all_training_segments_are_verified_where_there_is_no_validation(tmp_path, dataset, decide):
    folder = refitted(tmp_path / "all", dataset, 0, out_of_fold=3)
    tiny.write_verify(folder, dataset, segments=119)
    record = decide(folder)
    assert failed(record) == ["verified_segments"]
    assert gate(record, "verified_segments").limit == 120


@pytest.mark.parametrize(("column", "refused"), [(1, []), (2, ["score"]), (3, ["score"])])
def test_two_of_all_subjects_are_compared_out_of_fold(tmp_path, dataset, decide, column, refused):
    decide(refitted(tmp_path / "first", dataset, 0, out_of_fold=2))
    record = decide(refitted(tmp_path / "second", dataset, 0, out_of_fold=column))
    assert failed(record) == refused
    assert (record.comparison.basis, record.comparison.segments) == ("out_of_fold", 120)
    assert record.comparison.subjects == EVERYONE
    assert record.comparison.others["accuracy"].value == pytest.approx(0.05 * (2 - column))
    assert "6 subjects out of fold" in gate(record, "score").detail


def test_what_was_seen_in_training_is_never_compared(tmp_path, dataset, decide):
    decide(tiny.ready(tmp_path / "first", dataset, column=2))
    record = decide(refitted(tmp_path / "second", dataset, 0, out_of_fold=1))
    assert (failed(record), record.comparison) == (["score"], None)
    assert "out of fold nothing is known of the incumbent" in gate(record, "score").detail


def test_an_incumbent_of_all_subjects_is_met_out_of_fold(tmp_path, dataset, decide):
    decide(refitted(tmp_path / "first", dataset, 0, out_of_fold=2))
    record = decide(tiny.ready(tmp_path / "second", dataset, column=0))
    assert failed(record) == ["score"]
    assert (
        "trained or tuned on by the incumbent: use its split; and out of fold nothing is known of the challenger"
        in (gate(record, "score").detail)
    )
    known = write_folds(tiny.ready(tmp_path / "third", dataset, column=0), dataset, 1)
    record = decide(known)
    assert (record.verdict, record.comparison.basis) == (Verdict.PASS, "out_of_fold")
