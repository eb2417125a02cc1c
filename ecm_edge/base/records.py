"""The base of every record, and what records have in common: verdicts, gates, evidence, provenance.

A stage takes records and returns one. Its JSON is printed by `--json` and kept in the candidate's folder. Records are
frozen and refuse unknown fields, so that a changed file is noticed when it is read.
"""

from __future__ import annotations

import math
import reprlib
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal, Self, TypeVar, get_args

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from ecm_edge.base import files, shown
from ecm_edge.base.errors import CandidateError, OutputError
from ecm_edge.base.names import FILE_NAME, LONGEST_FILE_NAME, NAME, or_known, path_meant
from ecm_edge.base.parsing import json_of

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    import pandas as pd
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from pydantic_core import ErrorDetails

    from ecm_edge.base.errors import EcmEdgeError
    from ecm_edge.base.plots import Colours

R = TypeVar("R", bound="Record")

_LARGEST_BYTES = 1 << 24
"""Of a record's file; to find the faults of a larger one could take gigabytes.

JSON becomes Python's values before it is checked: pydantic's own reader copies the whole for each missing field.
"""


_UNKNOWN = "extra_forbidden"  # what pydantic calls a field that a record does not have
_MOST_UNKNOWN = 100
"""Unknown fields of a record; pydantic makes a fault of each, and a million of them take gigabytes and a minute."""


class Record(BaseModel):
    """Base of every record: frozen, exact about its fields, JSON without NaN or infinity.

    `KEYS` are the paths of the fields that its line shows, by default its first ones. `TABLES` are those of the lists
    of records that `to_frame` makes tables of, with the columns that HTML shows; by default all fields that are such.
    """

    KEYS: ClassVar[tuple[str, ...]] = ()
    TABLES: ClassVar[shown.Tables] = {}

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    @model_validator(mode="before")
    @classmethod
    def _has_few_unknown_fields(cls, content: Any) -> Any:  # noqa: ANN401 - whatever the JSON holds
        if isinstance(content, dict) and len(content) > len(cls.model_fields) + _MOST_UNKNOWN:
            raise ValueError(f"{len(content):,} fields where {len(cls.model_fields)} are known")
        return content

    def __repr__(self) -> str:
        return shown.line(self, self.KEYS)

    __str__ = __repr__

    def _repr_html_(self) -> str:
        """What a notebook shows: the line, and the first table that has rows."""
        return shown.html(self, self.KEYS, self._tables())

    def to_frame(self, table: str | None = None) -> pd.DataFrame:
        """A table of the record with pandas, `pip install "ecm-edge[pandas]"`: by default the first that has rows.

        Raises:
            EcmEdgeError: it has no such table, or pandas is not installed.
        """
        return shown.frame(self, self._tables(), table)

    def _tables(self) -> shown.Tables:
        return self.TABLES or shown.tables_of(type(self))

    def to_json(self) -> str:
        """The record as indented JSON, ending in a newline."""
        return self.model_dump_json(indent=2) + "\n"

    def save(self, path: Path) -> None:
        """Write the record to `path`; the file is whole or absent.

        Raises:
            OutputError: it is too large to be read back, or cannot be written.
        """
        content = self.to_json().encode()
        if len(content) > _LARGEST_BYTES:
            raise OutputError(
                f"a record's file has at most {_LARGEST_BYTES:,} bytes",
                f"{len(content):,} for {path}",
                "Make it of less.",
            )
        files.write_atomic(path, content)

    @classmethod
    def load(cls, path: Path, error: type[EcmEdgeError] = CandidateError) -> Self:
        """Read a record back; anything but an exact match is `error`."""
        rule = f"{path.name} holds the record {cls.__name__}, as JSON"
        try:
            return cls.model_validate(json_of(files.read_bounded(path, _LARGEST_BYTES)))
        except FileNotFoundError:
            hint = f"{path_meant(path)}Check the path, or run the command that writes it."
            raise error(rule, f"no file at {path}", hint) from None
        except ValidationError as problem:
            found = f"{first_fault(problem)} in {path}"
            raise error(rule, found, "Run the command that writes it again.") from None
        except OSError as problem:
            raise error(rule, f"{problem.strerror} at {path}", "Check the path.") from None
        except ValueError as problem:  # no JSON
            raise error(rule, f"{path}, which is no JSON ({problem})", "Check the path.") from None


