"""The feature store: what is written is read back, and nothing else is ever read."""

import errno
import os
import subprocess
import sys
import time
import tracemalloc
from collections.abc import Iterable, Iterator
from io import FileIO
from pathlib import Path

import h5py
import numpy as np
import pyfive
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sealed import altered

from descbench.errors import DataError, StaleFileError
from descbench.features import FORMAT_VERSION
from descbench.features.store import ShardInfo, ShardReader, ShardWriter, check_shard
from descbench.io import hdf5 as columns
from descbench.io.seal import seal

INFO = ShardInfo("local", features="f" * 64, images="a" * 64, checkpoint="c" * 64, device="cpu")


def draw(rng: np.random.Generator, count: int, dim: int) -> dict[str, np.ndarray]:
    return {
        "descriptors": rng.standard_normal((count, dim)).astype(np.float32),
        "keypoints": rng.uniform(0, 1000, (count, 2)).astype(np.float32),
        "scales": rng.choice([0.5, 1, 2], count).astype(np.float32),
        "strengths": np.sort(rng.random(count).astype(np.float32))[::-1],
    }


def write(path: Path, images: dict[int, dict[str, np.ndarray]], dim: int, dtype: str = "float32") -> None:
    _write_pairs(path, images.items(), dim, dtype)


def _write_pairs(
    path: Path, images: Iterable[tuple[int, dict[str, np.ndarray]]], dim: int = 2, dtype: str = "float32"
) -> None:
    with ShardWriter(path, INFO, dim, dtype) as writer:
        for image_id, arrays in images:
            writer.add(image_id, **arrays)


def leftovers(folder: Path) -> list[str]:
    return sorted(p.name for p in folder.iterdir())


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    counts=st.lists(st.integers(0, 12), max_size=9),
    dim=st.sampled_from([1, 2, 9, 3000]),
    dtype=st.sampled_from(["float32", "float16"]),
    n=st.one_of(st.none(), st.integers(0, 14)),
    piece=st.sampled_from([1, 40, 1 << 21]),
    advance=st.sampled_from([1, 1 << 24]),
    bounds=st.tuples(st.integers(0, 10), st.integers(0, 10)),
    seed=st.integers(0, 99),
)
def test_round_trip(tmp_path, monkeypatch, counts, dim, dtype, n, piece, advance, bounds, seed):
    monkeypatch.setattr(columns, "_PIECE_BYTES", piece)
    monkeypatch.setattr(columns, "_ADVANCE_BYTES", advance)
    rng = np.random.default_rng(seed)
    ids = np.cumsum(rng.integers(1, 4, len(counts))) - 1
    images = {int(i): draw(rng, count, dim) for i, count in zip(ids, counts, strict=True)}
    write(tmp_path / "s.h5", images, dim, dtype)

    start, stop = bounds
    chosen = list(images.items())[start:stop]
    with ShardReader(tmp_path / "s.h5") as reader:
        assert reader.info == INFO
        assert (reader.dim, reader.num_images) == (dim, len(counts))
        assert reader.image_ids.tolist() == list(images)
        assert np.diff(reader.offsets).tolist() == counts
        assert reader.count(n) == sum(count if n is None else min(count, n) for count in counts)
        block = reader.read(start, stop, n)
        pieces = [piece.descriptors for piece in reader.blocks(n, images=2)]
        everything = reader.read(n=n)

    expected_ids = [i for i, arrays in chosen for _ in arrays["scales"][:n]]
    assert block.image_ids.tolist() == expected_ids
    assert block.image_ids.dtype == np.int64
    for name in ("descriptors", "keypoints", "scales", "strengths"):
        found = getattr(block, name)
        expected = [arrays[name][:n] for _, arrays in chosen]
        if sum(counts) == 0 and name != "descriptors":
            assert found is None
            continue
        assert found.dtype == np.float32
        assert found.flags.aligned
        expected = np.concatenate(expected) if expected else np.empty((0, *found.shape[1:]), np.float32)
        if name == "descriptors":
            expected = expected.reshape(-1, dim).astype(dtype).astype(np.float32)
        np.testing.assert_array_equal(found, expected)
    np.testing.assert_array_equal(np.concatenate([np.empty((0, dim)), *pieces]), everything.descriptors)


