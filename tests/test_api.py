"""`ecm_edge.api`: texts for paths and names, the run for its best candidate, what it exports, what it imports."""

import ast
import doctest
import importlib
import inspect
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from ecm_edge import api
from ecm_edge.api import given
from ecm_edge.candidate.candidate import trial_folder

from . import report_records
from .test_cli import LEAVES

PACKAGE = Path(api.__file__).parent
TREES = {path.stem: ast.parse(path.read_text(encoding="utf-8")) for path in PACKAGE.glob("*.py")}
VERBS = [name for name in api.__all__ if inspect.isfunction(getattr(api, name))]
HEAVY = {
    "numpy",
    "torch",
    "onnx",
    "onnxruntime",
    "optuna",
    "pydantic",
    "rich",
    "matplotlib",
    "pandas",
    "scipy",
    "sklearn",
}
OTHERWISE_NAMED = {
    "worker": "work",
    "data-audit": "audit",
    "data-folds": "assign_folds",
    "data-import": "import_recordings",
    "data-info": "info",
    "data-merge": "merge",
    "data-synth": "synthesise",
    "firmware-build": "build_firmware",
    "firmware-generate": "generate_firmware",
    "firmware-serve": "serve",
    "firmware-sign": "sign_firmware",
    "registry-check": "check_registry",
    "space": "load_space",
    "verify-bundle": "verify_bundle",
}
"""Verbs that have another name in Python than on the command line."""


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A folder with the data set `d` and the run `run`, whose best trial is 1."""
    folder = tmp_path_factory.mktemp("api")
    report_records.run(folder / "run", report_records.dataset(folder / "d"))
    return folder


def test_every_command_is_a_verb():
    commands = {"-".join(path) for path in LEAVES} - {"completion"}  # a script for shells alone
    assert {OTHERWISE_NAMED.get(command, command) for command in commands} - set(VERBS) == set()


def test_what_is_exported_is_sorted_there_and_documented():
    assert list(api.__all__) == sorted(api.__all__)
    assert set(api.__all__) <= set(dir(api))
    things = [getattr(api, name) for name in api.__all__]
    undocumented = [thing for thing in things if isinstance(thing, type) or inspect.isfunction(thing)]
    assert [thing for thing in undocumented if not thing.__doc__] == []


def test_an_unknown_name_is_an_attribute_error():
    with pytest.raises(AttributeError, match="no attribute 'scores'"):
        _ = api.scores


def test_editors_see_what_there_is():
    block = next(node for node in TREES["__init__"].body if isinstance(node, ast.If))
    assert {node.module: [alias.name for alias in node.names] for node in block.body} == api.RECORDS


def test_the_types_of_arguments_and_results_are_exported():
    functions = [node for tree in TREES.values() for node in tree.body if isinstance(node, ast.FunctionDef)]
    verbs = [function for function in functions if function.name in VERBS]
    hints = [hint for verb in verbs for hint in (*(a.annotation for a in every_argument(verb)), verb.returns)]
    named = {node.id for hint in hints for node in ast.walk(hint) if isinstance(node, ast.Name)}
    ours = {name for name in named if name[0].isupper() and not name.startswith("Any")}
    elsewhere = {"AbstractContextManager", "Callable", "Collection", "Mapping", "Path", "Scalar", "Sequence"}
    assert ours - elsewhere - set(api.__all__) == set()


def every_argument(function):
    return [*function.args.args, *function.args.kwonlyargs, *filter(None, [function.args.kwarg])]


def inner_of(verb):
    """The function that a verb calls: the last that its body imports, if it imports one."""
    tree = ast.parse(inspect.getsource(verb))
    imports = [node for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)]
    return getattr(importlib.import_module(imports[-1].module), imports[-1].names[-1].name) if imports else None


@pytest.mark.parametrize("name", VERBS)
def test_the_defaults_are_those_of_the_stage(name):
    verb, inner = getattr(api, name), inner_of(getattr(api, name))
    if not inspect.isfunction(inner) or name in {
        "train",
        "configure",
        "gate",
        "search",
        "resume_search",
        "generate_firmware",
        "sign_firmware",
    }:
        return  # these do more than to pass their arguments on
    own, theirs = inspect.signature(verb).parameters, inspect.signature(inner).parameters
    shared = [known for known in own if known in theirs and not callable(theirs[known].default)]
    assert {known: own[known].default for known in shared} == {known: theirs[known].default for known in shared}


def test_importing_it_imports_nothing_heavy():
    script = "import sys, ecm_edge.api; print(*sorted({name.partition('.')[0] for name in sys.modules}))"
    environment = {**os.environ, "PYTHONPATH": str(PACKAGE.parents[1])}
    done = subprocess.run([sys.executable, "-c", script], env=environment, capture_output=True, text=True, check=True)
    assert HEAVY & set(done.stdout.split()) == set()


def test_texts_are_paths_and_a_run_is_its_best_candidate(made):
    best = api.score(trial_folder(made / "run", 1), api.open_dataset(made / "d"))
    record = api.score(str(made / "run"), str(made / "d"), target="loongson-2k0500")
    assert record.scores == best.scores
    assert record.board.target == "loongson-2k0500"
    assert api.locate(f"{made}/run") == made / "run" / "trials" / "0001"


def test_a_changed_data_set_is_refused_where_its_path_is_given(made, tmp_path):
    folder = tmp_path / "d"
    report_records.dataset(folder)
    samples = folder / "samples.npy"
    samples.write_bytes(samples.read_bytes()[:-1] + b"\x07")
    with pytest.raises(api.DatasetError, match="changed"):
        api.score(str(made / "run"), str(folder))


@pytest.mark.parametrize(
    ("error", "call"),
    [
        ("CandidateError", lambda at: api.score(f"{at}/nowhere", f"{at}/d")),
        ("CandidateError", lambda at: api.locate(f"{at}/nowhere")),
        ("CandidateError", lambda at: api.verify(f"{at}/d", f"{at}/d", "loongson-2k0500")),
        ("CandidateError", lambda at: api.train(f"{at}/new", f"{at}/nowhere", f"{at}/d", "loongson-2k0500")),
        ("DatasetError", lambda at: api.score(f"{at}/run", f"{at}/nowhere")),
        ("DatasetError", lambda at: api.info(f"{at}/run")),
        ("TargetError", lambda at: api.score(f"{at}/run", f"{at}/d", target="loongson")),
        ("TargetError", lambda at: api.history(f"{at}/registry", "loongson")),
        ("RegistryError", lambda at: api.history(f"{at}/nowhere", "loongson-2k0500")),
        ("RegistryError", lambda at: api.history(at, "loongson-2k0500")),
        ("RegistryError", lambda at: api.history(f"{at}/run")),
        ("ModelError", lambda at: api.compare([f"{at}/run", f"{at}/nowhere"])),
        ("RegistryError", lambda at: api.rollback(f"{at}/nowhere", "loongson-2k0500")),
        ("SpaceError", lambda at: api.search(f"{at}/d", "loongson-2k0500", f"{at}/new", space="quik")),
        ("TaskError", lambda at: api.predict(f"{at}/run", f"{at}/d", f"{at}/new.csv", task="af")),
    ],
)
def test_a_wrong_folder_or_name_is_an_error(made, error, call):
    with pytest.raises(getattr(api, error)) as raised:
        call(made)
    assert raised.value.hint


@pytest.mark.parametrize("module", sorted(TREES))
def test_the_examples_of_its_docstrings(module, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert doctest.testmod(importlib.import_module(f"ecm_edge.api.{module}".removesuffix(".__init__"))).failed == 0


def examples():
    """The code of all examples in docstrings, also of those that are not run since they take minutes."""
    modules = [importlib.import_module(f"ecm_edge.api.{name}".removesuffix(".__init__")) for name in TREES]
    found = [test for module in modules for test in doctest.DocTestFinder(exclude_empty=True).find(module)]
    sources = [example.source for test in found for example in test.examples]
    names = ", ".join(sorted({test.name.rpartition(".")[2] for test in found} - {"api", "path"}))
    return f"from ecm_edge.api import {names}\nfrom ecm_edge.api.given import path\n{''.join(sources)}"


WRONG = "from ecm_edge import api\napi.score(3, 'af')\napi.score('run', 'af').scoress\napi.score('run')\n"


def test_the_examples_are_typed_and_a_wrong_type_is_found(tmp_path):
    (tmp_path / "right.py").write_text(examples(), encoding="utf-8")
    (tmp_path / "wrong.py").write_text(WRONG, encoding="utf-8")
    root = PACKAGE.parents[1]
    command = [sys.executable, "-m", "mypy", tmp_path / "right.py", tmp_path / "wrong.py"]
    environment = {**os.environ, "PYTHONPATH": str(root)}
    done = subprocess.run(command, cwd=root, env=environment, capture_output=True, text=True, check=False)
    found = re.findall(r"(\w+)\.py:(\d+): error", done.stdout)
    assert "api.search" in examples()
    assert found == [("wrong", "2"), ("wrong", "3"), ("wrong", "4")], done.stdout + done.stderr


def test_none_stays_none():
    assert given.dataset(None) is given.target(None) is given.model(None) is given.path(None) is None
