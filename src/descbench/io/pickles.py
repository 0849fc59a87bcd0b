"""Read pickles of strangers: containers, numbers, strings and numpy arrays, and nothing that runs.

Official ground truth and released features are pickles served over plain http. The reader below
knows a short list of global names; any other name is refused before it is imported. The arrays
are built here too, because numpy trusts the flags of a pickled dtype: an array of objects whose
flags are cleared would read pointers from the file.
"""

from __future__ import annotations

import math
import os
import pickle
from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path
from typing import Any, BinaryIO, ClassVar

import numpy as np

from descbench.errors import DataError


def load_pickle(path: str | os.PathLike[str]) -> Any:
    """Load a pickle that may hold only plain data.

    Admitted are the built-in containers, numbers, strings, bytes, ``OrderedDict`` and numpy arrays,
    scalars and dtypes (also those written by Python 2 and by numpy 1). Strings of Python 2 that are
    not ASCII are read as latin-1.

    Raises:
        DataError: the file is absent, cut short, no pickle, or names anything that could run code;
            nothing of it has been executed.
    """
    path = Path(path)
    try:
        with open(path, "rb") as stream:
            try:
                return _PlainUnpickler(stream, encoding="ASCII").load()
            except UnicodeDecodeError:
                stream.seek(0)
                return _PlainUnpickler(stream, encoding="latin1").load()
    except FileNotFoundError:
        raise DataError(f"{path}: no such file; fetch or unpack it first.") from None
    except _ForbiddenGlobalError as error:
        raise DataError(
            f"{path}: the pickle asks for {error}, which is not plain data; it is refused and nothing of it was run. "
            "Do not use this file; fetch it again from a source you trust."
        ) from None
    except Exception as error:
        # Damaged bytes can raise nearly anything inside an unpickler.
        raise DataError(
            f"{path}: not a pickle that can be read ({_reason(path, error)}); "
            "the file is damaged or cut short: delete it and fetch it again."
        ) from error


class _ForbiddenGlobalError(Exception):
    """A pickle named something outside the list."""


class _PlainUnpickler(pickle._Unpickler):
    """The unpickler of the standard library in Python, which lets BUILD be checked; about 1 µs per opcode."""

    dispatch: ClassVar = dict(pickle._Unpickler.dispatch)

    def __init__(self, stream: BinaryIO, encoding: str) -> None:
        super().__init__(stream, encoding=encoding)

    def find_class(self, module: str, name: str) -> Any:
        try:
            return _GLOBALS[module, name]
        except KeyError:
            raise _ForbiddenGlobalError(f"{module}.{name}") from None

    def load_build(self) -> None:
        state = self.stack.pop()
        instance = self.stack[-1]
        if isinstance(instance, np.dtype):
            _set_dtype(instance, state)
        elif type(instance) is np.ndarray:
            _set_array(instance, state)
        else:
            raise _ForbiddenGlobalError(f"setting the state of a {type(instance).__name__}")

    dispatch[pickle.BUILD[0]] = load_build


def _new_array(_subtype: Any, _shape: Any, _code: Any) -> np.ndarray:
    """An empty array; its content follows as state."""
    return np.ndarray((0,), np.int8)


def _new_dtype(spec: Any, *_flags: Any) -> np.dtype:
    # A copy, so that the state that follows cannot touch numpy's own dtype.
    return np.dtype(str(spec), False, True)


def _set_dtype(dtype: np.dtype, state: Any) -> None:
    """Set the byte order; refuse any state that numpy itself would not write for this dtype."""
    allowed = (dtype, dtype.newbyteorder("<"), dtype.newbyteorder(">"))
    # The first entry is the version of the format: 3 today, 1 to 4 in older files.
    if not any(tuple(state)[1:] == np.dtype(a).__reduce__()[2][1:] for a in allowed):
        raise ValueError(f"unusual numpy type {dtype} with state {state!r}")
    dtype.__setstate__(state)


def _set_array(array: np.ndarray, state: Any) -> None:
    *_, shape, dtype, fortran, data = state
    if not isinstance(dtype, np.dtype):
        raise ValueError("numpy array without a numpy type")
    count = math.prod(_extent(n) for n in shape)
    if dtype.hasobject:
        fits = isinstance(data, list) and len(data) == count
    else:
        data = _as_bytes(data)
        fits = len(data) == count * dtype.itemsize
    if not fits:
        raise ValueError(f"numpy array of shape {shape} whose data has another size")
    array.__setstate__((1, tuple(shape), dtype, bool(fortran), data))


def _extent(value: Any) -> int:
    if not isinstance(value, int) or value < 0:
        raise ValueError(f"numpy array with extent {value!r}")
    return value


def _scalar(dtype: np.dtype, data: Any = b"") -> Any:
    return np.frombuffer(_as_bytes(data), dtype, count=1)[0]


def _from_buffer(data: Any, dtype: np.dtype, shape: Any, order: Any) -> np.ndarray:
    return np.frombuffer(_as_bytes(data), dtype).reshape(shape, order=order)


def _as_bytes(data: Any) -> bytes | bytearray | memoryview:
    """Raw data; Python 2 pickles carry it as a string."""
    if isinstance(data, str):
        return data.encode("latin1")
    if not isinstance(data, bytes | bytearray | memoryview | pickle.PickleBuffer):
        raise ValueError(f"numpy data given as a {type(data).__name__}")
    return memoryview(data).tobytes() if isinstance(data, pickle.PickleBuffer) else data


def _encode(text: str, encoding: str = "latin1") -> bytes:
    """``_codecs.encode`` as Python 3 uses it to write bytes for Python 2; other codecs are not admitted."""
    if encoding not in ("latin1", "latin-1"):
        raise ValueError(f"text encoded as {encoding!r}")
    return text.encode("latin1")


def _empty_bytes() -> bytes:
    return b""


def _table() -> dict[tuple[str, str], Callable[..., Any] | str]:
    table: dict[tuple[str, str], Callable[..., Any] | str] = {
        ("collections", "OrderedDict"): OrderedDict,
        ("_codecs", "encode"): _encode,
        # Only ever an argument of _reconstruct; a plain string cannot be called.
        ("numpy", "ndarray"): "ndarray",
        ("numpy", "dtype"): _new_dtype,
    }
    for builtins in ("builtins", "__builtin__"):
        table |= {(builtins, kind.__name__): kind for kind in (set, frozenset, complex)}
        table[builtins, "bytes"] = _empty_bytes
    for core in ("numpy.core", "numpy._core"):
        table[f"{core}.multiarray", "_reconstruct"] = _new_array
        table[f"{core}.multiarray", "scalar"] = _scalar
        table[f"{core}.numeric", "_frombuffer"] = _from_buffer
    return table


_GLOBALS = _table()


def _reason(path: Path, error: Exception) -> str:
    """What to tell about bytes that are no pickle; a saved web page is the usual case."""
    if path.is_dir():
        return "it is a folder"
    with open(path, "rb") as stream:
        head = stream.read(64)
    if not head:
        return "it is empty"
    if head.lstrip().startswith(b"<"):
        return "it is a web page"
    return f"{type(error).__name__}: {error}"
