"""Targets: the shipped ones load, a user's own file works the same, and each mistake is named."""

import pytest

from ecm_edge import targets
from ecm_edge.base.errors import TargetError

SHIPPED = (targets._FOLDER / "nucleo-l432kc.toml").read_text()  # noqa: SLF001 - the file itself is under test


@pytest.mark.parametrize("name", targets.names())
def test_shipped_targets_load_under_their_own_names(name):
    assert targets.load(name).name == name


def test_a_users_own_file(tmp_path):
    path = tmp_path / "mine.toml"
    path.write_text(SHIPPED.replace('name = "nucleo-l432kc"', 'name = "mine"'))
    assert targets.load(str(path)).name == "mine"


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("macs = 200_000", "macs = 0", "greater than 0 at budget.macs"),
        ("macs = 200_000", "", "Field required at budget.macs"),
        ("macs = 200_000", "macs = 1\nmagic = 2", "budget.magic"),
        ("flash_bytes = 196_608", "flash_bytes = 300_000", "is above the 262144 that the board has"),
        ("cycles_per_mac = 15.0", "cycles_per_mac = 99.0", "between its low and its high"),
        ("[core]", "[core", "TOML"),
    ],
)
def test_each_mistake_is_named(tmp_path, old, new, message):
    path = tmp_path / "bad.toml"
    path.write_text(SHIPPED.replace(old, new))
    with pytest.raises(TargetError) as caught:
        targets.load(str(path))
    assert message in str(caught.value)


def test_no_such_target():
    with pytest.raises(TargetError, match="one of host, loongson-2k0500, nrf52840, nucleo-g071rb, nucleo-l432kc"):
        targets.load("esp32")


def test_not_text(tmp_path):
    path = tmp_path / "bad.toml"
    path.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(TargetError, match="TOML in UTF-8"):
        targets.load(str(path))
