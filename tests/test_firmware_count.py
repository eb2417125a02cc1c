"""Count: exact to the instruction, the same each time, by class and by layer; and the decoders it rests on."""

import numpy as np
import pytest

from ecm_edge import targets
from ecm_edge.base.errors import FirmwareError, TargetError
from ecm_edge.base.records import Evidence
from ecm_edge.firmware import count, cycles
from ecm_edge.firmware.cores import CORES, decode
from ecm_edge.firmware.cores.cortex_m4 import thumb16, thumb32
from ecm_edge.firmware.cores.loongarch64 import loongarch
from tests import firmware_hand as hand

BOARDS = [targets.load(name) for name in ("loongson-2k0500", "nucleo-l432kc", "nrf52840")]
"""Those with an instruction for a fused multiply-add, by which layers are counted here."""
HOST = targets.load("host")


@pytest.fixture(params=BOARDS, ids=lambda target: target.name)
def image(tmp_path, request):
    found = hand.image(tmp_path, request.param)
    missing = count.available(found)
    if missing is not None:
        pytest.skip(missing.reason)
    return found


def test_the_same_count_twice_and_every_multiply_add_in_its_layer(image):
    first = count.count(image, hand.segments(3))
    assert first == count.count(image, hand.segments(3))
    assert first.repeatable
    assert [layer.by_class["fused"] for layer in first.layers] == [hand.OUTPUTS * hand.TAPS, hand.OUTPUTS * 2]
    assert sum(layer.total for layer in first.layers) + first.rest == first.total == sum(first.by_class.values())
    assert first.segments == 3
    assert first.unaligned == 0
    assert 0 < first.stack_bytes < 1024


def test_a_loop_of_known_length(tmp_path, image):
    more = hand.SOURCE.replace("t < 30", "t < 20", 1)
    fewer = hand.image(tmp_path / "fewer", image.target, source=more)
    lost = count.count(image, hand.segments(1)[0]).layers[0].by_class["fused"]
    assert lost - count.count(fewer, hand.segments(1)[0]).layers[0].by_class["fused"] == 10 * hand.TAPS


def test_code_that_depends_on_its_input_has_two_ends(tmp_path, image):
    body = "    for (volatile int i = 0; i < (int)samples[0]; ++i) {}\n    model_layer_0_conv(samples"
    source = hand.SOURCE.replace("    model_layer_0_conv(samples", body)
    samples = np.zeros((2, hand.T), np.float32)
    samples[1, 0] = 50
    found = count.count(hand.image(tmp_path / "loop", image.target, source=source), samples)
    assert found.total >= found.total_min + 4 * 50


def test_an_unaligned_access_is_found_and_named(tmp_path, image):
    body = "    y[0] = *(const volatile float *)((const char *)x + 1);\n    for (int t = 0; t < 30; ++t) {"
    source = hand.SOURCE.replace("    for (int t = 0; t < 30; ++t) {", body, 1)
    found = count.count(hand.image(tmp_path / "odd", image.target, source=source), hand.segments(1))
    assert found.unaligned > 0
    assert found.unaligned_in == "model_layer_0_conv"


def test_no_segments(image):
    with pytest.raises(FirmwareError, match="at least one segment"):
        count.profile(image, hand.segments(0))


def test_the_host_is_not_counted(tmp_path):
    image = hand.image(tmp_path, HOST)
    assert "only an emulator counts" in count.available(image).reason
    with pytest.raises(FirmwareError, match="only an emulator counts"):
        count.count(image, hand.segments(1))


def test_the_estimate_is_an_estimate_with_its_interval(image):
    found = cycles.estimate(image, count.profile(image, hand.segments(1)))
    latency = found.latency_ms
    assert latency.evidence == Evidence.ESTIMATED
    assert latency.low_ms <= latency.mean_ms <= latency.high_ms
    assert found.cycles_low <= found.cycles <= found.cycles_high
    assert image.target.core.pipeline.source in latency.source
    seen = image.target.core.pipeline.calibration
    if seen is not None:
        assert latency.mean_ms >= seen.high * found.instructions / image.target.core.clock_hz * 1000


