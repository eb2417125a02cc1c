"""What an option offers is what its function takes: the commands list it again, so that --help imports nothing."""

from typing import get_args

import click
import pytest

from ecm_edge import metrics
from ecm_edge.base import records
from ecm_edge.candidate import space
from ecm_edge.data import dataset, rhythms, synthetic
from ecm_edge.data.recordings import formats, importer, options
from ecm_edge.evaluate import bench
from ecm_edge.metrics import episodes as metrics_episodes
from ecm_edge.search import runs, study

from .test_cli import LEAVES

OFFERED = [
    ("search", "sampler", study.Sampler),
    ("search", "pruner", study.Pruner),
    ("search", "objective", metrics.Objective),
    ("scale", "objective", metrics.Objective),
    ("promote", "form", records.Form),
    ("score", "form", records.Form),
    ("fit", "form", records.Form),
    ("robustness", "form", records.Form),
    ("bundle", "form", records.Form),
    ("compare", "form", records.Form),
    ("measure", "form", records.Form),
    ("firmware generate", "form", records.Form),
    ("firmware serve", "form", records.Form),
    ("firmware sign", "form", records.Form),
    ("verify", "form", records.Form),
    ("data import", "file_format", formats.Format),
    ("data import", "delimiter", options.Delimiter),
    ("data import", "decimal", options.DecimalSign),
    ("data import", "on_error", importer.OnError),
    ("data import", "codes", rhythms.Codes),
    ("data import", "blank", dataset.Blank),
    ("data merge", "blank", dataset.Blank),
    ("data synth", "file_format", synthetic.SynthFormat),
    *(
        (command, name, kind)
        for command in ("predict", "episodes")
        for name, kind in (
            ("form", records.Form),
            ("file_format", formats.Format),
            ("delimiter", options.Delimiter),
            ("decimal", options.DecimalSign),
            ("on_error", importer.OnError),
        )
    ),
    ("episodes", "codes", rhythms.Codes),
]


def option(command, name):
    return next(p for p in LEAVES[tuple(command.split())].params if p.name == name)


@pytest.mark.parametrize(("command", "name", "kind"), OFFERED)
def test_an_option_offers_every_value_of_its_type(command, name, kind):
    assert tuple(option(command, name).type.choices) == get_args(kind)


def test_no_list_of_choices_is_left_out():
    listed = {
        (" ".join(path), p.name)
        for path, command in LEAVES.items()
        for p in command.params
        if isinstance(p.type, click.Choice)
    }
    checked_elsewhere = {("search", "split_name"), ("completion", "shell")}
    assert listed == {(command, name) for command, name, _ in OFFERED} | checked_elsewhere


def test_defaults_are_those_of_the_functions():
    settings = runs.SearchSettings.model_fields
    assert option("search", "sampler").default == settings["sampler"].default
    assert option("search", "pruner").default == settings["pruner"].default
    assert option("episodes", "start_s").default == metrics_episodes.START_S
    assert option("bench", "runs").default == bench.RUNS
    assert option("bench", "warm_ups").default == bench.WARM_UPS
    assert option("search", "space_name").default in space.names()


def test_the_help_of_space_names_every_shipped_one():
    assert all(name in LEAVES[("space",)].help for name in space.names())
