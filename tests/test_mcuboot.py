"""An image for MCUboot has its header, its counter and a signature that imgtool verifies."""

from __future__ import annotations

import json
import struct

import jsonschema
import numpy as np
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec

from ecm_edge import targets
from ecm_edge.base.errors import FirmwareError, TargetError
from ecm_edge.cli import schemas
from ecm_edge.firmware import mcuboot
from ecm_edge.forms import onnx_model
from ecm_edge.forms.model_file import open_model

from . import nets
from .tiny import run_for_output

CORTEX = targets.load("nucleo-l432kc")
SLOT, SLOT_BYTES = 0x0800C000, 0x18000


def key(path):
    made = ec.generate_private_key(ec.SECP256R1())
    form = serialization.PrivateFormat.PKCS8
    path.write_bytes(made.private_bytes(serialization.Encoding.PEM, form, serialization.NoEncryption()))
    return path


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    path = tmp_path_factory.mktemp("mcuboot") / "af.onnx"
    onnx_model.save(nets.qdq_net(np.random.default_rng(0)), path)
    return open_model(path)


def signed(model, at, **other):
    words = {
        "key": key(at / "key.pem"),
        "version": "1.2.3",
        "security_counter": 7,
        "slot": SLOT,
        "slot_bytes": SLOT_BYTES,
    }
    return mcuboot.sign_image(model, CORTEX, at / "signed.bin", **words | other)


@pytest.fixture(scope="module")
def made(model, tmp_path_factory):
    at = tmp_path_factory.mktemp("signed")
    return signed(model, at), at


def test_it_has_mcuboots_header_and_the_program_behind_it(made):
    record, at = made
    content = (at / "signed.bin").read_bytes()
    magic, _, header, _, size = struct.unpack_from("<IIHHI", content)
    assert (magic, header) == (0x96F3B83D, mcuboot.HEADER_BYTES)
    assert struct.unpack_from("<BBH", content, 20) == (1, 2, 3)
    stack, reset = struct.unpack_from("<II", content, header)
    assert 0x20000000 < stack <= 0x20010000
    assert SLOT + header < reset < SLOT + header + size
    assert record.image_bytes == len(content) < SLOT_BYTES


def test_it_has_the_security_counter(made):
    content = (made[1] / "signed.bin").read_bytes()
    assert struct.pack("<HHI", 0x50, 4, 7) in content


def test_imgtool_verifies_it_with_its_key_and_no_other(made, tmp_path):
    _, at = made
    image = str(at / "signed.bin")
    assert "validated" in mcuboot.imgtool(["verify", "--key", str(at / "key.pem"), image])
    with pytest.raises(FirmwareError, match="verify"):
        mcuboot.imgtool(["verify", "--key", str(key(tmp_path / "other.pem")), image])


def test_a_changed_image_is_not_verified(made, tmp_path):
    _, at = made
    content = bytearray((at / "signed.bin").read_bytes())
    content[0x300] ^= 1
    (tmp_path / "changed.bin").write_bytes(content)
    with pytest.raises(FirmwareError, match="verify"):
        mcuboot.imgtool(["verify", "--key", str(at / "key.pem"), str(tmp_path / "changed.bin")])


def test_a_slot_that_is_too_small_is_refused(model, tmp_path):
    with pytest.raises(FirmwareError):
        signed(model, tmp_path, slot_bytes=0x1000)
    assert not (tmp_path / "signed.bin").exists()


@pytest.mark.parametrize(
    ("slot", "slot_bytes"), [(0, SLOT_BYTES), (0x08000001, SLOT_BYTES), (SLOT, 10**15), (0x08030000, SLOT_BYTES)]
)
def test_a_slot_that_the_board_does_not_have_is_refused(model, tmp_path, slot, slot_bytes):
    with pytest.raises(TargetError, match="from 0x08000000 to 0x08040000, at a multiple of 0x200"):
        signed(model, tmp_path, slot=slot, slot_bytes=slot_bytes)
    assert not (tmp_path / "signed.bin").exists()


def test_a_board_with_linux_takes_a_signed_bundle(tmp_path):
    with pytest.raises(TargetError, match="--sign"):
        mcuboot.for_slot(targets.load("loongson-2k0500"), SLOT, SLOT_BYTES, tmp_path / "slot.ld")


def test_the_command_says_what_it_made(model, tmp_path):
    words = ("--version", "1.0.0", "--security-counter", 1, "--slot", hex(SLOT), "--slot-bytes", SLOT_BYTES)
    out = ("--key", key(tmp_path / "key.pem"), "-o", tmp_path / "s.bin", "--json")
    code, text = run_for_output("firmware", "sign", model.path, "--target", CORTEX.name, *words, *out)
    assert code == 0
    jsonschema.validate(json.loads(text), schemas.schema("firmware-sign"))
