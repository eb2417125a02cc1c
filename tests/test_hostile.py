"""Data sets that somebody made to break things are refused with one message; none ends in a traceback."""

from __future__ import annotations

import json
import os
import shutil

import numpy as np
import pytest

from ecm_edge.base.errors import DatasetError
from ecm_edge.data.dataset import HEADER_FILE, SAMPLES_FILE, TABLE_FILE, check_content, natural_key, open_dataset
from ecm_edge.data.info import info
from tests import hostile


@pytest.fixture(scope="module")
def original(tmp_path_factory):
    return hostile.make(tmp_path_factory.mktemp("hostile") / "d")


@pytest.fixture
def copy(original, tmp_path):
    return shutil.copytree(original, tmp_path / "d")


@pytest.mark.parametrize("first", range(0, 150, 30))
def test_mutated_data_sets_are_refused_or_read(original, tmp_path, first):
    ends = [hostile.attempt(original, tmp_path / "m", seed) for seed in range(first, first + 30)]
    refused = [problem for problem in ends if problem is not None]
    assert len(refused) > 15
    assert {type(problem) for problem in refused} == {DatasetError}


@pytest.mark.parametrize("name", [HEADER_FILE, SAMPLES_FILE, TABLE_FILE])
@pytest.mark.parametrize("kind", ["fifo", "zero", "folder", "missing"])
def test_what_is_no_file_is_never_waited_for(copy, name, kind):
    (copy / name).unlink()
    if kind == "fifo":
        os.mkfifo(copy / name)
    elif kind == "zero":
        (copy / name).symlink_to("/dev/zero")
    elif kind == "folder":
        (copy / name).mkdir()
    with pytest.raises(DatasetError, match=name):
        open_dataset(copy)


def test_a_header_of_a_gigabyte_is_not_read(copy):
    os.truncate(copy / HEADER_FILE, 1 << 30)
    with pytest.raises(DatasetError, match="Larger than 16,777,216 bytes"):
        open_dataset(copy)


@pytest.mark.parametrize("within", ["", "task"])
def test_a_header_of_many_unknown_fields_is_refused_as_a_whole(copy, within):
    content = json.loads((copy / HEADER_FILE).read_text())
    (content[within] if within else content).update({f"f{k}": 0 for k in range(1000)})
    (copy / HEADER_FILE).write_text(json.dumps(content))
    with pytest.raises(DatasetError, match=r"1,0\d\d fields where \d+ are known( at task)? in"):
        open_dataset(copy)


@pytest.mark.parametrize(("column", "index"), [("subject", 4), ("subject", -1), ("rhythm", 99), ("split", 0)])
def test_an_index_that_points_nowhere_is_refused(copy, column, index):
    table = np.load(copy / TABLE_FILE)
    table[column][3] = index
    np.save(copy / TABLE_FILE, table)
    hostile.hash_again(copy)
    for use in (lambda data: data.labels, check_content, info):
        with pytest.raises(DatasetError, match=f"the {column} of every row .* index {index} in row 3"):
            use(open_dataset(copy))


def test_samples_that_are_not_finite_are_refused_even_if_hashed_so(copy):
    samples = np.load(copy / SAMPLES_FILE)
    samples[5, 7] = np.nan
    np.save(copy / SAMPLES_FILE, samples)
    hostile.hash_again(copy)
    with pytest.raises(DatasetError, match="row 5"):
        check_content(open_dataset(copy))


def test_names_that_are_no_text_are_shown_escaped(copy):
    table = np.load(copy / TABLE_FILE)
    table["name"][0] = b"a\xff"
    np.save(copy / TABLE_FILE, table)
    hostile.hash_again(copy)
    assert open_dataset(copy).names(np.array([0])) == [r"a\xff"]


def test_a_name_of_five_thousand_digits_has_a_place():
    assert sorted(["S" + "9" * 5000, "S10", "S2"], key=natural_key)[:2] == ["S2", "S10"]
