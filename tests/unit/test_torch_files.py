"""Files of torch.save: what torch reads is read the same, and no file does more than end in a message."""

from __future__ import annotations

import argparse
import io
import pickle
import struct
import zipfile
from collections import Counter, OrderedDict
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
import pytest
import torch

from descbench.errors import DataError
from descbench.models.torch_files import load_torch_file

FORMATS = [pytest.param(True, id="zip"), pytest.param(False, id="legacy")]


def saved(folder: Path, content: Any, *, zipped: bool = True) -> Path:
    torch.save(content, folder / "x.pth", _use_new_zipfile_serialization=zipped)
    return folder / "x.pth"


def same(left: Any, right: Any) -> bool:
    if isinstance(left, torch.Tensor):
        return left.dtype == right.dtype and left.shape == right.shape and torch.equal(left, right)
    if isinstance(left, dict):
        return list(left) == list(right) and all(same(left[key], right[key]) for key in left)
    if isinstance(left, list | tuple):
        return len(left) == len(right) and all(map(same, left, right))
    if isinstance(left, np.ndarray):
        return left.dtype == right.dtype and np.array_equal(left, right)
    return left == right


@pytest.mark.parametrize("zipped", FORMATS)
def test_what_torch_reads_is_read_the_same(tmp_path: Path, zipped: bool) -> None:
    network = torch.nn.Sequential(torch.nn.Conv2d(3, 4, 3), torch.nn.BatchNorm2d(4), torch.nn.LSTM(4, 5))
    optimiser = torch.optim.Adam(network[:2].parameters())
    network[:2](torch.ones(1, 3, 4, 4)).sum().backward()
    optimiser.step()
    weight = torch.arange(24.0).reshape(4, 6)
    kinds = (torch.float16, torch.bfloat16, torch.float64, torch.int8, torch.uint8, torch.bool, torch.complex64)
    content = {
        "network": network.state_dict(),
        "optimiser": optimiser.state_dict(),
        "kinds": [torch.ones(3, dtype=kind) for kind in kinds],
        "views": [weight.t()[1:], weight[:, 2], weight[1:3], torch.ones(1).expand(5, 7), torch.tensor(3.0)],
        "empty": torch.zeros(0, 7),
        "parameter": torch.nn.Parameter(weight),
        "rest": [torch.float32, weight.shape, 2.5, None, Counter("abb")],
    }
    path = saved(tmp_path, content, zipped=zipped)
    assert same(load_torch_file(path), torch.load(path, weights_only=True))


@pytest.mark.parametrize("zipped", FORMATS)
def test_numpy_arrays_and_paths(tmp_path: Path, zipped: bool) -> None:
    content = {"m": np.arange(6.0).reshape(2, 3), "best": np.float64(0.5), "names": np.array(["a", "b"])}
    found = load_torch_file(saved(tmp_path, {**content, "start": Path("a") / "b.pth"}, zipped=zipped))
    assert found.pop("start") == PurePosixPath("a/b.pth")
    assert same(found, content)


@pytest.mark.parametrize("zipped", FORMATS)
def test_a_class_of_others_is_named(tmp_path: Path, zipped: bool) -> None:
    path = saved(tmp_path, {"args": argparse.Namespace(lr=0.1), "w": torch.ones(1)}, zipped=zipped)
    with pytest.raises(
        DataError, match=r"x\.pth: holds argparse\.Namespace, .*torch\.save\(model\.state_dict\(\)"
    ) as found:
        load_torch_file(path)
    assert "weights_only" not in str(found.value)


