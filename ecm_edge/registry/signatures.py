"""Signatures of a folder: who made it, and that no file of it was changed, added or taken away.

The format is that of OpenSSF Model Signing, and the library `model_signing` alone signs and verifies. A signature is
the file `model.sig` in the folder; it covers every other file there.
"""

from __future__ import annotations

import os
import stat
import struct
import zipfile
import zlib
from collections import Counter
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from ecm_edge.base import files
from ecm_edge.base.errors import RegistryError
from ecm_edge.base.names import is_file_name
from ecm_edge.base.records import GATE_COLUMNS, Gate, Record, Verdict, condition, verdict_of_all
from ecm_edge.base.shown import Tables

if TYPE_CHECKING:
    from collections.abc import Iterator
    from types import ModuleType

SIGNATURE = "model.sig"
PKCS11 = "pkcs11:"
_MAX_SIGNATURE_BYTES = 1 << 24
_MAX_BYTES = 1 << 30  # of a folder that is signed or verified, which reads all of it, and of an archive
_MAX_FILES = 10_000
_MAX_ARCHIVE_BYTES = 1 << 28
_PACKED = {zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED}
"""How members may be packed: unpacked they are at most 1,032 times as large, and never whole in memory."""
_EXTRA_FIELDS = {0x5455, 0x7875}  # times and owners; others can give a member a second name or other sizes
_LOCAL_HEADER = struct.Struct("<6xHH4xLLLHH")
"""In front of a member: flags, method, checksum, bytes packed and unpacked, lengths of its name and extra fields."""
_SIZES_FOLLOW = 8  # of the flags: checksum and sizes stand behind the member, and are 0 in front of it
_NO_ARCHIVE = (OSError, ValueError, EOFError, RuntimeError, struct.error, zipfile.BadZipFile, zlib.error)
"""What `zipfile` raises at a damaged, encrypted or unusual archive; it lists none of them."""
_A_KEY = "a key is a PEM file of an elliptic curve (P-256, P-384, P-521)"
_MAKE_A_KEY = "`openssl ecparam -name prime256v1 -genkey -noout -out key.pem` makes one."
_PUBLIC = "`openssl ec -in key.pem -pubout -out key.pub` writes the public one."


class SignatureRecord(Record):
    """Whether a bundle is as the owner of a key signed it: one gate, and the key's file."""

    verdict: Verdict
    gates: list[Gate]
    bundle: str
    key: str

    KEYS = ("bundle", "key")
    TABLES: ClassVar[Tables] = {"gates": GATE_COLUMNS}


def verify_bundle(bundle: Path, public_key: Path) -> SignatureRecord:
    """Whether a bundle, a folder or a .zip archive, is as the owner of the key signed it.

    Raises:
        RegistryError: there is no bundle, the key cannot be used, or the library for signatures is not installed.
    """
    check_public_key(public_key)
    with _as_folder(bundle) as folder:
        wrong = check(folder, public_key)
    gates = [condition("signature", wrong or "every file is as it was signed", holds=not wrong)]
    return SignatureRecord(verdict=verdict_of_all(gates), gates=gates, bundle=str(bundle), key=str(public_key))


def check_private_key(key: str) -> None:
    """Check, before any work is done, that something can be signed with this key.

    Args:
        key: a PEM file, or a URI of PKCS#11 (RFC 7512) that names a key in a token.

    Raises:
        RegistryError: the library is missing, or the key cannot be used.
    """
    _signer(key)


def check_public_key(key: Path) -> None:
    """Check that this key can verify.

    Raises:
        RegistryError: the library is missing, or the file is no public key of a curve that is known.
    """
    _verifier(key)


def sign(folder: Path, key: str) -> None:
    """Write `model.sig` over every file of a folder; one that is there is replaced.

    Args:
        folder: what is signed. Its name is in the signature too; it is shown, and not verified.
        key: as for `check_private_key`.

    Raises:
        RegistryError: as `check_private_key`, or the folder has a link.
        OutputError: the signature cannot be written.
    """
    signer = _signer(key)
    if strange := _strange(folder):
        raise RegistryError(
            "a folder that is signed has files and folders only",
            f"{strange} in {folder}",
            "Remove it, or copy the file.",
        )
    if (size := _size(folder)) > _MAX_BYTES:
        raise RegistryError(
            f"a folder that is signed has at most {_MAX_BYTES:,} bytes",
            f"{size:,} in {folder}",
            "Remove what is large.",
        )
    with files.scratch_folder() as scratch:
        signature = scratch / SIGNATURE
        signer.set_hashing_config(_hashing()).sign(folder.resolve(), signature)
        content = signature.read_bytes()
    files.write_atomic(folder / SIGNATURE, content)


