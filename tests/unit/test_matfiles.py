"""MATLAB files: what scipy writes is read as it was, and no damage does more than end in a message."""

from __future__ import annotations

import random
import struct
import tracemalloc
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy.io import savemat

from descbench.errors import DataError
from descbench.io.matfiles import read_mat


def cells(*entries: Any, shape: tuple[int, ...] | None = None) -> np.ndarray:
    array = np.empty(len(entries), object)
    for number, entry in enumerate(entries):
        array[number] = entry
    return array.reshape(shape or (-1, 1))


def written(folder: Path, value: Any, **options: Any) -> Path:
    savemat(folder / "x.mat", {"before": np.eye(3), "wanted": value}, **options)
    return folder / "x.mat"


@pytest.mark.parametrize("packed", [True, False])
@pytest.mark.parametrize("dtype", ["f8", "f4", "i1", "u1", "i2", "u2", "i4", "u4", "i8", "u8"])
def test_numbers(tmp_path: Path, dtype: str, packed: bool) -> None:
    value = np.arange(24).reshape(2, 3, 4).astype(dtype)
    found = read_mat(written(tmp_path, value, do_compression=packed), "wanted")
    assert found.dtype == value.dtype
    assert np.array_equal(found, value)


@pytest.mark.parametrize("packed", [True, False])
def test_structs_cells_and_text(tmp_path: Path, packed: bool) -> None:
    names = cells("a.jpg", "ü/b.jpg", np.array([[1.5]]), cells("deep"))
    value = {"names": names, "none": np.empty((0, 0)), "many": np.array([(1,), (2,)], [("x", object)])}
    found = read_mat(written(tmp_path, value, do_compression=packed), "wanted")
    assert list(found) == ["names", "none", "many"]
    assert found["names"].shape == (4, 1)
    assert found["names"][:2, 0].tolist() == ["a.jpg", "ü/b.jpg"]
    assert found["names"][2, 0].tolist() == [[1.5]]
    assert found["names"][3, 0][0, 0] == "deep"
    assert found["none"].size == 0
    assert [entry["x"].item() for entry in found["many"].ravel()] == [1, 2]
    assert read_mat(written(tmp_path, np.array(["ab ", "cde"])), "wanted") == ["ab ", "cde"]
    square = read_mat(written(tmp_path, cells(*"abcdef", shape=(2, 3))), "wanted")
    assert square.tolist() == [["a", "b", "c"], ["d", "e", "f"]]


def test_cells_of_arrays_of_one_shape(tmp_path: Path) -> None:
    found = read_mat(written(tmp_path, cells(np.ones((1, 2)), np.zeros((1, 2)))), "wanted")
    assert found.shape == (2, 1)
    assert found[1, 0].tolist() == [[0, 0]]


def test_big_endian(tmp_path: Path) -> None:
    """Machines of the other byte order wrote such files; the tags and numbers are turned by hand here."""
    path = written(tmp_path, np.array([[1.0, 2.5]]), do_compression=False)
    content = path.read_bytes()
    body = content[128 + int.from_bytes(content[132:136], "little") + 8 :]
    tags = [body[i : i + 4][::-1] for i in range(0, len(body) - 16, 4)]
    # The name is bytes, and what follows it is the tag of the numbers.
    at = body.index(b"wanted") // 4
    tags[at], tags[at + 1] = body[4 * at : 4 * at + 4], body[4 * at + 4 : 4 * at + 8]
    numbers = np.array([1.0, 2.5], ">f8").tobytes()
    header = content[:124] + content[124:126][::-1] + b"MI"
    path.write_bytes(header + b"".join(tags) + numbers)
    assert read_mat(path, "wanted").tolist() == [[1.0, 2.5]]


@pytest.mark.parametrize(
    ("value", "match"),
    [
        (np.array([[1j]]), "complex, sparse"),
        (np.zeros((2, 2), bool), None),
        (cells(*[1.0] * 3), None),
    ],
)
def test_kinds_that_are_not_read(tmp_path: Path, value: Any, match: str | None) -> None:
    path = written(tmp_path, value)
    if match is None:
        assert read_mat(path, "wanted").shape == value.shape
        return
    with pytest.raises(DataError, match=rf"x\.mat: .*{match}"):
        read_mat(path, "wanted")


def test_other_files(tmp_path: Path) -> None:
    path = written(tmp_path, np.eye(2))
    with pytest.raises(DataError, match="no variable 'other'"):
        read_mat(path, "other")
    for content, match in (
        (b"", "not a MATLAB file"),
        (b"<html>" * 100, "not a MATLAB file"),
        (b"MATLAB 7.3 MAT-file" + bytes(600), r"a MATLAB 7\.3 file; .*save -v7"),
        (path.read_bytes()[:-5], "damaged MATLAB file"),
    ):
        path.write_bytes(content)
        with pytest.raises(DataError, match=rf"x\.mat: {match}"):
            read_mat(path, "wanted")
    with pytest.raises(DataError, match="no such file"):
        read_mat(tmp_path / "none.mat", "wanted")
    with pytest.raises(DataError, match="cannot be read"):
        read_mat(tmp_path, "wanted")


