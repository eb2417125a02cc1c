"""Write LICENCES.md, the table of what `make` installs, from the metadata of what is installed: `make licences`."""

from __future__ import annotations

import importlib.metadata
import re
import sys
from pathlib import Path

from ecm_edge.base import installed

ROOT = Path(__file__).parents[1]
TABLE = ROOT / "LICENCES.md"
_HEAD = """# Licences

What `make` installs, and under which licence, as each package's own metadata name it. `make licences` writes this table
from what is installed, and a test holds it against `constraints.txt`. The first {tool} are what the tool itself needs;
the others are for its extras and tests. CUDA's libraries (`constraints-cuda.txt`), which torch from PyPI needs on
Linux, are not in it: they are under NVIDIA's own licence.

| package | version | licence | for |
|---|---|---|---|
"""


def pins() -> dict[str, str]:
    """Every package of constraints.txt that this kind of system gets, with its version."""
    from packaging.requirements import Requirement

    text = "".join((ROOT / name).read_text() for name in ("constraints.txt", "constraints-torch.txt"))
    lines = re.findall(r"^([A-Za-z0-9].*?) *\\?$", text, flags=re.MULTILINE)
    requirements = [Requirement(line) for line in lines]
    here = [each for each in requirements if each.marker is None or each.marker.evaluate()]
    return {each.name: str(each.specifier).removeprefix("==") for each in here}


def table() -> str:
    """The document."""
    tool = {installed.canonical(each) for each in installed.needed_by("ecm-edge")} - {"ecm-edge"}
    pinned = pins()
    rows = [
        f"| {name} | {pinned[name]} | {_licence(name)} | {'tool' if name in tool else 'extras, tests'} |\n"
        for name in sorted(pinned, key=lambda name: (name not in tool, name))
    ]
    return _HEAD.format(tool=len(tool & set(pinned))) + "".join(rows)


def _licence(name: str) -> str:
    return installed.licence(importlib.metadata.distribution(name)).replace("|", "/")


if __name__ == "__main__":
    if sys.argv[1:] == ["--check"]:
        sys.exit(None if TABLE.read_text() == table() else "LICENCES.md is not of what is installed: `make licences`")
    TABLE.write_text(table())
