"""The files in which a new user makes mistakes: `make` writes them all, under names that say what is wrong."""

from __future__ import annotations

import zipfile
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper
from safetensors.numpy import save_file

from ecm_edge import targets
from ecm_edge.data.synthetic import synthesise
from tests import report_records, tiny

BOARD = Path(targets.__file__).parent / "nucleo-l432kc.toml"


def make(folder):
    """Everything, in `folder`: data sets, candidates, recordings, models, samples, descriptions."""
    data = report_records.dataset(folder / "af")
    tiny.data(folder / "blank", {"S0": [("", [1.0])] * 3, "S1": [("", [1.0])] * 3})
    synthesise(folder / "afib", subjects=8, seed=1, segments_per_subject=4)
    report_records.run(folder / "run", data)
    tiny.make_candidate(folder / "trained", data, forms=(), test=report_records.SUBJECTS[3:])
    save_file({"weight": np.zeros(2, np.float32)}, folder / "trained" / "checkpoint.safetensors")
    tiny.make_candidate(folder / "exported", data, test=report_records.SUBJECTS[3:])
    (folder / "empty").mkdir()
    (folder / "empty-run" / "trials").mkdir(parents=True)
    (folder / "taken").mkdir()
    (folder / "taken" / "notes.txt").write_text("mine")
    _recordings(folder)
    _models(folder)
    _samples(folder)
    _descriptions(folder)
    _code(folder)


def _recordings(folder):
    """Folders of CSV recordings, and tables of labels."""
    times = np.arange(5000) / 250
    values = np.sin(2 * np.pi * 1.2 * times)
    plain = "time,ecg\n" + "".join(f"{t:.3f},{v:.4f}\n" for t, v in zip(times, values, strict=True))
    no_times = "ecg\n" + "".join(f"{v:.4f}\n" for v in values)
    for name, content in {
        "csv/a.csv": plain.encode(),
        "csv/b.csv": plain.encode(),
        "no-rate/a.csv": no_times.encode(),
        "two-leads/a.csv": ("I,V1\n" + "".join(f"{v:.4f},{-v:.4f}\n" for v in values)).encode(),
        "no-samples/a.csv": b"",
        "header-only/a.csv": b"time,ecg\n",
        "german/a.csv": plain.replace(",", ";").replace(".", ",").encode(),
        "latin-1/a.csv": plain.replace("ecg", "Spannung/\u00b5V").encode("latin-1"),
        "text/a.csv": plain.replace("0.3681", "n/a").encode(),
        "short/a.csv": "\n".join(plain.split("\n")[:500]).encode(),
        "utf-16/a.csv": plain.encode("utf-16"),
        "excel/a.csv": b"PK\x03\x04" + bytes(200),
    }.items():
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_bytes(content)
    for name, content in {
        "labels": "file,rhythm\na.csv,N\nb.csv,AFIB\n",
        "labels-one": "file,rhythm\na.csv,N\n",
        "labels-of-others": "file,rhythm\nrec1.csv,N\nrec2.csv,AFIB\n",
        "labels-column": "file,label\na.csv,N\nb.csv,AFIB\n",
        "labels-words": "file,rhythm\na.csv,Normal\nb.csv,A-Fib\n",
        "labels-numbers": "file,rhythm\na.csv,0\nb.csv,1\n",
        "labels-semicolons": "file;rhythm\na.csv;N\nb.csv;AFIB\n",
        "labels-empty": "",
        "labels-header": "file,rhythm\n",
        "labels-twice": "file,rhythm\na.csv,N\na.csv,AFIB\nb.csv,N\n",
        "labels-stems": "file,rhythm\na,N\nb,AFIB\n",
        "labels-onset": "file,rhythm,onset_s,duration_s\na.csv,N,0,ten\nb.csv,AFIB,0,10\n",
    }.items():
        (folder / f"{name}.csv").write_text(content)
    (folder / "labels.xlsx").write_bytes(b"PK\x03\x04" + bytes(200))


