"""Fit: what the image and the emulator say, both sides of each limit, and what is missing said as missing."""

import json

import jsonschema
import numpy as np
import pytest
from onnx import helper

from ecm_edge import targets
from ecm_edge.base import files
from ecm_edge.base.errors import CandidateError, ModelError
from ecm_edge.base.records import Evidence, Verdict
from ecm_edge.candidate import candidate
from ecm_edge.cli import schemas
from ecm_edge.evaluate.bench import bench_candidate
from ecm_edge.evaluate.board_cost import board_cost
from ecm_edge.firmware import emulate, fit, fit_records, image_gate, record
from ecm_edge.firmware.boards import rank_boards
from ecm_edge.firmware.form_build import build_form
from ecm_edge.forms import cost, model_file, onnx_model
from tests import nets, tiny

LINUX, BARE = targets.load("loongson-2k0500"), targets.load("nucleo-l432kc")


def needs(target):
    """Skip where images of the target cannot be run."""
    missing = emulate.available(target)
    return pytest.mark.skipif(missing is not None, reason=missing.reason if missing else "")


BOARDS = [pytest.param(target, id=target.name, marks=needs(target)) for target in (LINUX, BARE)]


def net(channels=4, kernel=5, taps=2, samples=nets.T):
    """Convolution, ReLU, mean, and two scores."""
    rng = np.random.default_rng(1)
    weights = {
        "w": rng.normal(size=(channels, 1, kernel)).astype(np.float32),
        "b": rng.normal(size=channels).astype(np.float32),
        "g": rng.normal(size=(2, channels)).astype(np.float32),
        "axes": np.array([2]),
    }
    nodes = [
        nets.node("Conv", ["samples", "w", "b"], "h", strides=[taps]),
        nets.node("Relu", ["h"], "r"),
        nets.node("ReduceMean", ["r", "axes"], "m", keepdims=0),
        nets.node("Gemm", ["m", "g"], "scores", transB=1),
    ]
    return nets.graph(nodes, weights, shape=(1, 1, samples))


def wide(outputs, samples=1250):
    """A dense layer with samples x outputs weights."""
    weights = {"w": np.ones((samples, outputs), np.float32) / samples, "g": np.ones((outputs, 2), np.float32)}
    nodes = [nets.node("Flatten", ["samples"], "f"), nets.node("MatMul", ["f", "w"], "h"),
             nets.node("MatMul", ["h", "g"], "scores")]  # fmt: skip
    return nets.graph(nodes, weights, shape=(1, 1, samples))


def strange():
    """An operator that no C can be made of."""
    nodes = [
        helper.make_node("Flatten", ["samples"], ["f"]),
        helper.make_node("RandomNormalLike", ["f"], ["c"], name="odd_one"),
        helper.make_node("MatMul", ["c", "w"], ["scores"]),
    ]
    return nets.graph(nodes, {"w": np.ones((8, 2), np.float32)}, shape=(1, 1, 8))


def with_budget(target, **budget):
    return target.model_copy(update={"budget": target.budget.model_copy(update=budget)})


def with_firmware(target, **changes):
    return target.model_copy(update={"firmware": target.firmware.model_copy(update=changes)})


def saved(proto, path):
    onnx_model.save(proto, path)
    return path


def of(found, name):
    return next(gate for gate in found.gates if gate.name == name)


def broken(found):
    return {gate.name for gate in found.gates if gate.verdict == Verdict.FAIL}


@pytest.mark.parametrize("target", BOARDS)
def test_every_figure_adds_up(target, tmp_path):
    found = build_form(net(), target, tmp_path).record
    assert (found.verdict, found.reason, found.form) == (Verdict.PASS, "", "float32")
    layered = sum(layer.code_bytes + layer.constant_bytes for layer in found.layers)
    assert layered + found.model_bytes + found.other_bytes == found.flash_bytes
    assert found.sections.data + found.sections.bss == found.ram_bytes >= found.arena_bytes
    assert sum(layer.instructions for layer in found.layers) + found.instructions.rest == found.instructions.total
    assert max(layer.live_bytes for layer in found.layers) <= found.arena_bytes
    assert found.stack_high_water_bytes <= found.stack_bound_bytes <= found.stack_limit_bytes
    assert found.instructions_per_mac == found.instructions.total / found.macs
    assert (found.size_evidence, found.latency_ms.evidence) == (Evidence.MEASURED, Evidence.ESTIMATED)
    assert found.latency_ms.low_ms <= found.latency_ms.mean_ms <= found.latency_ms.high_ms


