"""Mutations of a data set's three files, seeded; `python -m tests.hostile COUNT [FIRST]` tries many of them."""

from __future__ import annotations

import collections
import json
import random
import re
import shutil
import sys
import tempfile
import traceback
from pathlib import Path

import numpy as np

from ecm_edge.base import files
from ecm_edge.base.errors import EcmEdgeError
from ecm_edge.data.audit import audit
from ecm_edge.data.dataset import HEADER_FILE, SAMPLES_FILE, TABLE_FILE, DatasetHeader, content_sha256, open_dataset
from ecm_edge.data.info import info
from ecm_edge.data.synthetic import synthesise

VALUES = [None, True, 0, -1, 1, 2**31, 2**63, 10**30, 1e308, -1e308, 1e-308, 0.5, "", "x", "9" * 5000, "\0", [], {}]
WORDS = ["NaN", "Infinity", "-Infinity", "1e999", '"\\ud800"', '"\xff"', "[[[[", "}", "", "null", '"a\\u0000b"']


def make(folder):
    """A data set of 16 segments of four subjects."""
    synthesise(folder, subjects=4, seed=1, segments_per_subject=4)
    return folder


def use(folder):
    """What may be done with any folder; raises EcmEdgeError only."""
    dataset = open_dataset(folder)
    dataset.rows_of(dataset.header.subjects)
    dataset.names(np.arange(dataset.header.segments))
    info(dataset, check=True)
    audit(dataset)


def mutate(folder, seed):
    """Change one of the files of a data set; half of the headers and arrays get hashes that fit."""
    rng = random.Random(seed)  # noqa: S311 - no secret
    change = rng.choice([_header, _header, _header_text, _npy_header, _npy_header, _bytes, _table, _samples, _length])
    change(folder, rng)
    if rng.random() < 0.6:
        hash_again(folder)


def _places(value, path=()):
    yield path
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, below in items:
        yield from _places(below, (*path, key))


def _header(folder, rng):
    content = json.loads((folder / HEADER_FILE).read_text())
    for _ in range(rng.choice([1, 1, 2, 3])):
        *way, last = rng.choice([place for place in _places(content) if place])
        inner = content
        for key in way:
            inner = inner[key]
        act = rng.random()
        if act < 0.2:
            del inner[last]
        elif act < 0.3 and isinstance(inner, dict):
            inner[rng.choice(["new", "", "x" * 50])] = rng.choice(VALUES)
        elif act < 0.5 and isinstance(inner[last], int | float):
            inner[last] = inner[last] * rng.choice([0, -1, 2, 0.5, 1e-3, 1e3, 1e300])
        else:
            inner[last] = rng.choice(VALUES)
    (folder / HEADER_FILE).write_text(json.dumps(content))


def _header_text(folder, rng):
    text = (folder / HEADER_FILE).read_text()
    numbers = [match.span() for match in re.finditer(r"-?[0-9.]+|\"[^\"]*\"|true|false", text)]
    start, stop = rng.choice(numbers)
    changed = text[:start] + rng.choice(WORDS) + text[stop:]
    (folder / HEADER_FILE).write_bytes(changed.encode("latin-1"))


def _npy_header(folder, rng):
    path = folder / rng.choice([SAMPLES_FILE, TABLE_FILE])
    content = bytearray(path.read_bytes())
    kind = rng.random()
    if kind < 0.3:
        content[:128] = rng.randbytes(128)
    elif kind < 0.6:
        content[10:128] = rng.randbytes(118)
    elif kind < 0.8:
        for _ in range(rng.choice([1, 2, 5])):
            content[rng.randrange(10, 128)] = rng.choice(b"(){}[]'\",:0123456789-eLbTrue \n")
    else:
        shape = rng.choice(
            [(10**11, 1250), (16, 10**11), (-1, 1250), (2**62, 8), (0, 1250), (16, 0), (), (16, 1250, 1)]
        )
        kind = rng.choice(["<f4", "<f8", "|O", "<U1", "|V4", "<M8[s]", ">f4", [["a", "<f4"]], "(2)<f4"])
        fortran = rng.choice([True, False])
        text = repr({"descr": kind, "fortran_order": fortran, "shape": shape}).encode()
        content[10:128] = text[:117].ljust(117) + b"\n"
    path.write_bytes(bytes(content))


