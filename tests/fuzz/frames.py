"""The serial protocol: frames, broken ones and noise, under clang's libFuzzer, or drawn ones under gcc's sanitizers."""

from __future__ import annotations

import re
import shutil
import subprocess
from functools import cache
from pathlib import Path

from .attempt import Outcome

CHECKED = Path(__file__).parents[2] / "firmware_check"
FLAGS = ["-std=c99", "-Wall", "-Wextra", "-Werror", "-g", "-O1", "-fno-sanitize-recover=all"]
SOURCES = ["checks/protocol_fuzz.c", "programs/ecm_protocol.c"]
INPUTS = 50_000
"""Of one turn; each sends a frame or more."""


@cache
def program(folder, *, guided):
    """The fuzzer: libFuzzer's, which follows the coverage, or a generator of its own."""
    folder.mkdir(parents=True, exist_ok=True)
    out = folder / ("guided" if guided else "drawn")
    compiler = (
        ["clang", "-fsanitize=fuzzer,address,undefined"]
        if guided
        else ["gcc", "-DECM_FUZZ_MAIN", "-fsanitize=address,undefined"]
    )
    paths = [str(CHECKED / source) for source in SOURCES]
    subprocess.run([*compiler, *FLAGS, "-I", str(CHECKED / "include"), *paths, "-o", str(out)], check=True)
    return out


def drawn(folder, first, inputs):
    """How many frames a fixed generator sent, and what a sanitizer or a rule said."""
    words = [program(folder, guided=False), str(first), str(inputs)]
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    return (int(done.stdout), "") if done.returncode == 0 else (0, _finding(done))


def guided(folder, seed, inputs):
    """The same under libFuzzer, which keeps what reaches new code in `folder`."""
    found = folder / "found"
    found.mkdir(parents=True, exist_ok=True)
    words = [f"-seed={seed + 1}", f"-runs={inputs}", "-max_len=512", f"-artifact_prefix={folder}/", str(found)]
    done = subprocess.run([program(folder, guided=True), *words], capture_output=True, text=True, check=False)
    sent = re.search(r"frames sent: (\d+)", done.stderr)
    return (int(sent[1]) if sent else 0), "" if done.returncode == 0 else _finding(done)


def _finding(done):
    lines = [line for line in done.stderr.splitlines() if "ERROR" in line or "runtime error" in line]
    return f"exit {done.returncode}: {' | '.join(lines[:2])}"[:300]


def turn(folder, first):
    """How many frames a turn sent, and what became of them; half of the turns are guided, where there is clang."""
    use = guided if shutil.which("clang") and first % 2 else drawn
    sent, finding = use(folder, first, INPUTS)
    return max(sent, 1), [Outcome("frames", first, 70 if finding else 0, finding, 0, 0)]