@needs(LINUX)
def test_a_form_that_is_not_there_is_made_of_the_float32_one(tmp_path):
    found = fit.fit_model(saved(net(), tmp_path / "m.onnx"), LINUX)
    assert [form.form for form in found.forms] == LINUX.precision
    assert found.verdict == Verdict.PASS
    assert found.fits == LINUX.precision
    given, *made = found.forms
    assert given.note == ""
    assert [form.note.split()[0] for form in made] == ["the", "quantised"]
    assert made[1].arena_bytes < given.arena_bytes


@needs(BARE)
def test_a_quantised_file_is_fitted_as_it_is(tmp_path):
    proto = nets.qdq_net(np.random.default_rng(0))
    found = fit.fit_model(saved(proto, tmp_path / "m.onnx"), BARE)
    assert [(form.form, form.note) for form in found.forms] == [("int8", "")]
    assert found.forms[0].model_sha256 == onnx_model.sha256(proto)
    with pytest.raises(ModelError, match="made of the float32 model"):
        fit.fit_model(tmp_path / "m.onnx", BARE, ["float32"])


@needs(LINUX)
def test_a_free_batch_axis_is_one_segment(tmp_path):
    proto = net()
    for value in (*proto.graph.input, *proto.graph.output):
        value.type.tensor_type.shape.dim[0].dim_param = "N"
    found = fit.fit_model(saved(proto, tmp_path / "m.onnx"), LINUX)
    assert found.fits == LINUX.precision
    assert found.forms[0].macs == cost.count(net()).macs


@needs(LINUX)
def test_weights_do_not_change_counts_or_sizes(tmp_path):
    one, other = net(), net()
    for tensor in other.graph.initializer:
        if tensor.name != "axes":
            values = np.float32(0.3) - onnx_model.onnx.numpy_helper.to_array(tensor)
            tensor.CopyFrom(onnx_model.onnx.numpy_helper.from_array(values, tensor.name))
    results = []
    for name, proto in (("a", one), ("b", other)):
        (tmp_path / name).mkdir()
        results.append(build_form(proto, LINUX, tmp_path / name).record)
    assert results[0].sections == results[1].sections
    assert results[0].instructions == results[1].instructions


@needs(LINUX)
@pytest.mark.parametrize("name", ["flash_bytes", "ram_bytes", "macs", "parameters"])
def test_both_sides_of_a_budget(name, tmp_path):
    for folder in ("fits", "breaks"):
        (tmp_path / folder).mkdir()
    used = getattr(build_form(net(), LINUX, tmp_path / "fits", form="float32").record, name)
    roomy, tight = with_budget(LINUX, **{name: used + 400}), with_budget(LINUX, **{name: used - 1})
    path = saved(net(), tmp_path / "m.onnx")
    assert fit.fit_model(path, roomy, ["float32"]).verdict == Verdict.PASS
    found = fit.fit_model(path, tight, ["float32"])
    assert found.verdict == Verdict.FAIL
    assert name in broken(found.forms[0])
    assert any("over" in sentence or "too many" in sentence for sentence in found.advice)


@needs(LINUX)
def test_the_estimate_is_held_to_the_latency_budget(tmp_path):
    found = fit.fit_model(saved(net(), tmp_path / "m.onnx"), with_budget(LINUX, latency_ms=1e-6), ["float32"])
    assert broken(found.forms[0]) == {"latency_ms"}
    assert found.advice[0].startswith("The estimate is ")
    assert "instructions (" in found.advice[0]


@needs(BARE)
def test_weights_above_the_flash(tmp_path):
    found = fit.fit_model(saved(wide(53), tmp_path / "m.onnx"), BARE)  # 259 KiB of float32, 65 KiB of int8
    by_form = {form.form: form for form in found.forms}
    assert broken(by_form["float32"]) == {"memory_regions", "flash_bytes"}
    assert of(by_form["float32"], "memory_regions").detail.startswith("FLASH by ")
    assert of(by_form["float32"], "unaligned_accesses").verdict == Verdict.NOT_RUN
    assert (found.ships, found.verdict) == ("int8", Verdict.PASS)
    alone = fit.fit_model(tmp_path / "m.onnx", BARE, ["float32", "int8"])
    assert alone.verdict == Verdict.FAIL
    assert alone.advice[-1] == "As int8 it fits: ship that form, or go on with --form int8."


