"""What this machine has of all that the chain wants, and what will be NOT RUN for want of the rest.

What is required and not there, or too old, is FAIL; what some checks alone want is NOT RUN.
"""

from __future__ import annotations

import importlib.metadata
import os
import platform
import shutil
import tomllib
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from packaging.requirements import Requirement

from ecm_edge import targets
from ecm_edge.base import machine
from ecm_edge.base.errors import EcmEdgeError
from ecm_edge.base.records import Record, Verdict
from ecm_edge.base.threads import usable_cores
from ecm_edge.firmware import emulate, toolchain

if TYPE_CHECKING:
    from collections.abc import Iterator

    from ecm_edge.targets import Target

_PROJECT = Path(__file__).parents[2] / "pyproject.toml"
_MIB, _GIB = 1 << 20, 1 << 30
_LEAST_FREE_BYTES = _GIB  # below it a data set, or what a compiler writes, may not fit
_EXTRAS = {"dicom": "DICOM recordings", "pandas": "`to_frame()` of records", "notebook": "notebooks"}
_BROWSER = ("chromium", "chromedriver")


class Check(Record):
    """One thing that the chain wants.

    `missing` says what is NOT RUN without it, `install` is the command that brings it; both are empty where it is
    there.
    """

    name: str
    kind: Literal["package", "tool"] = "tool"
    verdict: Verdict
    found: str
    missing: str = ""
    install: str = ""


class Threads(Record):
    """The cores, and how many threads torch takes.

    host:    the cores of the machine.
    usable:  those that this process may use, by its affinity and the quota of its container.
    torch:   the threads of one training; None where torch cannot be imported.
    busy:    the load of the last minute: processes that ran or wanted to, those of others included.
    """

    host: int
    usable: int
    torch: int | None
    busy: float


class DoctorRecord(Record):
    """What this machine has; FAIL if something that is required is not there, or too old."""

    verdict: Verdict
    tool_version: str
    python: str
    checks: list[Check]
    threads: Threads
    cuda: bool
    cache_folder: str
    cache_bytes: int
    free_bytes: int
    python_path: list[str]


def doctor() -> DoctorRecord:
    """Look at this machine; nothing is installed or changed."""
    free = shutil.disk_usage(Path.cwd()).free
    threads, torch_build, cuda = _torch()
    checks = [*_packages(), *_compilers(), *_emulators(), _browser(), torch_build, _threads(threads)]
    checks += [_cache(), _disk(free)]
    failed = any(check.verdict == Verdict.FAIL for check in checks)
    return DoctorRecord(
        verdict=Verdict.FAIL if failed else Verdict.PASS,
        tool_version=importlib.metadata.version("ecm-edge"),
        python=platform.python_version(),
        checks=checks,
        threads=threads,
        cuda=cuda,
        cache_folder=str(machine.cache_folder()),
        cache_bytes=_size(machine.cache_folder()),
        free_bytes=free,
        python_path=[place for place in os.environ.get("PYTHONPATH", "").split(os.pathsep) if place],
    )


def _packages() -> Iterator[Check]:
    """The packages that pyproject.toml names, with the versions that it takes; of extras those for users."""
    for text in _requirements():
        wanted = Requirement(text)
        extra = next((name for name in _EXTRAS if wanted.marker and wanted.marker.evaluate({"extra": name})), None)
        if wanted.name != "ecm-edge" and (extra or not wanted.marker):
            yield _package(wanted, extra)


def _requirements() -> list[str]:
    """As pip reads them: those of the checkout that the package lies in, or else those that it was installed with."""
    try:
        project = tomllib.loads(_PROJECT.read_text(encoding="utf-8"))["project"]
    except (OSError, ValueError, KeyError):
        return importlib.metadata.requires("ecm-edge") or []
    extras = project["optional-dependencies"].items()
    return [*project["dependencies"], *(f"{text}; extra == '{name}'" for name, texts in extras for text in texts)]


def _package(wanted: Requirement, extra: str | None) -> Check:
    name, bounds = wanted.name, str(wanted.specifier)
    what = f"pip install 'ecm-edge[{extra}]'" if extra else f"pip install '{name}{bounds}'"
    wants = _EXTRAS[extra] if extra else "every command"
    absent = Verdict.NOT_RUN if extra else Verdict.FAIL
    try:
        found = importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        found = ""
    if found and wanted.specifier.contains(found, prereleases=True):
        return Check(name=name, kind="package", verdict=Verdict.PASS, found=f"{found} ({bounds})")
    seen = f"{found}, not {bounds}" if found else "not installed"
    return Check(name=name, kind="package", verdict=absent, found=seen, missing=wants, install=what)


def _compilers() -> Iterator[Check]:
    """The cross-compiler, and this host's, which runs the generated C here."""
    for word, name, missing, install, absent in (
        ("zig", "cross-compiler", "firmware for the boards", "pip install ziglang", Verdict.FAIL),
        ("cc", "host compiler", "the C on this host", "apt-get install gcc libc6-dev", Verdict.NOT_RUN),
    ):
        try:
            yield Check(name=name, verdict=Verdict.PASS, found=toolchain.version(word))
        except EcmEdgeError as problem:
            yield Check(name=name, verdict=absent, found=problem.found, missing=missing, install=install)


