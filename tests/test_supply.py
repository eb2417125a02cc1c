"""What is installed is pinned with hashes, and its licences are in the table."""

from __future__ import annotations

import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement

ROOT = Path(__file__).parents[1]
FILES = ("constraints.txt", "constraints-torch.txt", "constraints-cuda.txt")


def pins(name):
    """Every pin of a file: its requirement and its hashes."""
    blocks = re.split(r"^(?=[A-Za-z0-9])", (ROOT / name).read_text(), flags=re.MULTILINE)[1:]
    parts = [(block.split("\\\n")[0].strip(), re.findall(r"--hash=sha256:([0-9a-f]{64})\b", block)) for block in blocks]
    return {Requirement(line).name: (Requirement(line), hashes) for line, hashes in parts}


def wanted():
    """Every requirement of pyproject.toml that `make` installs, the names of own extras resolved."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    extras, waiting, found = project["optional-dependencies"], ["dev"], []
    while waiting:
        for line in extras[waiting.pop()]:
            each = Requirement(line)
            if each.name == "ecm-edge":
                waiting += each.extras
            else:
                found.append(each)
    return found + [Requirement(line) for line in project["dependencies"]]


@pytest.mark.parametrize("name", FILES)
def test_every_pin_is_exact_and_has_hashes(name):
    for requirement, hashes in pins(name).values():
        assert re.fullmatch(r"==[^*,]+", str(requirement.specifier)), requirement
        assert hashes, requirement
        assert len(set(hashes)) == len(hashes), requirement


def test_every_requirement_is_pinned_within_its_bounds():
    pinned = pins("constraints.txt") | pins("constraints-torch.txt")
    for each in wanted():
        requirement, _ = pinned[each.name.lower().replace("_", "-")]
        assert each.specifier.contains(str(requirement.specifier).removeprefix("==")), each


def test_torch_has_the_hashes_of_several_builds():
    requirement, hashes = pins("constraints-torch.txt")["torch"]
    assert len(hashes) > 10, "PyPI's wheels for Linux, macOS and Windows"
    text = (ROOT / ".ci/constraints.py").read_text()
    assert f'"{requirement}"' in text, "the build without CUDA is of this version"
    assert any(digest in text for digest in hashes)
    version = str(requirement.specifier).removeprefix("==")
    assert f"torch=={version} --index-url" in (ROOT / "README.md").read_text()


def test_make_installs_with_hashes_and_nothing_else():
    recipe = (ROOT / "Makefile").read_text().split("$(STAMP):")[1].split("touch")[0]
    installs = [line.strip() for line in recipe.splitlines() if "$(PIP)" in line]
    assert [("--require-hashes" in line, "--no-index" in line) for line in installs] == [
        (True, False),
        (True, True),
        (True, False),
        (False, True),
    ]
    assert all(name in recipe for name in FILES)
    assert "make" in (ROOT / ".ci/run").read_text()
    assert "pip install" not in (ROOT / ".ci/run").read_text()


def test_no_package_of_cuda_is_installed_without_it():
    assert not any(re.match(r"torch$|nvidia|cuda|triton", name) for name in pins("constraints.txt"))
    assert list(pins("constraints-torch.txt")) == ["torch"]
    assert {"triton", "nvidia-cublas"} <= set(pins("constraints-cuda.txt"))


def test_onnxscript_exports_recurrent_networks_rightly():
    """Version 0.5 exports a GRU with wrong answers and says nothing."""
    (each,) = [each for each in wanted() if each.name == "onnxscript"]
    assert not each.specifier.contains("0.7.1")
    assert each.specifier.contains("0.7.2")


def test_the_table_of_licences_is_of_what_is_installed():
    done = subprocess.run(
        [sys.executable, ".ci/licences.py", "--check"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