def test_descriptors_alone(tmp_path):
    """Released features have no keypoints: the reader says so by None."""
    with ShardWriter(tmp_path / "s.h5", INFO, 3) as writer:
        writer.add(0, np.ones((2, 3)))
    with ShardReader(tmp_path / "s.h5") as reader:
        block = reader.read()
    assert (block.keypoints, block.scales, block.strengths) == (None, None, None)
    np.testing.assert_array_equal(block.descriptors, np.ones((2, 3)))


def test_skipped_images_are_recorded(tmp_path):
    with ShardWriter(tmp_path / "local.h5", INFO, 3) as writer:
        writer.add(0, np.ones((2, 3)))
        writer.skip(1, "truncated – «half»")
        writer.add(5, np.ones((1, 3)))
    with ShardReader(tmp_path / "local.h5") as reader:
        assert reader.skipped == {1: "truncated – «half»"}
        assert reader.counts().tolist() == [2, 0, 1]
    with ShardWriter(tmp_path / "global.h5", ShardInfo("global", "f", "i", "", ""), 3) as writer:
        writer.add(0, np.ones((1, 3)))
        writer.skip(1, "no image")
    with ShardReader(tmp_path / "global.h5") as reader:
        assert reader.counts().tolist() == [1, 0]
        np.testing.assert_array_equal(reader.read().descriptors, [[1, 1, 1]])


@pytest.mark.parametrize("count", [37, 700])
def test_equal_content_is_equal_bytes(tmp_path, count):
    rng = np.random.default_rng(0)
    images = {i: draw(rng, count, 8) for i in range(5)}
    write(tmp_path / "1.h5", images, 8)
    np.full(100_000, 7.0)  # leave other bytes in the heap
    time.sleep(1.1)  # a time stamp of whole seconds would differ now
    write(tmp_path / "2.h5", images, 8)
    assert (tmp_path / "1.h5").read_bytes() == (tmp_path / "2.h5").read_bytes()


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_not_finite(tmp_path, value):
    arrays = draw(np.random.default_rng(0), 4, 8)
    arrays["descriptors"][2, 3] = value
    with pytest.raises(DataError, match=r"s\.h5.*image 7 descriptors hold NaN or infinity"):
        write(tmp_path / "s.h5", {3: draw(np.random.default_rng(1), 4, 8), 7: arrays}, 8)
    assert leftovers(tmp_path) == []


@pytest.mark.filterwarnings("error")
def test_huge_values_are_finite(tmp_path):
    """Also those whose squares are not, and denormal ones."""
    arrays = draw(np.random.default_rng(0), 4, 8)
    arrays["descriptors"][1:3, :4] = [[3e38, -3e38, 1e-45, 1e30]]
    write(tmp_path / "s.h5", {7: arrays}, 8)
    with ShardReader(tmp_path / "s.h5") as reader:
        np.testing.assert_array_equal(reader.read().descriptors, arrays["descriptors"])


def test_overflow_of_float16(tmp_path):
    with (
        pytest.raises(DataError, match="image 0 descriptors hold NaN or infinity as float16"),
        ShardWriter(tmp_path / "s.h5", INFO, 2, "float16") as writer,
    ):
        writer.add(0, np.full((1, 2), 1e6, np.float32))
    assert leftovers(tmp_path) == []


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"descriptors": np.ones((4, 7))}, r"image 9 descriptors have shape \(4, 7\), not \(n, 8\)"),
        ({"descriptors": np.ones(8)}, "image 9 descriptors have shape"),
        ({"keypoints": np.ones((3, 2))}, "image 9 keypoints have shape"),
        ({"scales": np.ones((4, 1))}, "image 9 scales have shape"),
        ({"scales": np.full(4, np.nan)}, "image 9 scales hold NaN"),
        ({"strengths": np.asarray([3, 1, 2, 0.5])}, "image 9 strengths do not descend"),
        ({"strengths": None}, "image 9 has .* extra arrays, but earlier images have"),
    ],
)
def test_refused_images(tmp_path, change, message):
    good = draw(np.random.default_rng(0), 4, 8)
    (tmp_path / "s.h5").write_text("older")
    with pytest.raises(DataError, match=message):
        write(tmp_path / "s.h5", {2: good, 9: good | change}, 8)
    assert leftovers(tmp_path) == ["s.h5"]
    assert (tmp_path / "s.h5").read_text() == "older"


