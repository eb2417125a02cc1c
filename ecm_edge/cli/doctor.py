"""`ecm-edge doctor`: what this machine has, and what is NOT RUN for want of what."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from ecm_edge.cli._common import emit, json_option
from ecm_edge.cli._help import example

if TYPE_CHECKING:
    from ecm_edge.firmware.doctor import DoctorRecord


@click.command("doctor", epilog=example("ecm-edge doctor", "ecm-edge doctor --json"))
@json_option
def command(*, as_json: bool) -> None:
    """Say what this machine has of all that the commands want: packages, compilers, emulators, browser, cores, disk.

    What is missing stands at the end, with what is NOT RUN without it and the command that installs it. Nothing is
    changed. Exits with 1 if something that is required is missing, or of a version that is too old.
    """
    from ecm_edge.firmware.doctor import doctor

    record = doctor()
    emit(record, as_json=as_json, render=lambda: _render(record))


def _render(record: DoctorRecord) -> None:
    from ecm_edge.base.tables import Column, say, show

    sound = [check for check in record.checks if check.kind == "package" and check.verdict == "PASS"]
    show(
        f"ecm-edge {record.tool_version}, Python {record.python}",
        [Column("verdict"), Column("what"), Column("found", wraps=True)],
        [
            ["PASS", f"{len(sound)} packages", "as pyproject.toml wants them; --json lists them"],
            *([check.verdict.value, check.name, check.found] for check in record.checks if check not in sound),
        ],
    )
    if record.python_path:
        say(f"PYTHONPATH is {':'.join(record.python_path)}: modules there are found first")
    for check in record.checks:
        if check.missing:
            say(f"{check.verdict.value:7} {check.missing}. {check.name}: {check.found}. Do: {check.install}")
    say(f"{record.verdict.value}: {_summary(record)}")


def _summary(record: DoctorRecord) -> str:
    absent = sum(bool(check.missing) for check in record.checks)
    return f"{absent} of {len(record.checks)} things are missing" if absent else "nothing is missing"
