"""Weights that a model keeps in files beside it, as torch exports them: read from the model's own folder alone."""

from __future__ import annotations

import math
from pathlib import Path, PurePosixPath, PureWindowsPath

import onnx
from onnx.external_data_helper import ExternalDataInfo, uses_external_data

from ecm_edge.base import files
from ecm_edge.base.errors import ModelError

MOST_BYTES = 1 << 31
"""Of all the weights of one model: the most that an ONNX file itself can hold."""

_PACKED_BITS: dict[int, int] = {
    **dict.fromkeys((onnx.TensorProto.INT4, onnx.TensorProto.UINT4, onnx.TensorProto.FLOAT4E2M1), 4),
    **dict.fromkeys((onnx.TensorProto.INT2, onnx.TensorProto.UINT2), 2),
}
"""Bits of an element of the types of which ONNX packs several in a byte."""


def bring_in(proto: onnx.ModelProto, path: Path) -> tuple[Path, ...]:
    """Read the weights that lie in files beside the model at `path` into it; those files, each once.

    Raises:
        ModelError: a file elsewhere than in the model's folder, one that is missing or too short, or weights of more
            than `MOST_BYTES`.
    """
    outside = [tensor for tensor in proto.graph.initializer if uses_external_data(tensor)]
    places = [_place(tensor, path) for tensor in outside]
    whole = sum(size for _, _, size in places)
    if whole > MOST_BYTES:
        raise _refused(f"weights of at most {MOST_BYTES:,} bytes", f"{whole:,}", path)
    for tensor, (file, offset, size) in zip(outside, places, strict=True):
        with file.open("rb") as stream:
            stream.seek(offset)
            tensor.raw_data = stream.read(size)
        del tensor.external_data[:]
        tensor.data_location = onnx.TensorProto.DEFAULT
    return tuple(dict.fromkeys(file for file, _, _ in places))


def _place(tensor: onnx.TensorProto, path: Path) -> tuple[Path, int, int]:
    """The file of a tensor's values, the first byte and the number of bytes."""
    name = tensor.name
    try:
        info = ExternalDataInfo(tensor)
        offset = int(info.offset or 0)
        size = _bytes(tensor)
        stated = int(info.length) if info.length else size
    except (ValueError, TypeError, KeyError) as problem:
        raise _refused("weights beside it by file, offset and length", f"{problem} for {name!r}", path) from None
    file = _file(info.location, name, path)
    if stated != size or offset < 0 or offset + size > file.stat().st_size:
        found = f"{stated:,} bytes at {offset:,} of {file.name} for {name!r} {list(tensor.dims)}"
        raise _refused("the bytes of each weight in the file beside it", found, path)
    return file, offset, size


def _bytes(tensor: onnx.TensorProto) -> int:
    count = int(math.prod(tensor.dims))
    if count < 0:
        raise ValueError(f"a shape of {list(tensor.dims)}")
    if tensor.data_type in _PACKED_BITS:
        return -(-count * _PACKED_BITS[tensor.data_type] // 8)
    item_bytes: int = onnx.helper.tensor_dtype_to_np_dtype(tensor.data_type).itemsize
    return count * item_bytes


def _file(location: str, name: str, path: Path) -> Path:
    """The regular file of that name in the model's folder, links followed."""
    own, folder = PurePosixPath(location), files.resolved(path.parent)
    outside = own.is_absolute() or PureWindowsPath(location).drive or ".." in own.parts or "\\" in location
    try:
        file = folder if outside or "\0" in location else files.resolved(folder / own)
        inside = file.is_relative_to(folder) and file.is_file()
    except (OSError, RuntimeError):  # a name that is too long, links in a circle
        inside = False
    if not inside:
        raise _refused("weights in its own folder, if not in itself", f"{location!r} for {name!r}", path)
    return file


def _refused(rule: str, found: str, path: Path) -> ModelError:
    hint = "Put the file beside the model, or export with `torch.onnx.export(..., external_data=False)`."
    return ModelError(f"a model has {rule}", f"{found} in {path}", hint)
