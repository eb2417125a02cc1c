"""Files of a candidate, a run and a shelf: none is read beyond its bound, and no pipe or device is waited for."""

from __future__ import annotations

import io
import json
import os
import zipfile

import numpy as np
import pytest

from ecm_edge.base import contents, files
from ecm_edge.base.errors import CandidateError
from ecm_edge.candidate.candidate import CHECKPOINT, RUN_SUMMARY, load_network, locate
from ecm_edge.evaluate.evidence import read_latencies
from ecm_edge.report import model_card
from ecm_edge.training import out_of_fold
from tests import tiny

HUGE = 1 << 40


def sparse(path):
    path.touch()
    os.truncate(path, HUGE)


@pytest.mark.parametrize("make", [sparse, lambda path: path.write_text("[" * 100_000)])
def test_a_summary_of_a_run_is_bounded_in_size_and_depth(tmp_path, make):
    make(tmp_path / RUN_SUMMARY)
    with pytest.raises(CandidateError, match="a run has a summary"):
        locate(tmp_path)


@pytest.mark.parametrize(
    "summary",
    [
        {"best": "0001", "best_objective": 1.0, "trials": []},
        {"best": [1], "best_objective": 1.0, "trials": []},
        {"best": 1, "best_objective": 1.0, "trials": [{"outcome": "done"}]},
        {"best": 1, "best_objective": 1.0, "trials": [1]},
        {"best": 1, "best_objective": {}, "trials": []},
        [],
    ],
)
def test_a_summary_that_was_changed_is_no_fault(tmp_path, summary):
    (tmp_path / RUN_SUMMARY).write_text(json.dumps(summary))
    with pytest.raises(CandidateError, match="a run has a summary"):
        locate(tmp_path)


@pytest.mark.parametrize("make", [sparse, os.mkfifo, lambda path: path.symlink_to("/dev/zero")])
def test_latencies_are_read_from_a_file_of_usual_size(tmp_path, make):
    make(tmp_path / "b.json")
    with pytest.raises(CandidateError, match=r"Larger than 67,108,864 bytes|Not a regular file"):
        read_latencies(tmp_path / "b.json")


@pytest.mark.parametrize("make", [sparse, os.mkfifo, lambda path: path.write_text("[" * 100_000)])
def test_what_is_no_shelf_is_no_incumbent(tmp_path, make):
    make(tmp_path / contents.SHELF)
    assert contents.incumbent_of(tmp_path) is None


@pytest.mark.parametrize("make", [os.mkfifo, lambda path: path.symlink_to("/dev/zero")])
def test_a_checkpoint_is_a_file(tmp_path, make):
    tiny.config(tiny.graded(tmp_path / "d")).model_copy(
        update={"family": "tcn", "network": {"channels": 4, "depth": 1, "kernel": 3}, "samples_per_segment": 250}
    ).save(tmp_path / "candidate.json")
    make(tmp_path / CHECKPOINT)
    with pytest.raises(CandidateError, match="a trained candidate has a checkpoint"):
        load_network(tmp_path)


@pytest.mark.parametrize("make", [sparse, os.mkfifo])
def test_a_section_of_a_card_is_a_file_of_usual_size(tmp_path, make):
    make(tmp_path / "a.md")
    with pytest.raises(CandidateError, match="a section of a card"):
        model_card._read_section(tmp_path / "a.md")  # noqa: SLF001 - the command reads records first


def test_margins_that_unpack_to_too_much_are_none():
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED) as packed:
        packed.writestr("before.npy", bytes(out_of_fold.LARGEST_BYTES + 1))
    assert len(stream.getvalue()) < 1 << 20
    assert out_of_fold.from_bytes(stream.getvalue()) == {}


def test_margins_with_any_bytes_as_their_header_are_none():
    whole = out_of_fold.to_bytes(before=np.zeros(3, np.float32))
    at = whole.index(b"NUMPY") + 10
    draw = np.random.default_rng(0)
    changed = [whole[:at] + draw.bytes(60) + whole[at + 60 :] for _ in range(200)]
    changed += [whole[:at] + b"(" * 60 + whole[at + 60 :], whole[:40], b"", b"PK"]
    assert [out_of_fold.from_bytes(each) for each in changed] == [{}] * len(changed)
    assert json.dumps(out_of_fold.from_bytes(whole)["before"].tolist()) == "[0.0, 0.0, 0.0]"


def test_links_that_go_round_are_no_fault(tmp_path):
    """Python before 3.13 raises RuntimeError for them."""
    (tmp_path / "a").symlink_to(tmp_path / "b")
    (tmp_path / "b").symlink_to(tmp_path / "a")
    assert files.resolved(tmp_path / "a") in {tmp_path / "a", tmp_path / "b"}
    split, source = f"train={tmp_path / 'a'}", tmp_path / "source"
    source.mkdir()
    (source / "S1-N-1.txt").write_text("0\n")
    words = ["--format", "iesd", "--sampling-rate-hz", 250, "--split", split, "-o", tmp_path / "out"]
    assert tiny.run(["data", "import", source, *words]) == 2
    assert tiny.run(["targets", tmp_path / "a"]) == 2
