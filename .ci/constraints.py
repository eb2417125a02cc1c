"""Write the files of constraints anew: `make constraints`, or `make constraints UPGRADE=1`.

uv resolves pyproject.toml with its extra `dev` for every platform, and takes the SHA-256 of every file that PyPI has of
a version. Versions stay as they are in the files, unless UPGRADE=1 is given or they do not fit.
"""

from __future__ import annotations

import re
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).parents[1]
PINS, TORCH_PINS, CUDA_PINS = (ROOT / f"constraints{name}.txt" for name in ("", "-torch", "-cuda"))
# Builds that PyPI does not have. This one has no CUDA, and is for CPython 3.11 on Linux, x86_64.
OTHER_BUILDS = {"torch==2.13.0": ["6746dbcbeb526eb61330b76b41ff1b4eb848951103a892eeb080dfa2b264667b"]}
_TORCH, _CUDA = re.compile(r"torch=="), re.compile(r"(nvidia|cuda|triton)\b")
_HEAD = {
    PINS: "# Exact versions of everything the project installs, and the SHA-256 of every file that pip may take.\n"
    "# `make` installs them with --require-hashes; `make constraints` writes them. torch has a file of its own.\n",
    TORCH_PINS: "# torch alone: of a pin with hashes pip would take PyPI's file, and none without CUDA.\n",
    CUDA_PINS: "# What torch from PyPI needs besides, on Linux. A build without CUDA needs none.\n",
}


def resolve(*options: str) -> str:
    """The pins of everything, each with its hashes below it."""
    with tempfile.TemporaryDirectory() as scratch:
        pins = Path(scratch) / "pins.txt"
        pins.write_text("".join(path.read_text() for path in _HEAD if path.is_file()))
        command = ["uv", "pip", "compile", str(ROOT / "pyproject.toml"), "--extra", "dev", "--universal"]
        command += ["--python-version", "3.11", "--generate-hashes", "--no-annotate", "--no-header", "--quiet"]
        # Of the index alone: a wheel on this machine's disk has other hashes.
        command += ["--no-config", "--no-emit-package", "ecm-edge", "--output-file", str(pins), *options]
        subprocess.run(command, check=True, cwd=scratch, stdout=subprocess.DEVNULL)  # noqa: S603 - arguments are ours
        return pins.read_text()


def blocks(text: str) -> list[str]:
    """One text for each pin: its line and those of its hashes."""
    return [block.strip() + "\n" for block in re.split(r"^(?=[A-Za-z0-9])", text, flags=re.MULTILINE) if "==" in block]


def with_other_builds(block: str) -> str:
    """The same pin, with the hashes of builds that PyPI does not have; those of the old file are in it already."""
    new = [digest for digest in OTHER_BUILDS.get(block.split(maxsplit=1)[0], []) if digest not in block]
    return block.rstrip() + "".join(f" \\\n    --hash=sha256:{digest}" for digest in new) + "\n"


def main() -> None:
    """Resolve, and write the files."""
    resolved = [with_other_builds(block) for block in blocks(resolve(*sys.argv[1:]))]
    for path, head in _HEAD.items():
        path.write_text(head + "".join(block for block in resolved if file_of(block) == path))


def file_of(block: str) -> Path:
    """Which file a pin belongs to."""
    if _TORCH.match(block):
        return TORCH_PINS
    return CUDA_PINS if _CUDA.match(block) else PINS


if __name__ == "__main__":
    main()
