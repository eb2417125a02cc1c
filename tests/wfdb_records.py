"""A WFDB record of one lead by its header lines, and the import of a folder of them."""

from __future__ import annotations

import numpy as np
import pytest

from ecm_edge import tasks
from ecm_edge.base.errors import RecordingError
from ecm_edge.data.recordings.importer import import_recordings
from ecm_edge.data.recordings.options import Options
from ecm_edge.data.recordings.physionet import open_one, write_rhythms

RATE_HZ = 250
SECONDS = 40
DIGITAL = np.random.default_rng(0).integers(-900, 900, RATE_HZ * SECONDS)  # counts; 8 windows of 5 s
TASK = tasks.default()


def record(folder, *lines, digital=DIGITAL, name="a", notes=((0, "(N"),), fmt="<i2", rate_hz=RATE_HZ):
    """One record: its header's lines, its samples in one .dat, its rhythm notes (None for no file)."""
    (folder / f"{name}.hea").write_text("\n".join(lines) + "\n")
    np.asarray(digital).astype(fmt).tofile(folder / f"{name}.dat")
    if notes is not None:
        write_rhythms(folder, name, rate_hz, notes, "atr")


def load(folder, on_error="fail", **options):
    given = Options(**options)
    return import_recordings(folder, folder.parent / "out", file_format="wfdb", options=given, on_error=on_error)


def one(folder, name="a", **options):
    return open_one(folder / name, Options(**options), TASK)


def refused(folder, match, **options):
    with pytest.raises(RecordingError, match=match):
        load(folder, **options)
    assert not (folder.parent / "out").exists()


def left_out(imported):
    return {(each.name, each.reason, each.windows) for each in imported.left_out}


def notes(imported):
    return [note.text for note in imported.notes]