def test_a_target_without_a_model_of_its_core(image):
    core = image.target.core.model_copy(update={"pipeline": None})
    with pytest.raises(TargetError, match=r"\[core.pipeline\]"):
        cycles.pipeline_of(image.target.model_copy(update={"core": core}))


def chain(word, times):
    return (loongarch(word),) * times


def test_a_chain_of_multiply_adds_waits_for_each_and_independent_ones_do_not():
    model = BOARDS[0].core.pipeline
    dependent = chain(0x08100400, 8)  # fmadd.s fa0, fa0, fa1, fa0
    independent = tuple(loongarch(0x08100400 | d | d << 15) for d in range(8, 16))  # eight sums
    slow, fast = (cycles._block(code, model) for code in (dependent, independent))  # noqa: SLF001 - the model itself
    assert slow.middle == 8 * model.timing["fused"].latency
    assert fast.middle == fast.low == 8


def test_loads_beside_multiply_adds_start_two_a_cycle():
    model = BOARDS[0].core.pipeline
    pairs = [(loongarch(0x2B000080 | d), loongarch(0x08100400 | d | d << 15)) for d in range(8, 16)]
    loads, sums = zip(*pairs, strict=True)
    mixed = tuple(i for pair in zip(loads, sums[4:] + sums[:4], strict=True) for i in pair)
    assert cycles._throughput(mixed, model) == 8  # noqa: SLF001 - the model itself


@pytest.mark.parametrize(
    ("word", "kind", "reads", "writes"),
    [
        (0x02C02063, "other", {3}, {3}),  # addi.d sp, sp, 8
        (0x00104820, "other", {1, 18}, set()),  # add.w zero, ra, t6
        (0x28802084, "load", {4}, {4}),  # ld.w a0, a0, 8
        (0x29802084, "store", {4}, set()),  # st.w a0, a0, 8
        (0x2B002080, "load", {4}, {32}),  # fld.s fa0, a0, 8
        (0x2B402080, "store", {4, 32}, set()),  # fst.s fa0, a0, 8
        (0x38301480, "load", {4, 5}, {32}),  # fldx.s fa0, a0, a1
        (0x38381480, "store", {4, 5, 32}, set()),  # fstx.s fa0, a0, a1
        (0x001C1484, "multiply", {4, 5}, {4}),  # mul.w a0, a0, a1
        (0x001D9484, "multiply", {4, 5}, {4}),  # mul.d a0, a0, a1
        (0x00201484, "divide", {4, 5}, {4}),  # div.w a0, a0, a1
        (0x01068420, "divide", {33}, {32}),  # fdiv.s fa0, fa1, fa1
        (0x01144420, "divide", {33}, {32}),  # fsqrt.s fa0, fa1
        (0x01008420, "float", {33}, {32}),  # fadd.s fa0, fa1, fa1
        (0x0114A480, "float", {4}, {32}),  # movgr2fr.w fa0, a0
        (0x0114B404, "float", {32}, {4}),  # movfr2gr.s a0, fa0
        (0x0C110420, "float", {33}, {64}),  # fcmp.clt.s fcc0, fa1, fa1
        (0x0D008420, "float", {33, 65}, {32}),  # fsel fa0, fa1, fa1, fcc1
        (0x48000100, "branch", {64}, set()),  # bceqz fcc0
        (0x4C000020, "branch", {1}, set()),  # ret
        (0x54000000, "branch", set(), {1}),  # bl
        (0x5C000085, "branch", {4, 5}, set()),  # bne a0, a1
        (0x14000024, "other", set(), {4}),  # lu12i.w a0, 1
    ],
)
def test_loongarch(word, kind, reads, writes):
    found = loongarch(word)
    assert (found.kind, set(found.reads), set(found.writes)) == (kind, reads, writes)


