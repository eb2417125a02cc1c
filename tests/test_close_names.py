"""Where a name is not known, the hint begins with the closest one that is, and the known ones stand there too."""

import json
from pathlib import Path

import onnx
import pytest

from ecm_edge import tasks
from ecm_edge.base import names
from ecm_edge.base.errors import RecordingError
from ecm_edge.cli import main
from ecm_edge.data.recordings.opening import open_recordings
from ecm_edge.data.recordings.options import Options
from ecm_edge.data.rhythms import RhythmRules, not_known

from . import report_records as made

FIT = ("fit", "x.onnx", "--target")


def error(arguments, capsys):
    """The error of a command, as --json prints it."""
    with pytest.raises(SystemExit) as ended:
        main([*map(str, arguments), "--json"])
    assert ended.value.code == 2
    return json.loads(capsys.readouterr().out)["error"]


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """A folder with a data set, a candidate's run and a file of ours."""
    at = tmp_path_factory.mktemp("close")
    made.run(at / "run", made.dataset(at / "contest"))
    (at / "boards.toml").write_text("")
    return at


@pytest.mark.parametrize(
    ("arguments", "meant", "known"),
    [
        (("serach",), "search", "The commands are "),
        (("data", "imprt"), "import", "The commands are import, "),
        (("fit", "x", "--tarqet", "host"), "--target", "`ecm-edge fit --help`"),
        ((*FIT, "loongson-2k500"), "loongson-2k0500", "`ecm-edge targets`"),
        ((*FIT, "esp32"), None, "`ecm-edge targets`"),
        (("tasks", "af5s"), "af-5s", "`ecm-edge tasks`"),
        (("space", "qick"), "quick", "`ecm-edge space`"),
        (("promote", "run", "--form", "int9", "--data", "d"), "int8", "--help"),
        (("search", "--sampler", "tpx"), "tpe", "--help"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, tuple) else "",
)
def test_a_name_on_the_command_line(arguments, meant, known, capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    said = error(arguments, capsys)
    assert known in said["hint"]
    assert said["hint"].startswith(f"Did you mean {meant!r}? " if meant else "`")


@pytest.mark.parametrize(
    ("given", "meant", "known"),
    [
        (("--family", "seperable"), "separable", None),
        (("--family", "separable", "--set", "chanels=6"), "channels", ", channels, depth, kernel, "),
        (("--set", "training.epoch=6"), "epochs", "The training parameters are learning_rate, "),
        (("--set", "training.augmentation.nois=0.1"), "noise", "The training parameters are "),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, tuple) else "",
)
def test_a_family_and_its_parameters(given, meant, known, place, capsys):
    said = error(("train", "--data", place / "contest", "--target", "host", "-o", place / "new", *given), capsys)
    assert said["hint"].startswith(f"Did you mean {meant!r}? ")
    assert known is None or known in said["hint"]
    wrong = given[-1].partition("=")[0].rpartition(".")[2]
    assert wrong in said["found"]


@pytest.mark.parametrize(
    ("arguments", "meant"),
    [
        (("data", "info", "{at}/contset"), "{at}/contest"),
        (("score", "{at}/rum", "--data", "{at}/contest"), "{at}/run"),
        (("score", "{at}/run/trails/0000", "--data", "{at}/contest"), "{at}/run/trials/0000"),
        (("fit", "{at}/mymet.onnx", "--target", "host"), "{at}/mynet.onnx"),
        (("fit", "{at}/mynet.onnx", "--target", "{at}/board.toml"), "{at}/boards.toml"),
        (("verify", "{at}/mynet.onnx", "--target", "host", "--samples", "{at}/mynet.npx"), "{at}/mynet.npz"),
        (("data", "import", "{at}/recording", "-o", "{at}/new", "--format", "wfdb"), "{at}/recordings"),
        (("history", "--target", "host", "--registry", "{at}/regisry"), "{at}/registry"),
        (("rollback", "--target", "host", "--registry", "{at}/regisry"), "{at}/registry/host"),
        (("firmware", "serve", "{at}/serve.elg", "--target", "host"), "{at}/serve.elf"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, tuple) else "",
)
def test_a_path(arguments, meant, place, capsys):
    for folder in ("recordings", "registry"):
        (place / folder).mkdir(exist_ok=True)
    for file in ("mynet.npz", "serve.elf"):
        (place / file).touch()
    tensors = [onnx.helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, [1, 2]) for name in ("x", "y")]
    graph = onnx.helper.make_graph([onnx.helper.make_node("Relu", ["x"], ["y"])], "g", tensors[:1], tensors[1:])
    onnx.save(onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 20)]), place / "mynet.onnx")
    said = error([word.format(at=place) for word in arguments], capsys)
    assert said["hint"].startswith(f"Did you mean {meant.format(at=place)!r}? ")


def test_a_recording(tmp_path):
    (tmp_path / "holter.edf").touch()
    with pytest.raises(RecordingError, match=r"Did you mean '.*holter\.edf'"):
        open_recordings(tmp_path / "holter.ef", None, Options(), tasks.default())


def test_a_field_of_a_file(tmp_path, capsys):
    (tmp_path / "mine.toml").write_text("[families.seperable]\nchannels = 8\n[training]\n")
    assert error(("space", tmp_path / "mine.toml"), capsys)["hint"].startswith("Did you mean 'separable'? ")
    text = (Path(tasks.__file__).parent / "af-5s.toml").read_text()
    (tmp_path / "task.toml").write_text(text.replace("window_s", "window"))
    said = error(("tasks", tmp_path / "task.toml"), capsys)
    assert said["hint"].startswith("Did you mean 'window_s'? The fields are name, ")
    assert "unknown field window" in said["found"]


def test_a_rhythm_code():
    hint = not_known(RhythmRules(), ["SBRR"], "'SBRR'").hint
    assert "Did you mean 'SBR'? Say what each is" in hint
    assert "Did you mean" not in not_known(RhythmRules("snomed"), ["164889004"], "'164889004'").hint


def test_a_short_name_means_one_with_the_same_first_letter(tmp_path):
    (tmp_path / "ecg").mkdir()
    assert names.path_meant(tmp_path / "reg") == ""
    assert names.path_meant(tmp_path / "egc") == f"Did you mean {str(tmp_path / 'ecg')!r}? "


@pytest.mark.parametrize("path", ["a" * 5000, "nul\0", "/", "/proc/1/fd/x", ""])
def test_a_path_that_no_file_can_have_is_no_fault(path):
    assert names.path_meant(Path(path)) == ""


def test_hidden_files_are_not_meant(tmp_path):
    (tmp_path / ".run").mkdir()
    assert names.path_meant(tmp_path / "run") == ""
    assert names.path_meant(tmp_path / ".ru") == f"Did you mean {str(tmp_path / '.run')!r}? "
