"""What can be refused at once is refused before anything heavy is loaded: modules are counted, never time."""

import subprocess
import sys

import pytest

RUN = """
import sys
from ecm_edge.cli import main
try:
    main(sys.argv[1:])
except SystemExit as stopped:
    print(stopped.code, *sorted({"torch", "onnxruntime", "optuna"} & sys.modules.keys()))
"""
TRAIN = ("train", "--data", "none", "-o", "new")


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("fit", "none.onnx", "--target", "host"), "a model is an ONNX file"),
        (("verify", ".", "--target", "hosst"), "Did you mean 'host'?"),
        (("verify", ".", "--target", "host"), "Say what is compared on"),
        ((*TRAIN, "--target", "hosst"), "Did you mean 'host'?"),
        ((*TRAIN, "--target", "host", "--family", "afnett"), "Did you mean 'afnet'?"),
        (("search", "--data", "none", "-o", "new", "--target", "hosst"), "Did you mean 'host'?"),
        (("report", "c", "--data", "none", "--registry", "none", "-o", "x.html"), "registry"),
    ],
)
def test_refused_before_anything_heavy_is_loaded(tmp_path, arguments, said):
    command = [sys.executable, "-c", RUN, *arguments]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.stdout.split() == ["2"]
    assert said in done.stderr