@pytest.mark.parametrize(
    ("half", "kind", "words"),
    [
        (0x4348, "multiply", 1),  # muls r0, r1
        (0x4770, "branch", 1),  # bx lr
        (0x4687, "branch", 1),  # mov pc, r0
        (0x4608, "other", 1),  # mov r0, r1
        (0x4801, "load", 1),  # ldr r0, [pc, #4]
        (0x5088, "store", 1),  # str r0, [r1, r2]
        (0x5688, "load", 1),  # ldrsb r0, [r1, r2]
        (0x6808, "load", 1),  # ldr r0, [r1]
        (0x6008, "store", 1),  # str r0, [r1]
        (0x9001, "store", 1),  # str r0, [sp, #4]
        (0xB5F0, "store", 5),  # push {r4-r7, lr}
        (0xBDF0, "load", 5),  # pop {r4-r7, pc}
        (0xC80E, "load", 3),  # ldm r0!, {r1-r3}
        (0xB108, "branch", 1),  # cbz r0
        (0xD1FE, "branch", 1),  # bne
        (0xDF00, "other", 1),  # svc
        (0xBF18, "other", 1),  # it ne
        (0xE7FE, "branch", 1),  # b
    ],
)
def test_thumb_of_16_bits(half, kind, words):
    assert (thumb16(half).kind, thumb16(half).words) == (kind, words)


@pytest.mark.parametrize(
    ("first", "second", "kind", "words"),
    [
        (0xEEA0, 0x0A01, "fused", 1),  # vfma.f32 s0, s0, s2
        (0xEE00, 0x0A81, "fused", 1),  # vmla.f32 s0, s1, s2
        (0xEE20, 0x0A01, "float", 1),  # vmul.f32 s0, s0, s2
        (0xEE80, 0x0A01, "divide", 1),  # vdiv.f32 s0, s0, s2
        (0xEEB1, 0x0AC0, "divide", 1),  # vsqrt.f32 s0, s0
        (0xEEB0, 0x0A40, "float", 1),  # vmov.f32 s0, s0
        (0xEE00, 0x0A10, "float", 1),  # vmov s0, r0
        (0xED90, 0x0A00, "load", 1),  # vldr s0, [r0]
        (0xED80, 0x0A00, "store", 1),  # vstr s0, [r0]
        (0xECB0, 0x0A08, "load", 8),  # vldmia r0!, {s0-s7}
        (0xED2D, 0x8B10, "store", 16),  # vpush {d8-d15}
        (0xE92D, 0x4FF0, "store", 9),  # push.w {r4-r11, lr}
        (0xE9D0, 0x1200, "load", 2),  # ldrd r1, r2, [r0]
        (0xE8DF, 0xF000, "branch", 1),  # tbb [pc, r0]
        (0xF8D0, 0x1000, "load", 1),  # ldr.w r1, [r0]
        (0xF8C0, 0x1000, "store", 1),  # str.w r1, [r0]
        (0xFB20, 0x3001, "multiply", 1),  # smlad r0, r0, r1, r3
        (0xFB90, 0xF0F1, "divide", 1),  # sdiv r0, r0, r1
        (0xFBA0, 0x0102, "multiply", 1),  # umull r0, r1, r0, r2
        (0xF000, 0xF800, "branch", 1),  # bl
        (0xF43F, 0xAFFE, "branch", 1),  # beq.w
        (0xF3BF, 0x8F4F, "other", 1),  # dsb
        (0xF240, 0x0001, "other", 1),  # movw
        (0xEB00, 0x0001, "other", 1),  # add.w
    ],
)
def test_thumb_of_32_bits(first, second, kind, words):
    assert (thumb32(first, second).kind, thumb32(first, second).words) == (kind, words)


def test_another_machine():
    with pytest.raises(FirmwareError, match="LoongArch and Cortex-M; found x64"):
        decode("x64", b"\x90\x90\x90\x90", 0)


def test_every_target_has_a_core_that_is_known():
    shipped = [targets.load(name) for name in targets.names()]
    ones_own = {"armv8-m.main"}  # of boards that are not shipped; test_ports.py has one
    assert {target.core.architecture for target in shipped} == set(CORES) - ones_own
    emulated = [target for target in shipped if target.firmware and target.firmware.emulator]
    assert len(emulated) > 1
    for target in emulated:
        core = CORES[target.core.architecture]
        assert core.decode is not None
        assert core.calls is not None