@needs(BARE)
def test_an_arena_above_the_ram(tmp_path):
    found = fit.fit_model(saved(net(channels=32, taps=1, samples=1250), tmp_path / "m.onnx"), BARE, ["float32"])
    (form,) = found.forms
    assert "ram_bytes" in broken(form)
    assert "RAM by " in of(form, "memory_regions").detail
    assert form.instructions is None
    assert any(sentence.startswith("RAM is ") for sentence in found.advice)


def test_without_an_emulator_nothing_is_counted_and_nothing_passes_for_it(tmp_path):
    absent = LINUX.firmware.emulator.model_copy(update={"command": ["no-such-emulator"]})
    found = build_form(net(), with_firmware(LINUX, emulator=absent), tmp_path).record
    assert found.verdict == Verdict.NOT_RUN
    assert "no-such-emulator is not installed" in found.reason
    missing = {gate.name for gate in found.gates if gate.verdict == Verdict.NOT_RUN}
    assert missing == {"stack_high_water", "unaligned_accesses", "counts_repeatable"}
    assert found.size_evidence == Evidence.MEASURED
    assert "no-such-emulator" in found.latency_ms.source


def test_without_a_compiler_estimates_stand_in(tmp_path):
    found = build_form(net(), with_firmware(LINUX, compiler="no-such-compiler"), tmp_path).record
    assert (found.verdict, found.size_evidence, found.image) == (Verdict.NOT_RUN, Evidence.ESTIMATED, None)
    assert {"memory_regions", "stack_bound"} <= {g.name for g in found.gates if g.verdict == Verdict.NOT_RUN}
    assert found.arena_bytes > 0  # the plan is known without a compiler
    tight = with_budget(with_firmware(LINUX, compiler="no-such-compiler"), macs=1)
    (tmp_path / "tight").mkdir()
    assert build_form(net(), tight, tmp_path / "tight").record.verdict == Verdict.FAIL


def test_a_target_without_firmware_is_estimated(tmp_path):
    found = build_form(net(), LINUX.model_copy(update={"firmware": None}), tmp_path).record
    assert (found.verdict, found.size_evidence) == (Verdict.NOT_RUN, Evidence.ESTIMATED)


def test_an_operator_without_c_is_named(tmp_path):
    with pytest.raises(ModelError, match="odd_one"):
        build_form(strange(), LINUX, tmp_path)


@needs(LINUX)
def test_the_gate_takes_the_images_figures():
    costs = image_gate.gate_graph(net(), LINUX)
    assert (costs.verdict, costs.evidence, costs.form) == (Verdict.PASS, Evidence.MEASURED, "float32")
    assert costs.latency_ms.source.endswith("caches always hit")
    assert [(form.form, form.verdict) for form in costs.also] == [("int8", Verdict.PASS)]


def test_the_gate_does_not_build_what_counts_already_refuse():
    costs = image_gate.gate_graph(net(), with_budget(LINUX, macs=1))
    assert (costs.verdict, costs.evidence, costs.also) == (Verdict.FAIL, Evidence.ESTIMATED, [])


def test_the_gate_refuses_what_no_c_can_be_made_of():
    costs = image_gate.gate_graph(strange(), LINUX)
    assert costs.verdict == Verdict.FAIL
    assert "odd_one" in next(gate.detail for gate in costs.gates if gate.name == "firmware")


def test_the_gate_estimates_where_nothing_can_be_built():
    costs = image_gate.gate_graph(net(), with_firmware(LINUX, compiler="no-such-compiler"))
    assert (costs.verdict, costs.evidence) == (Verdict.PASS, Evidence.ESTIMATED)


@pytest.fixture
def made(tmp_path):
    """A candidate with a float32 and an int8 form."""
    return tiny.make_candidate(tmp_path / "c", tiny.graded(tmp_path / "d"))


@needs(LINUX)
def test_a_candidates_images_are_bound_by_their_hashes(made):
    built = record.build_candidate(made, LINUX)
    assert built == fit_records.load(made, LINUX)
    assert built.verdict == Verdict.PASS
    for form in ("float32", "int8"):
        found = built.of(form)
        assert found.image.file == f"firmware/{form}/{LINUX.name}.elf"
        assert files.sha256_file(made / found.image.file) == found.image.sha256
        assert found.image.size_bytes == found.flash_bytes
        assert found.model_sha256 == files.sha256_file(made / candidate.FORM_FILES[form])
        assert of(found, "emulated_answers_differing").value == 0
        assert of(found, "aligned_on_host").verdict == Verdict.PASS
    again = record.build_candidate(made, LINUX)
    assert [found.image for found in again.forms] == [found.image for found in built.forms]


