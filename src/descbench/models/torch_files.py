"""Files of torch.save that others wrote, read without running anything in them: zip archives, and the format before.

``torch.load(weights_only=True)`` is not used: numpy arrays, which published checkpoints hold, would have to be
admitted with functions that build any object from bytes, and damaged files end in errors of many kinds.
"""

from __future__ import annotations

import math
import os
import pickle
import struct
import zipfile
import zlib
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any, BinaryIO, ClassVar

import numpy as np
import torch

from descbench.errors import DataError
from descbench.io.kinds import describe_kind, shorten
from descbench.io.unpickler import ForbiddenGlobalError, PlainUnpickler, Source, map_file

_ZIP = b"PK\x03\x04"
_HEADER, _ENCRYPTED = 30, 1  # bytes of a member's header without its names; a flag in it
_MAGIC_NUMBER, _PROTOCOL = 0x1950A86A20F9469CFC6C, 1001  # of the format before zip archives
_MAGIC = b"\x80\x02\x8a\x0a" + _MAGIC_NUMBER.to_bytes(10, "little") + b"."
_EXPANDED = 1 << 16  # entries that a tensor may have beyond those stored (stride 0)
_PATH_CLASSES = ("PosixPath", "WindowsPath", "PurePosixPath", "PureWindowsPath")


def load_torch_file(path: Path) -> dict[str, Any]:
    """Read a file of torch.save without running anything it holds; numpy arrays and paths are admitted.

    Checkpoints of FIRe's own training hold the path of their start weights (docs/protocols/fire.md, Checkpoints).
    Tensors come on the CPU, without gradients; checksums of a zip archive are verified.

    Raises:
        DataError: no such file, not readable so, or no dict.
    """
    try:
        content = _read(path)
    except FileNotFoundError:
        raise DataError(f"{path}: no such checkpoint.") from None
    except ForbiddenGlobalError as error:
        raise DataError(
            f"{path}: holds {shorten(error)}, which is not plain data; it is refused and nothing of it was run. Save "
            "the weights alone, where that code is at hand: torch.save(model.state_dict(), ...)."
        ) from None
    except Exception as error:
        # Damaged bytes can raise nearly anything inside an unpickler.
        kind = describe_kind(path)
        what = f"it is {kind}" if kind not in (None, "a zip archive") else shorten(error) or type(error).__name__
        raise DataError(f"{path}: cannot be read as a checkpoint ({what}); fetch it again.") from error
    if not isinstance(content, dict):
        raise DataError(f"{path}: holds a {type(content).__name__}, not a checkpoint.")
    return content


def _read(path: Path) -> Any:
    with open(path, "rb") as stream:
        if stream.read(len(_ZIP)) == _ZIP:
            return _Archive(stream).load()
    return _Legacy(Source(map_file(path))).load()


# --- tensors -----------------------------------------------------------------------------------


@dataclass(frozen=True)
class _StorageType:
    """Name of a kind of storage; None where the tensor says what its bytes are."""

    dtype: torch.dtype | None


@dataclass(frozen=True)
class _Storage:
    """Values (N,) as they lie in the file; bytes where the kind of storage has no type."""

    values: torch.Tensor


def _rebuild_tensor(storage: Any, offset: Any, size: Any, stride: Any, *_: Any) -> torch.Tensor:
    """A tensor over a storage; every entry lies within it."""
    if type(storage) is not _Storage:
        raise ValueError("a tensor without storage")
    values = storage.values
    lengths = (size, stride) if type(size) is tuple and type(stride) is tuple and len(size) == len(stride) else ()
    if not lengths or not all(type(n) is int and 0 <= n < 1 << 48 for n in (*size, *stride, offset)):
        raise ValueError("a tensor of impossible size")
    count = math.prod(size)
    if count > max(len(values), _EXPANDED):
        raise ValueError(f"a tensor of {count} entries over {len(values)} stored ones")
    last = offset + sum((n - 1) * step for n, step in zip(size, stride, strict=True)) if count else offset - 1
    if last >= len(values):
        raise ValueError(f"a tensor that reaches to entry {last} of {len(values)} stored ones")
    return values.as_strided(size, stride, offset) if count else torch.empty(size, dtype=values.dtype)


def _rebuild_typed(
    storage: Any, offset: Any, size: Any, stride: Any, _grad: Any, _hooks: Any, dtype: Any, *_: Any
) -> Any:
    """A tensor of one of the newer types, over bytes."""
    if type(storage) is not _Storage or not isinstance(dtype, torch.dtype):
        raise ValueError("a tensor without storage or type")
    return _rebuild_tensor(_Storage(storage.values.view(dtype)), offset, size, stride)


def _rebuild_parameter(tensor: Any, *_: Any) -> torch.Tensor:
    if not isinstance(tensor, torch.Tensor):
        raise ValueError("a parameter that is not a tensor")
    return tensor


