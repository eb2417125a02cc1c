"""What `ecm-edge doctor` says of a machine, whole and with parts missing."""

import importlib.metadata
import json
import os
import shutil
from types import SimpleNamespace

import pytest

from ecm_edge import api
from ecm_edge.base.records import Verdict
from ecm_edge.cli import main
from ecm_edge.firmware import doctor as looks


def run(capsys, *arguments):
    with pytest.raises(SystemExit) as ended:
        main(["doctor", *arguments])
    return ended.value.code, capsys.readouterr().out


def by_name(record):
    return {check.name: check for check in record.checks}


def test_it_names_what_the_chain_wants():
    record = api.doctor()
    names = set(by_name(record))
    assert {"click", "torch", "numpy", "ziglang", "pydicom", "pandas", "nbclient"} <= names
    assert {"cross-compiler", "host compiler", "browser", "torch build", "threads", "cache", "disk"} <= names
    assert {"emulator of loongson-2k0500", "emulator of nucleo-l432kc"} <= names
    assert "pytest" not in names
    assert by_name(record)["torch"].found.startswith(importlib.metadata.version("torch"))
    assert record.threads.usable <= record.threads.host
    assert record.free_bytes > 0
    assert [bool(check.install) for check in record.checks] == [check.verdict != "PASS" for check in record.checks]


def test_what_checks_alone_want_is_not_run(monkeypatch, capsys):
    own = shutil.which
    monkeypatch.setattr(shutil, "which", lambda word: None if "qemu" in word or word == "chromium" else own(word))
    record = api.doctor()
    missing = by_name(record)["emulator of loongson-2k0500"]
    assert missing.verdict == Verdict.NOT_RUN
    assert missing.found == "no qemu-loongarch64"
    assert missing.install == "apt-get install qemu-user"
    assert by_name(record)["browser"].install == "apt-get install chromium chromium-driver"
    assert record.verdict == Verdict.PASS
    code, out = run(capsys)
    assert code == 0
    assert "NOT RUN hops to nucleo-l432kc" in out
    assert out.splitlines()[-1].startswith("PASS: 5 of ")


@pytest.mark.parametrize(
    ("package", "version", "verdict", "install"),
    [
        ("onnx", "1.2.3", "FAIL", "pip install 'onnx>=1."),
        ("torch", None, "FAIL", "pip install 'torch>=2."),
        ("pydicom", None, "NOT RUN", "pip install 'ecm-edge[dicom]'"),
        ("pandas", "0.1", "NOT RUN", "pip install 'ecm-edge[pandas]'"),
    ],
)
def test_a_package_that_is_missing_or_old(package, version, verdict, install, monkeypatch, capsys):
    own = importlib.metadata.version

    def other(name):
        if name != package:
            return own(name)
        if version is None:
            raise importlib.metadata.PackageNotFoundError(name)
        return version

    monkeypatch.setattr(importlib.metadata, "version", other)
    code, out = run(capsys, "--json")
    record = json.loads(out)
    (check,) = (one for one in record["checks"] if one["name"] == package)
    assert check["verdict"] == verdict
    assert check["install"].startswith(install)
    assert check["found"].startswith(f"{version}, not " if version else "not installed")
    assert (code, record["verdict"]) == ((1, "FAIL") if verdict == "FAIL" else (0, "PASS"))


def test_threads_disk_cache_and_path(monkeypatch, tmp_path):
    (tmp_path / "file").write_text("x" * 100)
    monkeypatch.setenv("ECM_EDGE_CACHE", str(tmp_path))
    monkeypatch.setenv("PYTHONPATH", f"a{os.pathsep}b")
    monkeypatch.setattr(looks, "usable_cores", lambda: 0)
    monkeypatch.setattr(shutil, "disk_usage", lambda _place: SimpleNamespace(free=5))
    record = api.doctor()
    assert by_name(record)["threads"].install == "export OMP_NUM_THREADS=0"
    assert by_name(record)["disk"].verdict == record.verdict == Verdict.FAIL
    assert (record.cache_folder, record.cache_bytes, record.python_path) == (str(tmp_path), 100, ["a", "b"])


def test_without_a_checkout_the_installed_bounds_count(monkeypatch, tmp_path):
    monkeypatch.setattr(looks, "_PROJECT", tmp_path / "none")
    monkeypatch.setattr(importlib.metadata, "requires", lambda _name: ["numpy>=99", "pydicom>=3; extra == 'dicom'"])
    checks = {check.name: check.verdict.value for check in api.doctor().checks if check.kind == "package"}
    assert checks == {"numpy": "FAIL", "pydicom": "PASS"}
