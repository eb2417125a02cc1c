"""Windows adjoin where their names say so, or their episode; random crops are then from whole recordings."""

import numpy as np
import pytest
import torch

from ecm_edge.data.dataset import Description, SegmentBlock, Source, open_dataset
from ecm_edge.data.dataset_writer import write_dataset
from ecm_edge.training.passages import passages
from ecm_edge.training.random_crop import RandomCrop

T = 1250


def written(folder, windows):
    """A data set of (name, subject, episode) rows; sample t of window k is k + t / T."""
    names, subjects, episodes = zip(*windows, strict=True)
    samples = np.arange(len(windows) * T, dtype=np.float32).reshape(-1, T) / T
    block = SegmentBlock(samples, names, subjects, ["N"] * len(names), episodes, [""] * len(names))
    description = Description(
        sampling_rate_hz=250, samples_per_segment=T, unit="mV", synthetic=True, source=Source(format="test")
    )
    write_dataset(folder, description, [block])
    return open_dataset(folder)


def recording(name, starts_s, subject=None):
    """Rows as an import makes them."""
    return [(f"{name}+{start:g}s", subject or name, f"{name}/{int(start // 10)}") for start in starts_s]


def test_a_passage_is_a_recording_up_to_a_window_that_is_missing(tmp_path):
    rows = [
        *recording("A00001", range(0, 60, 5)),
        *recording("A00002", [0, 5, 15, 20]),
        *recording("r+1", [5, 10], "A00002"),
        *recording("r+2", [15, 20], "A00002"),
    ]
    data = written(tmp_path / "d", rows)
    assert passages(data, np.arange(20)).tolist() == [0] * 12 + [1, 1, 2, 2, 3, 3, 4, 4]
    assert passages(data, np.array([2, 3, 7, 12])).tolist() == [0, 0, 1, 2]
    assert passages(data, np.arange(0)).tolist() == []


def test_where_names_do_not_say_it_a_passage_is_an_episode(tmp_path):
    rows = [(f"S0-N-{k}.txt", "S0", f"S0-N/{k // 2}") for k in range(6)]
    assert passages(written(tmp_path / "d", rows), np.arange(6)).tolist() == [0, 0, 1, 1, 2, 2]


def test_equal_names_of_two_subjects_do_not_adjoin(tmp_path):
    rows = [("A+0s", "S0", "one"), ("A+5s", "S1", "two")]
    assert passages(written(tmp_path / "d", rows), np.arange(2)).tolist() == [0, 1]


def test_a_crop_is_from_the_whole_recording(tmp_path):
    data = written(tmp_path / "d", [*recording("A00001", range(0, 60, 5)), *recording("A00002", range(0, 30, 5))])
    rows = np.arange(18)
    samples = torch.from_numpy(data.samples.copy()).unsqueeze(1)
    crop = RandomCrop(samples, passages(data, rows), np.zeros(18, np.int64), rows, tempo=0)
    for row, first, last in ((0, 0, 12), (7, 0, 12), (12, 12, 18)):
        cut = crop(torch.full((400,), row), torch.Generator().manual_seed(row))
        assert cut.diff(dim=2).numpy() == pytest.approx(1 / T, abs=1e-5)
        assert (cut.min().item(), cut.max().item()) == (pytest.approx(first, abs=0.2), pytest.approx(last, abs=0.2))
        assert {int(begin) for begin in cut[:, 0, 0] - first} == set(range(last - first - 1))