class Drawable(Record):
    """A record that has a drawing."""

    def draw(self, axes: Axes, colours: Colours) -> None:
        """Draw it on these axes."""
        raise NotImplementedError

    def plot(self) -> Figure:
        """The drawing as a matplotlib figure, which a notebook shows."""
        from ecm_edge.base import plots

        return plots.figure(self.draw, self._height_in())

    def _height_in(self) -> float:
        return 3.2


def first_fault(problem: ValidationError, within: str = "") -> str:
    """The first fault of a record's fields, with its place and the value: "Field required at depth, kernel".

    Unknown fields come first: they are often the misspelt names of those that are missing. `within` is the name of the
    table that the fields are in, if any.
    """
    faults = problem.errors(include_url=False)
    unknown, missing = _places(faults, _UNKNOWN, within), _places(faults, "missing", within)
    parts = [f"unknown field {', '.join(unknown)}"] if unknown else []
    if missing and (unknown or faults[0]["type"] == "missing"):
        parts.append(f"Field required at {', '.join(missing)}")
    return "; ".join(parts) or _fault(faults[0], within)


def _fault(fault: ErrorDetails, within: str) -> str:
    """One fault that is no unknown and no missing field: what is asked for, the value found, and its place."""
    asked = fault["msg"].removeprefix("Value error, ").partition(", unable to parse")[0]
    value, place = fault["input"], _place(fault, within)
    found = f", not {reprlib.repr(value)}" if isinstance(value, str | int | float) else ""
    return f"{asked}{f' at {place}' if place else ''}{found}"


def _places(faults: Iterable[ErrorDetails], kind: str, within: str) -> list[str]:
    return [_place(fault, within) for fault in faults if fault["type"] == kind]


def _place(fault: ErrorDetails, within: str) -> str:
    """The path of the field that is at fault; empty for the record as a whole."""
    return ".".join(filter(None, [within, *map(str, fault["loc"])]))


def field_meant(problem: ValidationError, kind: type[BaseModel], names: str = "fields") -> str:
    """A hint on the first field that a record does not know: the closest one that it knows there, and all of them.

    Empty where every field is known.
    """
    places = [fault["loc"] for fault in problem.errors(include_url=False) if fault["type"] == _UNKNOWN]
    if not places:
        return ""
    *tables, name = map(str, places[0])
    for table in tables:
        inner = kind.model_fields[table].annotation if table in kind.model_fields else None
        found = [one for one in (inner, *get_args(inner)) if isinstance(one, type) and issubclass(one, BaseModel)]
        if not found:
            return ""
        kind = found[0]
    return or_known(name, kind.model_fields, names) + " "


class Verdict(StrEnum):
    """The outcome of a gate, or of several; a check that did not run has an outcome too."""

    PASS = "PASS"  # noqa: S105 - a verdict, not a password
    FAIL = "FAIL"
    NOT_RUN = "NOT RUN"


class Evidence(StrEnum):
    """The source of a cost; promotion takes only a measured latency."""

    ESTIMATED = "estimated"  # from a model of the board
    EMULATED = "emulated"  # counted in an emulator
    MEASURED = "measured"  # on the device named beside it


class Gate(Record):
    """One condition with its outcome.

    `margin` is the distance of the value from the limit in `unit`: positive inside, negative outside.
    """

    name: str
    verdict: Verdict
    value: float | None
    limit: float | None
    unit: str
    margin: float | None
    detail: str = ""


GATE_COLUMNS = ("name", "verdict", "value", "limit", "unit", "detail")
"""What a table of gates shows."""


