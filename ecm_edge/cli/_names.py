"""Names that a shell completes: of boards, tasks, spaces and families, and TOML files; nothing is read for it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from click.shell_completion import CompletionItem

if TYPE_CHECKING:
    from collections.abc import Callable

    import click

_PACKAGE = Path(__file__).parents[1]


def shipped(folder: str) -> Callable[[click.Context, click.Parameter, str], list[CompletionItem[str]]]:
    """Completes the names of the TOML files in a folder of the package, and TOML files of the user's own.

    Where none begins so, the shell completes any path.
    """

    def complete(_context: click.Context, _parameter: click.Parameter, begun: str) -> list[CompletionItem[str]]:
        names = sorted(path.stem for path in (_PACKAGE / folder).glob("*.toml"))
        found = [name for name in names if name.startswith(begun)] + _toml_files(begun)
        return [CompletionItem(name) for name in found] or [CompletionItem(begun, type="file")]

    return complete


def families(_context: click.Context, _parameter: click.Parameter, begun: str) -> list[CompletionItem[str]]:
    """Completes the names of the network families that ship."""
    from ecm_edge.candidate.networks import FAMILIES

    return [CompletionItem(name) for name in FAMILIES if name.startswith(begun)]


def _toml_files(begun: str) -> list[str]:
    """The TOML files whose path begins so, as it was written."""
    folder, _, name = begun.rpartition("/")
    try:
        found = sorted(path.name for path in Path(f"{folder}/" if "/" in begun else ".").glob("*.toml"))
    except (OSError, ValueError):
        return []
    return [f"{folder}/{file}" if "/" in begun else file for file in found if file.startswith(name)]
