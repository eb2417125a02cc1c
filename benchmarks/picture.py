"""README's picture: the top of a report as Chromium shows it, in light colours.

    python -m benchmarks.picture                   of the report of `make demo`, runs/demo/report.html
    python -m benchmarks.picture REPORT.html       of another one

Run it again after a change of the page. It takes Debian's `chromium`.
"""

from __future__ import annotations

import argparse
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from PIL import Image

ROOT = Path(__file__).parents[1]
PICTURE = ROOT / "data" / "pictures" / "report.png"
WIDTH, HEIGHT = 1100, 800
SCALE = 1.5
"""CSS pixels of the window, and how many pixels of the picture each has along a side."""

COLOURS = 96
FLAGS = (
    "headless",
    "no-sandbox",
    "disable-gpu",
    "hide-scrollbars",
    "no-first-run",
)


def main(arguments: list[str]) -> None:
    """Write the picture of one report."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.picture", description="Make README's picture.")
    parser.add_argument("report", nargs="?", type=Path, default=ROOT / "runs" / "demo" / "report.html")
    report = parser.parse_args(arguments).report
    chromium = shutil.which("chromium")
    if not chromium or not report.is_file():
        sys.exit("chromium is not installed" if not chromium else f"no report at {report}: run `make demo`")
    PICTURE.parent.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory() as folder:
        taken = Path(folder) / "taken.png"
        flags = [f"--{flag}" for flag in (*FLAGS, f"user-data-dir={folder}/profile", f"screenshot={taken}")]
        size = [f"--window-size={WIDTH},{HEIGHT}", f"--force-device-scale-factor={SCALE}"]
        subprocess.run([chromium, *flags, *size, report.resolve().as_uri()], check=True, capture_output=True)
        with Image.open(taken) as picture:
            picture.convert("RGB").quantize(COLOURS).save(PICTURE, optimize=True)


if __name__ == "__main__":
    main(sys.argv[1:])
