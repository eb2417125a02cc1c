"""Provenance: what a checkout, a plain folder and a fixed date give."""

from __future__ import annotations

import re
import subprocess
from datetime import UTC, datetime

import pytest

from ecm_edge.base import provenance
from ecm_edge.base.errors import EcmEdgeError


def checkout(folder):
    """A Git checkout of one committed file."""
    identity = ["-c", "user.name=a", "-c", "user.email=a@b.c", "-c", "commit.gpgsign=false"]
    (folder / "file").write_text("1")
    for arguments in (["init", "-q"], ["add", "file"], [*identity, "commit", "-q", "-m", "one"]):
        subprocess.run(["git", "-C", str(folder), *arguments], check=True)  # noqa: S607 - Git from the path
    return folder


def test_a_checkout_gives_its_commit_and_whether_it_was_changed(tmp_path, monkeypatch):
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "1750000000")
    monkeypatch.setattr(provenance, "_CHECKOUT", checkout(tmp_path))
    clean = provenance.collect()
    assert re.fullmatch("[0-9a-f]{40}", clean.git_sha)
    assert clean.git_dirty is False
    (tmp_path / "file").write_text("2")
    assert provenance.collect().git_dirty is True
    as_its_owner = provenance.collect()
    monkeypatch.setenv("GIT_TEST_ASSUME_DIFFERENT_OWNER", "1")  # Git's own
    assert provenance.collect() == as_its_owner


@pytest.mark.parametrize("broken", [False, True])
def test_no_checkout_or_a_broken_one_gives_no_commit(tmp_path, monkeypatch, broken):
    if broken:
        (tmp_path / ".git").mkdir()
    monkeypatch.setattr(provenance, "_CHECKOUT", tmp_path)
    found = provenance.collect()
    assert (found.git_sha, found.git_dirty) == (None, None)


def test_versions_are_those_installed():
    import numpy as np

    assert provenance.collect().libraries["numpy"] == np.__version__


def test_source_date_epoch_stands_for_now(monkeypatch):
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "0")
    assert provenance.collect().date_utc == "1970-01-01T00:00:00Z"
    monkeypatch.delenv("SOURCE_DATE_EPOCH")
    written = datetime.fromisoformat(provenance.date_utc())
    assert abs((datetime.now(UTC) - written).total_seconds()) < 60


@pytest.mark.parametrize("value", ["yesterday", "1e9", "9" * 30])
def test_source_date_epoch_must_be_seconds(monkeypatch, value):
    monkeypatch.setenv("SOURCE_DATE_EPOCH", value)
    with pytest.raises(EcmEdgeError, match="SOURCE_DATE_EPOCH is whole seconds"):
        provenance.date_utc()
