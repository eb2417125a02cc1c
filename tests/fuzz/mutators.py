"""Changes of files, each drawn from a `random.Random`: the same state gives the same change."""

from __future__ import annotations

import json
import os
import re
import tomllib

VALUES = [None, True, 0, -1, 1, 2, 2**31, 2**63, 10**30, 1e308, -1e308, 1e-308, 0.5, "", "x", "9" * 5000, "\0", [], {}]
# fmt: off
NUMBERS = [
    "0", "-1", "1", "2", "7", "1e308", "-1e308", "1e-320", "1e999", "nan", "inf", "-inf", "2147483647", "-2147483648",
    "4294967296", "99999999999999999999", "0x10", "1_0", "00012", "+3", ".5", "5.", "1,5", "\u0663",
]
# fmt: on
WORDS = [
    "",
    " ",
    "NaN",
    "null",
    "../../x",
    "/etc/passwd",
    "a" * 5000,
    "é",
    "\ufeff",
    "\u202e",
    "%s%n",
    "$(id)",
    "=1+1",
    "<b>",
    "~",
    "\x1b[31m",
    "\0",
]
_TOKEN = re.compile(rb"[-+]?\d[\d.eE+-]*|[A-Za-z_]{2,}")
LARGEST_SPARSE = 3 << 30


def spoil(content, rng):
    """Bytes with some of them changed, moved, doubled or cut off."""
    content = bytearray(content)
    for _ in range(rng.choice([1, 1, 2, 4, 16])):
        at = rng.randrange(len(content) + 1)
        length = min(rng.choice([1, 1, 2, 4, 64, 1000]), len(content) - at)
        kind = rng.randrange(7)
        if kind == 0:
            content[at : at + length] = rng.randbytes(length)
        elif kind == 1:
            content[at : at + length] = bytes([rng.choice([0, 255, 127, 128, 32])]) * length
        elif kind == 2:
            del content[at : at + length]
        elif kind == 3:
            content[at:at] = content[at : at + length] * rng.choice([1, 1, 50])
        elif kind == 4:
            word = rng.choice([0, 1, 0xFF, 0x7FFF, 0x8000, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF])
            content[at : at + 4] = word.to_bytes(4, rng.choice(["little", "big"]))
        elif kind == 5:
            del content[rng.choice([at, len(content) // 2, 0, 1]) :]
        elif at < len(content):
            content[at] ^= 1 << rng.randrange(8)
    return bytes(content)


def respell(content, rng):
    """Text with some of its numbers, words, lines or characters changed."""
    for _ in range(rng.choice([1, 1, 1, 2, 3])):
        tokens = [match.span() for match in _TOKEN.finditer(content[:20_000])]
        kind = rng.randrange(8)
        if kind < 3 and tokens:
            start, stop = rng.choice(tokens)
            content = content[:start] + rng.choice(NUMBERS).encode() + content[stop:]
        elif kind == 3 and tokens:
            start, stop = rng.choice(tokens)
            content = content[:start] + rng.choice(WORDS).encode() + content[stop:]
        elif kind == 4:
            at = rng.randrange(min(len(content), 5000) + 1)
            content = (
                content[:at]
                + rng.choice(
                    [b"\0", b"\xff", b'"', b"'", b",", b";", b"\t", b"\r", b"\n", b"#", b"=", b"[", b"{", b"\\"]
                )
                + content[at:]
            )
        elif kind == 5:
            content = _lines(content, rng)
        elif kind == 6:
            content = rng.choice(
                [
                    b"\xef\xbb\xbf" + content,
                    content.decode("latin-1").encode("utf-16"),
                    content.replace(b"\n", b"\r\n"),
                    content.replace(b"\n", b"\r"),
                    content.replace(b",", b";"),
                    content.rstrip(b"\n"),
                ]
            )
        else:
            content = content.upper() if rng.random() < 0.5 else spoil(content, rng)
    return content


def _lines(content, rng):
    lines = content.split(b"\n")
    at, other = rng.randrange(len(lines)), rng.randrange(len(lines))
    kind = rng.randrange(5)
    if kind == 0:
        del lines[at]
    elif kind == 1:
        lines.insert(at, lines[other])
    elif kind == 2:
        lines[at], lines[other] = lines[other], lines[at]
    elif kind == 3:
        lines[at] *= rng.choice([2, 100, 10_000])
    else:
        lines[at] = b""
    return b"\n".join(lines)


def places(value, path=()):
    """The way to every value within lists and objects, by keys."""
    if path:
        yield path
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, below in items:
        yield from places(below, (*path, key))


def rebuild(content, rng):
    """Change some values within an object, in place."""
    for _ in range(rng.choice([1, 1, 2, 3])):
        found = list(places(content))
        if not found:
            return content
        *way, last = rng.choice(found)
        inner = content
        for key in way:
            inner = inner[key]
        act = rng.random()
        if act < 0.2:
            del inner[last]
        elif act < 0.3 and isinstance(inner, dict):
            inner[rng.choice(["new", "", "x" * 50, "a.b"])] = rng.choice(VALUES)
        elif act < 0.5 and isinstance(inner[last], int | float):
            inner[last] = inner[last] * rng.choice([0, -1, 2, 0.5, 1e-3, 1e3, 1e300])
        elif act < 0.6 and isinstance(inner[last], str):
            inner[last] = rng.choice([*WORDS, inner[last].upper(), inner[last] * 3])
        else:
            inner[last] = rng.choice(VALUES)
    return content


def json_text(content, rng):
    """A JSON text with changed values, or changed as text."""
    try:
        return json.dumps(rebuild(json.loads(content), rng)).encode("utf-8", "surrogatepass")
    except (ValueError, RecursionError, OverflowError):
        return respell(content, rng)


def json_lines(content, rng):
    """Some lines of JSON, of which one is changed, or all in another order."""
    lines = content.splitlines() or [b"{}"]
    at = rng.randrange(len(lines))
    lines[at] = json_text(lines[at], rng)
    return b"\n".join(lines) + b"\n" if rng.random() < 0.7 else _lines(content, rng)


def toml_text(content, rng):
    """A TOML text with changed values, or changed as text."""
    try:
        changed = rebuild(tomllib.loads(content.decode()), rng)
        return "".join(f"{json.dumps(key)} = {_toml(value)}\n" for key, value in changed.items()).encode()
    except (ValueError, RecursionError, OverflowError):
        return respell(content, rng)


def _toml(value):
    if isinstance(value, dict):
        return "{" + ", ".join(f"{json.dumps(key)} = {_toml(below)}" for key, below in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(map(_toml, value)) + "]"
    if isinstance(value, float):
        return repr(value)
    return json.dumps("" if value is None else value)


def replace(path, rng):
    """Put something else at the place of a file."""
    kind = rng.choice(["fifo", "folder", "missing", "link", "zero", "loop", "sparse", "empty", "zeros"])
    path.unlink()
    if kind == "fifo":
        os.mkfifo(path)
    elif kind == "folder":
        path.mkdir()
    elif kind == "link":
        path.symlink_to("nowhere")
    elif kind == "zero":
        path.symlink_to("/dev/zero")
    elif kind == "loop":
        path.symlink_to(path)
    elif kind != "missing":
        path.write_bytes(b"" if kind != "zeros" else bytes(1 << 20))
        if kind == "sparse":
            os.truncate(path, LARGEST_SPARSE)


def swap(path, other):
    """A file with the content of another one."""
    path.write_bytes(other.read_bytes())
