"""The restricted unpickler: plain data passes, anything that could run is refused."""

import io
import os
import pickle
import struct
from collections import OrderedDict
from pathlib import Path

import numpy as np
import pytest

from descbench.errors import DataError
from descbench.io.pickles import load_pickle


def _saved(tmp_path: Path, content: bytes) -> Path:
    path = tmp_path / "file.pkl"
    path.write_bytes(content)
    return path


def _same(left: object, right: object) -> bool:
    if isinstance(left, np.ndarray):
        # numpy itself turns big-endian arrays into native ones when it reads a pickle.
        native = isinstance(right, np.ndarray) and left.dtype.newbyteorder("=") == right.dtype.newbyteorder("=")
        return native and left.shape == right.shape and left.tolist() == right.tolist()
    if isinstance(left, dict):
        return type(left) is type(right) and list(left) == list(right) and all(_same(left[k], right[k]) for k in left)
    if isinstance(left, list | tuple):
        return type(left) is type(right) and len(left) == len(right) and all(map(_same, left, right))
    return type(left) is type(right) and left == right


PLAIN = {
    "containers": {"a": [1, 2.5, None, True], "b": (b"x", "ü"), "c": {1, 2}, "d": frozenset({3}), "e": 2**100},
    "ordered": OrderedDict([("z", 1), ("a", 2)]),
    "complex": [1 + 2j, b"", bytearray(b"ab")[0:0] == b""],
    "floats": np.linspace(0, 1, 12, dtype=np.float32).reshape(3, 4),
    "fortran": np.asfortranarray(np.arange(6, dtype=np.int64).reshape(2, 3)),
    "big endian": np.arange(5, dtype=">i2"),
    "empty": np.zeros((0, 4), np.float16),
    "strings": np.array(["ash", "beech"]),
    "bytes": np.array([b"ash", b"beech"]),
    "objects": np.array(["ash", None, 3], dtype=object),
    "bools": np.array([True, False]),
    "scalars": [np.float64(0.1), np.int32(7), np.float16(1.414), np.bool_(True)],
    "type": np.dtype("<f4"),
}


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
@pytest.mark.parametrize("case", sorted(PLAIN))
def test_plain_data_comes_back_as_it_was(tmp_path: Path, case: str, protocol: int) -> None:
    path = _saved(tmp_path, pickle.dumps(PLAIN[case], protocol))
    assert _same(load_pickle(path), PLAIN[case])


@pytest.mark.parametrize("core", ["numpy.core", "numpy._core"])
def test_arrays_of_old_and_new_numpy(tmp_path: Path, core: str) -> None:
    array = np.arange(4, dtype=np.float32)
    content = pickle.dumps([array, array.dtype, array[2]], 0)
    content = content.replace(b"numpy._core", b"numpy.core").replace(b"numpy.core", core.encode())
    assert core.encode() in content
    assert _same(load_pickle(_saved(tmp_path, content)), [array, array.dtype, array[2]])


def test_python_2_strings_and_arrays(tmp_path: Path) -> None:
    """Python 2 wrote names and array data as byte strings (opcodes U and T); the data is not ASCII."""
    data = np.array([1.5, -2.0, 3e30], np.float32)
    content = (
        b"\x80\x02]q\x00(U\x03caf"
        + b"U\x04caf\xe9"
        + b"cnumpy.core.multiarray\n_reconstruct\ncnumpy\nndarray\nK\x00\x85U\x01b\x87R"
        + b"(K\x01K\x03\x85cnumpy\ndtype\nU\x02f4K\x00K\x01\x87R(K\x03U\x01<NNN"
        + b"J\xff\xff\xff\xffJ\xff\xff\xff\xffK\x00tb\x89"
        + b"U"
        + bytes([data.nbytes])
        + data.tobytes()
        + b"tbe."
    )
    first, second, array = load_pickle(_saved(tmp_path, content))
    assert (first, second) == ("caf", "caf\xe9")
    assert _same(array, data)


class _Call:
    """Pickles as a call of ``function(*arguments)``."""

    def __init__(self, function: object, *arguments: object) -> None:
        self.call = (function, arguments)

    def __reduce__(self) -> tuple:
        return self.call


