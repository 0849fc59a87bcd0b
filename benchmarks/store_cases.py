"""Rows of the feature store, against HDF5 with a group for each image.

Both sides hold the same four arrays of each image, write through one open file, and have it on the
disk (fsync) before the clock stops. When reading, both touch every value of the descriptors.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import h5py
import numpy as np

from benchmarks.case import Case
from benchmarks.town import DIM
from descbench.features.store import Block, ShardInfo, ShardReader, ShardWriter

_ARRAYS = ("descriptors", "keypoints", "scales", "strengths")


def store_cases(images: int, features: int, folder: Path) -> Iterator[Case]:
    """Rows ``hdf5_write`` and ``hdf5_read``; the files are removed at the end."""
    town = _draw(images, features)
    grouped, packed = folder / "grouped.h5", folder / "packed.h5"

    def remove() -> None:
        """Freeing the space of an older file takes as long as writing one."""
        grouped.unlink(missing_ok=True)
        packed.unlink(missing_ok=True)

    def write_plainly() -> None:
        with h5py.File(grouped, "w") as file:
            for number, image in enumerate(town):
                group = file.create_group(str(number))
                for name, values in image.items():
                    group.create_dataset(name, data=values)
        with open(grouped, "rb") as file:
            os.fsync(file)

    def write() -> None:
        with ShardWriter(packed, ShardInfo("local", "", "", "", "cpu"), DIM) as writer:
            for number, image in enumerate(town):
                writer.add(number, **image)

    def read_plainly() -> tuple[list[dict[str, np.ndarray]], float]:
        with h5py.File(grouped, "r") as file:
            found = [{name: file[str(number)][name][:] for name in _ARRAYS} for number in range(images)]
        return found, max(float(image["descriptors"].max()) for image in found)

    def read() -> tuple[Block, float]:
        with ShardReader(packed) as reader:
            block = reader.read()
        return block, float(block.descriptors.max())

    def both_hold_the_images(_plain: None, _ours: None) -> bool:
        return _same(read_plainly(), read()) and _same((town, read()[1]), read())

    note = f"{images} images of {features} descriptors; plain: a group an image"
    yield Case("hdf5_write", write_plainly, write, both_hold_the_images, f"{note}; both with fsync", prepare=remove)
    write_plainly()
    write()
    yield Case("hdf5_read", read_plainly, read, _same, f"{note}; every descriptor looked at")
    remove()


def _draw(images: int, features: int) -> list[dict[str, np.ndarray]]:
    rng = np.random.default_rng(0)
    return [
        {
            "descriptors": rng.standard_normal((features, DIM), np.float32),
            "keypoints": 1000 * rng.random((features, 2), np.float32),
            "scales": rng.random(features, np.float32),
            "strengths": np.sort(rng.random(features, np.float32))[::-1],
        }
        for _ in range(images)
    ]


def _same(theirs: tuple[list[dict[str, np.ndarray]], float], ours: tuple[Block, float]) -> bool:
    """All values of all images equal, and their order; image by image, so that memory stays bounded."""
    images, largest = theirs
    block, our_largest = ours
    bounds = np.concatenate([[0], np.cumsum([len(image["scales"]) for image in images])])
    numbers = np.repeat(np.arange(len(images)), np.diff(bounds))
    return (
        largest == our_largest
        and np.array_equal(block.image_ids, numbers)
        and all(
            np.array_equal(image[name], getattr(block, name)[low:high])
            for image, low, high in zip(images, bounds[:-1], bounds[1:], strict=True)
            for name in _ARRAYS
        )
    )
