"""The record of `ecm-edge completion`."""

from ecm_edge.base.records import Record


class CompletionRecord(Record):
    """A script that lets a shell complete the command line."""

    shell: str
    script: str