def is_signed(folder: Path) -> bool:
    """Whether a signature lies there, of whomever it is."""
    return (folder / SIGNATURE).is_file()


def check(folder: Path, public_key: Path) -> str:
    """What is wrong with the signature of a folder; empty if every file is as the owner of the key signed it.

    Raises:
        RegistryError: as `check_public_key`.
    """
    verifier = _verifier(public_key)
    signature = folder / SIGNATURE
    if not signature.is_file() or signature.is_symlink():
        return f"no {SIGNATURE} there: it is not signed"
    if signature.stat().st_size > _MAX_SIGNATURE_BYTES:
        return f"{SIGNATURE} has more than {_MAX_SIGNATURE_BYTES:,} bytes"
    if strange := _strange(folder):
        return f"{strange} is neither a file nor a folder"
    if (size := _size(folder)) > _MAX_BYTES:
        return f"{size:,} bytes there, of at most {_MAX_BYTES:,}"
    try:
        verifier.set_hashing_config(_hashing()).verify(folder, signature)
    except Exception as problem:  # noqa: BLE001 - the file is from elsewhere, and the library refuses it by any error
        return _reason(problem)
    return ""


def _reason(problem: Exception) -> str:
    """The library's reason, without digests, on one line of printable text."""
    words = str(problem).split(": Expected ")[0].replace("\\", "").replace("[", "").split()
    said = " ".join(words)[:500] or type(problem).__name__
    return "".join(letter if letter.isprintable() else "?" for letter in said)


def _strange(folder: Path) -> str | None:
    """The first thing in a folder that is a link, a pipe or a device; None if there is none."""
    for place, folders, names in os.walk(folder):
        for name in sorted([*folders, *names]):
            mode = (Path(place) / name).lstat().st_mode
            if not (stat.S_ISREG(mode) or stat.S_ISDIR(mode)):
                return (Path(place) / name).relative_to(folder).as_posix()
    return None


def _size(folder: Path) -> int:
    """Bytes of all files below a folder."""
    return sum((Path(place) / name).lstat().st_size for place, _, names in os.walk(folder) for name in names)


def _library() -> ModuleType:
    """The library `model_signing`.

    Raises:
        RegistryError: it is not installed.
    """
    try:
        import model_signing
        import model_signing.hashing
        import model_signing.signing
        import model_signing.verifying
    except ImportError as problem:
        raise RegistryError(
            "signatures need the library model-signing",
            f"no module {problem.name} here",
            "Install it: `pip install 'ecm-edge[sign]'`.",
        ) from problem
    return model_signing


def _hashing() -> Any:  # noqa: ANN401 - the library is optional
    """Every file of the folder, the signature aside; links are refused, and nothing is left out because of its name."""
    return _library().hashing.Config().set_ignored_paths(paths=[SIGNATURE], ignore_git_paths=False)


def _signer(key: str) -> Any:  # noqa: ANN401 - the library is optional
    config = _library().signing.Config()
    if key.startswith(PKCS11):
        return _token(config, key)
    try:
        return config.use_elliptic_key_signer(private_key=key)
    except Exception as problem:
        raise RegistryError(_A_KEY, f"{key}: {_reason(problem)}", f"It has no password. {_MAKE_A_KEY}") from problem


def _token(config: Any, uri: str) -> Any:  # noqa: ANN401 - the library is optional
    """The same with a key in a token. The URI may have a PIN in it, so that it is in no message."""
    try:
        return config.use_pkcs11_signer(pkcs11_uri=uri)
    except Exception as problem:
        raise RegistryError(
            "a key of PKCS#11 is named by its URI, with the module's path and the PIN",
            type(problem).__name__ if "pin" in str(problem).lower() else _reason(problem),
            "Such as `pkcs11:token=mine;object=key?module-path=/usr/lib/softhsm/libsofthsm2.so&pin-value=1234`. "
            "`pip install 'ecm-edge[pkcs11]'` installs what it needs.",
        ) from problem


def _verifier(key: Path) -> Any:  # noqa: ANN401 - the library is optional
    config = _library().verifying.Config()
    try:
        return config.use_elliptic_key_verifier(public_key=key)
    except Exception as problem:
        raise RegistryError(_A_KEY, f"{key}: {_reason(problem)}", _PUBLIC) from problem


