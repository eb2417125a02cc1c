"""Tables on stdout and progress on stderr, for people."""

from __future__ import annotations

from contextlib import contextmanager, nullcontext
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from rich.progress import Progress

Item = TypeVar("Item")

_PIPE_WIDTH = 120
_MOST_ROWS = 200  # thousands of rows take minutes to lay out, and nobody reads them


def show(title: str, columns: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    """Print one table; the first column is left-aligned, the others right-aligned. A long one is cut, and says so."""
    from rich import box
    from rich.console import Console
    from rich.table import Table

    table = Table(box=box.SIMPLE_HEAD)
    for index, column in enumerate(columns):
        if index == 0:
            table.add_column(column, no_wrap=True)
        else:
            table.add_column(column, justify="right", overflow="fold")  # a long word goes on below, and is never cut
    every = list(rows)
    for row in every[:_MOST_ROWS]:
        table.add_row(*row)
    console = Console()
    console.width = max(console.width, _PIPE_WIDTH) if not console.is_terminal else console.width
    console.print(title, style="table.title", highlight=False, markup=False, soft_wrap=True)  # as long as it is
    console.print(table)
    if len(every) > _MOST_ROWS:
        console.print(f"  … and {len(every) - _MOST_ROWS:,} more rows: --json has all of them", highlight=False)


@contextmanager
def counter(description: str, total: int) -> Iterator[Callable[[int], None]]:
    """A progress bar on stderr and the function that sets its count; silent where stderr is not a terminal."""
    with _progress() as progress:
        task = progress.add_task(description, total=total)
        yield lambda completed: progress.update(task, completed=completed)


@contextmanager
def busy(description: str) -> Iterator[None]:
    """A spinner on stderr for work of a few seconds without steps to count; silent where it is no terminal."""
    from rich.console import Console

    console = Console(stderr=True)
    with console.status(description) if console.is_terminal else nullcontext():
        yield


def track(items: Iterable[Item], description: str, total: int | None = None) -> Iterator[Item]:
    """Yield `items` under a progress bar on stderr; silent where stderr is not a terminal."""
    with _progress() as progress:
        yield from progress.track(items, description=description, total=total)


def _progress() -> Progress:
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    console = Console(stderr=True)
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    return Progress(*columns, console=console, transient=True, disable=not console.is_terminal)
