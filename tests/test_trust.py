"""Files from elsewhere run nothing: commands of boards, spaces, candidates and runs need the user's word."""

import json
from pathlib import Path

import onnx
import pytest

from ecm_edge import api, targets
from ecm_edge.base import trust, trust_list
from ecm_edge.base.errors import TrustError
from ecm_edge.candidate import candidate
from ecm_edge.candidate.networks import find_factory
from ecm_edge.cli import main
from ecm_edge.firmware import emulate, toolchain
from ecm_edge.search import runs
from ecm_edge.targets import commands

from . import nets, tiny

SHIPPED = Path(targets.__file__).parent
LINUX, BARE = ((SHIPPED / f"{name}.toml").read_text() for name in ("loongson-2k0500", "nucleo-l432kc"))
ZIG = 'compiler = "zig"'
HOSTILE = {
    "compiler": (ZIG, 'compiler = "{evil}"'),
    "flags": ("flags = [", 'flags = ["-include", "{secret}", '),
    "model_flags": (ZIG, f'{ZIG}\nmodel_flags = ["-fplugin={{evil}}"]'),
    "program_flags": (ZIG, f'{ZIG}\nprogram_flags = ["@{{secret}}"]'),
    "link_flags": ('"-nostdlib"', '"-Wl,{secret}"'),
    "port": ('"port/loongarch64_linux.c"', '"{evil}"'),
    "linker_script": (ZIG, f'{ZIG}\nlinker_script = "../../../etc/passwd"'),
    "emulator.command": ('"qemu-loongarch64"', '"{evil}"'),
    "emulator.serial_command": ('["qemu-loongarch64"]', '["qemu-loongarch64"], serial_command = ["{evil}"]'),
}


@pytest.fixture
def elsewhere(tmp_path):
    """A folder that nobody marked, with a program that would leave a trace, and a file that is nobody's business."""
    evil, secret = tmp_path / "evil.sh", tmp_path / "secret"
    evil.write_text(f"#!/bin/sh\ntouch {tmp_path}/ran\n")
    evil.chmod(0o755)
    secret.write_text("root:secret-hash:1\n")
    with trust.of_one_command():
        yield tmp_path
    assert not (tmp_path / "ran").exists()


def hostile_board(folder, change, text=LINUX):
    old, new = change
    assert old in text
    path = folder / "board.toml"
    path.write_text(text.replace(old, new.format(evil=folder / "evil.sh", secret=folder / "secret"), 1))
    return path


@pytest.mark.parametrize("field", HOSTILE)
def test_a_boards_commands_are_named_and_not_run(field, elsewhere, capsys):
    onnx.save(tiny.model(), elsewhere / "net.onnx")
    board = hostile_board(elsewhere, HOSTILE[field])
    with pytest.raises(SystemExit) as end:
        main(["fit", str(elsewhere / "net.onnx"), "--target", str(board), "--json"])
    error = json.loads(capsys.readouterr().out)["error"]
    assert end.value.code == 2
    assert error["rule"] == "a file from elsewhere runs nothing"
    assert error["found"].startswith(f"{field} = ")
    assert str(board) in error["found"]
    assert "ecm-edge trust " in error["hint"]
    assert "--trust" in error["hint"]
    assert "secret-hash" not in json.dumps(error)


def said(capsys, *words):
    """What a command ends with, and the error that it prints."""
    with pytest.raises(SystemExit) as end:
        main([*map(str, words), "--json"])
    out, err = capsys.readouterr()
    assert out, (end.value.code, err)
    return end.value.code, json.loads(out)


@pytest.mark.parametrize("text", [LINUX, BARE])
def test_a_changed_copy_of_a_shipped_board_needs_no_trust(text, elsewhere):
    copy = hostile_board(elsewhere, ("macs = ", "macs = 1"), text)
    assert commands.commands(targets.load(str(copy)).firmware) == []


def test_shipped_boards_have_no_commands_of_their_own():
    assert {name: commands.commands(targets.load(name).firmware) for name in targets.names()} == {
        name: [] for name in targets.names()
    }


def test_a_board_is_shown_though_nothing_of_it_is_run(elsewhere, capsys):
    board = hostile_board(elsewhere, HOSTILE["compiler"])
    code, shown = said(capsys, "targets", board)
    assert (code, shown["targets"][0]["firmware"]["compiler"]) == (0, str(elsewhere / "evil.sh"))


@pytest.mark.parametrize("of", [toolchain.target_version, emulate.version])
def test_no_version_is_asked_of_a_foreign_program(of, elsewhere):
    target = targets.load(str(hostile_board(elsewhere, HOSTILE["compiler"])))
    with pytest.raises(TrustError, match="compiler = "):
        of(target)


@pytest.mark.parametrize("package", ["qemu; rm -rf ~", "$(rm)", "-y"])
def test_a_package_to_install_is_a_name(package, elsewhere, capsys):
    board = hostile_board(elsewhere, ('package = "qemu-user"', f'package = "{package}"'))
    code, shown = said(capsys, "targets", board)
    assert (code, "emulator.package" in shown["error"]["found"]) == (2, True)


FACTORY = "os:system"


@pytest.fixture
def foreign(elsewhere):
    """A candidate's folder, a space and a run's settings that name a factory which would run something."""
    data = nets.dataset(elsewhere / "data")
    folder = nets.make_candidate(elsewhere / "one", data)
    trust_list.mark(folder, remove=True)
    text = (folder / candidate.CONFIG).read_text().replace("tests.nets:build", FACTORY)
    (folder / candidate.CONFIG).write_text(text)
    (elsewhere / "space.toml").write_text(f'[families.mine]\nfactory = "{FACTORY}"\ncommand = "touch ran"\n')
    (elsewhere / "teacher.toml").write_text(
        f'[families.tcn]\n[training]\ndistill = 0.5\n"teacher.family" = "x"\n"teacher.factory" = "{FACTORY}"\n'
    )
    settings = runs.default_settings(data, targets.load("host"), runs.space.load(str(elsewhere / "space.toml")))
    (elsewhere / "run").mkdir()
    settings.save(elsewhere / "run" / "search.json")
    return elsewhere


