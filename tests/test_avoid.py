"""The avoid list: what is near, what is not, and that the file is the list."""

import pytest

from ecm_edge.base.errors import SearchError
from ecm_edge.search import avoid
from ecm_edge.search.avoid import AvoidList, GrowingList

HERE = {"family": "afnet", "afnet.channel_factor": 0.5, "training.epochs": 8}


def moved(**changes):
    return {**HERE, **changes}


@pytest.mark.parametrize(
    ("position", "avoided"),
    [
        (HERE, True),
        (moved(**{"afnet.channel_factor": 0.59}), True),
        (moved(**{"afnet.channel_factor": 0.61}), False),
        (moved(family="tcn"), False),
        (moved(**{"training.epochs": 9}), False),
        ({"family": "afnet"}, False),
    ],
)
def test_a_neighbourhood_has_an_edge(position, avoided):
    assert AvoidList().extended(HERE, 0.4).avoids(position) is avoided


def test_a_radius_of_zero_avoids_the_point_alone():
    one = AvoidList().extended(HERE, None, 0.0)
    assert one.avoids(HERE)
    assert not one.avoids(moved(**{"afnet.channel_factor": 0.501}))


@pytest.mark.parametrize("radius", [0.0, 0.1])
@pytest.mark.parametrize(
    "position",
    [
        HERE,
        moved(**{"afnet.channel_factor": 0.55}),
        moved(family="tcn"),
        moved(**{"training.epochs": 9}),
        {"family": "tcn"},
    ],
)
def test_a_growing_list_avoids_the_same(position, radius):
    growing = GrowingList()
    growing.add(HERE, 0.4, radius)
    growing.add(moved(family="resnet"), None, 0.0)
    listed = AvoidList().extended(HERE, 0.4, radius).extended(moved(family="resnet"), None, 0.0)
    assert growing.avoids(position) is listed.avoids(position)
    assert growing.kept() == listed


def test_an_empty_list_avoids_nothing():
    assert not AvoidList().avoids(HERE)


def test_the_file_is_the_list(tmp_path):
    grown = AvoidList().extended(HERE, 0.4).extended(moved(family="tcn"), None)
    grown.save(tmp_path / "avoid.json")
    assert avoid.load(tmp_path / "avoid.json") == grown


def test_no_file_is_an_empty_list(tmp_path):
    assert avoid.load(tmp_path / "avoid.json") == AvoidList()


def test_a_damaged_file_is_refused(tmp_path):
    (tmp_path / "avoid.json").write_text('{"avoided": [{"score": 1}]}')
    with pytest.raises(SearchError, match="holds the record AvoidList"):
        avoid.load(tmp_path / "avoid.json")
