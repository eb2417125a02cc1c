"""The notebook data/tour.ipynb: it runs from its first cell to its last, and shows tables and drawings."""

import os
import sys
from pathlib import Path

import nbformat
import pytest
from jupyter_client.kernelspec import KernelSpec
from jupyter_client.manager import AsyncKernelManager
from nbclient import NotebookClient

ROOT = Path(__file__).parents[1]
NOTEBOOK = ROOT / "data" / "tour.ipynb"


class _ThisPython(AsyncKernelManager):
    """A kernel of the interpreter that runs the tests, whatever kernels are installed."""

    @property
    def kernel_spec(self):
        return KernelSpec(argv=[sys.executable, "-m", "ipykernel_launcher", "-f", "{connection_file}"])


@pytest.fixture(scope="module")
def outputs(tmp_path_factory):
    """The outputs of every code cell, by the first line of its code."""
    notebook = nbformat.read(NOTEBOOK, as_version=4)
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "IPYTHONDIR": str(tmp_path_factory.mktemp("ipython"))}
    client = NotebookClient(notebook, timeout=540, kernel_manager_class=_ThisPython)
    client.execute(env=environment, cwd=str(tmp_path_factory.mktemp("tour")))
    return {cell.source.split("\n")[0]: cell.outputs for cell in notebook.cells if cell.cell_type == "code"}


def kinds(outputs, line):
    return {kind for output in outputs[line] for kind in output.get("data", {})}


def test_it_is_a_notebook_without_outputs():
    notebook = nbformat.read(NOTEBOOK, as_version=4)
    nbformat.validate(notebook)
    assert [cell for cell in notebook.cells if cell.get("outputs") or cell.get("execution_count")] == []


def test_every_cell_runs_and_shows_tables_and_drawings(outputs):
    shown = {line: kinds(outputs, line) for line in outputs}
    tables = [line for line, kind in shown.items() if "text/html" in kind]
    drawings = [line for line, kind in shown.items() if "image/png" in kind]
    assert drawings == [
        "trained.plot()",
        'score = api.score("one", "af", target="loongson-2k0500")',
        "score.scores.calibration.plot()",
        "cost.plot()",
    ]
    assert "config = api.configure(" in tables
    assert 'verified = api.verify("one", "af", "loongson-2k0500", segments=32, emulated=8)' in tables
    assert 'score.to_frame("by_rhythm")' in tables
    (said,) = outputs["try:"]
    assert "not-there" in said["text"]