def _system(folder: Path) -> _Call:
    return _Call(os.system, f"touch {folder / 'harm'}")


@pytest.mark.parametrize("protocol", [0, 2, 4])
def test_a_command_is_refused_and_not_run(tmp_path: Path, protocol: int) -> None:
    content = pickle.dumps({"imlist": [], "gnd": _system(tmp_path)}, protocol)
    with pytest.raises(DataError, match=r"file\.pkl.*(posix|os)\.system.*nothing of it was run"):
        load_pickle(_saved(tmp_path, content))
    assert not (tmp_path / "harm").exists()
    pickle.loads(content)
    assert (tmp_path / "harm").exists(), "the pickle of this test does no harm, so the test proves nothing"


@pytest.mark.parametrize(
    "call",
    [
        _Call(eval, "1"),
        _Call(getattr, "a", "upper"),
        _Call(open, "x", "w"),
        _Call(io.open_code, "x"),
        _Call(np.load, "x"),
        _Call(np.fromfile, "x"),
    ],
    ids=lambda call: call.call[0].__name__,
)
def test_other_names_are_refused(tmp_path: Path, call: _Call) -> None:
    with pytest.raises(DataError, match="not plain data"):
        load_pickle(_saved(tmp_path, pickle.dumps(call)))


def _object_array_with_cleared_flags() -> bytes:
    """A numpy array of "objects" whose pointers would come from the file."""
    head = b"\x80\x03cnumpy.core.multiarray\n_reconstruct\ncnumpy\nndarray\nK\x00\x85C\x01b\x87R(K\x01K\x01\x85"
    dtype = (
        b"cnumpy\ndtype\nX\x02\x00\x00\x00O8\x89\x88\x87R(K\x03X\x01\x00\x00\x00|NNN"
        + b"J\xff\xff\xff\xffJ\xff\xff\xff\xffK\x00tb"
    )
    return head + dtype + b"\x89C\x08" + b"A" * 8 + b"tb."


@pytest.mark.parametrize(
    "content",
    [
        _object_array_with_cleared_flags(),
        pickle.dumps(np.zeros(3, [("a", "i4")])),
        pickle.dumps(np.arange(4.0), 2).replace(b"K\x04\x85", b"K\x7f\x85"),
        b"\x80\x03ccollections\nOrderedDict\n}X\x01\x00\x00\x00aK\x01sb.",
        b"\x80\x03c_codecs\nencode\nX\x01\x00\x00\x00aX\x05\x00\x00\x00rot13\x86R.",
        b"\x80\x03cnumpy\nndarray\n)R.",
        b"\x80\x04B" + struct.pack("<I", 1 << 31),
        b"",
        b"<!DOCTYPE html><title>404</title>",
        pickle.dumps(list(range(1000)))[:-100],
        b"just text",
    ],
    ids=["flags", "structured", "size", "state", "codec", "call", "length", "empty", "html", "cut", "text"],
)
def test_damaged_or_crafted_files_are_refused(tmp_path: Path, content: bytes) -> None:
    with pytest.raises(DataError, match=r"file\.pkl"):
        load_pickle(_saved(tmp_path, content))


_NESTED = b")\x94" + b"".join(b"0h%bh%b\x86\x94" % (bytes([i]), bytes([i])) for i in range(60))
_DTYPE = b"cnumpy\ndtype\n%s\x89\x88\x87R"


def _array(dtype: bytes, shape: bytes, data: bytes) -> bytes:
    return (
        b"cnumpy.core.multiarray\n_reconstruct\ncnumpy\nndarray\nK\x00\x85C\x01b\x87R(K\x01"
        + shape
        + dtype
        + b"\x89"
        + data
        + b"tb"
    )


def _text(text: str) -> bytes:
    return b"X" + struct.pack("<I", len(text)) + text.encode()