def at_most(name: str, value: float, limit: float, unit: str, detail: str = "") -> Gate:
    """PASS if `value` <= `limit`; a NaN or infinite value FAILs and is recorded as absent.

    >>> at_most("macs", 5, 5, "MAC").verdict.value
    'PASS'
    """
    return _bounded(name, value, limit, unit, limit - value, detail)


def at_least(name: str, value: float, limit: float, unit: str, detail: str = "") -> Gate:
    """PASS if `value` >= `limit`; a NaN or infinite value FAILs and is recorded as absent."""
    return _bounded(name, value, limit, unit, value - limit, detail)


def not_run(name: str, detail: str) -> Gate:
    """A gate whose check could not be made; `detail` is the reason."""
    return Gate(name=name, verdict=Verdict.NOT_RUN, value=None, limit=None, unit="", margin=None, detail=detail)


def condition(name: str, detail: str, *, holds: bool) -> Gate:
    """A gate on something that has no number; `detail` says what was there."""
    verdict = Verdict.PASS if holds else Verdict.FAIL
    return Gate(name=name, verdict=verdict, value=None, limit=None, unit="", margin=None, detail=detail)


def _bounded(name: str, value: float, limit: float, unit: str, margin: float, detail: str) -> Gate:
    if not math.isfinite(value):
        return Gate(
            name=name,
            verdict=Verdict.FAIL,
            value=None,
            limit=limit,
            unit=unit,
            margin=None,
            detail=f"value is {value}; {detail}",
        )
    verdict = Verdict.PASS if margin >= 0 else Verdict.FAIL
    return Gate(name=name, verdict=verdict, value=value, limit=limit, unit=unit, margin=margin, detail=detail)


def verdict_of_all(gates: Iterable[Gate]) -> Verdict:
    """FAIL if any gate failed; else NOT RUN if any did not run; else PASS. Without gates: NOT RUN."""
    verdicts = {gate.verdict for gate in gates} or {Verdict.NOT_RUN}
    return next(verdict for verdict in (Verdict.FAIL, Verdict.NOT_RUN, Verdict.PASS) if verdict in verdicts)


def verdict_of_what_ran(gates: Iterable[Gate]) -> Verdict:
    """FAIL if any gate failed; else PASS if any ran, even if others did not; else NOT RUN."""
    return verdict_of_all(gate for gate in gates if gate.verdict != Verdict.NOT_RUN)


class Interval(Record):
    """A figure with its 95 % interval; `low` and `high` are absent where resampling gave none."""

    value: float
    low: float | None = None
    high: float | None = None


class Latency(Record):
    """Time of one inference of one segment, in milliseconds, with its evidence.

    `source` names the device and method ("AMD EPYC, onnxruntime, 1 thread") or the model of the board.
    """

    evidence: Evidence
    source: str
    mean_ms: float
    median_ms: float | None = None
    p95_ms: float | None = None
    min_ms: float | None = None
    max_ms: float | None = None
    std_ms: float | None = None
    low_ms: float | None = None
    high_ms: float | None = None
    runs: int | None = None
    warm_ups: int | None = None


class Provenance(Record):
    """The origin of a result: versions, commit and date; part of every record that a decision rests on."""

    tool_version: str
    git_sha: str | None
    git_dirty: bool | None
    python: str
    libraries: dict[str, str]
    date_utc: str


Name = Annotated[str, Field(pattern=NAME)]
"""A name of one folder or file: letters, digits, ".", "_" and "-"; no path, and nothing hidden."""

FileName = Annotated[str, Field(pattern=FILE_NAME, max_length=LONGEST_FILE_NAME)]
"""The path of a file within a folder, such as "firmware/int8/host.elf": it leads nowhere else, and is not hidden."""

Form = Literal["float32", "float16", "int8"]
"""The forms a candidate is shipped in: float32 weights, float16 weights (float32 arithmetic), int8 QDQ."""
