"""A few rows that stand for all."""

import numpy as np
import pytest

from ecm_edge.candidate import candidate, row_sampling

from . import nets


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return nets.dataset(tmp_path_factory.mktemp("rows") / "data")


@pytest.mark.parametrize("count", [1, 5, 6, 7, 60, 119])
def test_as_many_as_asked_and_as_even_as_possible(data, count):
    every = data.rows_of(data.header.subjects)
    chosen = row_sampling.spread(data, every, count)
    per_subject = np.bincount(data.table["subject"][chosen], minlength=6)
    assert len(chosen) == len(set(chosen.tolist())) == count
    assert (np.diff(chosen) > 0).all()
    assert per_subject.max() - per_subject.min() <= 1


def test_all_where_none_or_more_is_asked_and_none_where_zero(data):
    every = data.rows_of(data.header.subjects)
    assert np.array_equal(row_sampling.spread(data, every, None), every)
    assert np.array_equal(row_sampling.spread(data, every, 500), every)
    assert len(row_sampling.spread(data, every, 0)) == 0
    assert len(row_sampling.spread(data, every[:0], 3)) == 0


def test_subjects_with_few_rows_give_all_and_others_fill_up(data):
    few = np.concatenate([data.rows_of(["S0"])[:2], data.rows_of(["S1"])])
    chosen = row_sampling.spread(data, few, 10)
    assert np.bincount(data.table["subject"][chosen]).tolist() == [2, 8]


def test_parts_of_the_split(data, tmp_path):
    config = candidate.load_config(nets.make_candidate(tmp_path / "c", data))
    assert set(data.subject_names(row_sampling.training_rows(config, data))) == {"S0", "S1", "S2"}
    assert set(data.subject_names(row_sampling.verification_rows(config, data, 4))) == {"S3", "S4"}
    trained_on_all = config.model_copy(update={"split": config.split.model_copy(update={"validation": []})})
    assert set(data.subject_names(row_sampling.verification_rows(trained_on_all, data))) == {"S0", "S1", "S2"}
