"""A board's file cannot lie about what its port, its memory and its core are."""

import contextlib
import shutil
from pathlib import Path

import numpy as np
import pytest

from benchmarks import firmware_nets as benchmark_nets
from ecm_edge import targets
from ecm_edge.base import trust
from ecm_edge.base.errors import FirmwareError, TargetError
from ecm_edge.firmware import build, count, elf, emulate, known_answer, linker, make
from ecm_edge.targets import firmware as fw
from ecm_edge.targets import ports
from tests import firmware_hand as hand
from tests import tiny

FOLDER = Path(targets.__file__).parent
NRF52840 = targets.load("nrf52840")

LIES = {
    "another chip's name, clock and memory": (
        "nucleo-l432kc",
        {
            'name = "nucleo-l432kc"': 'name = "mine"',
            "clock_hz = 80_000_000": "clock_hz = 64_000_000",
            "flash_bytes = 262_144": "flash_bytes = 1_048_576",
        },
        ["sets an STM32L432KC to 80,000,000 Hz", "has 262,144 bytes of flash from 0x08000000"],
    ),
    "more RAM": (
        "nucleo-l432kc",
        {"ram_bytes = 65_536": "ram_bytes = 131_072"},
        ["has 65,536 bytes of ram from 0x20000000 (RM0394, section 2.2), and [memory] has 131,072"],
    ),
    "another origin": (
        "nrf52840",
        {"flash_origin = 0x00000000": "flash_origin = 0x08000000"},
        ["bytes of flash from 0x00000000", "[memory] has 1,048,576 from 0x08000000"],
    ),
    "a place that ends behind the RAM": (
        "nrf52840",
        {"ram_origin = 0x20000000": "ram_origin = 0x20000100"},
        ["[memory] has 262,144 from 0x20000100"],
    ),
    "another architecture": (
        "nrf52840",
        {'architecture = "armv7e-m"': 'architecture = "armv6-m"'},
        ["port/nrf52840.c is for armv7e-m, and core.architecture is armv6-m"],
    ),
    "an FPU on a core that has none": (
        "nucleo-g071rb",
        {'architecture = "armv6-m"': 'architecture = "armv7e-m"'},
        ["port/stm32g071.c is for armv6-m, and core.architecture is armv7e-m"],
    ),
    "another core": (
        "nrf52840",
        {'name = "Cortex-M4F,': 'name = "Cortex-M33,'},
        [
            "-mcpu=cortex_m4+vfp4d16sp+strict_align",
            "has the cycles of Cortex-M4F, and core.name begins with",
        ],
    ),
    "another core whose name is longer": (
        "nrf52840",
        {'name = "Cortex-M4F,': 'name = "Cortex-M44,'},
        ["-mcpu=cortex_m4+vfp4d16sp+strict_align"],
    ),
    "another chip's clock, the port named by its path": (
        "nrf52840",
        {
            '"port/nrf52840.c"': f'"{fw.SHIPPED}/port/../port/nrf52840.c"',
            "clock_hz = 64_000_000": "clock_hz = 32_000_000",
        },
        ["sets an nRF52840 to 64,000,000 Hz"],
    ),
    "ports of two chips": (
        "nrf52840",
        {'linker_script = "port/cortex_m.ld"': 'linker_script = "port/stm32l432kc.ld"'},
        ["several chips: nRF52840, STM32L432KC"],
    ),
    "the cycles of another core": (
        "loongson-2k0500",
        {'name = "LA264,': 'name = "LA464,'},
        ["has the cycles of LA264"],
    ),
}


def changed(at, board, changes):
    text = (FOLDER / f"{board}.toml").read_text()
    for old, new in changes.items():
        assert text.count(old) == 1, old
        text = text.replace(old, new)
    path = at / "mine.toml"
    path.write_text(text)
    return path


@pytest.mark.parametrize("kind", LIES)
def test_a_copied_board_that_is_not_what_it_says_is_refused(tmp_path, kind, capsys):
    board, changes, said = LIES[kind]
    path = changed(tmp_path, board, changes)
    with pytest.raises(TargetError, match="the one that its port, its core and its memory are of") as problem:
        targets.load(str(path))
    assert all(part in problem.value.found for part in said), problem.value.found
    assert tiny.run(["targets", path]) == 2
    assert "Mend these lines" in capsys.readouterr().err


