"""The process of `pool`: a line "READER SEED" on standard input, an outcome as JSON on standard output."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

import torch

from .attempt import attempt
from .readers import READERS


def serve(folder):
    """Answer until standard input ends. What the readers print themselves goes to standard error."""
    torch.set_num_threads(1)
    os.environ["ECM_EDGE_CACHE"] = str(folder / "cache")  # with the reports of faults
    answers = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)
    answers.write("ready\n")
    for line in sys.stdin:
        name, seed = line.split()
        original = folder / "corpus" / name
        if not original.exists():
            READERS[name].make(original)
        outcome = attempt(READERS[name], original, folder / "scratch", int(seed))
        answers.write(json.dumps(outcome.as_dict()) + "\n")


if __name__ == "__main__":
    serve(Path(sys.argv[1]))