@pytest.mark.parametrize("ids", [(1, 1), (3, 2), (-1,)])
def test_ids_must_ascend(tmp_path, ids):
    arrays = draw(np.random.default_rng(0), 2, 2)
    with pytest.raises(DataError, match="ids must ascend"):
        _write_pairs(tmp_path / "s.h5", [(image_id, arrays) for image_id in ids])
    assert leftovers(tmp_path) == []


def test_one_global_descriptor_per_image(tmp_path):
    info = ShardInfo("global", "f", "i", "", "")
    with (
        pytest.raises(DataError, match="image 0 has 2 global descriptors"),
        ShardWriter(tmp_path / "s.h5", info, 2) as writer,
    ):
        writer.add(0, np.ones((2, 2)))


@pytest.mark.parametrize("error", [KeyboardInterrupt, SystemExit, ValueError, FileNotFoundError])
def test_interrupted(tmp_path, error):
    """Whatever ends the job passes unchanged and leaves nothing behind."""

    def images() -> Iterator[tuple[int, dict[str, np.ndarray]]]:
        yield 0, draw(np.random.default_rng(0), 2, 2)
        raise error("stop")

    with pytest.raises(error, match="stop"):
        _write_pairs(tmp_path / "s.h5", images())
    assert leftovers(tmp_path) == []


def test_disk_full_while_adding(tmp_path, monkeypatch):

    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(columns.RowStream, "append", full)
    with pytest.raises(DataError, match=r"s\.h5: could not be written: disk full"):
        write(tmp_path / "s.h5", {0: draw(np.random.default_rng(0), 50, 8)}, 8)
    assert leftovers(tmp_path) == []


def test_disk_full_at_the_end(tmp_path, monkeypatch):
    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(DataError, match=r"s\.h5: could not be written: disk full"):
        write(tmp_path / "s.h5", {0: draw(np.random.default_rng(0), 50, 8)}, 8)
    assert leftovers(tmp_path) == []