def _models(folder):
    """ONNX files and what is taken for one."""
    _onnx(folder / "net.onnx", (1, 1, 8), 2)
    _onnx(folder / "dynamic.onnx", ("batch", 1, "time"), 2)
    _onnx(folder / "batch-8.onnx", (8, 1, 8), 2)
    _onnx(folder / "one-score.onnx", (1, 1, 8), 1)
    _onnx(folder / "three.onnx", (1, 1, 8), 3)
    _onnx(folder / "long.onnx", (1, 1, 16), 2)
    _onnx(folder / "ecg.onnx", (1, 1, 1250), 2)
    _onnx(folder / "channels-last.onnx", (1, 8, 1), 2)
    _onnx(folder / "two-inputs.onnx", (1, 1, 8), 2, other=True)
    _onnx(folder / "nan.onnx", (1, 1, 8), 2, weight=np.nan)
    _onnx(folder / "softmax-sequence.onnx", (1, 1, 8), 2, sequence=True)
    _onnx(folder / "unknown-op.onnx", (1, 1, 8), 2, domain="com.mine")
    whole = (folder / "net.onnx").read_bytes()
    (folder / "cut.onnx").write_bytes(whole[: len(whole) // 2])
    (folder / "no-bytes.onnx").write_bytes(b"")
    (folder / "page.onnx").write_text("<!DOCTYPE html><html>404: not found</html>")
    (folder / "pointer.onnx").write_text("version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 10\n")
    (folder / "net.h5").write_bytes(b"\x89HDF\r\n\x1a\n" + bytes(100))
    (folder / "net.tflite").write_bytes(b"\x1c\0\0\0TFL3" + bytes(100))
    for name, member in {"net.pt": "net/data.pkl", "net.keras": "metadata.json", "net.zip": "net.onnx"}.items():
        with zipfile.ZipFile(folder / name, "w") as archive:
            archive.writestr(member, whole)


def _onnx(path, shape, classes, *, other=False, weight=1.0, domain="", sequence=False):
    """Flatten and MatMul, from `shape` to `classes` scores."""
    features = int(np.prod([size for size in shape[1:] if isinstance(size, int)])) if "time" not in shape else 8
    value = helper.make_tensor_value_info
    weights = np.full((features, classes), weight, np.float32)
    weights[0] = np.arange(classes)
    nodes = [
        helper.make_node("Flatten", ["ecg"], ["h"]),
        helper.make_node("MatMul", ["h", "w"], ["y" if domain or sequence or other else "scores"]),
    ]
    inputs = [value("ecg", TensorProto.FLOAT, shape)]
    output = value("scores", TensorProto.FLOAT, (shape[0], classes))
    if domain:
        nodes.append(helper.make_node("MyActivation", ["y"], ["scores"], domain=domain))
    if other:
        inputs.append(value("age", TensorProto.FLOAT, (1, 1)))
        nodes.append(helper.make_node("Add", ["y", "age"], ["scores"]))
    if sequence:
        nodes.append(helper.make_node("Unsqueeze", ["y", "axes"], ["scores"]))
        output = value("scores", TensorProto.FLOAT, (1, classes, 1))
    initializers = [numpy_helper.from_array(weights, "w"), numpy_helper.from_array(np.array([2]), "axes")]
    graph = helper.make_graph(nodes, "net", inputs, [output], initializers[: 2 if sequence else 1])
    opsets = [helper.make_opsetid("", 17), *([helper.make_opsetid(domain, 1)] if domain else [])]
    onnx.save(helper.make_model(graph, opset_imports=opsets, ir_version=8), path)


def _samples(folder):
    """Segments for an ONNX file."""
    drawn = np.random.default_rng(0).standard_normal((6, 1, 8)).astype(np.float32)
    labels = np.array([0, 1, 0, 1, 0, 1])
    np.savez(folder / "samples.npz", samples=drawn, labels=labels)
    np.savez(folder / "other-names.npz", x=drawn, y=labels)
    np.savez(folder / "from-one.npz", samples=drawn, labels=labels + 1)
    np.savez(folder / "fewer-labels.npz", samples=drawn, labels=labels[:4])
    np.savez(folder / "one-hot.npz", samples=drawn, labels=np.eye(2)[labels])
    np.savez(folder / "words.npz", samples=drawn, labels=np.array(["N", "AF"] * 3))
    np.save(folder / "long.npy", np.zeros((6, 1, 9), np.float32))
    np.save(folder / "one.npy", drawn[0])
    np.save(folder / "none.npy", drawn[:0])
    np.save(folder / "holes.npy", np.where(drawn > 1, np.nan, drawn))
    np.save(folder / "objects.npy", np.array([None, 1], object), allow_pickle=True)
    np.save(folder / "last.npy", drawn.transpose(0, 2, 1))


def _descriptions(folder):
    """TOML files of boards and spaces."""
    board = BOARD.read_text().replace('name = "nucleo-l432kc"', 'name = "mine"')
    changes = {
        "typo": ("ram_bytes = 49_152", "ram_byte = 49_152"),
        "kib": ("flash_bytes = 196_608", 'flash_bytes = "192 KiB"'),
        "mhz": ("clock_hz = 80_000_000", "clock_hz = 80"),
        "small": ("flash_bytes = 196_608", "flash_bytes = 192"),
        "larger": ("flash_bytes = 196_608", "flash_bytes = 524_288"),
        "negative": ("latency_ms = 100.0", "latency_ms = -100.0"),
        "syntax": ("[budget]", "[budget"),
        "int4": ('precision = ["int8", "float16", "float32"]', 'precision = ["int4"]'),
        "twice": ("ram_bytes = 49_152", "ram_bytes = 49_152\nram_bytes = 4_096"),
    }
    for name, (old, new) in changes.items():
        assert old in board, name
        (folder / f"board-{name}.toml").write_text(board.replace(old, new, 1))
    spaces = {
        "typo": "[families.separable]\nchanels = { low = 4, high = 8 }\n",
        "reversed": "[families.separable]\nchannels = { low = 8, high = 4 }\n",
        "family": "[families.resnet]\nchannels = 4\n",
        "empty": "",
    }
    for name, text in spaces.items():
        (folder / f"space-{name}.toml").write_text(text)
    (folder / "board.json").write_text("{}")


def _code(folder):
    """A module of networks that cannot be used."""
    (folder / "mistaken_networks.py").write_text(
        "from torch import nn\n"
        "def raises(params, samples):\n    raise ValueError('no idea')\n"
        "def nothing(params, samples):\n    pass\n"
        "def five(params, samples):\n    return nn.Sequential(nn.Flatten(), nn.Linear(samples, 5))\n"
        "def longer(params, samples):\n    return nn.Sequential(nn.Flatten(), nn.Linear(samples + 1, 2))\n"
        "def alone():\n    return nn.Identity()\n"
    )
    (folder / "mistaken_import.py").write_text("import no_such_library\n")
