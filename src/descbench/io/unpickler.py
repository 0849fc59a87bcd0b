"""An unpickler for untrusted bytes: plain data comes out, or an exception, soon and in bounded memory.

The standard library's unpickler in Python is the base, cut down to the opcodes that plain data need. What differs:

* names are looked up in the table of :mod:`descbench.io.plain_data`, never imported, and only its functions are called;
* no length is believed before the bytes are there; work, copies and the digits of integers are bounded;
* shared and nested containers of a few bytes can unfold to billions of entries wherever they are walked (``repr``,
  hashing, comparison, ``np.asarray``): keys are plain values, and what comes out has a bounded depth and unfolded size.
"""

from __future__ import annotations

import itertools
import mmap
import pickle
from collections.abc import Callable, Iterable
from pathlib import Path
from types import FunctionType
from typing import Any, ClassVar

import numpy as np

from descbench.io.plain_data import PLAIN_NAMES, Names, plain_key, plain_pairs, set_array, set_dtype

_MOST_STEPS = 4_000_000  # opcodes and entries copied: 40 for each image of SfM-120k, the largest official pickle
_DEEPEST = 100
_UNFOLDED = 64  # bytes that a value may unfold to, for each in the file
_COPIED = 2  # bytes that calls may copy, for each in the file
_SLACK = 1 << 20
_LONGEST_NUMBER = 128  # bytes of an integer: Python refuses to print longer ones, and messages print them
_LONGEST_DIGITS = 400

_OPCODES = """
PROTO STOP MARK POP POP_MARK NONE NEWTRUE NEWFALSE BININT BININT1 BININT2 BINFLOAT LONG1 TUPLE EMPTY_TUPLE TUPLE1 TUPLE2
TUPLE3 EMPTY_LIST LIST EMPTY_DICT EMPTY_SET STRING BINSTRING SHORT_BINSTRING BINBYTES SHORT_BINBYTES BINBYTES8 UNICODE
BINUNICODE SHORT_BINUNICODE BINUNICODE8 GLOBAL STACK_GLOBAL BINGET LONG_BINGET BINPUT LONG_BINPUT MEMOIZE
"""

_CONTAINERS = (list, tuple, dict, set, frozenset)
_TEXTS = (str, bytes, bytearray)

Content = bytes | mmap.mmap


class ForbiddenGlobalError(Exception):
    """A pickle asks for something that is not plain data; the text names it."""


def map_file(path: Path) -> Content:
    """The content of a file, mapped: only what is looked at takes memory.

    Raises:
        OSError: it cannot be opened.
    """
    with open(path, "rb") as stream:
        try:
            return mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ)
        except ValueError:  # an empty file cannot be mapped
            return b""


class Source:
    """Bytes read from front to back; no read leaves them."""

    def __init__(self, content: Content, at: int = 0) -> None:
        self.content, self.at, self.end = content, at, len(content)

    def read(self, size: int) -> bytes:
        """The next ``size`` bytes, all of them.

        Raises:
            EOFError: fewer are left.
        """
        at = self.skip(size)
        return self.content[at : self.at]

    def skip(self, size: int) -> int:
        """Go past ``size`` bytes; the place where they begin.

        Raises:
            EOFError: fewer are left.
        """
        if not 0 <= size <= self.end - self.at:
            raise EOFError("it ends too early")
        self.at += size
        return self.at - size

    def readline(self) -> bytes:
        """The bytes up to and with the next newline."""
        return self.read(self.content.find(b"\n", self.at) + 1 - self.at)


