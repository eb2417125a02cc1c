"""JSON and TOML of files from elsewhere: what is refused before it takes memory or cannot be printed."""

import json
from pathlib import Path

import pytest

from ecm_edge import targets
from ecm_edge.base.errors import RegistryError, TargetError
from ecm_edge.base.parsing import json_of, toml_of
from ecm_edge.registry.policy import load_policy

from . import tiny

WIDEST = (1 << 63) - 1
HOST = Path(targets.__file__).with_name("host.toml").read_text()


def test_integers_of_64_bits_are_read():
    assert json_of(f'{{"a": {WIDEST}, "b": [{-WIDEST}, 1.5]}}') == {"a": WIDEST, "b": [-WIDEST, 1.5]}
    assert toml_of(f"a = {WIDEST}\nb = [{-WIDEST}, 1.5]".encode()) == {"a": WIDEST, "b": [-WIDEST, 1.5]}


@pytest.mark.parametrize("number", [str(WIDEST + 1), str(-WIDEST - 1), "9" * 350, "9" * 5000])
def test_longer_integers_are_refused(number):
    with pytest.raises(ValueError, match=r"64 bits|digits"):
        json_of(f'[{{"a": {number}}}]')
    with pytest.raises(ValueError, match=r"64 bits|digits"):
        toml_of(f"[[t]]\na = [{{b = {number}}}]".encode())


@pytest.mark.parametrize("content", [b"[" * 100_000, b'{"a":' * 100_000, b"{", b"\xff"])
def test_what_is_no_json_is_a_value_error(content):
    with pytest.raises(ValueError, match=r".+"):
        json_of(content)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"a" + b".a" * 20_000 + b" = 1", "20,000 dots in line 1"),
        (b"[a" + b".a" * 101 + b"]", "101 dots"),
        (b"# " + b"long" * 20_000, "80,002 bytes, of at most 65,536"),
        (b"a = " + b"[" * 20_000, "deep"),
        (b"a = \xff", "utf-8"),
        (b"a = ", "value"),
    ],
)
def test_toml_that_takes_too_much_or_is_none_is_a_value_error(content, said):
    with pytest.raises(ValueError, match=said):
        toml_of(content)


@pytest.mark.parametrize("number", ["9" * 350, "9" * 5000])
@pytest.mark.parametrize("place", ["clock_hz", "flash_bytes"])
def test_a_board_with_an_endless_number_is_refused(tmp_path, number, place):
    lines = HOST.splitlines()
    changed = [f"{place} = {number}" if line.startswith(f"{place} =") else line for line in lines]
    assert changed != lines
    (tmp_path / "b.toml").write_text("\n".join(changed))
    with pytest.raises(TargetError, match=r"64 bits|digits"):
        targets.load(str(tmp_path / "b.toml"))
    (tmp_path / "policy.toml").write_text(f"least_test_subjects = {number}")
    with pytest.raises(RegistryError, match=r"64 bits|digits"):
        load_policy(tmp_path)


def test_a_record_with_an_endless_number_is_refused(tmp_path, capsys):
    (tmp_path / "a.json").write_text(json.dumps({"machine_info": {}, "benchmarks": []})[:-1] + f', "x": {"9" * 400}}}')
    tiny.graded(tmp_path / "data")
    assert tiny.run(["score", tmp_path, "--data", tmp_path / "data", "--latency", tmp_path / "a.json"]) == 2
    assert "Traceback" not in capsys.readouterr().err


def test_a_port_whose_name_no_file_can_have_is_refused(tmp_path):
    (tmp_path / "b.toml").write_text(HOST.replace('"port/host.c"', '"port/\\u0000host.c"'))
    with pytest.raises(TargetError, match="port"):
        targets.load(str(tmp_path / "b.toml"))
