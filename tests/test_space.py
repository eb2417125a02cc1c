"""Spaces: what is drawn lies inside, what is wrong is named, and a grid is complete."""

import optuna
import pytest
import torch

from ecm_edge.base.errors import SpaceError
from ecm_edge.candidate import networks, space
from ecm_edge.candidate.space import Choices, Range
from ecm_edge.search.avoid import AvoidList

SMALL = """
[families.afnet]
channel_factor = { low = 1, high = 3 }
head_factor = 2
[training]
learning_rate = { choices = [0.01, 0.001] }
epochs = 1
"""


def written(tmp_path, text):
    path = tmp_path / "space.toml"
    path.write_text(text)
    return space.load(str(path))


def drawn(loaded, count, seed=0):
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=seed))
    return [space.draw(loaded, study.ask()) for _ in range(count)]


@pytest.mark.parametrize("name", space.names())
def test_whatever_a_shipped_space_draws_can_be_built(name):
    torch.manual_seed(0)
    for point in drawn(space.load(name), 12):
        family, params, training = space.split_point(point)
        assert networks.build(family, params, 1250) is not None
        assert training.epochs >= 1


def test_the_shipped_space_names_every_family():
    assert set(space.load("default").families) == set(networks.FAMILIES)


def test_a_grid_is_every_combination(tmp_path):
    points = list(space.enumerate_points(written(tmp_path, SMALL)))
    pairs = {(p["afnet.channel_factor"], p["training.learning_rate"]) for p in points}
    assert len(points) == 6
    assert pairs == {(c, r) for c in (1, 2, 3) for r in (0.01, 0.001)}


def test_a_grid_refuses_a_range_of_reals(tmp_path):
    loaded = written(tmp_path, SMALL.replace("{ choices = [0.01, 0.001] }", "{ low = 0.1, high = 0.2 }"))
    with pytest.raises(SpaceError, match="a grid needs steps"):
        list(space.enumerate_points(loaded))


def test_positions_are_shares_of_ranges():
    loaded = space.load("default")
    point = {"family": "separable", "separable.channels": 11, "training.learning_rate": 10**-2.5, "separable.kernel": 9}
    position = space.position(loaded, point)
    assert position["separable.channels"] == pytest.approx(0.5)
    assert position["training.learning_rate"] == pytest.approx(0.5)
    assert position["separable.kernel"] == 9


def test_choices_have_no_neighbours_however_close_their_numbers(tmp_path):
    loaded = written(tmp_path, SMALL)
    points = [{"family": "afnet", "afnet.channel_factor": 1, "training.learning_rate": rate} for rate in (0.01, 0.001)]
    first, second = (space.position(loaded, point) for point in points)
    assert AvoidList().extended(first, 0.5, radius=0.5).avoids(first)
    assert not AvoidList().extended(first, 0.5, radius=0.5).avoids(second)


def test_a_grid_of_reals_stays_within_its_range(tmp_path):
    loaded = written(tmp_path, SMALL.replace("{ choices = [0.01, 0.001] }", "{ low = 0.1, high = 0.3, step = 0.1 }"))
    rates = sorted({point["training.learning_rate"] for point in space.enumerate_points(loaded)})
    assert rates == [0.1, 0.2, 0.3]  # 0.1 + 2 x 0.1 is a little more than 0.3


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("[families.afnet]", "[families.alexnet]", "family 'alexnet' is none of"),
        ("low = 1, high = 3", "low = 4, high = 3", "low 4 is above high 3"),
        ("low = 1, high = 3", "low = -1e308, high = 1e308", "more values than can be counted"),
        ("low = 1, high = 3", "low = 1, high = 3, step = 1e-320", "more values than can be counted"),
        ("low = 1, high = 3", "low = 0, high = 3, log = true", "starts above 0"),
        ("low = 1, high = 3", "low = 1, high = 3, step = 0", "a step is positive"),
        ("low = 1, high = 3", "low = 1, high = 4, step = 2", "from 1 to 4 is not a whole number of steps of 2"),
        ("[families.afnet]", "[families.training]\nfactory = 'a:b'", "a word other than training"),
        ("{ choices = [0.01, 0.001] }", "{ choices = [] }", "at least 1 item"),
        ("[families.afnet]", "[families]", "names its families"),
        ("[training]", "[training", "TOML"),
    ],
)
def test_each_mistake_is_named(tmp_path, old, new, message):
    with pytest.raises(SpaceError) as caught:
        written(tmp_path, SMALL.replace(old, new))
    assert message in str(caught.value)


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("head_factor = 2", "head_factor = 2\nlegs = 4", "legs"),
        ("head_factor = 2", "head_factor = { choices = [2, 'two'] }", "valid integer"),
        ("low = 1, high = 3", "low = 1, high = 9999", "less than or equal"),
        ("low = 1, high = 3", "low = 1.0, high = 3.0", "fractional"),
        ("epochs = 1", "epochs = 0", "training.epochs"),
    ],
)
def test_what_a_family_does_not_take_is_found_before_anything_is_drawn(tmp_path, old, new, message):
    space.check(written(tmp_path, SMALL))
    with pytest.raises(SpaceError) as caught:
        space.check(written(tmp_path, SMALL.replace(old, new)))
    assert message in str(caught.value)


@pytest.mark.parametrize("name", space.names())
def test_the_shipped_spaces_check(name):
    space.check(space.load(name))


def test_a_grid_has_a_limit(tmp_path):
    loaded = written(tmp_path, SMALL.replace("high = 3", "high = 5000"))
    assert space.grid_size(loaded) == 10_000
    with pytest.raises(SpaceError, match="found 10,002"):
        space.grid_size(written(tmp_path, SMALL.replace("high = 3", "high = 5001")))


def test_a_training_parameter_that_does_not_exist():
    with pytest.raises(SpaceError, match=r"training\.speed"):
        space.training_config({"speed": 3})


def test_augmentation_is_nested():
    assert space.training_config({"augmentation.noise": 0.5}).augmentation.noise == 0.5


def test_a_teacher_is_nested_deeper_and_may_come_after_none():
    names = {
        "teacher": None,
        "teacher.family": "separable",
        "teacher.network.depth": 2,
        "teacher.training.keep": "last",
    }
    teacher = space.training_config({**names, "teacher.training.augmentation.noise": 0.5, "distill": 0.5}).teacher
    assert (teacher.family, teacher.network, teacher.training.augmentation.noise) == ("separable", {"depth": 2}, 0.5)


def test_a_training_parameter_is_not_a_value_and_a_table():
    with pytest.raises(SpaceError, match="both for augmentation"):
        space.training_config({"augmentation": 3, "augmentation.noise": 0.5})


def test_entries_for_people():
    assert space.describe(Range(low=1e-3, high=1e-2, log=True)) == "0.001 to 0.01, logarithmic"
    assert space.describe(Choices(choices=[5, 9])) == "5, 9"