class PlainUnpickler(pickle._Unpickler):
    """Reads the next pickle of a source; :meth:`load` may raise nearly any exception on damaged bytes.

    Args:
        source: where to read.
        encoding: of strings that Python 2 wrote.
        names: what a pickle may ask for beyond :data:`PLAIN_NAMES`: functions to be called, and values.
    """

    dispatch: ClassVar[dict] = {
        getattr(pickle, name)[0]: pickle._Unpickler.dispatch[getattr(pickle, name)[0]] for name in _OPCODES.split()
    }

    def __init__(self, source: Source, *, encoding: str = "ASCII", names: Names | None = None) -> None:
        super().__init__(source, encoding=encoding)
        self.source, self.names = source, {**PLAIN_NAMES, **(names or {})}

    def load(self) -> Any:
        start, dispatch = self.source.at, self.dispatch
        self.read = read = self.source.read
        self.readline = self.source.readline
        self.memo, self.metastack, self.stack = {}, [], []
        self.append = self.stack.append
        self.steps = self.copied = 0
        try:
            while True:
                self.steps += 1
                if self.steps > _MOST_STEPS:
                    raise ValueError(f"more than {_MOST_STEPS} steps")
                opcode = read(1)[0]
                if opcode not in dispatch:
                    raise ValueError(f"opcode {opcode:#x}, which plain data do not need")
                dispatch[opcode](self)
        except pickle._Stop as stop:
            check_unfolded(stop.value, _UNFOLDED * (self.source.at - start) + _SLACK)
            return stop.value

    def find_class(self, module: str, name: str) -> Any:
        try:
            return self.names[module, name]
        except KeyError:
            raise ForbiddenGlobalError(f"{module}.{name}") from None

    def set_state(self, instance: Any, state: Any) -> None:
        """What the opcode BUILD does: the state of a numpy dtype or of an array that was just begun."""
        if isinstance(instance, np.dtype):
            set_dtype(instance, state)
        elif type(instance) is np.ndarray:
            set_array(instance, state)
        else:
            raise ForbiddenGlobalError(f"setting the state of a {type(instance).__name__}")

    def _charge(self, values: Any) -> None:
        """Count what a call copies: the same bytes could be copied again and again."""
        for value in values:
            if isinstance(value, _TEXTS):
                self.copied += len(value)
            elif isinstance(value, _CONTAINERS):
                self.steps += len(value)
        if self.copied > _COPIED * self.source.end + _SLACK:
            raise ValueError("it copies the same bytes again and again")

    def _reduce(self) -> None:
        arguments, function = self.stack.pop(), self.stack.pop()
        if not isinstance(function, FunctionType) or type(arguments) is not tuple:
            raise ValueError("a call of something that is not a function")
        self._charge(arguments)
        self.append(function(*arguments))

    def _build(self) -> None:
        state = self.stack.pop()
        if type(state) is tuple:
            self._charge(state)
        self.set_state(self.stack[-1], state)

    def _set_items(self, items: list) -> None:
        target = self.stack[-1]
        if not isinstance(target, dict) or len(items) % 2:
            raise ValueError("keys and values that do not fit a dictionary")
        target.update(plain_pairs(zip(items[::2], items[1::2], strict=True)))

    def _dict(self) -> None:
        items = self.pop_mark()
        self.append({})
        self._set_items(items)

    def _setitem(self) -> None:
        value, key = self.stack.pop(), self.stack.pop()
        self._set_items([key, value])

    def _extend(self, items: list) -> None:
        if type(self.stack[-1]) is not list:
            raise ValueError("entries for something that is not a list")
        self.stack[-1].extend(items)

    def _append(self) -> None:
        item = self.stack.pop()
        self._extend([item])

    def _add_items(self) -> None:
        items = self.pop_mark()
        if type(self.stack[-1]) is not set:
            raise ValueError("entries for something that is not a set")
        self.stack[-1].update(map(plain_key, items))

    def _freeze(self) -> None:
        items = self.pop_mark()
        self.append(frozenset(map(plain_key, items)))

    def _number(self, kind: Callable[[bytes], Any]) -> None:
        line = self.readline()[:-1]
        if len(line) > _LONGEST_DIGITS:
            raise ValueError(f"a number of {len(line)} digits")
        self.append(kind(line))

    def _integer(self, line: bytes) -> int | bool:
        return line == b"01" if line in (b"00", b"01") else int(line.removesuffix(b"L"), 0)

    def _place(self) -> int:
        line = self.readline()[:-1]
        if not line.isdigit() or len(line) > 10:
            raise ValueError("a place in the memo that is not a number")
        return int(line)

    def _put(self) -> None:
        self.memo[self._place()] = self.stack[-1]

    def _long4(self) -> None:
        size = int.from_bytes(self.read(4), "little")
        if size > _LONGEST_NUMBER:
            raise ValueError(f"an integer of {size} bytes")
        self.append(int.from_bytes(self.read(size), "little", signed=True))

    dispatch |= {
        pickle.REDUCE[0]: _reduce,
        pickle.BUILD[0]: _build,
        pickle.DICT[0]: _dict,
        pickle.SETITEM[0]: _setitem,
        pickle.SETITEMS[0]: lambda self: self._set_items(self.pop_mark()),
        pickle.APPEND[0]: _append,
        pickle.APPENDS[0]: lambda self: self._extend(self.pop_mark()),
        pickle.ADDITEMS[0]: _add_items,
        pickle.FROZENSET[0]: _freeze,
        pickle.INT[0]: lambda self: self._number(self._integer),
        pickle.LONG[0]: lambda self: self._number(self._integer),
        pickle.FLOAT[0]: lambda self: self._number(float),
        pickle.LONG4[0]: _long4,
        pickle.GET[0]: lambda self: self.append(self.memo[self._place()]),
        pickle.PUT[0]: _put,
        # Frames only say how much to read ahead.
        pickle.FRAME[0]: lambda self: self.read(8),
        pickle.BYTEARRAY8[0]: lambda self: self.append(bytearray(self.read(int.from_bytes(self.read(8), "little")))),
    }