@pytest.mark.parametrize("limit", [600, 20_000, 9_000_000])
def test_disk_really_full(tmp_path, limit):
    """The operating system refuses to let the file grow: at its head, in its first block, in a later one."""
    script = f"""
import resource, signal, sys
import numpy as np
from descbench.errors import DataError
from descbench.features.store import ShardInfo, ShardWriter
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, ({limit}, {limit}))
try:
    with ShardWriter("s.h5", ShardInfo("local", "f", "i", "c", "cpu"), 128) as writer:
        for image in range({max(1, limit // 400_000)}):
            writer.add(image, np.ones((1000, 128), np.float32))
except DataError as error:
    print(error)
    sys.exit(3)
"""
    done = subprocess.run(
        [sys.executable, "-c", script], cwd=tmp_path, capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 3, done.stderr
    assert done.stdout.startswith("s.h5: could not be written: disk full")
    assert leftovers(tmp_path) == []


def test_memory_of_the_writer(tmp_path):
    """40 MB pass through, and the writer holds the extras of 1.3 MB and little else."""
    rng = np.random.default_rng(0)
    arrays = draw(rng, 1000, 128)
    tracemalloc.start()
    write(tmp_path / "s.h5", dict.fromkeys(range(80), arrays), 128)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert (tmp_path / "s.h5").stat().st_size > 40e6
    assert peak < 6e6


def test_memory_of_the_reader(tmp_path):
    """A prefix of large images is read without the rest of them."""
    arrays = draw(np.random.default_rng(0), 2000, 128)
    write(tmp_path / "s.h5", dict.fromkeys(range(40), arrays), 128)
    tracemalloc.start()
    with ShardReader(tmp_path / "s.h5") as reader:
        block = reader.read(n=10)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    np.testing.assert_array_equal(block.descriptors, np.tile(arrays["descriptors"][:10], (40, 1)))
    assert peak < 24e6


@pytest.mark.parametrize("dtype", ["float32", "float16"])
@pytest.mark.parametrize("features", [3, 40])
def test_metadata_stays_small(tmp_path, dtype, features):
    """Beside the arrays themselves, at most 64 bytes for each of 1,000 images."""
    rng = np.random.default_rng(0)
    write(tmp_path / "s.h5", {i: draw(rng, features, 128) for i in range(1000)}, 128, dtype)
    row = 128 * np.dtype(dtype).itemsize + 4 * (2 + 1 + 1)
    metadata = (tmp_path / "s.h5").stat().st_size - 1000 * features * row
    assert 16_000 < metadata <= 64_000  # the ids and offsets alone are 16 bytes an image


def test_a_whole_read_copies_nothing(tmp_path):
    """20 MB of descriptors are mapped; writing to them stays in memory; they outlive the reader."""
    images = {i: draw(np.random.default_rng(i), 1000, 128) for i in range(40)}
    write(tmp_path / "s.h5", images, 128)
    before = (tmp_path / "s.h5").read_bytes()
    tracemalloc.start()
    with ShardReader(tmp_path / "s.h5") as reader:
        block = reader.read(3, 40)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 2e6
    np.testing.assert_array_equal(block.descriptors[-1000:], images[39]["descriptors"])
    block.descriptors[:] = 0
    assert (tmp_path / "s.h5").read_bytes() == before
    with ShardReader(tmp_path / "s.h5") as reader:
        np.testing.assert_array_equal(reader.read(3, 4).descriptors, images[3]["descriptors"])


def test_a_system_that_writes_in_parts(tmp_path, monkeypatch):
    """One call of the operating system takes at most 2 GiB, and may take less."""

    class Reluctant(FileIO):
        def write(self, values):
            return super().write(values[:1000])

    monkeypatch.setattr(columns, "FileIO", Reluctant)
    images = {i: draw(np.random.default_rng(i), 300, 128) for i in range(2)}
    write(tmp_path / "s.h5", images, 128)
    with ShardReader(tmp_path / "s.h5") as reader:
        for i, arrays in images.items():
            np.testing.assert_array_equal(reader.read(i, i + 1).descriptors, arrays["descriptors"])


def test_hdf5_that_lays_files_out_otherwise(tmp_path, monkeypatch):
    """Descriptors that HDF5 would not find where they were written are never published."""
    monkeypatch.setattr(columns.RowStream, "_lay_over", lambda *_: 8192)
    with pytest.raises(DataError, match=r"s\.h5.*HDF5 .* lays files out otherwise; install h5py as pinned"):
        write(tmp_path / "s.h5", {0: draw(np.random.default_rng(0), 300, 128)}, 128)
    assert leftovers(tmp_path) == []


@pytest.mark.parametrize("dtype", ["float32", "float16"])
@pytest.mark.parametrize(
    "features", [0, 3, 700], ids=["no rows", "rows that HDF5 wrote itself", "rows in several pieces"]
)
def test_another_hdf5_implementation_reads_the_same_bits(tmp_path, monkeypatch, dtype, features):
    """pyfive knows the format and shares no code with the library that laid the datasets out."""
    monkeypatch.setattr(columns, "_PIECE_BYTES", 100_000)
    images = {i: draw(np.random.default_rng(i), features, 128) for i in (0, 4, 5)}
    with ShardWriter(tmp_path / "s.h5", INFO, 128, dtype) as writer:
        for image_id, arrays in images.items():
            writer.add(image_id, **arrays)
        writer.skip(8, "not an image, très mal")
    expected = {name: np.concatenate([image[name] for image in images.values()]) for name in images[0]}
    expected["descriptors"] = expected["descriptors"].astype(dtype)
    expected |= {
        "offsets": np.array([0, *np.cumsum([features] * 3), 3 * features]),
        "image_ids": np.array([0, 4, 5, 8]),
    }
    expected |= {"skipped_ids": np.array([8]), "skipped_reasons": np.array(["not an image, très mal".encode()])}
    if not features:
        expected = {
            name: values for name, values in expected.items() if name not in ("keypoints", "scales", "strengths")
        }
    with pyfive.File(tmp_path / "s.h5") as file:
        assert set(file) == set(expected)
        for name, values in expected.items():
            found = file[name][...]
            assert (found.dtype, found.shape, found.tobytes()) == (values.dtype, values.shape, values.tobytes()), name
        assert (file.attrs["kind"], file.attrs["dim"]) == (b"feature shard", 128)


def test_the_rows_are_one_plain_dataset(tmp_path):
    write(tmp_path / "s.h5", {5: draw(np.random.default_rng(0), 400, 128)}, 128, "float16")
    with h5py.File(tmp_path / "s.h5") as file:
        assert file["descriptors"].id.get_offset() == 4096
        assert all(file[name].chunks is None and file[name].compression is None for name in file)


def test_not_a_shard(tmp_path):
    path = tmp_path / "s.h5"
    with pytest.raises(DataError, match=r"s\.h5: no such feature shard"):
        ShardReader(path)
    path.write_bytes(b"nothing of the kind")
    with pytest.raises(DataError, match=r"s\.h5: carries no checksum: .*; delete it and rerun"):
        ShardReader(path)
    with h5py.File(path, "w") as file:
        file["descriptors"] = np.ones((3, 2))
    seal(path)
    with pytest.raises(DataError, match="not a feature shard as this version writes it"):
        ShardReader(path)


@pytest.mark.parametrize("part", [0.0, 0.1, 0.5, 0.9, 0.999])
def test_truncated(tmp_path, part):
    path = tmp_path / "s.h5"
    write(path, {i: draw(np.random.default_rng(i), 50, 8) for i in range(4)}, 8)
    content = path.read_bytes()
    path.write_bytes(content[: int(len(content) * part)])
    with pytest.raises(DataError, match=r"s\.h5: carries no checksum: cut short"):
        ShardReader(path)


def _set_version(file: h5py.File) -> None:
    file.attrs["format_version"] = 99


def _break_offsets(file: h5py.File) -> None:
    file["offsets"][1] = 10_000


def _float_offsets(file: h5py.File) -> None:
    values = file["offsets"][:].astype(np.float64)
    del file["offsets"]
    file["offsets"] = values


def _break_ids(file: h5py.File) -> None:
    file["image_ids"][1] = 0


def _drop_attribute(file: h5py.File) -> None:
    del file.attrs["checkpoint"]


def _shorten_scales(file: h5py.File) -> None:
    del file["scales"]
    file["scales"] = np.ones(3, np.float32)


def _scatter_scales(file: h5py.File) -> None:
    values = file["scales"][:]
    del file["scales"]
    file.create_dataset("scales", data=values, chunks=(2,))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (_set_version, f"format version 99, this package reads a feature shard of version {FORMAT_VERSION}; delete it"),
        (_break_offsets, "not a feature shard"),
        (_float_offsets, "not a feature shard .*float64"),
        (_break_ids, "not a feature shard"),
        (_drop_attribute, "not a feature shard"),
        (_shorten_scales, "not a feature shard"),
        (_scatter_scales, "scales is not stored in one piece"),
    ],
)
def test_altered(tmp_path, change, message):
    path = tmp_path / "s.h5"
    write(path, {i: draw(np.random.default_rng(i), 5, 8) for i in range(4)}, 8)
    with altered(path) as file:
        change(file)
    with pytest.raises(DataError, match=message):
        ShardReader(path)


@pytest.mark.parametrize("name", ["features", "images", "checkpoint"])
def test_stale(tmp_path, name):
    """Features of another configuration are refused, and both digests are named."""
    write(tmp_path / "s.h5", {0: draw(np.random.default_rng(0), 5, 8)}, 8)
    with ShardReader(tmp_path / "s.h5") as reader:
        check_shard(reader, features=INFO.features, images=INFO.images, checkpoint=INFO.checkpoint)
        check_shard(reader)
        with pytest.raises(StaleFileError) as caught:
            check_shard(reader, **{name: "0123abcd"})
    message = str(caught.value)
    assert all(part in message for part in ("s.h5", name, getattr(INFO, name), "0123abcd", "Delete the file and rerun"))
