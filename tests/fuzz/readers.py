"""Each reader: its valid inputs, what changes one of them, and the command that reads it."""

from __future__ import annotations

import contextlib
import sqlite3
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from ecm_edge import targets
from ecm_edge.base.errors import EcmEdgeError
from ecm_edge.candidate.candidate import load_config, load_network, locate
from ecm_edge.data.recordings.formats import FORMATS
from ecm_edge.firmware import generate, protocol
from ecm_edge.forms import cost, onnx_model, reference, sample_file
from tests import hostile, onnx_fuzz, tiny

from . import corpus, mutators
from .attempt import run

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


@dataclass(frozen=True)
class Reader:
    """`use(folder, out, rng)` reads an input and gives an exit code and what was printed."""

    name: str
    make: Callable[[Path], None]
    mutate: Callable
    use: Callable


def _mutated_files(*changes):
    """Change one file of the folder, or what lies at its place; `changes` are pairs of suffix and mutator."""

    def mutate(folder, rng):
        paths = sorted(path for path in folder.rglob("*") if path.is_file() and path.name != "kind")
        for _ in range(rng.choice([1, 1, 1, 2])):
            path = rng.choice(paths)
            if rng.random() < 0.04:
                mutators.replace(path, rng)
                paths.remove(path)
                if not paths:
                    return
                continue
            if rng.random() < 0.02:
                mutators.swap(path, rng.choice(paths))
                continue
            change = next((change for suffix, change in changes if path.name.endswith(suffix)), mutators.spoil)
            path.write_bytes(change(path.read_bytes(), rng))

    return mutate


