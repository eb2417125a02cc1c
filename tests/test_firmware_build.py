"""Build: an image for each target, the same bytes each time, and a named mistake wherever one is made."""

import subprocess

import pytest

from ecm_edge import targets
from ecm_edge.base.errors import FirmwareError, TargetError
from ecm_edge.firmware import elf, objects, toolchain
from ecm_edge.firmware import image as images
from ecm_edge.firmware.build import build, read_generated
from tests import firmware_hand as hand

ALL = [targets.load(name) for name in targets.names()]
LOONGSON, M4, HOST = (targets.load(name) for name in ("loongson-2k0500", "nucleo-l432kc", "host"))


def changed(target, **fields):
    return target.model_copy(update={"firmware": target.firmware.model_copy(update=fields)})


@pytest.mark.parametrize("target", ALL, ids=lambda target: target.name)
@pytest.mark.parametrize("emulated", [False, True], ids=["board", "emulated"])
def test_the_same_inputs_give_the_same_bytes(tmp_path, monkeypatch, target, emulated):
    monkeypatch.setattr(objects, "folder", lambda: tmp_path / "cache-a")
    first = hand.image(tmp_path / "a", target, emulated=emulated)
    monkeypatch.setattr(objects, "folder", lambda: tmp_path / "cache-b")  # so that everything is compiled again
    second = hand.image(tmp_path / "b", target, emulated=emulated)
    assert first.shipped.read_bytes() == second.shipped.read_bytes()
    assert first.overflow == {}
    assert first.layer_names == ["model_layer_0_conv", "model_layer_1_gemm"]


def test_what_ecm_model_h_says(tmp_path):
    model = read_generated(hand.write(tmp_path))
    assert (model.name, model.samples, model.scores, model.arena_bytes) == ("model", hand.T, 2, 120)


@pytest.mark.parametrize("target", ALL, ids=lambda target: target.name)
def test_a_compiler_that_fails_is_quoted(tmp_path, target):
    with pytest.raises(FirmwareError) as caught:
        hand.image(tmp_path, target, source=hand.SOURCE.replace("float sum = 0.0f;", "float unused, sum = 0.0f;"))
    assert "error: unused variable 'unused'" in str(caught.value).replace("‘", "'").replace("’", "'")
    assert "-c" in caught.value.hint


def test_a_linker_that_fails_is_quoted(tmp_path):
    source = hand.SOURCE.replace("void model_run", "void missing(void);\nvoid model_run").replace(
        "    model_layer_0", "    missing();\n    model_layer_0"
    )
    with pytest.raises(FirmwareError, match="undefined symbol: missing"):
        hand.image(tmp_path, LOONGSON, source=source)


def test_a_compiler_that_is_missing(tmp_path):
    with pytest.raises(FirmwareError, match=r"must be installed; found none on the path"):
        hand.image(tmp_path, changed(HOST, compiler="no-such-cc"))


def test_no_compiler_of_this_host(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(FirmwareError, match="Install Debian's gcc"):
        toolchain.compiler("cc")


@pytest.mark.parametrize("name", ["model.c", "ecm_model.h"])
def test_a_folder_that_is_not_generated(tmp_path, name):
    folder = hand.write(tmp_path / "generated")
    (folder / name).unlink()
    with pytest.raises(FirmwareError, match="Generate it again"):
        build(folder, HOST, "batch", tmp_path / "out", emulated=False)


def test_a_target_without_firmware(tmp_path):
    with pytest.raises(TargetError, match="none in host"):
        hand.image(tmp_path, HOST.model_copy(update={"firmware": None}))


def test_a_port_that_is_not_there(tmp_path):
    with pytest.raises(TargetError, match=r"'port/esp32\.c', which is in neither"):
        hand.image(tmp_path, changed(HOST, port=["port/esp32.c"]))


@pytest.mark.parametrize(
    ("old", "new", "region"),
    [
        ("float model_arena[30]", "float model_arena[30000]", "RAM"),
        ("const float model_0_weights[6]", "const float model_0_weights[70000]", "FLASH"),
    ],
)
def test_what_does_not_fit_says_by_how_much_and_keeps_its_sizes(tmp_path, old, new, region):
    source = hand.SOURCE.replace(old, new).replace("weights[k]", "weights[k + (int)x[0]]")  # so that all are wanted
    image = hand.image(tmp_path, M4, source=source)
    assert list(image.overflow) == [region]
    assert image.overflow[region] > 0
    assert images.measure(image).overflow == image.overflow


def test_a_users_own_board_beside_its_toml_file(tmp_path):
    shipped = (targets._FOLDER / "nucleo-l432kc.toml").read_text()  # noqa: SLF001 - the file itself is copied
    script = targets.firmware.path("port/stm32l432kc.ld").read_text().replace("LENGTH = 64K", "LENGTH = 5K")
    (tmp_path / "mine.ld").write_text(script)
    (tmp_path / "mine.toml").write_text(shipped.replace('"port/stm32l432kc.ld"', '"mine.ld"'))
    target = targets.load(str(tmp_path / "mine.toml"))
    assert target.firmware.linker_script == str(tmp_path / "mine.ld")
    assert target.firmware.port == M4.firmware.port
    assert hand.image(tmp_path, target).overflow == {}


def test_the_stripped_file_has_what_a_loader_reads(tmp_path):
    image = hand.image(tmp_path, HOST)
    assert image.shipped.stat().st_size < image.elf.stat().st_size
    assert elf.open_elf(image.shipped).num_sections() == 0
    done = subprocess.run([image.shipped], input=hand.segments(1).tobytes(), capture_output=True, check=True)
    assert done.stdout[:4] == b"ECM1"
    assert len(done.stdout) == 4 + 8


def test_a_bare_metal_image_is_the_flash(tmp_path):
    image = hand.image(tmp_path, M4)
    stack_top, reset = (int.from_bytes(image.shipped.read_bytes()[i : i + 4], "little") for i in (0, 4))
    by_name = {symbol.name: symbol.address for symbol in image.symbols}
    assert stack_top == by_name["ecm_stack_top"]
    assert reset == by_name["ecm_reset"] | 1