def _rebuild_with_attributes(function: Any, _kind: Any, arguments: Any, *_: Any) -> torch.Tensor:
    """A tensor that had attributes of its own, which are left out."""
    if not any(function is known for known in (_rebuild_tensor, _rebuild_typed)) or type(arguments) is not tuple:
        raise ValueError("a tensor of an unknown kind")
    return function(*arguments)


def _size(lengths: Any = ()) -> tuple:
    return _plain_tuple(lengths, int)


def _path(*parts: Any) -> PurePosixPath:
    """Whatever the system it was written on, a path is read as text of this class."""
    return PurePosixPath(*_plain_tuple(parts, str))


def _plain_tuple(values: Any, kind: type) -> tuple:
    if not isinstance(values, list | tuple) or not all(type(value) is kind for value in values):
        raise ValueError(f"values that are not all {kind.__name__}")
    return tuple(values)


def _device(*_: Any) -> str:
    return "cpu"


def _counter(counts: Any = ()) -> dict:
    if not isinstance(counts, dict | tuple) or (counts and not isinstance(counts, dict)):
        raise ValueError("counts that are not a dictionary")
    return dict(counts)


def _torch_names() -> dict[tuple[str, str], Any]:
    names: dict[tuple[str, str], Any] = {
        ("collections", "Counter"): _counter,
        ("torch", "Size"): _size,
        ("torch", "device"): _device,
        ("torch", "Tensor"): "Tensor",  # only ever an argument
        ("torch.nn.parameter", "Parameter"): "Parameter",
        ("torch._utils", "_rebuild_tensor_v2"): _rebuild_tensor,
        ("torch._utils", "_rebuild_tensor"): _rebuild_tensor,
        ("torch._utils", "_rebuild_tensor_v3"): _rebuild_typed,
        ("torch._utils", "_rebuild_parameter"): _rebuild_parameter,
        ("torch._utils", "_rebuild_parameter_with_state"): _rebuild_parameter,
        ("torch._tensor", "_rebuild_from_type_v2"): _rebuild_with_attributes,
    }
    storages = {
        "Double": torch.float64,
        "Float": torch.float32,
        "Half": torch.float16,
        "BFloat16": torch.bfloat16,
        "Long": torch.int64,
        "Int": torch.int32,
        "Short": torch.int16,
        "Char": torch.int8,
        "Byte": torch.uint8,
        "Bool": torch.bool,
        "ComplexFloat": torch.complex64,
        "ComplexDouble": torch.complex128,
    }
    for module in ("torch", "torch.cuda"):
        names |= {(module, f"{name}Storage"): _StorageType(dtype) for name, dtype in storages.items()}
    for module in ("torch", "torch.storage"):
        names[module, "UntypedStorage"] = _StorageType(None)
    for dtype in (*storages.values(), *(getattr(torch, name) for name in _NEWER if hasattr(torch, name))):
        names[tuple(str(dtype).split("."))] = dtype
    for module in ("pathlib", "pathlib._local"):
        names |= {(module, name): _path for name in _PATH_CLASSES}
    return names


_NEWER = ("uint16", "uint32", "uint64", "float8_e4m3fn", "float8_e5m2", "float8_e4m3fnuz", "float8_e5m2fnuz")
_NAMES = _torch_names()


class _TorchUnpickler(PlainUnpickler):
    """Knows tensors besides plain data; ``storage`` gives what stands behind ("storage", kind, key, device, size)."""

    dispatch: ClassVar[dict] = {
        **PlainUnpickler.dispatch,
        pickle.BINPERSID[0]: pickle._Unpickler.load_binpersid,
    }

    def __init__(
        self, source: Source, storage: Callable[[torch.dtype | None, str, int], _Storage] | None = None
    ) -> None:
        super().__init__(source, encoding="utf-8", names=_NAMES)
        self.storage = storage

    def persistent_load(self, pid: Any) -> _Storage:
        if type(pid) is not tuple or len(pid) not in (5, 6) or self.storage is None:
            raise ValueError("a reference to something that is not stored here")
        word, kind, key, _device, count = pid[:5]
        if (
            type(word) is not str
            or word != "storage"
            or type(kind) is not _StorageType
            or type(key) is not str
            or type(count) is not int
        ):
            raise ValueError("a reference to something that is not a storage")
        if type(key) is not str or type(count) is not int or count < 0:
            raise ValueError("a storage without name or size")
        if len(pid) == 6 and pid[5] is not None:
            raise ValueError("a part of a storage, as torch wrote before 0.4: save it again with a newer one")
        return self.storage(kind.dtype, key, count)

    def set_state(self, instance: Any, state: Any) -> None:
        # The versions of the modules, which torch hangs onto a state dict, are of no use here.
        if type(instance) is not OrderedDict:
            super().set_state(instance, state)


# --- the two formats ---------------------------------------------------------------------------


