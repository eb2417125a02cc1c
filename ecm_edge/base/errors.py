"""The exception tree: one class for each thing a user can get wrong.

Every message has three parts: the rule, the value found and what to do next.
A gate that says FAIL is a verdict in a record, never an exception.

    EcmEdgeError
    ├── RecordingError    recordings that cannot be read as asked
    ├── DatasetError      a data set that is missing, damaged or not fit for the job
    ├── TaskError         a task description that is wrong
    ├── TargetError       a board description that is wrong or cannot be met
    ├── SpaceError        a search space that is wrong
    ├── CandidateError    a candidate folder that is missing a piece or was changed
    ├── ModelError        a model file that is corrupt or not a classifier of one input
    ├── SearchError       a run that cannot start, resume or finish
    ├── RegistryError     a registry that is damaged or lacks what was asked for
    ├── TrustError        a file from elsewhere that would run something
    ├── FirmwareError     C that cannot be generated, built or run, or a board that does not answer
    └── OutputError       a place that cannot be written

`InternalError` is not in the tree: it is a fault of this program. The command line writes a report of it and exits
with 70 (`fault_reports.py`).
"""

from __future__ import annotations


class EcmEdgeError(Exception):
    """Bad input or usage; the command line prints it and exits with 2.

    Args:
        rule: what has to hold, in one clause.
        found: the value that broke it, with its place.
        hint: what to do next, as a sentence.
    """

    def __init__(self, rule: str, found: str, hint: str) -> None:
        super().__init__(rule, found, hint)
        self.rule = rule
        self.found = found
        self.hint = hint

    def __str__(self) -> str:
        return f"{self.rule}; found {self.found}. {self.hint}"


class InternalError(Exception):
    """A fault of this program: something that its own code guarantees does not hold. No input may lead to it."""


class RecordingError(EcmEdgeError):
    """Recordings that cannot be read as asked."""


class DatasetError(EcmEdgeError):
    """A data set that is missing, damaged or not fit for the job."""


class TaskError(EcmEdgeError):
    """A task description that is wrong."""


class TargetError(EcmEdgeError):
    """A board description that is wrong or cannot be met."""


class SpaceError(EcmEdgeError):
    """A search space, or a configuration drawn from one, that is wrong."""


class CandidateError(EcmEdgeError):
    """A candidate folder that is missing a piece or was changed."""


class ModelError(EcmEdgeError):
    """A model file that is corrupt or is not a classifier of one input."""


class SearchError(EcmEdgeError):
    """A run that cannot start, resume or finish."""


class RegistryError(EcmEdgeError):
    """A registry that is damaged or lacks what was asked for."""


class TrustError(EcmEdgeError):
    """A file from elsewhere that would run something on this machine."""


class FirmwareError(EcmEdgeError):
    """C that cannot be generated, built or run, or a board that does not answer."""


class OutputError(EcmEdgeError):
    """A place that cannot be written."""


FAULTS = (TypeError, AttributeError, NameError, LookupError, AssertionError)
"""What a library raises for a fault of its caller; where all other errors of a library are a user's, these are not."""