@contextmanager
def _as_folder(bundle: Path) -> Iterator[Path]:
    """A bundle's folder; an archive is unpacked into a temporary one."""
    if bundle.is_dir():
        yield bundle
        return
    if not bundle.is_file():
        raise _no_bundle(f"{bundle}: {'neither' if bundle.exists() else 'nothing there'}")
    with files.scratch_folder() as scratch:
        if (size := bundle.stat().st_size) > _MAX_ARCHIVE_BYTES:
            raise _too_large(f"{size:,} bytes, packed")
        try:
            with zipfile.ZipFile(bundle) as archive:
                folder = _unpacked(archive, scratch)
        except _NO_ARCHIVE as problem:
            raise _no_bundle(f"{bundle}: {problem}") from problem
        yield folder


def _no_bundle(found: str) -> RegistryError:
    return RegistryError("a bundle is a folder or a .zip archive", found, "Name one that `ecm-edge bundle` wrote.")


def _too_large(found: str) -> RegistryError:
    return RegistryError(
        f"an archive has at most {_MAX_ARCHIVE_BYTES:,} bytes, and {_MAX_BYTES:,} in {_MAX_FILES:,} files unpacked",
        found,
        "Unpack it yourself, and name the folder.",
    )


def _unpacked(archive: zipfile.ZipFile, scratch: Path) -> Path:
    """The one folder of an archive, unpacked; sizes are bounded before anything is written.

    Raises:
        RegistryError: the archive is too large, has not one folder in it, or could be unpacked in more ways than one.
    """
    members = archive.infolist()
    size, tops = sum(each.file_size for each in members), {each.filename.split("/")[0] for each in members}
    if size > _MAX_BYTES or len(members) > _MAX_FILES:
        raise _too_large(f"{size:,} bytes in {len(members):,} files")
    if ambiguous := next(_ambiguities(archive), None):
        raise RegistryError(
            "every program unpacks the archive of a bundle to the same files",
            ambiguous,
            "Do not use it: what was verified here need not be what you get. Name one that `ecm-edge bundle` wrote.",
        )
    if len(tops) != 1 or not all("/" in each.filename for each in members):
        raise RegistryError(
            "the archive of a bundle has one folder in it",
            f"{len(tops)} things",
            "Name one that `ecm-edge bundle` wrote.",
        )
    archive.extractall(scratch)
    return scratch / tops.pop()


def _ambiguities(archive: zipfile.ZipFile) -> Iterator[str]:
    """What another program could unpack in another way, or not at all."""
    members = archive.infolist()
    names = Counter(each.filename.rstrip("/").casefold() for each in members)
    for each in members:
        name, kind = each.filename, stat.S_IFMT(each.external_attr >> 16)
        if not is_file_name(name.rstrip("/")) or not name.isprintable():
            yield f"a member of the name {name!r}"
        if names[name.rstrip("/").casefold()] > 1:
            yield f"{name!r} more than once (capitals count for nothing)"
        if kind not in {0, stat.S_IFDIR if each.is_dir() else stat.S_IFREG}:
            yield f"{name!r}, which is neither a file nor a folder"
        if each.compress_type not in _PACKED:
            yield f"{name!r}, packed by the unusual method {each.compress_type}"
        extra, fits = _local_header(archive, each)
        if not fits:
            yield f"{name!r}, with another description in front of it than in the archive's list"
        if unknown := {*_fields(each.extra), *_fields(extra)} - _EXTRA_FIELDS:
            yield f"{name!r} with the unusual extra field {min(unknown):#06x}"


def _local_header(archive: zipfile.ZipFile, member: zipfile.ZipInfo) -> tuple[bytes, bool]:
    """The extra fields in front of a member, and whether the rest there fits the list; other programs go by it."""
    stream = archive.fp
    if stream is None:
        raise ValueError("a closed archive")
    stream.seek(member.header_offset)
    flags, method, *sizes, name_bytes, extra_bytes = _LOCAL_HEADER.unpack(stream.read(_LOCAL_HEADER.size))
    stream.seek(name_bytes, os.SEEK_CUR)
    stated = [member.CRC, member.compress_size, member.file_size]
    same_sizes = sizes == stated or (flags & _SIZES_FOLLOW and not any(sizes))
    return stream.read(extra_bytes), same_sizes and (flags, method) == (member.flag_bits, member.compress_type)


def _fields(extra: bytes) -> Iterator[int]:
    """The kinds of a member's extra fields; 0 for bytes that are no field."""
    at = 0
    while at < len(extra):
        kind, length = struct.unpack_from("<HH", extra, at) if at + 4 <= len(extra) else (0, len(extra))
        yield kind if at + 4 + length <= len(extra) else 0
        at += 4 + length
