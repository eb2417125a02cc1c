"""What is installed: the packages that one needs, with their versions and licences."""

from __future__ import annotations

import importlib.metadata
import re
from importlib.metadata import Distribution, PackageNotFoundError

_CLASSIFIER = "License :: "
_MAX_LICENCE = 100  # a longer text is the licence itself, not its name


def needed_by(name: str) -> list[Distribution]:
    """A package and all that it needs on this system, extras aside, sorted by name.

    What is not installed is left out.
    """
    from packaging.requirements import Requirement

    found: dict[str, Distribution] = {}
    waiting = [name]
    while waiting:
        try:
            package = importlib.metadata.distribution(waiting.pop())
        except PackageNotFoundError:
            continue
        if canonical(package) in found:
            continue
        found[canonical(package)] = package
        requirements = map(Requirement, package.requires or [])
        waiting += [each.name for each in requirements if each.marker is None or each.marker.evaluate({"extra": ""})]
    return [found[key] for key in sorted(found)]


def canonical(package: Distribution) -> str:
    """The name of a package in the one spelling that an index knows."""
    return re.sub(r"[-_.]+", "-", package.name).lower()


def licence(package: Distribution) -> str:
    """The licence of a package, as its own metadata name it: an SPDX expression, a classifier or a short text."""
    said = package.metadata
    if expression := _first(package, "License-Expression"):
        return expression
    classifiers = [line.split(" :: ")[-1] for line in said.get_all("Classifier") or [] if line.startswith(_CLASSIFIER)]
    if classifiers:
        return "; ".join(sorted(set(classifiers)))
    text = _first(package, "License")
    return text if 0 < len(text) <= _MAX_LICENCE else "see the package"


def _first(package: Distribution, field: str) -> str:
    """The first value of a field on one line; empty where there is none."""
    return " ".join(str((package.metadata.get_all(field) or [""])[0]).split())
