"""What a pickle of plain data may ask for: containers, numbers and numpy arrays, made by functions of our own.

numpy's own functions trust what they are given: an array of objects whose dtype has cleared flags would read
pointers from the file. Every argument here may be anything that a hostile file can spell.
"""

from __future__ import annotations

import math
import re
from collections import OrderedDict
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

_DTYPE = re.compile(r"[<>|=]?(b1|[iu][1248]|f(2|4|8|16)|c(8|16|32)|[SUa]\d{1,9}|O[48]?)")

Names = Mapping[tuple[str, str], Any]


def plain_key(value: Any) -> Any:
    """A key of a dictionary or an entry of a set: one whose hash is quick and cannot be chosen at will."""
    if isinstance(value, int) and not -(1 << 64) < value < 1 << 64:
        raise ValueError("a key that is a very long integer")
    if value is not None and not isinstance(value, str | bytes | int | float | np.number | np.bool_):
        raise ValueError(f"a key that is a {type(value).__name__}")
    if isinstance(value, np.complexfloating):
        raise ValueError("a key that is a complex number")
    return value


def plain_pairs(pairs: Any) -> Iterator[tuple[Any, Any]]:
    for key, value in pairs:
        yield plain_key(key), value


def _new_array(_subtype: Any, _shape: Any, _code: Any) -> np.ndarray:
    """An empty array; its content follows as state."""
    return np.ndarray((0,), np.int8)


def _new_dtype(spec: Any, *_flags: Any) -> np.dtype:
    if not isinstance(spec, str) or not _DTYPE.fullmatch(spec):
        raise ValueError("an unusual numpy type")
    # A copy, so that the state that follows cannot touch numpy's own dtype.
    return np.dtype(spec.replace("a", "S"), False, True)


def set_dtype(dtype: np.dtype, state: Any) -> None:
    """Set the byte order; refuse any state that numpy itself would not write for this dtype."""
    if type(state) is not tuple or not all(value is None or isinstance(value, int | str) for value in state):
        raise ValueError("a numpy type with an unusual state")
    allowed = (dtype, dtype.newbyteorder("<"), dtype.newbyteorder(">"))
    # The first entry is the version of the format: 3 today, 1 to 4 in older files.
    if not any(state[1:] == np.dtype(a).__reduce__()[2][1:] for a in allowed):
        raise ValueError(f"a numpy type {dtype} with an unusual state")
    dtype.__setstate__(state)


def set_array(array: np.ndarray, state: Any) -> None:
    *_, shape, dtype, fortran, data = state
    if array.shape != (0,) or array.dtype != np.int8:
        raise ValueError("the state of an array that has one")
    count = _count(shape, dtype)
    if dtype.hasobject:
        fits = type(data) is list and len(data) == count
    else:
        data = _as_bytes(data)
        fits = len(data) == count * dtype.itemsize
    if not fits:
        raise ValueError("a numpy array whose data has another size than its shape")
    array.__setstate__((1, shape, dtype, bool(fortran), data))


def _count(shape: Any, dtype: Any) -> int:
    """Number of entries of an array; none that take no room."""
    if not isinstance(dtype, np.dtype) or type(shape) is not tuple or len(shape) > 32:
        raise ValueError("a numpy array without a type or a shape")
    if not all(type(length) is int and 0 <= length < 1 << 48 for length in shape):
        raise ValueError("a numpy array with an impossible shape")
    count = math.prod(shape)
    if count > 1 and not dtype.itemsize:
        raise ValueError("a numpy array of entries without content")
    return count


def _scalar(dtype: Any, data: Any = b"") -> Any:
    if not isinstance(dtype, np.dtype) or dtype.hasobject:
        raise ValueError("a numpy scalar without a plain type")
    data = _as_bytes(data)
    if len(data) != dtype.itemsize:
        raise ValueError("a numpy scalar whose data has another size than its type")
    return np.frombuffer(data, dtype)[0] if data else dtype.type()


def _from_buffer(data: Any, dtype: Any, shape: Any, order: Any) -> np.ndarray:
    data = _as_bytes(data)
    if len(data) != _count(shape, dtype) * dtype.itemsize or dtype.hasobject or order not in ("C", "F"):
        raise ValueError("a numpy array whose data has another size than its shape")
    return np.frombuffer(data, dtype).reshape(shape, order=order) if data else np.empty(shape, dtype)


def _as_bytes(data: Any) -> bytes | bytearray:
    """Raw data; Python 2 pickles carry it as a string."""
    if isinstance(data, str):
        return data.encode("latin1")
    if not isinstance(data, bytes | bytearray):
        raise ValueError(f"numpy data given as a {type(data).__name__}")
    return data


def _encode(text: Any, encoding: Any = "latin1") -> bytes:
    """``_codecs.encode`` as Python 3 uses it to write bytes for Python 2; other codecs are not admitted."""
    if not isinstance(text, str) or encoding not in ("latin1", "latin-1"):
        raise ValueError("text in an encoding that is not admitted")
    return text.encode("latin1")


def _bytes() -> bytes:
    return b""


def _bytearray(data: Any = b"", encoding: Any = "latin-1") -> bytearray:
    return bytearray(_encode(data, encoding) if isinstance(data, str) else _as_bytes(data))


def _set(entries: Any = ()) -> set:
    return set(map(plain_key, _listed(entries)))


def _frozenset(entries: Any = ()) -> frozenset:
    return frozenset(map(plain_key, _listed(entries)))


def _ordered_dict(pairs: Any = ()) -> OrderedDict:
    return OrderedDict(plain_pairs(_listed(pairs)))


def _listed(entries: Any) -> list | tuple:
    if not isinstance(entries, list | tuple):
        raise ValueError(f"entries given as a {type(entries).__name__}")
    return entries


def _complex(real: Any = 0.0, imaginary: Any = 0.0) -> complex:
    if not isinstance(real, float | int) or not isinstance(imaginary, float | int):
        raise ValueError("a complex number that is not made of two numbers")
    return complex(real, imaginary)


def _plain_names() -> dict[tuple[str, str], Any]:
    names: dict[tuple[str, str], Any] = {
        ("collections", "OrderedDict"): _ordered_dict,
        ("_codecs", "encode"): _encode,
        # Only ever an argument of _reconstruct; a plain string cannot be called.
        ("numpy", "ndarray"): "ndarray",
        ("numpy", "dtype"): _new_dtype,
    }
    for builtins in ("builtins", "__builtin__"):
        functions = (_set, _frozenset, _complex, _bytes, _bytearray)
        names |= {(builtins, function.__name__.removeprefix("_")): function for function in functions}
    for core in ("numpy.core", "numpy._core"):
        names[f"{core}.multiarray", "_reconstruct"] = _new_array
        names[f"{core}.multiarray", "scalar"] = _scalar
        names[f"{core}.numeric", "_frombuffer"] = _from_buffer
    return names


PLAIN_NAMES: Names = _plain_names()