# --- bounds ------------------------------------------------------------------------------------


def check_unfolded(value: Any, most: int) -> None:
    """Refuse containers that are nested too deeply, hold themselves, or are shared until they unfold beyond ``most``.

    Raises:
        ValueError: says which.
    """
    known: dict[int, tuple[int, int]] = {}  # size and depth of what has been walked
    entered: dict[int, tuple[int, list[Any]]] = {}
    todo = [value]
    while todo:
        container = todo[-1]
        place = id(container)
        if place not in entered and place not in known:
            plain, inner = _look_into(container)
            entered[place] = plain, inner
            if any(id(entry) in entered for entry in inner):
                raise ValueError("a value that holds itself")
            todo += inner
            if inner:
                continue
        todo.pop()
        if place in entered:
            plain, inner = entered.pop(place)
            within = [known[id(entry)] for entry in inner]
            size, depth = plain + sum(s for s, _ in within), 1 + max((d for _, d in within), default=0)
            if depth > _DEEPEST:
                raise ValueError(f"values nested more than {_DEEPEST} deep")
            if size > most:
                raise ValueError("values that unfold to far more than the file holds")
            known[place] = size, depth


def _look_into(value: Any) -> tuple[int, list[Any]]:
    """Bytes of the plain entries of a container, and its entries that are containers themselves."""
    size, inner = 16, []
    for entry in _entries(value):
        if isinstance(entry, _TEXTS):
            size += len(entry)
        elif _is_container(entry):
            inner.append(entry)
        elif type(entry) is np.ndarray:
            size += entry.nbytes
        size += 8
    return size, inner


def _is_container(value: Any) -> bool:
    return isinstance(value, _CONTAINERS) or (type(value) is np.ndarray and value.dtype.hasobject)


def _entries(value: Any) -> Iterable[Any]:
    if isinstance(value, dict):
        return itertools.chain(value, value.values())
    if type(value) is np.ndarray:
        return value.flat
    return value if _is_container(value) else ()