@pytest.mark.parametrize("board", targets.names())
def test_a_copy_with_other_limits_is_fine(tmp_path, board):
    target = targets.load(board)
    text = (FOLDER / f"{board}.toml").read_text().replace(f'name = "{board}"', 'name = "mine"', 1)
    (tmp_path / "mine.toml").write_text(text)
    assert targets.load(str(tmp_path / "mine.toml")).memory == target.memory


def test_less_memory_than_the_chip_has_is_fine(tmp_path):
    path = changed(tmp_path, "nucleo-l432kc", {"ram_bytes = 65_536": "ram_bytes = 49_152"})
    assert targets.load(str(path)).memory.ram_bytes == 49_152


def test_every_file_of_a_port_says_what_it_is_for():
    here = {f"port/{path.name}" for path in (fw.SHIPPED / "port").iterdir() if path.suffix in {".c", ".ld"}}
    assert set(ports.PORTS) == here


def test_the_chips_are_those_of_the_boards():
    assert {name: chip.name for name in targets.names() if (chip := ports.chip_of(targets.load(name).firmware))} == {
        "nrf52840": "nRF52840",
        "nucleo-g071rb": "STM32G071RB",
        "nucleo-l432kc": "STM32L432KC",
    }


def test_the_script_of_the_l432_is_the_chips_memory():
    target = targets.load("nucleo-l432kc")
    memory = {
        "flash_origin": ports.STM32L432KC.flash.origin,
        "ram_origin": ports.STM32L432KC.ram.origin,
        "flash_bytes": ports.STM32L432KC.flash.bytes,
        "ram_bytes": ports.STM32L432KC.ram.bytes,
    }
    exact = target.model_copy(update={"memory": targets.Memory(**memory)})
    own, common = (fw.path(f"port/{name}.ld") for name in ("stm32l432kc", "cortex_m"))
    text = linker.script_of(exact, own)
    written = linker.script_of(exact, common)
    numbers = {"0x8000000": "0x08000000", "0x40000": "256K", "0x10000": "64K"}
    for written_so, there in numbers.items():
        written = written.replace(written_so, there)
    assert written.split("ENTRY")[1] == text.split("ENTRY")[1]


BAD_SCRIPTS = {
    "no such line": ("", "no line of numbers for FLASH"),
    "sums": ("FLASH (rx) : ORIGIN = 0x0, LENGTH = 256K-8K\nRAM (rwx) : ORIGIN = 0x20000000, LENGTH = 1K", "for FLASH"),
    "too much flash": (
        "FLASH (rx) : ORIGIN = 0x0, LENGTH = 2M\nRAM (rwx) : ORIGIN = 0x20000000, LENGTH = 1K",
        "2,097,152 bytes from 0x00000000",
    ),
    "too much RAM": (
        "FLASH (rx) : ORIGIN = 0x0, LENGTH = 8K\nRAM (rwx) : ORIGIN = 0x20000000, LENGTH = 262145",
        "262,145 bytes from 0x20000000",
    ),
    "RAM elsewhere": (
        "FLASH (rx) : ORIGIN = 0x0, LENGTH = 8K\nRAM (rwx) : ORIGIN = 0x20040000, LENGTH = 8K",
        "8,192 bytes from 0x20040000",
    ),
}


@pytest.mark.parametrize("kind", BAD_SCRIPTS)
def test_a_script_of_ones_own_has_no_more_than_the_board(tmp_path, kind):
    text, said = BAD_SCRIPTS[kind]
    (tmp_path / "mine.ld").write_text(f"MEMORY\n{{\n{text}\n}}\n")
    with pytest.raises(TargetError) as problem:
        linker.script_of(NRF52840, tmp_path / "mine.ld")
    assert said in problem.value.found


def test_a_script_that_asks_for_an_address_needs_it(tmp_path):
    path = changed(tmp_path, "nrf52840", {"ram_origin = 0x20000000\n": ""})
    with pytest.raises(TargetError, match=r"no memory\.ram_origin in nrf52840"):
        build.recipe(targets.load(str(path)), "serial", emulated=False)