@pytest.mark.parametrize(
    ("content", "match"),
    [
        (b"", "it is empty"),
        (b"<!doctype html><title>Sign in</title>", "it is a web page"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 9\n", "git-lfs pointer.*git lfs pull"),
        (b"\x1f\x8b\x08\x00" + bytes(20), "a gzip file: unpack it first"),
        (struct.pack("<Q", 40) + b'{"w":{"dtype":"F32"}}', "it is a safetensors file"),
        (b"404: Not Found", "it is a text file"),
        (pickle.dumps({"w": 1}), "not a file of torch.save"),
    ],
)
def test_other_files_are_called_what_they_are(tmp_path: Path, content: bytes, match: str) -> None:
    (tmp_path / "x.pth").write_bytes(content)
    with pytest.raises(DataError, match=rf"x\.pth: cannot be read as a checkpoint \(.*{match}") as found:
        load_torch_file(tmp_path / "x.pth")
    assert "weights_only" not in str(found.value)


def test_absent_file_and_folder(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no such checkpoint"):
        load_torch_file(tmp_path / "none.pth")
    with pytest.raises(DataError, match="it is a folder"):
        load_torch_file(tmp_path)


# --- crafted files -----------------------------------------------------------------------------

STORAGE = b"(X\x07\0\0\0storagectorch\nFloatStorage\nX\x01\0\0\x000X\x03\0\0\0cpuK\x04tQ"


def tensor(offset: bytes, size: bytes, stride: bytes) -> bytes:
    call = b"ctorch._utils\n_rebuild_tensor_v2\n(" + STORAGE + offset + size + stride
    return b"\x80\x02}X\x01\0\0\0w" + call + b"\x89ccollections\nOrderedDict\n)RtRs."


def zipped(folder: Path, pickled: bytes, values: bytes = bytes(16)) -> Path:
    with zipfile.ZipFile(folder / "x.pth", "w") as archive:
        archive.writestr("x/data.pkl", pickled)
        archive.writestr("x/data/0", values)
    return folder / "x.pth"


def test_the_crafted_tensor_is_one(tmp_path: Path) -> None:
    """The next test damages it."""
    path = zipped(tmp_path, tensor(b"K\1", b"K\3\x85", b"K\1\x85"), np.arange(4, dtype=np.float32).tobytes())
    assert load_torch_file(path)["w"].tolist() == [1, 2, 3]


@pytest.mark.parametrize(
    ("offset", "size", "stride"),
    [
        (b"K\2", b"K\3\x85", b"K\1\x85"),
        (b"K\0", b"K\3\x85", b"K\2\x85"),
        (b"K\0", b"K\3K\2\x86", b"K\1\x85"),
        (b"J\xff\xff\xff\xff", b"K\3\x85", b"K\1\x85"),
        (b"K\3", b"K\2\x85", b"J\xff\xff\xff\xff\x85"),
        (b"K\0", b"J\xff\xff\xff\x7f\x85", b"K\0\x85"),
        (b"K\0", b"J\xff\xff\xff\xffJ\xff\xff\xff\xff\x86", b"K\1K\1\x86"),
        (b"K\0", b"N", b"N"),
        (b"N", b"K\3\x85", b"K\1\x85"),
        (b"K\0", b"G@\x08\0\0\0\0\0\0\x85", b"K\1\x85"),
    ],
    ids=["offset", "stride", "lengths", "negative", "backwards", "bomb", "minus", "none", "no offset", "fraction"],
)
def test_tensors_stay_within_their_storage(tmp_path: Path, offset: bytes, size: bytes, stride: bytes) -> None:
    with pytest.raises(DataError, match=r"x\.pth: cannot be read as a checkpoint \(a tensor"):
        load_torch_file(zipped(tmp_path, tensor(offset, size, stride)))


@pytest.mark.parametrize("length", [0, 12, 15, 20])
def test_storages_are_as_large_as_they_say(tmp_path: Path, length: int) -> None:
    with pytest.raises(DataError, match=r"x\.pth"):
        load_torch_file(zipped(tmp_path, tensor(b"K\0", b"K\3\x85", b"K\1\x85"), bytes(length)))


def test_objects_cannot_be_built_from_bytes(tmp_path: Path) -> None:
    """numpy's own functions would make pointers of these bytes."""
    state = b"(K\x03X\x01\0\0\0|NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\0tb"
    dtype = b"cnumpy\ndtype\nX\x02\0\0\0O8\x89\x88\x87R" + state
    data = b"c_codecs\nencode\nX\x08\0\0\0AAAAAAAAX\x06\0\0\0latin1\x86R"
    for array in (
        b"cnumpy._core.multiarray\n_reconstruct\ncnumpy\nndarray\nK\0\x85"
        + data
        + b"\x87R(K\1K\1\x85"
        + dtype
        + b"\x89"
        + data
        + b"tb",
        b"cnumpy\nndarray\n(K\1\x85" + dtype + data + b"tR",
        b"cnumpy\nndarray\n(K\1\x85" + dtype + data + b"t\x81",
        b"cnumpy._core.multiarray\nscalar\n" + dtype + data + b"\x86R",
    ):
        with pytest.raises(DataError, match=r"x\.pth"):
            load_torch_file(zipped(tmp_path, b"\x80\x02}X\x01\0\0\0w" + array + b"s."))


@pytest.mark.parametrize(
    "pickled",
    [
        b"\x80\x02}X\x01\0\0\0wX\x01\0\0\x000Qs.",
        b"\x80\x02}X\x01\0\0\0w(X\x06\0\0\0modulectorch\nFloatStorage\nX\x01\0\0\x000X\x03\0\0\0cpuK\x04tQs.",
        b"\x80\x02}X\x01\0\0\0w" + STORAGE.replace(b"ctorch\nFloatStorage\n", b"N") + b"s.",
        b"\x80\x02}X\x01\0\0\0w" + STORAGE.replace(b"X\x01\0\0\x000", b"X\x01\0\0\x001") + b"s.",
        b"\x80\x02}X\x01\0\0\0w" + STORAGE.replace(b"K\x04t", b"\x8a\x09\0\0\0\0\0\0\0\0\1t") + b"s.",
    ],
    ids=["text", "module", "kind", "key", "count"],
)
def test_references_are_storages_of_the_file(tmp_path: Path, pickled: bytes) -> None:
    with pytest.raises(DataError, match=r"x\.pth: cannot be read as a checkpoint"):
        load_torch_file(zipped(tmp_path, pickled))


def test_a_flipped_bit_is_noticed(tmp_path: Path) -> None:
    path = saved(tmp_path, {"w": torch.zeros(1000)})
    content = bytearray(path.read_bytes())
    content[content.index(bytes(2000)) + 1000] ^= 1
    path.write_bytes(content)
    with pytest.raises(DataError, match=r"x\.pth: .*data/0 is damaged"):
        load_torch_file(path)


def test_members_are_stored_as_they_are(tmp_path: Path) -> None:
    """A compressed member could unpack to a thousand times the file."""
    with zipfile.ZipFile(tmp_path / "x.pth", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("x/data.pkl", tensor(b"K\0", b"K\3\x85", b"K\1\x85"))
        archive.writestr("x/data/0", bytes(16))
    with pytest.raises(DataError, match="compressed"):
        load_torch_file(tmp_path / "x.pth")


def test_legacy_storages_are_never_larger_than_the_file(tmp_path: Path) -> None:
    file = io.BytesIO()
    torch.save(OrderedDict(w=torch.ones(5)), file, _use_new_zipfile_serialization=False)
    for old, new in ((b"K\x05Nt", b"J\xff\xff\xff\x7fNt"), (b"K\x05Nt", b"K\x06Nt"), (b"K\x05\x85", b"K\x06\x85")):
        assert old in file.getvalue()
        (tmp_path / "x.pth").write_bytes(file.getvalue().replace(old, new))
        with pytest.raises(DataError, match=r"x\.pth: cannot be read as a checkpoint"):
            load_torch_file(tmp_path / "x.pth")
    for size in range(0, len(file.getvalue()), 7):
        (tmp_path / "x.pth").write_bytes(file.getvalue()[:size])
        with pytest.raises(DataError, match=r"x\.pth: cannot be read as a checkpoint"):
            load_torch_file(tmp_path / "x.pth")
