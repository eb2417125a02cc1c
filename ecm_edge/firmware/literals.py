"""C literals: numbers that come back to the bit, arrays, and names that C allows."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Iterable

    from numpy.typing import NDArray

C_TYPES = {
    "float32": "float",
    "float16": "uint16_t",
    "int8": "int8_t",
    "uint8": "uint8_t",
    "int16": "int16_t",
    "int32": "int32_t",
}
"""How an element is stored; float16 is kept as its bits, since C99 has no such type."""

_COLUMNS = 116


def float_literal(value: float) -> str:
    """A float32 in hexadecimal: no digit is lost, whatever its size.

    >>> float_literal(0.1), float_literal(-2.0), float_literal(3e-45)
    ('0x1.99999ap-4f', '-0x1p+1f', '0x1p-148f')
    """
    single = float(np.float32(value))
    if not np.isfinite(single):
        return {"inf": "(1.0f / 0.0f)", "-inf": "(-1.0f / 0.0f)"}.get(str(single), "(0.0f / 0.0f)")
    mantissa, exponent = single.hex().split("p")
    return f"{mantissa.rstrip('0').rstrip('.') if '.' in mantissa else mantissa}p{exponent}f"


def decimal(value: float) -> str:
    """A finite float32 in decimal, as headers have it for people; C and C++ read it again to the bit.

    >>> decimal(0.1), decimal(3), decimal(1e-20)
    ('0.1f', '3.0f', '1e-20f')
    """
    text = str(np.float32(value))
    return f"{text}f" if any(mark in text for mark in ".e") else f"{text}.0f"


def element(value: Any, dtype: str) -> str:  # noqa: ANN401 - a NumPy scalar of any type
    """One element of an array stored as `dtype`."""
    if dtype == "float32":
        return float_literal(value)
    return f"0x{np.float16(value).view(np.uint16):x}" if dtype == "float16" else str(int(value))


def array(name: str, values: NDArray[Any], dtype: str, comment: str = "") -> str:
    """A constant array of flattened values, aligned to 8 bytes.

    >>> print(array("w", np.float32([1, -0.5]), "float32", "(2,)"))
    /* (2,) */
    static const float w[2] ECM_ALIGNED = {
        0x1p+0f, -0x1p-1f
    };
    """
    flat = values.reshape(-1)
    title = f"/* {comment} */\n" if comment else ""
    body = "\n".join(_lines(element(value, dtype) for value in flat))
    return f"{title}static const {C_TYPES[dtype]} {name}[{flat.size}] ECM_ALIGNED = {{\n{body}\n}};"


def _lines(elements: Iterable[str]) -> Iterable[str]:
    line = ""
    for text in elements:
        if len(line) + len(text) > _COLUMNS:
            yield f"    {line.rstrip()}"
            line = ""
        line += f"{text}, "
    yield f"    {line[:-2]}"


def identifier(name: str) -> str:
    """A name as a part of a C identifier.

    >>> identifier("/conv.1/Conv")
    'conv_1_conv'
    """
    return re.sub(r"[^a-z0-9]+", "_", name.lower()).strip("_") or "node"


def comment(text: str) -> str:
    r"""Text that may stand inside a C comment, whoever wrote it: printable ASCII without backslash or trigraph.

    Some compilers join lines at a backslash before they look for the end of a comment; ??/ is another one.

    >>> comment("a */ b\n??/ \\ \u00e9")
    'a * / b ? ?/ _ _'
    """
    plain = re.sub(r"[^ -\[\]-~]", "_", text.replace("\n", " "))
    return re.sub(r"\?(?=\?)", "? ", plain.replace("*/", "* /").replace("/*", "/ *"))


def text(value: str) -> str:
    r"""A string literal; what is not plain ASCII, quotes and backslashes become octal escapes of UTF-8's bytes.

    >>> print(text('ecm-edge "é"'))
    "ecm-edge \042\303\251\042"
    """
    plain = set(range(0x20, 0x7F)) - set(b'"\\?')  # ??/ and its like are trigraphs
    return '"' + "".join(chr(byte) if byte in plain else f"\\{byte:03o}" for byte in value.encode()) + '"'
