"""The ablations: recipes that can be trained, and a table of what they scored."""

import pytest

from benchmarks import ablations
from ecm_edge.candidate import networks, space
from ecm_edge.data import splits
from ecm_edge.data.dataset import open_dataset
from ecm_edge.data.synthetic import synthesise
from ecm_edge.training import train

from .test_promote_merged import merged


@pytest.mark.parametrize("recipe", ablations.recipes("noise"), ids=lambda recipe: recipe.name)
def test_every_recipe_can_be_trained_and_differs_from_the_base(recipe):
    training = space.training_config(ablations.TRAINING | recipe.training)
    networks.parameters("tcn", ablations.NETWORK | recipe.network)
    assert training.epochs * training.sampling.segments * training.bag_windows == 160_000
    assert (recipe.change == "–") == (recipe.name == "base")


@pytest.fixture(scope="module")
def both(tmp_path_factory):
    folder = tmp_path_factory.mktemp("ablations")
    sets = []
    for number, name in enumerate((ablations.CONTEST, ablations.OTHER)):
        synthesise(folder / name, subjects=9, segments_per_subject=6, seed=number)
        sets.append(open_dataset(folder / name))
    return merged(folder / "both", *sets)


def test_a_comparison_goes_on_where_it_was_and_keeps_its_record(both, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(ablations, "TRAINING", ablations.TRAINING | {"epochs": 1, "sampling.segments": 64})
    monkeypatch.setattr(ablations, "RECORD", tmp_path / "record.json")
    assert ablations.shown().startswith("NOT RUN")
    splits.assign_folds(both, count=3, seed=0).save(tmp_path / "folds.json")
    where = ["--folds", str(tmp_path / "folds.json"), "--noise", "none", "-o", str(tmp_path / "out"), "--workers", "1"]
    ablations.main(
        [str(both.folder), *where, *["--only", "qrs", "contest_only", "--seeds", "1", "--answer", "0", "--write"]]
    )
    first = capsys.readouterr()
    assert len(list((tmp_path / "out").iterdir())) == 3
    assert first.err.splitlines()[-1].startswith("3 of 3: ")
    record = ablations.load()
    assert [line.recipe for line in record.lines] == ["base", "contest_only", "qrs"]
    assert record.lines[1].change == "trained on the contest's subjects only"
    assert record.subjects == {"af": 3, "cinc": 3}
    assert first.out.strip() == ablations.shown()
    monkeypatch.setattr(train, "fit", None)  # nothing is trained again
    ablations.main([str(both.folder), *where, *["--seeds", "1", "--answer", "0", "--only", "qrs", "contest_only"]])
    assert capsys.readouterr().out == first.out
