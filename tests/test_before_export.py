"""Before its export, a candidate is refused by what needs its forms, with the command to type."""

import pytest

from ecm_edge.candidate import candidate
from ecm_edge.candidate.training_config import TrainingConfig
from ecm_edge.data import splits
from tests import tiny

BOARD = ("--target", "loongson-2k0500")


@pytest.fixture
def trained(dataset, tmp_path):
    """The folder of a candidate without any form, whose name a shell has to have quoted."""
    folder = tmp_path / "my one"
    folder.mkdir()
    config = candidate.configure(dataset, splits.holdout(dataset, seed=0), "tcn", {}, TrainingConfig(), 0)
    config.save(folder / candidate.CONFIG)
    return folder


@pytest.mark.parametrize(
    "command",
    [
        ("verify", "--data", "DATA", *BOARD),
        ("bench",),
        ("score", "--data", "DATA"),
        ("robustness", "--data", "DATA"),
        ("quantize", "--data", "DATA"),
        ("firmware", "build", *BOARD),
        ("bundle", *BOARD, "-o", "OUT"),
        ("promote", "--data", "DATA", *BOARD, "--registry", "OUT"),
    ],
)
def test_the_command_that_is_missing_is_named(command, dataset, trained, tmp_path, capsys):
    places = {"DATA": dataset.folder, "OUT": tmp_path / "out"}
    verb = command[: 2 if command[0] == "firmware" else 1]
    assert tiny.run([*verb, trained, *(places.get(word, word) for word in command[len(verb) :])]) == 2
    told = capsys.readouterr().err
    data = dataset.folder if command[0] in {"verify", "promote"} else "DATA"
    assert f"`ecm-edge export '{trained}' --data {data}" in told
    assert not (tmp_path / "out").exists()


def test_another_form_takes_both_commands(dataset, trained, capsys):
    assert tiny.run(["score", trained, "--data", dataset.folder, "--form", "int8"]) == 2
    both = f"`ecm-edge export '{trained}' --data DATA && ecm-edge quantize '{trained}' --data DATA`"
    assert both in capsys.readouterr().err
    (trained / candidate.FORM_FILES["float32"]).touch()
    assert tiny.run(["score", trained, "--data", dataset.folder, "--form", "int8"]) == 2
    assert f"Type `ecm-edge quantize '{trained}' --data DATA` first." in capsys.readouterr().err


def test_promote_names_the_stages_that_are_missing(dataset, trained, tmp_path, capsys):
    (trained / candidate.FORM_FILES["float32"]).touch()
    asked = ["promote", trained, "--data", dataset.folder, *BOARD, "--registry", tmp_path / "out"]
    assert tiny.run(asked) == 2
    place, data, board = f"'{trained}'", f"--data {dataset.folder}", "--target loongson-2k0500"
    assert (
        f"Run first: `ecm-edge firmware build {place} {board}`, then `ecm-edge verify {place} {data} {board}`, "
        f"then `ecm-edge bench {place} {data}`."
    ) in capsys.readouterr().err
    for record in (candidate.FIRMWARE, candidate.VERIFY):
        (trained / record).touch()
    assert tiny.run(asked) == 2
    assert f"Run first: `ecm-edge bench {place} {data}`." in capsys.readouterr().err
