"""What an image takes on its board is what benchmarks/counts.json says, to the byte and to the instruction."""

import json

import numpy as np
import onnx
import pytest
from onnx import numpy_helper

from benchmarks import counts, firmware_nets
from ecm_edge import targets
from ecm_edge.firmware import emulate, toolchain
from ecm_edge.forms import onnx_model
from ecm_edge.registry import entries

BUILDS = {build.name: build for build in counts.builds()}
RENEW = "python -m benchmarks.counts --write renews the file; the commit says what changed it"


def test_every_build_has_its_count_and_every_count_its_build():
    assert list(counts.load().counts) == list(BUILDS), RENEW


def test_the_images_are_made_by_the_compiler_that_the_counts_name():
    assert toolchain.version(counts.COMPILER) == counts.load().compiler, RENEW


FLOATS = [name for name, build in BUILDS.items() if build.entry and build.form != "int8"]
"""Of entries. The arithmetic of int8 changed since they were promoted, and neither of them ships int8."""


@pytest.mark.parametrize("name", BUILDS)
def test_a_build_takes_what_is_expected_and_an_entry_is_built_again_byte_for_byte(name):
    build = BUILDS[name]
    if missing := emulate.available(targets.load(build.board)):
        pytest.skip(missing.reason)
    found, sha256 = counts.counted(build)
    assert found == counts.load().counts[name], RENEW
    if name in FLOATS:
        assert sha256 == recorded(build)["image"]["sha256"]


def test_what_entries_ship_is_among_what_is_built_again():
    for entry in {build.entry for build in BUILDS.values() if build.entry}:
        ships = entries.Manifest.load(entry / entries.MANIFEST).form
        assert [build.form for build in map(BUILDS.get, FLOATS) if build.entry == entry].count(ships) == 1


@pytest.mark.parametrize("name", FLOATS)
def test_the_record_of_an_entry_has_the_same_figures(name):
    record = recorded(BUILDS[name])
    same = ("flash_bytes", "ram_bytes", "arena_bytes", "stack_bound_bytes", "stack_high_water_bytes")
    assert counts.load().counts[name] == counts.Count(
        instructions=record["instructions"]["total"],
        image_bytes=record["image"]["size_bytes"],
        **{figure: record[figure] for figure in same},
    )


def recorded(build):
    """The form in the entry's firmware.json."""
    forms = {form["form"]: form for form in json.loads((build.entry / "firmware.json").read_text())["forms"]}
    assert set(forms) == {other.form for other in BUILDS.values() if other.entry == build.entry}
    return forms[build.form]


def test_differences_are_named_in_both_directions():
    expected = counts.load()
    first, second, *rest = expected.counts
    changed = expected.counts[first].model_copy(update={"instructions": 1})
    found = counts.Counts(
        compiler="other", counts={first: changed, "new": changed, **{n: expected.counts[n] for n in rest}}
    )
    lines = list(counts.differences(expected, found))
    assert lines[:2] == [
        f"compiler: {expected.compiler} → other",
        f"{first}: instructions {expected.counts[first].instructions} → 1",
    ]
    assert {line.split(": ")[0] for line in lines[2:]} == {second, "new"}
    assert list(counts.differences(expected, expected)) == []


def test_the_file_reads_back():
    assert counts.Counts.model_validate_json(counts.text(counts.load())) == counts.load()
    assert counts.PATH.read_text() == counts.text(counts.load())


def test_the_nets_are_those_that_their_code_makes():
    """But for roundings: the calibration of an int8 form is a sum in float32, whose order is the host's."""
    made = firmware_nets.made()
    assert {path.name for path in firmware_nets.FOLDER.iterdir()} == set(made)
    for file, model in made.items():
        kept = onnx.load(firmware_nets.FOLDER / file)
        assert onnx_model.op_counts(kept) == onnx_model.op_counts(model)
        for ours, theirs in zip(kept.graph.initializer, model.graph.initializer, strict=True):
            assert (ours.name, ours.data_type) == (theirs.name, theirs.data_type)
            values = [numpy_helper.to_array(tensor).astype(np.float64) for tensor in (ours, theirs)]
            step = 1e-6 if ours.data_type == onnx.TensorProto.FLOAT else 1
            np.testing.assert_allclose(*values, rtol=1e-4, atol=step)