class _Archive:
    """A zip archive of torch.save: ``<name>/data.pkl``, and each storage as ``<name>/data/<key>``."""

    def __init__(self, stream: BinaryIO) -> None:
        self.stream, self.size, self.taken = stream, os.fstat(stream.fileno()).st_size, 0
        with zipfile.ZipFile(stream) as archive:
            self.members = {info.filename: info for info in archive.infolist()}
        self.storages: dict[str, torch.Tensor] = {}
        found = [name for name in self.members if name.endswith("/data.pkl") and name.count("/") == 1]
        if len(found) != 1:
            raise ValueError("it is a zip archive that torch.save did not write")
        self.prefix = found[0].removesuffix("data.pkl")

    def load(self) -> Any:
        if f"{self.prefix}constants.pkl" in self.members:
            raise ForbiddenGlobalError("a TorchScript program")
        if f"{self.prefix}byteorder" in self.members and self._member("byteorder").tobytes() != b"little":
            raise ValueError("it was written on a machine of the other byte order")
        return _TorchUnpickler(Source(self._member("data.pkl").tobytes()), self._storage).load()

    def _storage(self, dtype: torch.dtype | None, key: str, count: int) -> _Storage:
        if key not in self.storages:
            self.storages[key] = torch.from_numpy(self._member(f"data/{key}"))
        return _typed(self.storages[key], dtype, count)

    def _member(self, name: str) -> np.ndarray:
        """Content of a member (N,) uint8: stored as it is, so all together are no larger than the archive."""
        info = self.members.get(self.prefix + name)
        if info is None:
            raise ValueError(f"{shorten(name)} is missing in it")
        self.taken += info.file_size
        if info.compress_type != zipfile.ZIP_STORED or info.flag_bits & _ENCRYPTED or self.taken > self.size:
            raise ValueError(f"{shorten(name)} is compressed, encrypted, or larger than the file")
        self.stream.seek(info.header_offset)
        header = self.stream.read(_HEADER)
        lengths = struct.unpack("<HH", header[-4:])  # of name and extra field
        content = np.empty(info.file_size, np.uint8)
        self.stream.seek(sum(lengths), os.SEEK_CUR)
        whole = header.startswith(_ZIP) and self.stream.readinto(content) == info.file_size
        # torch writes 0 where it was told to compute no checksums.
        if not whole or info.CRC not in (0, zlib.crc32(content)):
            raise ValueError(f"{shorten(name)} is damaged")
        return content


class _Legacy:
    """The format before torch 1.6: pickles behind each other, then the values of the storages."""

    def __init__(self, source: Source) -> None:
        self.source, self.taken = source, 0
        self.storages: dict[str, torch.Tensor] = {}

    def load(self) -> Any:
        begins = self.source.content[: len(_MAGIC)] == _MAGIC
        if not begins or self._pickle() != _MAGIC_NUMBER or self._pickle() != _PROTOCOL:
            raise ValueError("it is not a file of torch.save")
        system = self._pickle()
        if not isinstance(system, dict) or system.get("little_endian") is not True:
            raise ValueError("it was written on a machine of the other byte order")
        content, keys = self._pickle(self._storage), self._pickle()
        if not isinstance(keys, list) or not all(type(key) is str for key in keys) or set(keys) != set(self.storages):
            raise ValueError("its tensors and the values that follow are not the same")
        for key in dict.fromkeys(keys):
            self._fill(self.storages[key])
        return content

    def _pickle(self, storage: Callable[..., _Storage] | None = None) -> Any:
        return _TorchUnpickler(self.source, storage).load()

    def _storage(self, dtype: torch.dtype | None, key: str, count: int) -> _Storage:
        """Room for values that come behind the pickles, never more than what is left of the file."""
        if key not in self.storages:
            size = count * (1 if dtype is None else dtype.itemsize)
            self.taken += size
            if self.taken > self.source.end - self.source.at:
                raise ValueError(f"a storage of {size} bytes in {self.source.end - self.source.at}")
            self.storages[key] = torch.empty(size, dtype=torch.uint8)
        return _typed(self.storages[key], dtype, count)

    def _fill(self, values: torch.Tensor) -> None:
        count, size = int.from_bytes(self.source.read(8), "little"), values.numel()
        if count > size or (count and size % count) or bool(count) != bool(size):
            raise ValueError(f"{count} values for a storage of {size} bytes")
        at = self.source.skip(size)
        if size:
            values.numpy()[:] = np.frombuffer(self.source.content, np.uint8, size, at)


def _typed(content: torch.Tensor, dtype: torch.dtype | None, count: int) -> _Storage:
    """The bytes of a storage as its values (count,)."""
    values = content if dtype is None else content.view(dtype) if len(content) else torch.empty(0, dtype=dtype)
    if len(values) != count:
        raise ValueError(f"a storage of {count} values that has {len(values)}")
    return _Storage(values)
