"""Mistakes of a new user: each gets the rule, the value found and the next step, and leaves nothing behind."""

import json
import shlex
from pathlib import Path

import pytest

from ecm_edge.base import contents
from ecm_edge.base.errors import CandidateError
from ecm_edge.candidate import candidate
from ecm_edge.data import dataset
from ecm_edge.registry import entries, registry
from tests import mistakes_world, tiny

NET = "--data afib --target loongson-2k0500 -o new --family separable --set channels=4 --set depth=2 --set kernel=5"
CSV = "data import {} -o new --format csv --labels {}.csv --unit mV"

MISTAKES = {
    # command: (what is found, what to do)
    "serach --data af": ("serach", "search"),
    "fit net.onnx": ("--target", "fit --help"),
    "fit net.onnx --target nucleo-l432": ("'nucleo-l432'", "nucleo-l432kc"),
    "fit net.onnx --target taken": ("Is a directory", "ecm-edge targets"),
    "fit net.onnx --target board.json": ("line 1", "Correct that line"),
    "fit net.onnx --target boards/mine.toml": ("boards/mine.toml", "ecm-edge targets"),
    "targets board-typo.toml": ("unknown field budget.ram_byte", "ram_bytes"),
    "targets board-kib.toml": ("budget.flash_bytes, not '192 KiB'", "nucleo-l432kc"),
    "targets board-mhz.toml": ("32768 at core.clock_hz, not 80", "nucleo-l432kc"),
    "targets board-small.toml": ("1024 at budget.flash_bytes, not 192", "nucleo-l432kc"),
    "targets board-larger.toml": ("524288 is above the 262144", "nucleo-l432kc"),
    "targets board-negative.toml": ("budget.latency_ms, not -100.0", "nucleo-l432kc"),
    "targets board-syntax.toml": ("line 36", "Correct that line"),
    "targets board-int4.toml": ("precision.0, not 'int4'", "nucleo-l432kc"),
    "targets board-twice.toml": ("line 41", "Correct that line"),
    "space space-typo.toml": ("unknown field chanels", "channels"),
    "space space-reversed.toml": ("low 8 is above high 4", "ecm-edge space quick"),
    "space space-family.toml": ("'resnet'", "ecm-edge space quick"),
    "space space-empty.toml": ("no [families.NAME]", "ecm-edge space"),
    "space qick": ("'qick'", "quick"),
    "data info aff": ("nothing", "Did you mean 'af'?"),
    "data info labels.csv": ("a file", "data import"),
    "data audit csv": ("a folder with 2 .csv files", "data import"),
    "data info run": ("a run of", "order of the arguments"),
    "score af --data exported": ("a candidate", "order of the arguments"),
    "data import csv -o new": ("Choose from: iesd, wfdb, edf, csv, dicom", "data import --help"),
    "data import csv -o new --format mat": ("'mat' is not one of", "data import --help"),
    "data import csv/a.csv -o new --format csv --labels labels.csv": ("a file", "Give its folder: csv"),
    "data import csv -o new --format csv": ("none", "--labels"),
    "data import csv -o new --format edf": ("2 that end in .csv", "--format csv"),
    "data import csv -o new --format edf --decimal ,": ("--decimal", "Leave it out"),
    "data import csv -o af --format csv --labels labels.csv": ("af exists", "another name"),
    "data import csv -o new --format csv --labels labels.csv --unit volt-ish": ("volt-ish", "--unit"),
    "data import empty -o new --format csv --labels labels.csv": ("no file in empty", "Check the path"),
    CSV.format("csv", "lables"): ("No such file", "labels.csv"),
    CSV.format("csv", "labels-one"): ("b.csv: not in the label table", "--on-error skip"),
    CSV.format("csv", "labels-of-others"): ("it is not there (rec1.csv, rec2.csv)", "--on-error skip"),
    CSV.format("csv", "labels-column"): ("none is called rhythm", "Name one of them rhythm"),
    CSV.format("csv", "labels-words"): ("'Normal' (4 windows)", "--map A-Fib=AFIB"),
    CSV.format("csv", "labels-numbers"): ("'1' (4 windows)", "--negative 0 --map 1=AFIB"),
    CSV.format("csv", "labels-numbers") + " --negative 0 --map 1=af-fib": ("'1', by --map 'af-fib'", "--map 1="),
    CSV.format("csv", "labels-semicolons"): ("file;rhythm", "separated by commas"),
    CSV.format("csv", "labels-header"): ("no row in line 1", "Name at least one file"),
    CSV.format("csv", "labels-twice"): ("two rhythms at 0 s", "--on-error skip"),
    CSV.format("csv", "labels-stems"): ("names it without its suffix", "--on-error skip"),
    CSV.format("csv", "labels-onset"): ("duration_s 'ten' in line 2", "in seconds"),
    CSV.format("csv", "labels") + " --sampling-rate-hz 500": ("the times say 250 Hz", "--on-error skip"),
    CSV.format("csv", "labels") + " --lead II": ("no lead 'II' among time, ecg", "--on-error skip"),
    CSV.format("no-rate", "labels-one"): ("no sampling rate", "--on-error skip"),
    CSV.format("no-rate", "labels-one") + " --sampling-rate-hz -250": ("-250.0 Hz", "State the true one"),
    CSV.format("no-rate", "labels-one") + " --sampling-rate-hz 0.25": ("at least 100 Hz", "--on-error skip"),
    CSV.format("no-samples", "labels-one"): ("a.csv: empty", "--on-error skip"),
    CSV.format("header-only", "labels-one"): ("no samples below its only line, 'time,ecg'", "--on-error skip"),
    CSV.format("german", "labels-one") + " --decimal .": ("--decimal .: leave the option out", "--on-error skip"),
    CSV.format("german", "labels-one") + " --delimiter ,": ("--delimiter ,: leave the option out", "--on-error skip"),
    CSV.format("text", "labels-one"): ("line 302 is no number: 'n/a'", "--on-error skip"),
    CSV.format("short", "labels-one"): ("2.00 s long; one window is 5 s", "--on-error skip"),
    CSV.format("excel", "labels-one"): ("binary", "--on-error skip"),
    "data import csv -o new --format csv --labels labels.xlsx": ("PK", "Save the table as CSV"),
    "data synth -o new --subjects 2 --seed 99999999999": ("99999999999", "--help"),
    "data synth -o new --subjects 0 --seed 1": ("0 is not in the range", "--help"),
    "data synth -o labels.csv/new --subjects 2 --seed 1": ("exists", "A part of the path is a file"),
    "data folds af -o folds.json --count 2": ("2 is not in the range", "--help"),
    "data folds af -o folds.json --count 9": ("9 folds for 6 subjects", "fewer folds"),
    "data merge af af -o new": ("in af and in af", "Name it once"),
    "data merge af afib -o new": ("1250 samples", "--task"),
    f"train {NET} --folds 2": ("2 is not in the range", "--help"),
    f"train {NET} --folds fold.json": ("no file at fold.json", "the command that writes it"),
    f"train {NET} --set chanels=6": ("unknown field chanels", "'channels'"),
    f"train {NET} --set channels=six": ("channels, not 'six'", "training.NAME"),
    f"train {NET} --set epochs=6": ("unknown field epochs", "training.NAME"),
    f"train {NET} --set training.epoch=6": ("unknown field training.epoch", "'epochs'"),
    f"train {NET} --set training.epochs=-6": ("training.epochs, not -6", "ecm-edge space"),
    f"train {NET} --family seperable": ("'seperable'", "'separable'"),
    "train --data afib --target loongson-2k0500 -o new --like runn": ("runn", "Did you mean 'run'?"),
    "train --data afib --target loongson-2k0500 -o new --like net.onnx": ("a file at net.onnx", "`quantize`"),
    "train --data blank --target loongson-2k0500 -o new": ("2 in blank", "more subjects"),
    "train --data afib --target loongson-2k0500 -o taken": ("taken exists", ""),
    "train --data afib --target loongson-2k0500 -o new --factory my_networks:build": ("my_networks", "PYTHONPATH=."),
    "train --data afib --target loongson-2k0500 -o new --factory mistaken_networks:raises": ("no idea", "by hand"),
    "train --data afib --target loongson-2k0500 -o new --factory mistaken_networks:nothing": ("NoneType", "Return"),
    "search --data afib --target loongson-2k0500 --trials 0 -o new": ("0 is not in the range", "--help"),
    "search --data afib -o new": ("--target", "ecm-edge targets"),
    "search --data afib --target loongson-2k0500 -o new --resume": ("new", ""),
    "search --data af --target loongson-2k0500 -o taken": ("taken", ""),
    "search --data afib --target loongson-2k0500 -o new --storage optuna.db": ("'optuna.db'", "a file of SQLite sqlite:///PATH"),
    "search --data afib --target loongson-2k0500 -o new --objective f1 --least-objective 90": ("90", "Give a share"),
    "fit nett.onnx --target nucleo-l432kc": ("nett.onnx", "Did you mean 'net.onnx'?"),
    "fit dynamic.onnx --target nucleo-l432kc": ("ecg [1, 1, '?']", "make_dynamic_shape_fixed"),
    "fit batch-8.onnx --target nucleo-l432kc": ("a first axis of 8", "a sample of one segment"),
    "fit two-inputs.onnx --target nucleo-l432kc": ("2 (ecg, age)", "constants"),
    "fit nan.onnx --target nucleo-l432kc": ("NaN in 'w'", "Train it again"),
    "fit unknown-op.onnx --target nucleo-l432kc": ("com.mine.MyActivation", "firmware_check/README.md"),
    "fit cut.onnx --target nucleo-l432kc": ("cut, corrupt", "Export it again"),
    "fit no-bytes.onnx --target nucleo-l432kc": ("an empty file", "Export the model again"),
    "fit page.onnx --target nucleo-l432kc": ("a page of HTML", "Download it again"),
    "fit pointer.onnx --target nucleo-l432kc": ("Git LFS", "git lfs pull"),
    "fit net.h5 --target nucleo-l432kc": ("Keras", "tf2onnx"),
    "fit net.tflite --target nucleo-l432kc": ("TensorFlow Lite", "tf2onnx"),
    "fit net.pt --target nucleo-l432kc": ("PyTorch (.pt)", "Export the model as ONNX"),
    "fit net.zip --target nucleo-l432kc": ("a ZIP archive", "unpack the archive"),
    "fit trained/checkpoint.safetensors --target nucleo-l432kc": ("safetensors", "the candidate's folder"),
    "fit empty --target nucleo-l432kc": ("an empty folder", "Check the path"),
    "fit af --target nucleo-l432kc": ("a data set at af", "order of the arguments"),
    "fit net.onnx --target nucleo-l432kc --threshold 0.5": ("2 scores", "Leave --threshold out"),
    "quantize net.onnx -o new": ("one of --data and --samples", "--help"),
    "quantize net.onnx --samples long.npy -o new": ("6 x 1 x 9", "the model's input"),
    "quantize net.onnx --samples none.npy -o new": ("none in none.npy", "numpy.save"),
    "quantize net.onnx --samples holes.npy -o new": ("row ", "Mend or drop it"),
    "quantize net.onnx --samples objects.npy -o new": ("Python objects", "numpy.save"),
    "quantize net.onnx --samples other-names.npz -o new": ("x, y", "samples=…"),
    "quantize net.onnx --samples csv/a.csv -o new": ("a file of another kind", "numpy.save"),
    "quantize net.onnx --data af --subjects Bob -o new": ("'Bob'", "data info"),
    "quantize trained --data af": ("in trained", "ecm-edge export trained"),
    "verify net.onnx --samples from-one.npz --target nucleo-l432kc": ("from 1 to 2", "from 0 on"),
    "verify net.onnx --samples fewer-labels.npz --target nucleo-l432kc": ("4 of int64 for 6 segments", "Number"),
    "verify net.onnx --samples words.npz --target nucleo-l432kc": ("<U2", "an array of integers"),
    "verify net.onnx --target nucleo-l432kc": ("--samples and --noise", "--help"),
    "verify trained --data af --target loongson-2k0500": ("in trained", "ecm-edge export trained --data af"),
    "verify exported --data afib --target loongson-2k0500": ("in afib", "trained with"),
    "verify exported --noise 5 --target loongson-2k0500": ("--data", "--help"),
    "export net.onnx --data af": ("a file at net.onnx", "`quantize`"),
    "export trained --data afib": ("in afib", "trained with"),
    "bench trained": ("in trained", "ecm-edge export trained"),
    "bench exported --data afib": ("1250 samples", "the model's length"),
    "bench exported --against entriess": ("entriess", "Check the path"),
    "score long.onnx --data af": ("36 x 8 for 16 values", "export the model for this one"),
    "score three.onnx --data af": ("3 scores", "take any other shape"),
    "score exported --data af --subjects Alice": ("'Alice'", "data info"),
    "score ecg.onnx --data afib --subjects test": ("the file ecg.onnx", "candidate's folder"),
    "score exported --data af --source cinc": ("was not merged", "data merge"),
    "score exported --data af --out-of-fold": ("no folds.json", "--folds"),
    "score exported --data af --latency labels.csv": ("no JSON", "Check the path"),
    "predict ecg.onnx rec.csv -o new.csv": ("none at rec.csv", "Check the path"),
    "predict ecg.onnx labels.xlsx -o new.csv": (".xlsx of labels.xlsx", "--format"),
    "predict ecg.onnx afib -o labels.csv": ("labels.csv exists", "another name"),
    "predict ecg.onnx csv -o nowhere/new.csv": ("No such file", "mkdir -p"),
    "predict net.onnx csv -o new.csv": ("for 8 samples of net.onnx", "--task"),
    "episodes ecg.onnx csv/a.csv -o new --hop 0": ("0.0 is not in the range", "--help"),
    "episodes ecg.onnx afib -o new": ("the data set afib", "ecm-edge predict"),
    "episodes ecg.onnx csv -o new --begin-at 0 --end-below 1": ("ends below 1", "--end-below"),
    "robustness exported --data af --segments 0": ("0 is not in the range", "--help"),
    "firmware generate net.onnx --target nucleo-l432kc -o new --name 1model": ("'1model'", "another one"),
    "firmware generate net.onnx --target nucleo-l432kc -o new --classes N,AF,B": ("3: N, AF, B", "Mend --classes"),
    "firmware build net.onnx --target nucleo-l432kc": ("--out", "--help"),
    "firmware build trained --target loongson-2k0500": ("in trained", "ecm-edge export"),
    "measure --port /dev/ttyUSB77 --data af -o new.jsonl": ("No such file or directory at /dev/ttyUSB77", "serve"),
    "measure --port labels.csv --data af -o new.jsonl": ("no serial device, but a file", "serve"),
    "promote trained --data af --target loongson-2k0500 --registry new": ("no model.simplified.onnx", "bench trained"),
    "promote exported --data af --target loongson-2k0500 --registry new": ("verify.json", "ecm-edge verify exported"),
    "promote net.onnx --data af --target loongson-2k0500 --registry new": ("a file at net.onnx", "Check the path"),
    "promote run --data afib --target loongson-2k0500 --registry new": ("in afib", "trained with"),
    "promote run --data af --target nucleo-l432kc --registry new": ("loongson-2k0500", "firmware build"),
    "promote run --data af --target loongson-2k0500 --registry taken": ("taken", "promote"),
    "history --target loongson-2k0500 --registry registri": ("registri", "promote"),
    "history --target loongson-2k0500 --registry af": ("af", "promote"),
    "rollback --target loongson-2k0500 --registry af": ("af", "promote"),
    "bundle trained --target loongson-2k0500 -o new": ("in trained", "ecm-edge export trained"),
    "bundle net.onnx --target nucleo-l432kc -o taken": ("taken exists", "another name"),
    "report run --data af -o nowhere/report.html": ("No such file", "mkdir -p"),
    "report run --data af -o taken": ("Is a directory", "the name of a file"),
    "report empty-run --data af -o new.html": ("empty-run", "Check the path"),
    "card af -o card.md": ("a data set at af", "order of the arguments"),
    "scale run --data af --target loongson-2k0500 --least-objective 90 -o new": ("90", "Give a share"),
}  # fmt: skip
"""Every mistake with parts of the value found and of the next step."""


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    folder = tmp_path_factory.mktemp("mistakes")
    mistakes_world.make(folder)
    return folder