def test_a_core_without_floating_point_has_the_bytes_of_the_host(tmp_path):
    """A net with float parts, a residual and channels by themselves; the image has no instruction of an FPU."""
    board = targets.load("nucleo-g071rb")
    hand.needs(board)
    proto = benchmark_nets.load("demo", "int8")
    sources = make.make_sources(proto, board, tmp_path / "sources")
    image = make.make_image(sources, "batch", tmp_path / "image", emulated=True)
    samples = known_answer.segments(sources.generated.samples)[:4]
    np.testing.assert_array_equal(emulate.run_batch(image, samples), emulate.run_batch(sources.host, samples))
    found = count.count(image, samples[:1])
    assert found.unaligned == 0
    assert {kind for kind, number in found.by_class.items() if number} == {
        "load",
        "store",
        "multiply",
        "branch",
        "other",
    }


@contextlib.contextmanager
def cortex_m33(at, flags):
    """A board of one's own, after ecm_edge/targets/README.md: an nRF5340 with a port beside its file."""
    shutil.copy(fw.path("port/nrf52840.c"), at / "mine.c")
    path = changed(
        at,
        "nrf52840",
        {
            'name = "nrf52840"': 'name = "mine"',
            'name = "Cortex-M4F,': 'name = "Cortex-M33,',
            'architecture = "armv7e-m"': 'architecture = "armv8-m.main"',
            "clock_hz = 64_000_000": "clock_hz = 128_000_000",
            "ram_bytes = 262_144": "ram_bytes = 524_288",
            "-mcpu=cortex_m4+vfp4d16sp+strict_align": f"-mcpu=cortex_m33{flags}+strict_align",
            '"port/nrf52840.c"': '"mine.c"',
        },
    )
    text = path.read_text()
    cycles = text[text.index("# The cycles of the core") : text.index("[memory]")]
    path.write_text(text.replace(cycles, ""))
    with trust.of_one_command():
        trust.allow_everything()
        yield targets.load(str(path))


def test_a_cortex_m33_of_ones_own(tmp_path):
    with cortex_m33(tmp_path, "+dsp+vfp4d16sp") as board:
        hand.needs(board)
        sources = make.make_sources(benchmark_nets.load("demo", "int8"), board, tmp_path / "sources")
        image = make.make_image(sources, "batch", tmp_path / "image", emulated=True)
        samples = known_answer.segments(sources.generated.samples)[:4]
        np.testing.assert_array_equal(emulate.run_batch(image, samples), emulate.run_batch(sources.host, samples))


def test_kernels_of_an_extension_that_the_flags_lack_are_refused(tmp_path):
    with cortex_m33(tmp_path, "+vfp4d16sp") as board:
        sources = make.make_sources(benchmark_nets.load("demo", "int8"), board, tmp_path / "sources")
        with pytest.raises(FirmwareError, match=r"name it in -mcpu \(\+dsp\), or say plain"):
            make.make_image(sources, "serial", tmp_path / "image")


def test_an_image_lies_where_the_memory_is(tmp_path):
    for emulated in (False, True):
        image = hand.image(tmp_path / str(emulated), NRF52840, emulated=emulated)
        stack_top, reset = (int.from_bytes(image.shipped.read_bytes()[i : i + 4], "little") for i in (0, 4))
        assert NRF52840.memory.ram_origin < stack_top <= NRF52840.memory.ram_origin + NRF52840.memory.ram_bytes
        assert reset < 0x10000
        loaded = [s["p_paddr"] for s in elf.open_elf(image.elf).iter_segments() if s["p_filesz"]]
        assert min(loaded) == NRF52840.memory.flash_origin
        assert image.overflow == {}


def test_a_larger_image_than_the_memory_says_by_how_much(tmp_path):
    little = {f"ram_bytes = {before}": "ram_bytes = 4_200" for before in ("262_144", "131_072")}
    path = changed(tmp_path, "nrf52840", little)
    image = hand.image(tmp_path / "out", targets.load(str(path)))
    assert list(image.overflow) == ["RAM"]


def test_it_runs_in_the_emulator(tmp_path):
    image = hand.image(tmp_path, NRF52840, emulated=True)
    hand.needs(NRF52840)
    drawn = hand.segments(5)
    assert np.allclose(emulate.run_batch(image, drawn), hand.scores(drawn)[0], rtol=1e-5)