def _bytes(folder, rng):
    path = folder / rng.choice([HEADER_FILE, SAMPLES_FILE, TABLE_FILE])
    content = bytearray(path.read_bytes())
    for _ in range(rng.choice([1, 2, 8, 64])):
        content[rng.randrange(len(content))] = rng.randrange(256)
    path.write_bytes(bytes(content))


def _table(folder, rng):
    table = np.load(folder / TABLE_FILE)
    kind = rng.random()
    if kind < 0.6:
        column = rng.choice(["subject", "rhythm", "episode", "split"])
        table[column][rng.randrange(len(table))] = rng.choice([-1, 1, 100, 127, -128])
    elif kind < 0.8:
        table["name"] = [rng.randbytes(6) for _ in table]
    else:
        names = list(table.dtype.names)
        kinds = [table.dtype[name] for name in names]
        kinds[rng.randrange(1, 5)] = np.dtype(rng.choice(["<f8", "S3", "<i8", ">i4", "<u4", "<U9"]))
        table = table.astype(list(zip(names, kinds, strict=True)))
    np.save(folder / TABLE_FILE, table)


def _samples(folder, rng):
    samples = np.load(folder / SAMPLES_FILE)
    row = rng.randrange(len(samples))
    value = rng.choice([np.nan, np.inf, 3e38, -3e38, 1e-40, 0.0])
    if rng.random() < 0.5:
        samples[row, rng.randrange(samples.shape[1])] = value
    elif rng.random() < 0.5:
        samples[row] = value
    else:
        samples[:] = value
    np.save(folder / SAMPLES_FILE, samples)


def _length(folder, rng):
    """Fewer segments or shorter ones, with a header that fits."""
    header = json.loads((folder / HEADER_FILE).read_text())
    samples, table = np.load(folder / SAMPLES_FILE), np.load(folder / TABLE_FILE)
    rows, length = rng.choice([1, 2, 3, 5, 16]), rng.choice([1, 2, 3, 5, 10, 49, 50, 100, 1250])
    np.save(folder / SAMPLES_FILE, samples[:rows, :length])
    np.save(folder / TABLE_FILE, table[:rows])
    header["segments"], header["samples_per_segment"] = rows, length
    header["sampling_rate_hz"] = rng.choice([1e-6, 0.1, 1, 4, 20, 250, 1e5, 1e6])
    (folder / HEADER_FILE).write_text(json.dumps(header))
    hash_again(folder)


def hash_again(folder):
    """Hashes that fit what is there, as whoever makes a hostile data set would write them."""
    try:
        header = DatasetHeader.model_validate_json((folder / HEADER_FILE).read_bytes())
    except ValueError:
        return
    sha256 = {name: files.sha256_file(folder / name) for name in (SAMPLES_FILE, TABLE_FILE)}
    content = content_sha256(header, header.subjects, header.rhythms, sha256)
    header.model_copy(update={"sha256": sha256, "content_sha256": content}).save(folder / HEADER_FILE)


def attempt(original, folder, seed):
    """The error of a mutated copy, None if it passes for a data set; anything but an EcmEdgeError is raised."""
    shutil.rmtree(folder, ignore_errors=True)
    shutil.copytree(original, folder)
    mutate(folder, seed)
    try:
        use(folder)
    except EcmEdgeError as problem:
        return problem
    return None


def main(count, first):
    """Try many and print what is raised beside an EcmEdgeError."""
    ends = collections.Counter()
    with tempfile.TemporaryDirectory() as folder:
        original = make(Path(folder) / "d")
        for seed in range(first, first + count):
            try:
                ends[type(attempt(original, Path(folder) / "m", seed)).__name__] += 1
            except Exception as problem:  # noqa: BLE001 - what is looked for
                place = traceback.extract_tb(problem.__traceback__)[-1]
                ends[f"{type(problem).__name__}: {problem} at {place.filename}:{place.lineno}"[:300]] += 1
                sys.stdout.write(f"{seed} {traceback.format_exc(limit=-6)}\n")
    for end, number in ends.most_common():
        sys.stdout.write(f"{number} {end}\n")


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]) if len(sys.argv) > 2 else 0)