def _edf(content, rng):
    """One of the fields of a header, or any bytes."""
    if rng.random() < 0.3:
        return mutators.spoil(content, rng)
    content = bytearray(content)
    for _ in range(rng.choice([1, 1, 2])):
        if rng.random() < 0.2:
            return bytes(content).replace(
                *rng.choice(
                    [(b"\x14", b"\x15"), (b"\x15", b""), (b"+", b"-"), (b"\0", b"\x14"), (b"AFIB", b"\xff\xfe")]
                ),
                rng.choice([1, -1]),
            )
        signals = max(1, (int(content[184:192]) if content[184:192].strip().isdigit() else 256) // 256 - 1)
        main = [(0, 8), (8, 80), (168, 8), (176, 8), (184, 8), (192, 44), (236, 8), (244, 8), (252, 4)]
        widths, at, own = (16, 80, 8, 8, 8, 8, 8, 80, 8, 32), 256, []
        for width in widths:
            own += [(at + k * width, width) for k in range(min(signals, 8))]
            at += width * signals
        start, width = rng.choice([*main, *own])
        value = rng.choice(
            [*mutators.NUMBERS, *mutators.WORDS, "EDF+C", "EDF+D", "BDF+C", "uV", "mV", "V", "EDF Annotations"]
        )
        content[start : start + width] = value.encode()[:width].ljust(width)
    return bytes(content)


def _atr(content, rng):
    """Words of two bytes: a kind of annotation and a time, or a skip, an aux text, a number."""
    if rng.random() < 0.4:
        return mutators.spoil(content, rng)
    words = [content[k : k + 2] for k in range(0, len(content), 2)]
    for _ in range(rng.choice([1, 2, 5])):
        at = rng.randrange(len(words) + 1)
        kind, value = rng.choice([0, 1, 22, 28, 59, 60, 61, 62, 63, 63, 59]), rng.choice([0, 1, 4, 255, 512, 1023])
        words.insert(at, (kind << 10 | value).to_bytes(2, "little"))
        if kind == 59:
            words.insert(at + 1, rng.randbytes(4))
    return b"".join(words)


def _table(content, rng):
    return mutators.respell(content, rng)


def _numbered(content, rng):
    """A text of many numbers: its head is changed more often than the rest, and once in a while a line is very long."""
    if rng.random() < 0.01:
        return content[:200] + b"1" * 30_000_000
    at = rng.choice([200, 2000, len(content)])
    return mutators.respell(content[:at], rng) + content[at:]


def _imports(file_format, **given):
    """The import of a folder, with what its format needs and, for half of the inputs, problems left out."""

    def use(folder, out, rng):
        words = ["--on-error", rng.choice(["fail", "skip"])]
        if rng.random() < given.get("rate", 0):
            words += ["--sampling-rate-hz", rng.choice(["250", "125", "1000"])]
        if (folder / "labels.csv").exists() or "labels" in FORMATS[file_format].required:
            words += ["--labels", folder / "labels.csv"]
        if file_format == "iesd" and rng.random() < 0.5:
            words += ["--split", f"train={folder / 'train.csv'}"]
        if rng.random() < 0.3:
            words += ["--blank", "drop"]
        code, printed = run("data", "import", folder, "--format", file_format, "-o", out, *words)
        if code == 0 and rng.random() < 0.2:
            code, more = run("data", "info", out, "--json")
            printed += more
        return code, printed

    return use


def _dataset(folder, out, rng):
    if rng.random() < 0.2:
        other = out.with_name("other")
        hostile.synthesise(other, subjects=4, seed=2, segments_per_subject=4)
        return run("data", "merge", folder, other, "-o", out)
    return run("data", rng.choice(["audit", "info"]), folder)


def _hostile(folder, rng):
    hostile.mutate(folder, rng.randrange(2**32))
    if rng.random() < 0.03:
        mutators.replace(rng.choice(sorted(folder.iterdir())), rng)


def _toml(folder, _out, rng):
    kind = (folder / "kind").read_text()
    if rng.random() < 0.1:
        kind = rng.choice(["targets", "tasks", "space"])
    return run(kind, folder / "a.toml", *(["--json"] if rng.random() < 0.3 else []))


def _registry(folder, out, rng):
    shelf = tiny.TARGET.name
    if rng.random() < 0.5:
        return run("rollback", *rng.choice([[], ["100-70"], ["../x"]]), "--target", shelf, "--registry", folder / "r")
    page = ["--html", out] if rng.random() < 0.3 else []
    if rng.random() < 0.5:
        return run("registry", "check", folder / "r")
    return run("history", "--registry", folder / "r", *page)


def _json_of_registry(folder, rng):
    """Records, the history, or any file; a link, a file more or a file less."""
    shelf = folder / "r" / tiny.TARGET.name
    if rng.random() < 0.8:
        path = rng.choice(sorted(path for path in shelf.iterdir() if path.suffix in {".json", ".jsonl"}))
        path.write_bytes(mutators.json_lines(path.read_bytes(), rng))
        return
    _mutated_files((".json", mutators.json_text), (".jsonl", mutators.json_lines))(folder, rng)
    if rng.random() < 0.2:
        (shelf / "entries" / rng.choice(["100-70", "100-80", "x", ".hidden"])).with_suffix(".link").symlink_to("/etc")


def _candidate(folder, out, rng):
    code, printed = run("card", folder, "-o", out)
    if rng.random() < 0.5:
        try:
            place = locate(folder)
            load_config(place)
            load_network(place)
        except EcmEdgeError:
            code = 2
            out.unlink(missing_ok=True)
    return code, printed


def _zip(content, rng):
    """A name of a member, in one place or both, or any bytes; sizes and kinds of compression are among those."""
    if rng.random() < 0.4:
        name = rng.choice([b"../model.sig", b"/etc/passwd", b"b/model.sig\0", b"\xff" * 16, b"bundle/../x"])
        old = rng.choice([b"bundle/model.sig", b"bundle/manifest.json", b"bundle/src/model.c"])
        return content.replace(old, name[: len(old)].ljust(len(old), b"x"), rng.choice([1, -1]))
    return mutators.spoil(content, rng)


def _bundle(folder, _out, _rng):
    bundle = next(iter(sorted(folder.iterdir())), folder / "b")
    return run("verify-bundle", bundle, "--key", corpus.SIGNED / "key.pub")


def _study(folder, rng):
    """Values of the study's rows, the files of its trials, or any bytes of the database."""
    path = folder / "study.db"
    if rng.random() < 0.2:
        _mutated_files()(folder, rng)
        return
    with sqlite3.connect(path) as database:
        for _ in range(rng.choice([1, 1, 1, 2, 5])):
            table, column = rng.choice(_CELLS)
            rows = database.execute(f"SELECT rowid, {column} FROM {table} ORDER BY rowid").fetchall()  # noqa: S608
            if not rows:
                continue
            row, value = rng.choice(rows)
            if rng.random() < 0.1:
                database.execute(f"DELETE FROM {table} WHERE rowid = ?", (row,))  # noqa: S608 - names from above
                continue
            changed = rng.choice([*mutators.NUMBERS, *mutators.WORDS, None, 2**40, -1, 1e300, b"\xff\xfe"])
            if isinstance(value, str) and rng.random() < 0.7:
                changed = mutators.json_text(value.encode(), rng).decode(errors="replace")
            with contextlib.suppress(sqlite3.IntegrityError):
                database.execute(f"UPDATE {table} SET {column} = ? WHERE rowid = ?", (changed, row))  # noqa: S608
    database.close()


_CELLS = [
    *[("study_user_attributes", "value_json"), ("trial_user_attributes", "value_json")] * 6,
    *[("study_user_attributes", "key"), ("trial_user_attributes", "key"), ("trial_system_attributes", "value_json")],
    *[("trials", "state"), ("trials", "number"), ("trials", "datetime_start"), ("trial_params", "param_value")],
    *[("trial_params", "distribution_json"), ("trial_values", "value"), ("trial_values", "value_type")],
    *[("studies", "study_name"), ("study_directions", "direction"), ("version_info", "schema_version")],
    ("alembic_version", "version_num"),
]
"""Tables of Optuna's and columns of theirs; ours are the user attributes."""


def _pulled(folder, out, rng):
    words = ["--trial", rng.choice(["best", "all", "0", "1"]), "--artifacts", folder / "store"]
    return run("pull", "af", "--storage", f"sqlite:///{folder}/study.db", "-o", out, *words)


def _samples(folder, _out, _rng):
    classifier = onnx_model.classifier_of(_small_model())
    for path in sorted(folder.iterdir()):
        sample_file.read(path, classifier)
    return 0, ""


def _small_model():
    import onnx

    return onnx.load_model_from_string(onnx_fuzz.seeds()[3])


def _npy(content, rng):
    """The header of an array, as text, or any bytes."""
    if rng.random() < 0.5 or not content.startswith(b"\x93NUMPY"):
        return mutators.spoil(content, rng)
    shape = rng.choice(
        ["(4, 160)", "(1000000000000, 160)", "(-4, 160)", "()", "(0,)", "(4, 160, 1)", "(640,)", "(2**40,)"]
    )
    kind = rng.choice(["<f4", "|O", "<U1000000", "<c8", ">f8", "<i8", "|b1", "<m8[s]", "|V4"])
    text = f"{{'descr': '{kind}', 'fortran_order': {rng.choice([True, False])}, 'shape': {shape}, }}"
    return content[:10] + text.encode()[:117].ljust(117) + b"\n" + content[128:]


def _model_file(folder, rng):
    path = folder / "m.onnx"
    path.write_bytes(onnx_fuzz.mutate(rng.randrange(2**32)))
    if rng.random() < 0.3:
        (folder / "w.bin").write_bytes(bytes(64))
    if rng.random() < 0.01:
        mutators.replace(path, rng)


def _model(folder, _out, rng):
    """A model to its C, its counts and, for a share, its scores by the reference."""
    proto = onnx_model.load_classifier(folder / "m.onnx").proto
    cost.count(proto)
    generate.generate(proto, targets.load(rng.choice(["host", "nucleo-l432kc", "loongson-2k0500"])))
    graph = reference.load(proto)
    noise = np.random.default_rng(0).normal(size=(1, int(np.prod(graph.input_shape)))).astype(np.float32)
    with np.errstate(all="ignore"):
        reference.scores(graph, noise)
    return 0, ""


def _answers(folder, rng):
    content = mutators.spoil((folder / "answers").read_bytes(), rng)
    (folder / "answers").write_bytes(content)


def _answered(folder, _out, _rng):
    content = (folder / "answers").read_bytes()
    protocol.decode_answer(content)
    protocol.find_answer(content)
    return 0, ""


def _answer_frames(folder):
    for status in protocol.Status:
        case = folder / status.name
        case.mkdir(parents=True)
        frame = protocol.encode_answer(protocol.Answer(status, 1, 2.5))
        (case / "answers").write_bytes(b"\x55" + frame + b"\x55\xaa" + frame)


_TEXTS = ((".csv", _table), (".hea", mutators.respell), (".atr", _atr))

READERS = {
    reader.name: reader
    for reader in [
        Reader("model", corpus.model, _model_file, _model),
        Reader("dataset", corpus.dataset, _hostile, _dataset),
        Reader("wfdb", corpus.wfdb, _mutated_files(*_TEXTS), _imports("wfdb", rate=0.1)),
        Reader("edf", corpus.edf, _mutated_files((".csv", _table), ("df", _edf)), _imports("edf", rate=0.1)),
        Reader(
            "csv", corpus.csv, _mutated_files(("labels.csv", _table), (".csv", _numbered)), _imports("csv", rate=0.8)
        ),
        Reader("dicom", corpus.dicom, _mutated_files((".csv", _table)), _imports("dicom", rate=0.1)),
        Reader("iesd", corpus.iesd, _mutated_files((".csv", _table), (".txt", _numbered)), _imports("iesd", rate=1)),
        Reader("toml", corpus.toml, _mutated_files((".toml", mutators.toml_text)), _toml),
        Reader("registry", corpus.registry, _json_of_registry, _registry),
        Reader("candidate", corpus.candidate, _mutated_files((".json", mutators.json_text)), _candidate),
        Reader(
            "bundle",
            corpus.bundle,
            _mutated_files((".sig", mutators.json_text), (".json", mutators.json_text), (".zip", _zip)),
            _bundle,
        ),
        Reader("study", corpus.study, _study, _pulled),
        Reader("samples", corpus.samples, _mutated_files((".npy", _npy)), _samples),
        Reader("answers", _answer_frames, _answers, _answered),
    ]
}
"""Every reader by its name."""
