"""TOML files that describe something: a shipped one is given by its name, a user's own by its path."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from ecm_edge.base import files
from ecm_edge.base.names import did_you_mean, path_meant
from ecm_edge.base.parsing import LARGEST_TOML_BYTES, toml_of

if TYPE_CHECKING:
    from ecm_edge.base.errors import EcmEdgeError

_SHOWN_BY = {"task": "ecm-edge tasks", "target": "ecm-edge targets", "space": "ecm-edge space"}


def names(folder: Path) -> list[str]:
    """The names of the files that ship in `folder`."""
    return sorted(path.stem for path in folder.glob("*.toml"))


def read(folder: Path, name_or_path: str, kind: str, error: type[EcmEdgeError]) -> tuple[Path, dict[str, Any]]:
    """The path of the file, and its content.

    Args:
        folder: of the shipped files.
        name_or_path: the name of a shipped file, or any file's path.
        kind: "task", "target" or "space", for the error.
        error: raised where there is no such file, or it is too long or not TOML.
    """
    shipped = names(folder)
    path = folder / f"{name_or_path}.toml" if name_or_path in shipped else Path(name_or_path)
    try:
        return path, toml_of(files.read_bounded(path, LARGEST_TOML_BYTES))
    except OSError as problem:
        raise error(
            f"a {kind} is one of {', '.join(shipped)}, or the path of a TOML file",
            f"{name_or_path!r} ({problem.strerror})",
            f"{did_you_mean(name_or_path, shipped) or path_meant(path)}`{_SHOWN_BY[kind]}` shows the shipped ones.",
        ) from None
    except ValueError as problem:
        raise error(f"a {kind} file is TOML in UTF-8", f"{problem} in {path}", "Correct that line.") from None
