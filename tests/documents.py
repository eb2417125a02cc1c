"""What the tests of the documents share: sessions taken from a document, and run."""

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import click

from ecm_edge.cli import _common

ROOT = Path(__file__).parents[1]
ENVIRONMENT = {
    **os.environ,
    "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
    "OMP_NUM_THREADS": "1",
    "COLUMNS": "80",
}
ALL = sorted(
    str(path.relative_to(ROOT))
    for pattern in ("*.md", "*/README.md", "*/*/README.md", "data/*.md", "data/reference/*.md")
    for path in ROOT.glob(pattern)
    if not path.relative_to(ROOT).parts[0].startswith(("runs", "build"))
)
"""Every document, without the model cards, which a command writes."""


def text_of(document, heading=None):
    """A document's text, or that of one of its sections."""
    text = (ROOT / document).read_text(encoding="utf-8")
    return text.split(f"\n## {heading}\n")[1].split("\n## ")[0] if heading else text


def block(document, heading, language, number=0):
    """A fenced block of that language under a heading of a document, or anywhere in it; the first by default."""
    return re.findall(rf"```{language}\n(.*?)```", text_of(document, heading), re.DOTALL)[number]


def session(document, heading=None, number=None):
    """(command, the lines shown below it) of the console blocks of a document or a section, in their order."""
    shown = []
    blocks = re.findall(r"```console\n(.*?)```", text_of(document, heading), re.DOTALL)
    for text in blocks if number is None else [blocks[number]]:
        for line in text.splitlines():
            if line.startswith("$ "):
                shown.append((line[2:], []))
            else:
                shown[-1][1].append(line)
    return shown


def commands(document, heading=None, number=None):
    """The lines of a session that a user types."""
    return [line for line, _ in session(document, heading, number)]


def run(line, folder):
    """The completed command of a line; its output, standard error included, is in `stdout`."""
    line = line.removesuffix(" || true")
    return subprocess.run(
        shlex.split(line),
        cwd=folder,
        env=ENVIRONMENT,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
        timeout=500,
    )


def squeezed(text):
    """A text with one space between its words, so that it does not matter where lines are broken."""
    return " ".join(text.split())


def not_printed(shown, printed, same=squeezed):
    """The lines shown that the output does not have; `…` stands for anything."""
    known = same(printed)
    return [line for line in shown if not all(part in known for part in map(same, line.split("…")))]


def shape(text):
    """A text whose numbers and hashes do not matter, nor how wide a table is."""
    masked = re.sub(r"\b[0-9a-f]{12}\b|\d[\d,.]*", "0", text)
    return squeezed(re.sub(r"-?\b0(?:e-?0)?\b", "0", masked))


def parse_only(monkeypatch):
    """The models and boards that a command names need not be there while it is parsed."""
    monkeypatch.setattr(_common.ModelPath, "convert", _common.CandidatePath.convert)
    monkeypatch.setattr(_common.TargetName, "convert", type(click.STRING).convert)