@needs(LINUX)
@needs(BARE)
def test_a_build_for_another_board_replaces_the_images(made):
    record.build_candidate(made, LINUX)
    record.build_candidate(made, BARE)
    kept = sorted(path.relative_to(made).as_posix() for path in (made / candidate.IMAGES).rglob("*") if path.is_file())
    assert kept == [f"firmware/{form}/{BARE.name}.bin" for form in ("float32", "int8")]
    assert fit_records.load(made, LINUX) is None
    assert fit_records.load(made, with_budget(BARE, macs=5)) is None


@needs(LINUX)
def test_costs_are_those_of_the_image_while_it_is_this_models(made):
    record.build_candidate(made, LINUX)
    costs = board_cost(model_file.open_model(made, "int8"), LINUX)
    assert costs.evidence == Evidence.MEASURED
    assert costs.flash_bytes == (made / f"firmware/int8/{LINUX.name}.elf").stat().st_size
    facts = {"config_sha256": candidate.load_config(made).sha256}
    onnx_model.save(tiny.model(column=1, form="int8", **facts), made / candidate.FORM_FILES["int8"])
    assert board_cost(model_file.open_model(made, "int8"), LINUX).evidence == Evidence.ESTIMATED


@needs(LINUX)
def test_the_bench_tells_of_the_board_beside_the_host(made):
    record.build_candidate(made, LINUX)
    benched = bench_candidate(made, runs=2, warm_ups=0)
    boards = [form.on_board for form in benched.forms]
    assert [board.target for board in boards] == [LINUX.name] * 2
    assert all(sum(board.by_class.values()) == board.instructions for board in boards)
    assert (benched.board, benched.board_latency_ms) == (LINUX.name, boards[0].latency_ms)
    assert benched.board_latency_ms.evidence == Evidence.ESTIMATED
    other = bench_candidate(made, target=BARE, runs=2, warm_ups=0) if emulate.available(BARE) is None else None
    assert other is None or {form.on_board.target for form in other.forms} == {BARE.name}


def test_a_folder_without_any_form_cannot_be_built(tmp_path):
    folder = tiny.make_candidate(tmp_path / "c", tiny.graded(tmp_path / "d"), forms=())
    with pytest.raises(CandidateError, match="has its float32 or float16 or int8 form"):
        record.build_candidate(folder, LINUX)


@needs(LINUX)
def test_an_untrained_candidate_is_fitted_from_its_configuration(tmp_path):
    data = nets.dataset(tmp_path / "d")
    folder = nets.make_candidate(tmp_path / "c", data)
    found = fit.fit_model(folder, LINUX, ["float32"])
    assert found.verdict == Verdict.PASS
    assert found.forms[0].macs == cost.count(fit.open_models(folder)["float32"]).macs


def test_all_boards_are_ranked_those_that_it_fits_first(tmp_path, capsys):
    path = tmp_path / "af.onnx"
    onnx_model.save(nets.qdq_net(np.random.default_rng(0)), path)
    ranking = rank_boards(path)
    assert {row.target for row in ranking.boards} == set(targets.names()) - {"host"}
    order = [("PASS", "NOT RUN", "FAIL").index(row.verdict) for row in ranking.boards]
    assert order == sorted(order)
    for row in ranking.boards:
        board = targets.load(row.target)
        alone = fit.fit_model(path, board).forms[0]
        assert (row.form, row.flash_bytes, row.ram_bytes) == (alone.form, alone.flash_bytes, alone.ram_bytes)
        assert row.cycles == round(alone.latency_ms.mean_ms / 1000 * board.core.clock_hz)
        assert bool(row.why) == (row.verdict != "PASS")
    code = tiny.run(["fit", path, "--target", "all", "--json"])
    printed = json.loads(capsys.readouterr().out)
    jsonschema.validate(printed, schemas.schema("fit"))
    assert code == (1 if ranking.verdict == "FAIL" else 0)
    assert [row["target"] for row in printed["boards"]] == [row.target for row in ranking.boards]


def test_a_model_that_fits_no_board_fails(tmp_path, capsys):
    path = tmp_path / "large.onnx"
    onnx_model.save(wide(2000), path)
    assert tiny.run(["fit", path, "--target", "all"]) == 1
    said = capsys.readouterr().out
    assert said.startswith("FAIL: large.onnx on every board that ships")
    assert "macs" in said