_LONG = 1 << 20
_SAME_HASH = [(i * (2**61 - 1)).to_bytes(10, "little") for i in range(20_000)]
BOMBS = {
    "pairs of pairs": _NESTED,
    "lists of lists": b"]\x94" + b"".join(b"0]h%bah%ba\x94" % (bytes([i]), bytes([i])) for i in range(60)),
    "as a type": b"cnumpy\ndtype\n" + _NESTED + b"K\0K\1\x87R",
    "as the state of a type": _DTYPE % _text("f4") + _NESTED + b"b",
    "as the extent of an array": _array(_DTYPE % _text("f4"), _NESTED + b"\x85", b"C\0"),
    "as a key": b"}" + _NESTED + b"Ns",
    "in a set": b"\x8f(" + _NESTED + b"\x90",
    "in a frozen set": b"(" + _NESTED + b"\x91",
    "in a set that is called": b"cbuiltins\nset\n]" + _NESTED + b"a\x85R",
    "in an ordered dictionary": b"ccollections\nOrderedDict\n]" + _NESTED + b"N\x86a\x85R",
    "as a key of an array": _array(_DTYPE % _text("f4"), b"K\0\x85", b"C\0") + _NESTED + b"Ns",
    "an array in itself": _array(_DTYPE % _text("O8"), b"K\1\x85", b"]\x94h\0a"),
    "a list in itself": b"]\x94h\0a",
    "nested deeply": b"]" * 50_000 + b"a" * 49_999,
    "bytes that are not there": b"\x96" + struct.pack("<Q", 1 << 36),
    "entries without content": _array(_DTYPE % _text("S0"), b"\x8a\x06" + b"\xff" * 5 + b"\0\x85", b"C\0"),
    "a text copied": b"(" + _text("a" * _LONG) + b"\x94" + b"h\0" * 200 + b"l",
    "an array copied": b"(" + _text("a" * _LONG) + b"\x940" + b"c_codecs\nencode\nh\0\x85R" * 200 + b"l",
    "digits": b"L" + b"9" * 100_000 + b"L\n",
    "hexadecimal digits": b"I0x" + b"f" * _LONG + b"\n",
    "a long integer": b"\x8b" + struct.pack("<i", _LONG) + b"\x7f" * _LONG,
    "integers of one hash": b"}(" + b"".join(b"\x8a\x0a" + key + b"N" for key in _SAME_HASH) + b"u",
}  # fmt: skip


@pytest.mark.timeout(30)
@pytest.mark.parametrize("bomb", sorted(BOMBS))
def test_bombs_are_refused(tmp_path: Path, bomb: str) -> None:
    with pytest.raises(DataError, match=r"file\.pkl: not a pickle that can be read") as found:
        load_pickle(_saved(tmp_path, b"\x80\x04" + BOMBS[bomb] + b"."))
    assert len(str(found.value)) < 1000
    assert not isinstance(found.value.__cause__, MemoryError | RecursionError)


def test_shared_values_within_reason_are_read(tmp_path: Path) -> None:
    shared = [1, 2, "abc"]
    value = {"a": shared, "b": [shared] * 1000}
    assert load_pickle(_saved(tmp_path, pickle.dumps(value))) == value


@pytest.mark.parametrize(
    ("content", "match"),
    [
        (b"version https://git-lfs.github.com/spec/v1\n", "it is a git-lfs pointer"),
        (b"\x1f\x8b\x08\x00", "it is a gzip file: unpack it first"),
        (b"", "it is empty"),
    ],
)
def test_other_files_are_called_what_they_are(tmp_path: Path, content: bytes, match: str) -> None:
    with pytest.raises(DataError, match=match):
        load_pickle(_saved(tmp_path, content))


def test_absent_file_and_folder(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no such file"):
        load_pickle(tmp_path / "none.pkl")
    with pytest.raises(DataError, match="it is a folder"):
        load_pickle(tmp_path)


@pytest.mark.parametrize(("name", "database"), [("roxford5k", 4993), ("rparis6k", 6322)])
def test_real_ground_truth(real_data: Path, name: str, database: int) -> None:
    content = load_pickle(real_data / "revisited_gnd" / f"gnd_{name}.pkl")
    assert len(content["qimlist"]) == len(content["gnd"]) == 70
    assert len(content["imlist"]) == database
