"""Tables that a narrow window shows as cards: every cell is told the heading of its column.

The style sheet prints it in front of the cell where the window is too narrow for columns.
"""

from __future__ import annotations

import re

_TABLE = re.compile(r"<table\b.*?</table>", re.DOTALL)
_ROW = re.compile(r"<tr\b.*?</tr>", re.DOTALL)
_CELL = re.compile(r"<(t[dh])\b([^>]*)>(.*?)</\1>", re.DOTALL)
_TAG = re.compile(r"<[^>]*>")
_WIDE = re.compile(r'\bcolspan="(\d+)"')


def with_labels(html: str) -> str:
    """A page with `data-label` on each cell, but on no name of a row, of tables with a head; data in it are escaped.

    >>> with_labels("<table><thead><tr><th>a <i>b</i></th></tr></thead><tbody><tr><td>1</td></tr></tbody></table>")
    '<table><thead><tr><th>a <i>b</i></th></tr></thead><tbody><tr><td data-label="a b">1</td></tr></tbody></table>'
    """
    return _TABLE.sub(lambda table: _table(table[0]), html)


def _table(html: str) -> str:
    head, found, body = html.partition("</thead>")
    if not found:
        return html
    labels = [" ".join(_TAG.sub(" ", cell[3]).split()) for cell in _CELL.finditer(head)]
    return head + found + _ROW.sub(lambda row: _row(row[0], labels), body)


def _row(html: str, labels: list[str]) -> str:
    place = 0

    def labelled(cell: re.Match[str]) -> str:
        nonlocal place
        tag, attributes, content = cell.groups()
        wide = _WIDE.search(attributes)
        label = "" if wide or place >= len(labels) else labels[place]
        place += int(wide[1]) if wide else 1
        if tag == "th":  # the row's own name
            return cell[0]
        return f'<{tag}{attributes} data-label="{label}">{content}</{tag}>'

    return _CELL.sub(labelled, html)
