"""The feature store: one packed HDF5 file for a shard of images (design.md, section 5).

Layout (all arrays without compression and without time stamps, so that equal content is equal bytes)::

    descriptors (N, D) float32 | float16    rows of image i are offsets[i]:offsets[i + 1], strongest first
    offsets     (I + 1,) int64
    image_ids   (I,) int64                  strictly ascending, ids of the manifest within its role
    keypoints   (N, 2) float32              x, y in pixels of the original image; absent where descriptors
                                            have no place (released ones, super-features of FIRe)
    scales      (N,) float32                pyramid scale; optional
    strengths   (N,) float32                descending within an image; optional
    skipped_ids (S,) int64, skipped_reasons (S,) string     images that could not be read, if any

Root attributes: format_version, kind, features, images, checkpoint (digests), device, version, dim.
Global features are the case N = I, but for images that were skipped.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Literal, Self

import h5py
import numpy as np

from descbench import __version__
from descbench.errors import DataError, StaleFileError
from descbench.features import FORMAT_VERSION
from descbench.features.columns import Column, decode_text, encode_texts, named_errors, put
from descbench.io.atomic import atomic_path

_CHUNK_BYTES = 4 << 20  # of descriptors: what a writer holds, and the smallest piece that large shards are written in
_READ_ROWS = 1 << 14  # rows read at a time where only a prefix of each image is kept
_PIECE_ROWS = 1 << 16  # rows checked at a time
_EXTRAS = {"keypoints": (2,), "scales": (), "strengths": ()}
_TEXTS = ("kind", "features", "images", "checkpoint", "device", "version")


@dataclass(frozen=True)
class ShardInfo:
    """What a shard was made from.

    Attributes:
        kind: ``local`` (any number of rows for an image) or ``global`` (one).
        features: digest of all configuration that decides the content.
        images: ``Manifest.digest()`` of the shard's slice.
        checkpoint: SHA-256 of the weights, empty for released features.
        device: where the network ran, in words; empty for released features.
        version: version of the package that wrote the file.
    """

    kind: Literal["local", "global"]
    features: str
    images: str
    checkpoint: str
    device: str
    version: str = __version__


@dataclass(frozen=True)
class Block:
    """Features of consecutive images.

    Attributes:
        descriptors: (N, D) float32.
        image_ids: (N,) int64, ascending; an image without descriptors does not appear.
        keypoints: (N, 2) float32 in pixels of the original image, or None.
        scales: (N,) float32, or None.
        strengths: (N,) float32, or None.
    """

    descriptors: np.ndarray
    image_ids: np.ndarray
    keypoints: np.ndarray | None = None
    scales: np.ndarray | None = None
    strengths: np.ndarray | None = None


class ShardWriter:
    """Context manager that streams one shard to disk; the file appears whole, or not at all.

    About 4 MiB of descriptors are held at a time, whatever the size of the shard. Any exception
    inside the context removes the unfinished file and leaves an older one at ``path`` untouched.

    Args:
        path: the shard file.
        info: what it is made from.
        dim: D, dimensions of a descriptor.
        dtype: storage type of the descriptors, ``float32`` or ``float16``.

    Raises:
        DataError: an image that must not be stored (see ``add``), or a disk that is full.
    """

    def __init__(self, path: str | os.PathLike[str], info: ShardInfo, dim: int, dtype: str = "float32") -> None:
        if dtype not in ("float32", "float16"):
            raise ValueError(f"descriptors are stored as float32 or float16, not {dtype}")
        self.path = Path(path)
        self.info = info
        self.dim = dim
        self.dtype = np.dtype(dtype).newbyteorder("<")
        self._image_ids: list[int] = []
        self._counts: list[int] = []
        self._skipped: list[tuple[int, str]] = []
        self._extras: list[str] | None = None
        self._columns: dict[str, Column] = {}
        self._stack = ExitStack()

    def __enter__(self) -> Self:
        with named_errors(self.path), ExitStack() as stack:
            temporary = stack.enter_context(atomic_path(self.path))
            self._file = h5py.File(temporary, "w", libver=("v110", "v110"), rdcc_nbytes=0, locking=False)
            stack.callback(self._abandon)
            self._stack = stack.pop_all()
        self._rows = max(1, _CHUNK_BYTES // (self.dim * self.dtype.itemsize))
        self._columns["descriptors"] = Column(self._file, "descriptors", (self.dim,), self.dtype, self._rows)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> bool:
        if error is not None:
            return bool(self._stack.__exit__(kind, error, trace))
        with named_errors(self.path), self._stack:
            self._finish()
        return False

    def add(
        self,
        image_id: int,
        descriptors: np.ndarray,
        keypoints: np.ndarray | None = None,
        scales: np.ndarray | None = None,
        strengths: np.ndarray | None = None,
    ) -> None:
        """Append one image; ids must ascend. (n, D), (n, 2), (n,), (n,); n may be 0, for ``global`` it is 1.

        Raises:
            DataError: wrong shapes, ids that do not ascend, NaN or infinity (also by overflow of
                float16), strengths that do not descend, or an optional array that other images of
                the shard have and this one lacks; the message names the image. Or a full disk.
        """
        given = {"keypoints": keypoints, "scales": scales, "strengths": strengths}
        arrays = {"descriptors": self._checked_descriptors(image_id, descriptors)}
        arrays |= self._checked_extras(image_id, {k: v for k, v in given.items() if v is not None}, len(descriptors))
        self._start_image(image_id, len(descriptors))
        with named_errors(self.path):
            for name, values in arrays.items():
                self._columns[name].append(values)

    def skip(self, image_id: int, reason: str) -> None:
        """Record an image that could not be read: it stays in the list, without descriptors."""
        self._start_image(image_id, 0)
        self._skipped.append((int(image_id), reason))

    def _start_image(self, image_id: int, count: int) -> None:
        last = self._image_ids[-1] if self._image_ids else -1
        if image_id <= last:
            self._refuse(image_id, f"comes after image {last}, but ids must ascend from 0")
        self._image_ids.append(int(image_id))
        self._counts.append(count)

    def _checked_descriptors(self, image_id: int, descriptors: np.ndarray) -> np.ndarray:
        shape = np.shape(descriptors)
        if len(shape) != 2 or shape[1] != self.dim:
            self._refuse(image_id, f"descriptors have shape {shape}, not (n, {self.dim})")
        if self.info.kind == "global" and shape[0] != 1:
            self._refuse(image_id, f"has {shape[0]} global descriptors, not 1")
        with np.errstate(over="ignore"):  # an overflow of float16 is found and named just below
            stored = np.asarray(descriptors).astype(self.dtype, copy=False)
        # By pieces: released descriptors come as one image of 10 GB.
        if not all(np.isfinite(stored[i : i + _PIECE_ROWS]).all() for i in range(0, len(stored), _PIECE_ROWS)):
            self._refuse(image_id, f"descriptors hold NaN or infinity as {self.dtype.name}")
        return stored

    def _checked_extras(self, image_id: int, given: dict[str, np.ndarray], count: int) -> dict[str, np.ndarray]:
        if count == 0:
            return {}
        if self._extras is None:
            self._extras = list(given)
            for name in given:
                self._columns[name] = Column(self._file, name, _EXTRAS[name], np.dtype("<f4"), self._rows)
        if list(given) != self._extras:
            self._refuse(image_id, f"has {list(given) or 'no'} extra arrays, but earlier images have {self._extras}")
        for name, values in given.items():
            if np.shape(values) != (count, *_EXTRAS[name]):
                self._refuse(image_id, f"{name} have shape {np.shape(values)}, not {(count, *_EXTRAS[name])}")
            if not np.isfinite(values).all():
                self._refuse(image_id, f"{name} hold NaN or infinity")
        strengths = given.get("strengths")
        if strengths is not None and np.any(strengths[:-1] < strengths[1:]):
            self._refuse(image_id, "strengths do not descend")
        return given

    def _refuse(self, image_id: int, reason: str) -> None:
        raise DataError(f"{self.path}: not written, image {image_id} {reason}.")

    def _finish(self) -> None:
        for column in self._columns.values():
            column.finish()
        offsets = np.concatenate([[0], np.cumsum(self._counts, dtype="<i8")])
        put(self._file, "offsets", offsets.astype("<i8"))
        put(self._file, "image_ids", np.asarray(self._image_ids, "<i8"))
        if self._skipped:
            put(self._file, "skipped_ids", np.asarray([i for i, _ in self._skipped], "<i8"))
            put(self._file, "skipped_reasons", encode_texts([reason for _, reason in self._skipped]))
        self._file.attrs["format_version"] = np.int64(FORMAT_VERSION)
        self._file.attrs["dim"] = np.int64(self.dim)
        for name in _TEXTS:
            self._file.attrs[name] = encode_texts([getattr(self.info, name)])[0]
        self._file.close()

    def _abandon(self) -> None:
        with suppress(OSError, RuntimeError):  # the file is thrown away; the error that led here is the one to tell
            self._file.close()


class ShardReader:
    """Context manager that reads one shard.

    Attributes:
        info: what the shard was made from.
        dim: D.
        image_ids: (I,) int64.
        offsets: (I + 1,) int64, of the rows as stored.
        skipped: image id -> reason, of the images that could not be read.

    Raises:
        DataError: the file is absent, cut short, or no feature shard of this format version.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = Path(path)
        if not self.path.is_file():
            raise DataError(f"{self.path}: no such feature shard; extract the features first.")
        try:
            self._file = h5py.File(self.path, "r", rdcc_nbytes=0, locking=False)
        except (OSError, RuntimeError) as error:
            raise self._foreign(str(error)) from error
        try:
            self._load()
        except (LookupError, ValueError, TypeError, AttributeError, OSError, RuntimeError) as error:
            self.close()
            raise self._foreign(str(error)) from error
        except DataError:
            self.close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the file."""
        self._file.close()

    @property
    def num_images(self) -> int:
        """I, images of the shard, with and without descriptors."""
        return len(self.image_ids)

    def counts(self, n: int | None = None, start: int = 0, stop: int | None = None) -> np.ndarray:
        """Descriptors of each of the images ``start:stop``, at most ``n``: (images,) int64."""
        counts = np.diff(self.offsets)[start:stop]
        return counts if n is None else np.minimum(counts, n)

    def count(self, n: int | None = None) -> int:
        """All descriptors of the shard when at most ``n`` of an image are read."""
        return int(self.counts(n).sum())

    def read(self, start: int = 0, stop: int | None = None, n: int | None = None) -> Block:
        """The ``n`` strongest features (None: all) of images ``start:stop``, positions within the shard.

        Raises:
            DataError: the file is damaged where it was to be read.
        """
        start, stop, _ = slice(start, stop).indices(self.num_images)
        counts = self.counts(n, start, stop)
        columns = {name: self._gather(name, start, counts) for name in ("descriptors", *self._extras)}
        image_ids = np.repeat(self.image_ids[start : start + len(counts)], counts)
        return Block(image_ids=image_ids, **columns)

    def blocks(self, n: int | None = None, images: int = 256) -> Iterator[Block]:
        """The whole shard, ``images`` images at a time, so that memory stays bounded."""
        for start in range(0, self.num_images, images):
            yield self.read(start, start + images, n)

    def _gather(self, name: str, start: int, counts: np.ndarray) -> np.ndarray:
        """Rows of a column that ``counts`` keeps of each image from ``start`` on, as float32."""
        dataset = self._file[name]
        offsets = self.offsets[start : start + len(counts) + 1]
        out = np.empty((int(counts.sum()), *dataset.shape[1:]), np.float32)
        whole = len(out) == offsets[-1] - offsets[0]
        try:
            if whole and dataset.dtype == np.float32 and len(out):
                dataset.read_direct(out, np.s_[offsets[0] : offsets[-1]])
                return out
            filled = 0
            for first, last in _groups(offsets):
                rows = dataset[offsets[first] : offsets[last]]
                if not whole:
                    place = np.arange(offsets[first], offsets[last])
                    place -= np.repeat(offsets[first:last], np.diff(offsets[first : last + 1]))
                    rows = rows[place < np.repeat(counts[first:last], np.diff(offsets[first : last + 1]))]
                out[filled : filled + len(rows)] = rows
                filled += len(rows)
        except (OSError, RuntimeError) as error:
            raise DataError(f"{self.path}: {name} cannot be read ({error}); delete it and rerun.") from error
        return out

    def _load(self) -> None:
        found = int(self._file.attrs["format_version"])
        if found != FORMAT_VERSION:
            raise DataError(
                f"{self.path}: feature shard of format version {found}, this package reads version {FORMAT_VERSION}; "
                "delete it and rerun."
            )
        self.info = ShardInfo(**{name: decode_text(self._file.attrs[name]) for name in _TEXTS})
        self.dim = int(self._file["descriptors"].shape[1])
        self.offsets = self._file["offsets"][:]
        self.image_ids = self._file["image_ids"][:]
        self._extras = [name for name in _EXTRAS if name in self._file]
        self.skipped: dict[int, str] = {}
        if "skipped_ids" in self._file:
            reasons = [decode_text(reason) for reason in self._file["skipped_reasons"][:]]
            self.skipped = dict(zip(self._file["skipped_ids"][:].tolist(), reasons, strict=True))
        self._check()

    def _check(self) -> None:
        descriptors = self._file["descriptors"]
        rows = len(descriptors)
        if self.info.kind not in ("local", "global") or descriptors.dtype not in (np.float32, np.float16):
            raise ValueError(f"kind {self.info.kind!r}, descriptors {descriptors.dtype}")
        if descriptors.shape != (rows, self.dim) or self.offsets.shape != (len(self.image_ids) + 1,):
            raise ValueError(f"descriptors {descriptors.shape}, offsets {self.offsets.shape}, dim {self.dim}")
        if self.offsets.dtype != np.int64 or self.image_ids.dtype != np.int64:
            raise ValueError(f"offsets {self.offsets.dtype}, image ids {self.image_ids.dtype}, not int64")
        if self.offsets[0] != 0 or self.offsets[-1] != rows or np.any(np.diff(self.offsets) < 0):
            raise ValueError(f"offsets do not run from 0 to {rows}")
        if np.any(np.diff(self.image_ids) <= 0) or np.any(self.image_ids < 0):
            raise ValueError("image ids do not ascend")
        if self.info.kind == "global" and np.any(np.diff(self.offsets) > 1):
            raise ValueError("several global descriptors for one image")
        for name in self._extras:
            if self._file[name].shape != (rows, *_EXTRAS[name]):
                raise ValueError(f"{name} {self._file[name].shape} for {rows} descriptors")

    def _foreign(self, reason: str) -> DataError:
        return DataError(f"{self.path}: not a descbench feature shard ({reason}); delete it and rerun.")


def check_shard(
    reader: ShardReader, *, features: str | None = None, images: str | None = None, checkpoint: str | None = None
) -> None:
    """Compare the digests of a shard with those of the inputs at hand; None is not compared.

    Raises:
        StaleFileError: a digest differs; the message names the file, which digest, and both values.
    """
    asked = {"features": features, "images": images, "checkpoint": checkpoint}
    causes = {
        "features": "the extraction settings or the model",
        "images": "the list of images",
        "checkpoint": "the weights",
    }
    for name, expected in asked.items():
        found = getattr(reader.info, name)
        if expected is not None and found != expected:
            raise StaleFileError(
                f"{reader.path}: made with other inputs, {causes[name]} changed: the file has {name} digest "
                f"{found or '(none)'}, but {expected or '(none)'} is wanted. Delete the file and rerun."
            )


def _groups(offsets: np.ndarray) -> Iterator[tuple[int, int]]:
    """Ranges of images of at most ``_READ_ROWS`` rows together, or of one image."""
    first = 0
    while first < len(offsets) - 1:
        last = int(np.searchsorted(offsets, offsets[first] + _READ_ROWS, side="right")) - 1
        last = max(last, first + 1)
        yield first, last
        first = last