def _emulators() -> Iterator[Check]:
    """The emulator of each board that ships."""
    for board in map(targets.load, targets.names()):
        if board.firmware is not None and board.firmware.emulator is not None:
            yield _emulator(board)


def _emulator(board: Target) -> Check:
    emulator = board.firmware.emulator if board.firmware else None
    assert emulator is not None  # noqa: S101 - the caller has looked
    name, missing = f"emulator of {board.name}", f"hops to {board.name}, counted instructions, and its promotions"
    found = None
    with suppress(EcmEdgeError):  # one that does not start is as good as none
        found = emulate.version(board)
    if found is None:
        install = f"apt-get install {emulator.package}"
        absent = f"no {emulator.command[0]}"
        return Check(name=name, verdict=Verdict.NOT_RUN, found=absent, missing=missing, install=install)
    return Check(name=name, verdict=Verdict.PASS, found=found)


def _browser() -> Check:
    absent = [word for word in _BROWSER if shutil.which(word) is None]
    if not absent:
        return Check(name="browser", verdict=Verdict.PASS, found="chromium and chromedriver")
    return Check(
        name="browser",
        verdict=Verdict.NOT_RUN,
        found=f"no {' and no '.join(absent)}",
        missing="tests of the HTML pages; every command works without",
        install="apt-get install chromium chromium-driver",
    )


def _torch() -> tuple[Threads, Check, bool]:
    """The threads, torch's build, and whether CUDA is at hand."""
    host, load = os.cpu_count() or 1, round(os.getloadavg()[0], 2) if hasattr(os, "getloadavg") else 0.0
    try:
        import torch
    except (ImportError, OSError) as problem:
        first = (str(problem).splitlines() or [type(problem).__name__])[0]
        how = "pip install torch"
        fault = Check(name="torch build", verdict=Verdict.FAIL, found=first, missing="training", install=how)
        return Threads(host=host, usable=usable_cores(), torch=None, busy=load), fault, False
    cuda = bool(torch.cuda.is_available())
    device = torch.cuda.get_device_name() if cuda else "no CUDA device: training on the CPU"
    found = f"torch {torch.__version__}, {device}"
    compiler = shutil.which("c++") or shutil.which("g++") or shutil.which("clang++")
    check = Check(name="torch build", verdict=Verdict.PASS, found=f"{found}; C++ compiler {compiler or 'none'}")
    if compiler is None and not cuda:
        check = Check(
            name="torch build",
            verdict=Verdict.NOT_RUN,
            found=f"{found}; no C++ compiler",
            missing="compiled trainings, which are faster",
            install="apt-get install g++",
        )
    return Threads(host=host, usable=usable_cores(), torch=torch.get_num_threads(), busy=load), check, cuda


def _threads(threads: Threads) -> Check:
    """Whether a training has cores of its own."""
    cores = f"{threads.usable} usable cores ({threads.host} in the machine)"
    found = f"torch takes {threads.torch} threads, of {cores}; load {threads.busy:g}"
    if (threads.torch or 1) > threads.usable:
        return Check(
            name="threads",
            verdict=Verdict.NOT_RUN,
            found=found,
            missing="nothing, but a training may take several times as long",
            install=f"export OMP_NUM_THREADS={threads.usable}",
        )
    shared = "; the cores are shared: times are longer" if threads.busy > threads.usable else ""
    return Check(name="threads", verdict=Verdict.PASS, found=found + shared)


def _cache() -> Check:
    folder = machine.cache_folder()
    there = next(place for place in (folder, *folder.parents) if place.exists())
    found = f"{folder}, {_size(folder) / _MIB:,.0f} MiB"
    if os.access(there, os.W_OK | os.X_OK) and there.is_dir():
        return Check(name="cache", verdict=Verdict.PASS, found=found)
    return Check(
        name="cache",
        verdict=Verdict.NOT_RUN,
        found=f"{found}, cannot be written",
        missing="the cache: everything is compiled anew each time",
        install="export ECM_EDGE_CACHE=FOLDER",
    )


def _size(folder: Path) -> int:
    """The bytes of the files in a folder; those that go meanwhile count for nothing."""
    total = 0
    for place, _, names in os.walk(folder):
        for name in names:
            with suppress(OSError):
                total += (Path(place) / name).lstat().st_size
    return total


def _disk(free: int) -> Check:
    found = f"{free / _GIB:,.1f} GiB free in {Path.cwd()}"
    if free >= _LEAST_FREE_BYTES:
        return Check(name="disk", verdict=Verdict.PASS, found=found)
    install = "free some space, or work elsewhere"
    return Check(name="disk", verdict=Verdict.FAIL, found=found, missing="data sets and runs", install=install)
