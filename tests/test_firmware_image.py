"""Image and stack: sizes add up, what must not be linked is found, and depth is bounded or the reason named."""

import pytest

from ecm_edge import targets
from ecm_edge.base.records import Verdict
from ecm_edge.firmware import count, stack
from ecm_edge.firmware import image as images
from ecm_edge.firmware.cores import cortex_m4
from ecm_edge.firmware.emulate import Unavailable
from tests import firmware_hand as hand

ALL = [targets.load(name) for name in targets.names()]
BOARDS = [target for target in ALL if target.name != "host"]
HOST = targets.load("host")


@pytest.mark.parametrize("target", ALL, ids=lambda target: target.name)
def test_sizes_add_up_and_the_arena_is_as_planned(tmp_path, target):
    image = hand.image(tmp_path, target, emulated=False)
    size = images.measure(image)
    layered = sum(layer.code_bytes + layer.constant_bytes for layer in size.layers)
    assert layered + size.model_bytes + size.other_bytes == size.sections.flash_bytes
    assert [layer.name for layer in size.layers] == ["model_layer_0_conv", "model_layer_1_gemm"]
    assert all(layer.code_bytes > 0 for layer in size.layers)
    assert size.sections.ram_bytes >= size.arena_bytes == 120
    assert images.arena_gate(image).verdict == Verdict.PASS
    assert images.forbidden_gate(image).verdict == Verdict.PASS


def test_a_bare_metal_image_fills_the_flash_that_is_said(tmp_path):
    image = hand.image(tmp_path, targets.load("nucleo-l432kc"), emulated=False)
    sections = images.sections_of(image)
    assert sections.flash_bytes <= image.shipped.stat().st_size < sections.flash_bytes + 16
    assert sections.stack_reserved == 4096


def test_an_arena_off_its_plan_fails(tmp_path):
    image = hand.image(tmp_path, HOST, source=hand.SOURCE.replace("model_arena[30]", "model_arena[31]"))
    assert images.arena_gate(image).verdict == Verdict.FAIL


def test_an_arena_that_a_compiler_keeps_in_registers_is_as_planned(tmp_path):
    image = hand.image(tmp_path, HOST, source=hand.SOURCE.replace("model_arena", "of_no_symbol"))
    gate = images.arena_gate(image)
    assert (gate.verdict, gate.detail) == (Verdict.PASS, "120 bytes planned, which the compiler keeps elsewhere")


@pytest.mark.parametrize("name", ["malloc", "free", "printf", "snprintf", "__printf_chk", "_malloc_r", "puts"])
def test_names_of_the_heap_and_of_stdio(name):
    assert images.FORBIDDEN.fullmatch(name)


@pytest.mark.parametrize("name", ["ecm_port_write", "model_free_1", "memcpy", "freeze", "read"])
def test_other_names(name):
    assert not images.FORBIDDEN.fullmatch(name)


def test_a_malloc_in_the_image_fails_by_name(tmp_path):
    source = hand.SOURCE.replace("const char model_version", "void *malloc(unsigned long);\nconst char model_version")
    source = source.replace("    TRACE(1,", "    scores[0] += malloc(8) != 0 ? 0.0f : 1.0f;\n    TRACE(1,")
    gate = images.forbidden_gate(hand.image(tmp_path, HOST, source=source, extra_flags=["-fno-builtin"]))
    assert (gate.verdict, gate.detail) == (Verdict.FAIL, "malloc")


@pytest.mark.parametrize("target", BOARDS, ids=lambda target: target.name)
def test_the_bound_holds_what_the_emulator_saw(tmp_path, target):
    image = hand.image(tmp_path, target)
    found = stack.bound(image)
    assert found.problems == []
    assert 0 <= found.inference_bytes <= found.program_bytes < 1024
    missing = count.available(image)
    if missing is not None:
        pytest.skip(missing.reason)
    seen = count.count(image, hand.segments(1)).stack_bytes
    assert [gate.verdict for gate in stack.gates(found, seen, 4096)] == [Verdict.PASS] * 2


def with_function(body, before=""):
    """The source with another function, `spoiled`, that the model calls."""
    text = f"{before}__attribute__((noinline)) static float spoiled(float x) {{ {body} }}\n"
    source = hand.SOURCE.replace("void model_run", f"{text}void model_run")
    return source.replace("    TRACE(1,", "    scores[0] += spoiled(samples[0]);\n    TRACE(1,")