def test_short_elements_hold_four_bytes(tmp_path: Path) -> None:
    savemat(tmp_path / "x.mat", {"x": 1.0})
    content = (tmp_path / "x.mat").read_bytes()
    assert content.count(b"\1\0\1\0x") == 1
    (tmp_path / "x.mat").write_bytes(content.replace(b"\1\0\1\0x", b"\1\0\5\0x"))
    with pytest.raises(DataError, match="a short element of 5 bytes"):
        read_mat(tmp_path / "x.mat", "x")


def test_a_bomb_is_not_unpacked(tmp_path: Path) -> None:
    path = written(tmp_path, np.zeros((1000, 1000)), do_compression=True)
    assert path.stat().st_size < 20_000
    with pytest.raises(DataError, match="more than 1000000 bytes"):
        read_mat(path, "wanted", largest=1_000_000)


def element(kind: int, data: bytes) -> bytes:
    return struct.pack("<II", kind, len(data)) + data + bytes(-len(data) % 8)


def matrix(kind: int, shape: tuple[int, ...], rest: bytes, name: bytes = b"wanted") -> bytes:
    lengths = b"".join(struct.pack("<i", length) for length in shape)
    return element(14, element(6, struct.pack("<II", kind, 0)) + element(5, lengths) + element(1, name) + rest)


def packed_file(folder: Path, *matrices: bytes) -> Path:
    packed = [zlib.compress(matrix, 9) for matrix in matrices]
    head = b"MATLAB 5.0 MAT-file".ljust(124) + struct.pack("<H", 0x0100) + b"IM"
    (folder / "x.mat").write_bytes(head + b"".join(struct.pack("<II", 15, len(data)) + data for data in packed))
    return folder / "x.mat"


CELL, STRUCT, CHAR, DOUBLE = 1, 2, 4, 6
MANY = 3_000_000
BOMBS = {
    "zeros": lambda: matrix(DOUBLE, (MANY, 5), element(9, bytes(8 * 5 * MANY))),
    "zeros of one byte as doubles": lambda: matrix(DOUBLE, (MANY, 5), element(2, bytes(5 * MANY))),
    "empty cells": lambda: matrix(CELL, (MANY, 1), struct.pack("<II", 14, 0) * MANY),
    "rows of text": lambda: matrix(CHAR, (MANY, 1), element(2, b"a" * MANY)),
    "fields": lambda: matrix(STRUCT, (1, 1), element(5, struct.pack("<i", 1)) + element(1, b"a" * MANY)),
    "dimensions": lambda: matrix(DOUBLE, (2**31 - 1,) * 100_000, element(9, b"")),
}


@pytest.mark.parametrize("bomb", sorted(BOMBS))
def test_bombs_take_little_memory(tmp_path: Path, bomb: str) -> None:
    path = packed_file(tmp_path, BOMBS[bomb]())
    assert path.stat().st_size < 1_000_000
    tracemalloc.start()
    try:
        with pytest.raises(DataError, match=r"x\.mat: damaged MATLAB file"):
            read_mat(path, "wanted")
        assert tracemalloc.get_traced_memory()[1] < 400 << 20
    finally:
        tracemalloc.stop()


def test_variables_that_are_not_wanted_are_not_unpacked(tmp_path: Path) -> None:
    path = packed_file(
        tmp_path,
        matrix(DOUBLE, (MANY, 1), element(9, bytes(8 * MANY)), b"other"),
        matrix(DOUBLE, (1, 1), element(9, bytes(8))),
    )
    tracemalloc.start()
    try:
        assert read_mat(path, "wanted").tolist() == [[0]]
        assert tracemalloc.get_traced_memory()[1] < 1 << 20
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("value", [2.0, float("nan"), float("inf")])
def test_lengths_are_whole_numbers(tmp_path: Path, value: float) -> None:
    """The format lets any type of numbers stand there."""
    content = (
        element(6, struct.pack("<II", DOUBLE, 0)) + element(9, struct.pack("<2d", value, 1)) + element(1, b"wanted")
    )
    with pytest.raises(DataError, match="fractions where whole numbers are wanted"):
        read_mat(packed_file(tmp_path, element(14, content + element(9, bytes(16)))), "wanted")


def test_nesting_has_an_end(tmp_path: Path) -> None:
    value = cells(1.0)
    for _ in range(20):
        value = cells(value)
    with pytest.raises(DataError, match="nested more than"):
        read_mat(written(tmp_path, value), "wanted")


@pytest.mark.parametrize("packed", [True, False])
def test_damage_ends_in_a_message(tmp_path: Path, packed: bool) -> None:
    """Random damage: either the file is still readable, or it is refused; nothing else comes out."""
    names = cells("a.jpg", "b.jpg", "ü.jpg")
    value = {"names": names, "utm": np.arange(6.0).reshape(2, 3), "n": 3, "many": np.array([(1,), (2,)], [("x", "O")])}
    content = written(tmp_path, value, do_compression=packed).read_bytes()
    dice, refused = random.Random(0), 0
    for _ in range(800):
        spoilt = bytearray(content)
        start = dice.randrange(128, len(content) - 4)
        spoilt[start : start + 4] = dice.choice(
            [b"\xff\xff\xff\xff", b"\xff\xff\xff\x7f", bytes(4), b"\x0e\0\0\0", b"\x01\0\0\0", dice.randbytes(4)]
        )
        (tmp_path / "spoilt.mat").write_bytes(spoilt[: dice.choice([len(spoilt), start])])
        try:
            read_mat(tmp_path / "spoilt.mat", "wanted")
        except DataError:
            refused += 1
    assert refused > 400