def there(folder):
    """Every file with its size and the time of its last change, and every folder."""
    return {
        path: (s.st_size, s.st_mtime_ns) if path.is_file() else () for path in folder.rglob("*") for s in [path.stat()]
    }


@pytest.mark.parametrize("command", MISTAKES)
def test_a_mistake_is_answered(world, monkeypatch, capsys, command):
    monkeypatch.chdir(world)
    monkeypatch.syspath_prepend(world)
    before = there(world)
    assert tiny.run([*shlex.split(command), "--json"]) == 2
    said = capsys.readouterr()
    error = json.loads(said.out)["error"]
    found, hint = MISTAKES[command]
    assert error["rule"]
    assert found in error["found"]
    assert hint in error["hint"]
    assert error["hint"]
    assert "Traceback" not in said.err
    assert there(world) == before


def test_the_folders_of_this_program_are_told_by_the_files_that_they_have():
    assert set(contents.FOLDERS) == {
        dataset.HEADER_FILE,
        entries.MANIFEST,
        candidate.CONFIG,
        candidate.RUN_SETTINGS,
        registry.INCUMBENT,
    }


def test_the_shelf_of_a_registry_is_no_candidate_and_its_entry_is_named():
    shelf = Path(__file__).parents[1] / "data" / "reference" / "nucleo-l432kc"
    with pytest.raises(CandidateError) as refused:
        candidate.load_config(shelf)
    assert refused.value.found == f"{contents.of_path(shelf)} at {shelf}"
    assert "the shelf of a registry" in refused.value.found
    assert refused.value.hint.startswith(f"Type {shelf / 'entries' / registry.incumbent(shelf).entry}, ")


def test_what_lies_at_a_path(world):
    words = {
        "nowhere": "nothing",
        "net.onnx": "a file",
        "afib": "a data set",
        "exported": "a candidate",
        "run": "a run of `ecm-edge search`",
        "empty": "an empty folder",
        "empty-run": "a folder without files",
        "taken": "a folder with 1 .txt file",
        "csv": "a folder with 2 .csv files",
    }
    assert {name: contents.of_path(world / name) for name in words} == words


def test_the_list_has_all_that_was_asked_for():
    assert len(MISTAKES) >= 47
    assert len({Path(command.split()[0]).name for command in MISTAKES}) >= 20
