"""One reader under atheris, which follows the coverage: `python -m tests.fuzz.guided edf 600`, for 600 s.

atheris is no dependency: `pip install atheris` in an environment of its own that sees this one. It changes one file of
an input at a time; what reaches new code is kept in build/fuzz/READER, from where the next run goes on.
"""

from __future__ import annotations

import random
import sys
import tempfile
from pathlib import Path

import atheris

with atheris.instrument_imports(include=["ecm_edge"]):
    from ecm_edge.data.recordings import csv_files, dicom, edf, iesd, importer, physionet  # noqa: F401 - instrumented

    from .attempt import attempt
    from .readers import READERS, Reader

KEPT = Path("build/fuzz")


def main(name, seconds):
    """Fuzz until the time is over; a finding ends it, with the input that led to it."""
    reader = READERS[name]
    kept = KEPT / name
    kept.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as folder:
        original = Path(folder) / "corpus"
        reader.make(original)
        paths = [path for case in sorted(original.iterdir()) for path in sorted(case.rglob("*")) if path.is_file()]
        for number, path in enumerate(paths):
            if path.stat().st_size < 1 << 20:
                (kept / f"seed-{number}").write_bytes(bytes([number % 256]) + path.read_bytes())

        def once(data):
            _read(reader, Path(folder), paths, data)

        words = [f"-max_total_time={seconds}", "-timeout=60", "-rss_limit_mb=2000", "-max_len=65536", str(kept)]
        atheris.Setup([sys.argv[0], *words], once)
        atheris.Fuzz()


def _read(reader, folder, paths, data):
    """The first byte says in which file the others stand."""
    if not data:
        return
    path = paths[data[0] % len(paths)]
    case = next(each for each in (folder / "corpus").iterdir() if each in path.parents)

    def put(copied, _rng):
        (copied / path.relative_to(case)).write_bytes(data[1:])

    one = Reader(reader.name, reader.make, put, reader.use)
    only = folder / "only"
    only.mkdir(exist_ok=True)
    for other in only.iterdir():
        other.unlink()
    (only / "case").symlink_to(case)
    outcome = attempt(one, only, folder / "scratch", random.Random(data).randrange(2**31))  # noqa: S311 - no secret
    if outcome.finding:
        raise AssertionError(outcome.finding)


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))