ELSEWHERE = "float (*volatile other)(float);\n"


@pytest.mark.parametrize("target", BOARDS, ids=lambda target: target.name)
@pytest.mark.parametrize(
    ("before", "body", "problem"),
    [
        ("", "volatile float y = x; return y > 1.0f ? spoiled(y - 1.0f) * y : y;", "recursion: spoiled → spoiled"),
        (ELSEWHERE, "return other(x) + 1.0f;", "call through a pointer in spoiled"),
        (ELSEWHERE, "return other(x);", "call through a pointer in spoiled"),
        ("", "volatile float y[(int)x + 1]; y[0] = x; return y[0];", "unknown frame of spoiled"),
    ],
    ids=["recursion", "pointer", "tail call through a pointer", "variable array"],
)
def test_what_leaves_no_bound_is_named(tmp_path, target, before, body, problem):
    found = stack.bound(hand.image(tmp_path, target, source=with_function(body, before)))
    assert (found.inference_bytes, found.program_bytes) == (None, None)
    assert problem in found.problems
    gate, high_water = stack.gates(found, 100, 4096)
    assert (gate.verdict, high_water.verdict) == (Verdict.FAIL, Verdict.NOT_RUN)
    assert problem in gate.detail


def test_a_large_frame_is_in_the_bound(tmp_path):
    body = "volatile float y[500]; y[(int)x] = x; return y[3];"
    image = hand.image(tmp_path, BOARDS[1], source=with_function(body))
    found = stack.bound(image)
    assert found.inference_bytes >= 2000
    assert "spoiled" in found.deepest
    assert stack.gates(found, None, 1000)[0].verdict == Verdict.FAIL


@pytest.mark.parametrize("target", BOARDS, ids=lambda target: target.name)
def test_the_compilers_own_functions_are_in_the_bound(tmp_path, target):
    body = "volatile double y = x; volatile float z = x; return (float)(y / 3.0 + z) + (float)(long long)y;"
    image = hand.image(tmp_path, target, source=with_function(body))
    found = stack.bound(image)
    assert found.problems == []
    if target is BOARDS[1]:
        assert found.inference_bytes >= stack.bound(hand.image(tmp_path / "plain", target)).inference_bytes + 48
    missing = count.available(image)
    if missing is not None:
        pytest.skip(missing.reason)
    seen = count.count(image, hand.segments(1)).stack_bytes
    assert [gate.verdict for gate in stack.gates(found, seen, 4096)] == [Verdict.PASS] * 2


@pytest.mark.parametrize(
    ("first", "second", "moved"),
    [
        (0xB5F0, 0, 20),  # push {r4-r7, lr}
        (0xE92D, 0x0F00, 16),  # push.w {r8-r11}
        (0xB083, 0, 12),  # sub sp, #12
        (0xF84D, 0xBD04, 4),  # str r11, [sp, #-4]!
        (0xED2D, 0x8B04, 16),  # vpush {d8, d9}
        (0xF5AD, 0x7D00, 512),  # sub.w sp, sp, #512
        (0xF2AD, 0x4D04, 1028),  # subw sp, sp, #1028
        (0xF50D, 0x7D00, 0),  # add.w sp, sp, #512
        (0xB003, 0, 0),  # add sp, #12
        (0xAF03, 0, 0),  # add r7, sp, #12
        (0x46BD, 0, None),  # mov sp, r7
        (0xEBAD, 0x0D03, None),  # sub.w sp, sp, r3
        (0xF1A7, 0x0D08, None),  # sub.w sp, r7, #8
        (0xF5A1, 0x0200, 0),  # sub.w r2, r1, #8388608
    ],
)
def test_what_thumb_code_pushes_is_read(first, second, moved):
    assert cortex_m4.moves_down(first, second) == moved


def test_the_hosts_calls_are_not_read(tmp_path):
    found = stack.bound(hand.image(tmp_path, HOST))
    assert isinstance(found, Unavailable)
    assert {gate.verdict for gate in stack.gates(found, None, 1)} == {Verdict.NOT_RUN}
