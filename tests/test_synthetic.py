"""Synthetic ECG: the same seed gives the same bytes, and rhythms differ as they should."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import numpy as np
import pytest

from ecm_edge.base.errors import OutputError, RecordingError
from ecm_edge.cli import cli
from ecm_edge.data import synthetic
from ecm_edge.data.audit.features import NAMES, features
from ecm_edge.data.dataset import open_dataset
from ecm_edge.data.synthetic import synthesise

DATA = Path(__file__).parents[1] / "data"


def contents(folder):
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_the_same_seed_gives_the_same_bytes(tmp_path):
    for name, seed in (("a", 1), ("b", 1), ("c", 2)):
        synthesise(tmp_path / name, subjects=2, seed=seed, segments_per_subject=4)
    assert contents(tmp_path / "a") == contents(tmp_path / "b")
    assert contents(tmp_path / "a")["samples.npy"] != contents(tmp_path / "c")["samples.npy"]


def test_a_subject_does_not_depend_on_how_many_there_are(tmp_path):
    for subjects in (1, 2):
        synthesise(tmp_path / str(subjects), subjects=subjects, seed=1, segments_per_subject=4)
    assert (open_dataset(tmp_path / "1").samples == open_dataset(tmp_path / "2").samples[:4]).all()


def test_data_sets_are_marked_synthetic_and_balanced(dataset):
    assert dataset.header.synthetic
    assert set(dataset.header.rhythms) == {"AB", "AFIB", "B", "N", "SBR"}
    assert 0.25 < dataset.labels.mean() < 0.75
    by_subject = {tuple(np.unique(dataset.labels[dataset.rows_of([s])])) for s in dataset.header.subjects}
    assert by_subject == {(0,), (1,), (0, 1)}


def test_rr_intervals_vary_in_af_and_are_long_in_bradycardia(dataset):
    found = features(np.asarray(dataset.samples), 250.0)
    names = np.array(dataset.header.rhythms)[dataset.table["rhythm"]]
    irregularity, mean_s = found[:, NAMES.index("rr_cv")], found[:, NAMES.index("rr_mean_s")]
    assert np.nanmedian(irregularity[names == "AFIB"]) > 2 * np.nanmedian(irregularity[names == "N"])
    assert np.nanmedian(mean_s[names == "SBR"]) > 60 / 58
    p_size = found[:, NAMES.index("p_agreement")]
    assert np.nanmedian(p_size[names == "AFIB"]) < np.nanmedian(p_size[names == "N"])


def test_hearts_differ_in_polarity_and_morphology():
    hearts = [synthetic.heart(np.random.default_rng(seed)) for seed in range(20)]
    assert {one.polarity for one in hearts} == {-1, 1}
    assert len({one.qrs for one in hearts}) == 20


@pytest.mark.parametrize(
    "wrong", [{"subjects": 0}, {"segments_per_subject": 3}, {"segments_per_subject": 0}, {"seed": -1}]
)
def test_impossible_sizes_are_refused(tmp_path, wrong):
    with pytest.raises(RecordingError):
        synthesise(tmp_path / "d", **{"subjects": 1, "seed": 1, "segments_per_subject": 2, **wrong})
    assert not (tmp_path / "d").exists()


def test_the_least_is_one_subject_of_one_episode(tmp_path):
    record = synthesise(tmp_path / "d", subjects=1, seed=1, segments_per_subject=2)
    assert (record.segments, record.rhythms) == (2, ["AFIB"])
    assert open_dataset(tmp_path / "d").samples.shape == (2, 1250)


def test_an_existing_folder_is_not_touched(tmp_path):
    with pytest.raises(OutputError, match="exists"):
        synthesise(tmp_path, subjects=1, seed=1, file_format="csv")
    assert not list(tmp_path.iterdir())


COMMANDS = re.findall(r"^ecm-edge (data synth -o data/(\w+) .*)$", (DATA / "README.md").read_text(), re.MULTILINE)


@pytest.mark.parametrize(("command", "name"), COMMANDS)
def test_the_sample_recordings_are_what_their_commands_make(tmp_path, command, name):
    arguments = shlex.split(command.replace(f"data/{name}", str(tmp_path / name)))
    cli.main(arguments, standalone_mode=False)
    assert contents(tmp_path / name) == contents(DATA / name)


def test_the_sample_recordings_are_small_and_in_every_format():
    assert [name for _, name in COMMANDS] == ["iesd", "wfdb", "edf", "csv", "dicom"]
    assert sum(len(content) for _, name in COMMANDS for content in contents(DATA / name).values()) < 500_000
