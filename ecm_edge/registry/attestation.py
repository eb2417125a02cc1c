"""Where files come from, as an in-toto Statement (v1) with the predicate of SLSA's provenance (v1).

A statement has no date and no path of this machine, so that the same work gives the same bytes. On its own it proves
nothing: it is what the signature of the folder, or one over it by another tool, is about.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from ecm_edge.base.records import Provenance

NAME = "provenance.intoto.json"
_STATEMENT = "https://in-toto.io/Statement/v1"
_PREDICATE = "https://slsa.dev/provenance/v1"
_BUILDER = "urn:ecm-edge:builder:local"
_BUILD = "urn:ecm-edge:build:v1"


@dataclass(frozen=True)
class Origin:
    """How something was made: the commands, the inputs by SHA-256, the builder's versions."""

    commands: Sequence[str]
    inputs: Mapping[str, str]
    compiler: str
    versions: Provenance
    parameters: Mapping[str, str] = field(default_factory=dict)


def statement(subjects: Mapping[str, str], origin: Origin) -> bytes:
    """The statement as JSON.

    Args:
        subjects: what was made: the SHA-256 of every file by its name.
        origin: how.
    """
    said = {
        "_type": _STATEMENT,
        "subject": [{"name": name, "digest": {"sha256": digest}} for name, digest in sorted(subjects.items())],
        "predicateType": _PREDICATE,
        "predicate": {
            "buildDefinition": {
                "buildType": _BUILD,
                "externalParameters": {"commands": list(origin.commands), **origin.parameters},
                "resolvedDependencies": _dependencies(origin),
            },
            "runDetails": {"builder": _builder(origin)},
        },
    }
    return (json.dumps(said, indent=2, ensure_ascii=False) + "\n").encode()


def _dependencies(origin: Origin) -> list[dict[str, Any]]:
    """The inputs, the libraries, and the commit of the tool where it is known and nothing was changed since."""
    versions = origin.versions
    inputs = [{"name": name, "digest": {"sha256": digest}} for name, digest in sorted(origin.inputs.items())]
    libraries = [{"uri": f"pkg:pypi/{name}@{version}"} for name, version in sorted(versions.libraries.items())]
    commit = [{"name": "ecm-edge", "digest": {"gitCommit": versions.git_sha}}] if versions.git_sha else []
    return [*inputs, *libraries, *(commit if not versions.git_dirty else [])]


def _builder(origin: Origin) -> dict[str, Any]:
    versions = {"ecm-edge": origin.versions.tool_version, "python": origin.versions.python}
    return {"id": _BUILDER, "version": versions | {"compiler": origin.compiler}}