@pytest.mark.parametrize(
    ("words", "file"),
    [
        (("export", "one", "--data", "data"), "one/candidate.json"),
        (("gate", "one", "--target", "host"), "one/candidate.json"),
        (("train", "--like", "one", "--data", "data", "--target", "host", "-o", "new"), "one/candidate.json"),
        (("space", "space.toml"), "space.toml"),
        (("search", "--data", "data", "--target", "host", "--space", "space.toml", "-o", "new"), "space.toml"),
        (("search", "--data", "data", "--target", "host", "--space", "teacher.toml", "-o", "new"), "teacher.toml"),
        (("search", "--data", "data", "-o", "run", "--resume"), "run/search.json"),
    ],
)
def test_a_factory_in_a_file_is_named_and_not_called(words, file, foreign, monkeypatch, capsys):
    monkeypatch.chdir(foreign)
    code, shown = said(capsys, *words)
    assert (code, shown["error"]["rule"]) == (2, "a file from elsewhere runs nothing")
    assert shown["error"]["found"] == f"factory = '{FACTORY}' in {file}, which would be run"
    assert not (foreign / "new").exists()


def test_a_marked_folder_is_trusted_until_it_is_removed(foreign, capsys):
    (foreign / "space.toml").write_text('[families.mine]\nfactory = "tests.nets:build"\n')
    shown = ("space", foreign / "space.toml")
    assert said(capsys, *shown)[0] == 2
    assert said(capsys, *shown, "--trust")[0] == 0
    assert said(capsys, *shown)[0] == 2
    assert str(foreign) in said(capsys, "trust", foreign)[1]["folders"]
    assert said(capsys, *shown)[0] == 0
    assert str(foreign) in said(capsys, "trust", "--list")[1]["folders"]
    assert str(foreign) not in said(capsys, "trust", foreign, "--remove")[1]["folders"]
    assert said(capsys, *shown)[0] == 2
    assert said(capsys, "trust", foreign, "--remove")[1]["error"]["rule"] == "a folder to remove is marked"


def test_a_link_out_of_a_marked_folder_is_not_trusted(foreign, tmp_path_factory):
    mine = tmp_path_factory.mktemp("mine")
    (mine / "link.toml").symlink_to(foreign / "space.toml")
    trust_list.mark(mine)
    assert trust.is_trusted(mine / "own.toml")
    assert not trust.is_trusted(mine / "link.toml")
    assert not trust.is_trusted(mine / ".." / "space.toml")


@pytest.mark.parametrize(
    "words", [("trust",), ("trust", ".", "--list"), ("trust", "--list", "--remove"), ("trust", "no")]
)
@pytest.mark.usefixtures("elsewhere")
def test_what_is_to_be_marked_is_said(words, capsys):
    assert said(capsys, *words)[0] == 2


@pytest.mark.usefixtures("elsewhere")
def test_a_factory_that_is_typed_is_the_users_word(capsys):
    code, shown = said(capsys, "gate", "--factory", "nowhere:net", "--target", "host")
    assert (code, "ModuleNotFoundError" in shown["error"]["found"]) == (2, True)
    with pytest.raises(TrustError, match="a record that no trusted file holds"):
        find_factory("tests.nets:build")


def test_a_record_that_python_made_may_run_and_one_that_was_read_may_not(foreign):
    read = api.load_space(foreign / "space.toml")
    api.given.space(read)
    with pytest.raises(TrustError):
        find_factory(FACTORY)
    api.given.space(runs.space.Space.model_validate({"families": {"mine": {"factory": "tests.nets:build"}}}))
    assert find_factory("tests.nets:build") is nets.build


@pytest.mark.usefixtures("elsewhere")
def test_what_may_run_is_passed_on_to_processes(monkeypatch):
    trust.typed(["factory = 'tests.nets:build'"])
    for name, value in trust.passed_on().items():
        monkeypatch.setenv(name, value)
    with trust.of_one_command():
        assert find_factory("tests.nets:build") is nets.build
        with pytest.raises(TrustError):
            find_factory(FACTORY)


def test_a_link_to_a_shipped_board_takes_no_source_from_beside_the_link(tmp_path):
    (tmp_path / "port").mkdir()
    (tmp_path / "port" / "host.c").write_text("#error foreign")
    (tmp_path / "board.toml").symlink_to(Path(targets.__file__).with_name("host.toml"))
    linked, shipped = targets.load(str(tmp_path / "board.toml")), targets.load("host")
    assert linked == shipped
    assert not [part for part in linked.firmware.port if Path(part).is_relative_to(tmp_path)]


def test_a_link_to_a_marked_board_takes_no_source_from_beside_the_link(tmp_path):
    own, other = tmp_path / "own", tmp_path / "other"
    for folder in (own, other):
        folder.mkdir()
        (folder / "mine.c").write_text("")
    text = Path(targets.__file__).with_name("host.toml").read_text()
    (own / "board.toml").write_text(text.replace('"port/host.c"', '"mine.c"'))
    (other / "board.toml").symlink_to(own / "board.toml")
    linked = targets.load(str(other / "board.toml"))
    assert [Path(part) for part in linked.firmware.port] == [own / "mine.c"]
